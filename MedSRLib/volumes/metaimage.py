"""MetaImage files to volumes: .mha, and .mhd with its voxels in one or several files beside it.

ITK leaves zeros or rubbish where compressed voxels are damaged, where their size is not stated, and where a list of
files is shorter than the volume.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.forms import places
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.payload import AT_END, GZIP_MAGIC, Payload, gather, numbered_names, unreadable
from MedSRLib.volumes.sequence import VolumeSequence
from MedSRLib.volumes.units import millimetres, real
from MedSRLib.volumes.volume import Volume
from MedSRLib.volumes.voxel_types import exact_for_files

SUFFIXES = (".mha", ".mhd")

_HEADER_BYTES = 2**20
_TYPES = {
    "MET_CHAR": "i1", "MET_ASCII_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
    "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_US": "US"}


class _Header:
    """The header's fields; the first of several names that is there counts, as in MetaIO."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields: dict[str, str] = {}
        self.listed: list[str] = []
        try:
            with path.open("rb") as file:
                start = file.read(_HEADER_BYTES)
        except OSError as error:
            raise unreadable(path, error) from error
        self.end = 0
        while "ElementDataFile" not in self.fields and self.end < len(start):
            stop = start.find(b"\n", self.end) + 1 or len(start)
            name, separator, value = start[self.end : stop].decode("utf-8", "surrogateescape").partition("=")
            if not separator and name.strip():
                break
            self.fields[name.strip()] = value.strip()
            self.end = stop
        if not self.fields.get("ElementDataFile"):
            raise InputError(f"{path} is not a MetaImage file or is cut short: copy or export it again")
        if self.fields["ElementDataFile"].upper().startswith("LIST"):
            rest = start[self.end :].decode("utf-8", "surrogateescape")
            self.listed = [line.strip() for line in rest.splitlines() if line.strip()]

    def text(self, *names: str, default: str = "") -> str:
        return next((self.fields[name] for name in names if name in self.fields), default)

    def numbers(self, *names: str) -> np.ndarray | None:
        """A field's numbers, or None where it is absent."""
        text = self.text(*names)
        try:
            return np.array([real(word) for word in text.split()]) if text else None
        except ValueError:
            raise self.damaged(f"{names[0]} is {text!r}") from None

    def is_true(self, *names: str) -> bool:
        return self.text(*names).upper() in ("TRUE", "T", "1", "YES")

    def damaged(self, what: str) -> InputError:
        return InputError(f"{self.path} is damaged ({what}): copy or export it again")


def read_metaimage(path: Path) -> VolumeSequence:
    """Every frame of a .mha or .mhd; a fourth axis is one of frames.

    Raises:
        InputError: the file is damaged, cut short, in colour, or has no voxels.
    """
    header = _Header(path)
    sizes = _sizes(header)
    affine, notes = _affine(header, len(sizes))
    kind = header.text("ElementType")
    if kind not in _TYPES:
        raise header.damaged(f"voxels of type {kind!r} are not grey levels")
    order = ">" if header.is_true("BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    dtype = np.dtype(order + _TYPES[kind])
    i, j, k, n = (*sizes, 1, 1)[:4]
    stored = gather(_payloads(header), int(np.prod(sizes, dtype=object)), dtype).reshape(n, k, j, i)
    said = _MODALITIES.get(header.text("Modality"), "other")
    frames = exact_for_files(stored)
    return VolumeSequence.from_frames(Volume(frames[0], affine, said, notes=tuple(notes)), frames)


def _sizes(header: _Header) -> list[int]:
    """Numbers of voxels along i, j, k and frames."""
    numbers, rank = header.numbers("DimSize"), header.numbers("NDims")
    if numbers is None or rank is None or not np.isfinite(numbers).all() or [len(numbers)] != rank.tolist():
        raise header.damaged("its DimSize does not fit its NDims")
    if not np.array_equal(numbers, np.rint(numbers)):
        raise header.damaged("its DimSize is no whole numbers")
    if min(numbers) < 1:
        raise InputError(f"{header.path} has no voxels: choose a volume that holds an image")
    channels = header.numbers("ElementNumberOfChannels")
    if channels is not None and channels[0] != 1:
        raise InputError(
            f"{header.path} holds {channels[0]:g} values per voxel (colour or vectors): choose a grey-level volume"
        )
    sizes = [int(number) for number in numbers]
    while len(sizes) > 4 and sizes[-1] == 1:
        sizes.pop()
    if not 2 <= len(sizes) <= 4:
        listed = " x ".join(map(str, sizes))
        raise InputError(
            f"{header.path} has {len(sizes)} axes ({listed}), which make no volume: save one 3D volume of it"
        )
    return sizes


def _affine(header: _Header, axes: int) -> tuple[np.ndarray, list[str]]:
    """IJK to RAS millimetres, and sentences on what is unusual."""
    rank = int(header.text("NDims"))
    used = min(axes, 3)
    directions = header.numbers("TransformMatrix", "Rotation", "Orientation")
    offset = header.numbers("Offset", "Position", "Origin")
    spacing = header.numbers("ElementSpacing", "ElementSize")
    if any(
        one is not None and one.size != size for one, size in ((directions, rank**2), (offset, rank), (spacing, rank))
    ):
        raise header.damaged("its matrix, offset or spacing has another number of axes")
    notes = [] if spacing is not None else ["a pixel size that is not stated is taken as 1 mm"]
    spacing = np.ones(rank) if spacing is None else spacing
    matrix = np.eye(4)
    columns = np.eye(rank) if directions is None else directions.reshape(rank, rank).T
    matrix[:used, :used] = (columns * np.abs(spacing))[:used, :used]
    matrix[:used, 3] = 0 if offset is None else offset[:used]
    unit = header.text("DistanceUnits")
    factor = millimetres(unit) if unit and unit != "?" else 1.0
    if factor is None:
        notes.append(f"the unit {unit!r} is not known: its lengths are taken as millimetres")
    elif factor != 1:
        notes.append(f"the header is in {unit}: millimetres are made of them")
        matrix[:used] *= factor
    affine = LPS_TO_RAS @ matrix
    if not places(affine):
        raise InputError(
            f"{header.path} gives no affine of finite numbers that places it: correct its matrix and spacing"
        )
    return affine, notes


def _payloads(header: _Header) -> list[Payload]:
    """Where the voxels are.

    Raises:
        InputError: a data file is missing.
    """
    name = header.text("ElementDataFile")
    folder = header.path.parent
    names = header.listed if name.upper().startswith("LIST") else numbered_names(name)
    if name.upper() == "LOCAL":
        files = [(header.path, header.end)]
    else:
        files = [(folder / one, 0) for one in ([name] if names is None else names)]
    if not files:
        raise header.damaged("its list of data files is empty")
    skip = header.numbers("HeaderSize")
    found = []
    for path, start in files:
        if not path.is_file():
            raise InputError(
                f"{header.path} keeps its voxels in {path}, which is missing: put it back beside the header"
            )
        found.append(
            Payload(path, start, _coding(header, path, start), 0 if skip is None else max(AT_END, int(skip[0])))
        )
    return found


def _coding(header: _Header, path: Path, start: int) -> str:
    if header.text("BinaryData", default="True").upper() == "FALSE":
        return "ascii"
    if not header.is_true("CompressedData"):
        return "raw"
    with path.open("rb") as file:
        file.seek(start)
        return "gzip" if file.read(2) == GZIP_MAGIC else "zlib"
