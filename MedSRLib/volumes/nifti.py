"""NIfTI files, read from the header's own numbers (nifti1.h, nifti2.h).

ITK takes another file than the one that is named (``v.nii`` beside ``v.nii.gz``), fills missing voxels with whatever
lies in memory, makes NaN to 0, drops the third row of a one-slice file, holds no shear, and knows no NIfTI-2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.forms import NiftiForms, places, quaternion_affine
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.payload import Payload, coding_of, first_bytes
from MedSRLib.volumes.sequence import VolumeSequence
from MedSRLib.volumes.volume import Volume
from MedSRLib.volumes.voxel_types import exact_for_files

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
"""Single files, and the headers of pairs, whose voxels lie in an .img beside them."""

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_COLOUR, _COMPLEX, _WIDE = {128: 3, 2304: 4}, (32, 1792, 2048), (1536,)
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNITS = {1: "metres", 3: "micrometres"}
_SECONDS = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}
_HEADER_BYTES = {1: 348, 2: 540}
_APART = 0.1
"""Of a voxel, by which the forms may differ without a word: quaternions of one precision, shear of a gantry."""
_OFF_SCALE = 0.01
_FIELDS: dict[int, dict[str, tuple[str, int]]] = {
    1: {
        "dim": ("8h", 40), "datatype": ("h", 70), "pixdim": ("8f", 76), "vox_offset": ("f", 108), "scale": ("2f", 112),
        "units": ("B", 123), "codes": ("2h", 252), "quaternion": ("6f", 256), "rows": ("12f", 280),
    },
    2: {
        "dim": ("8q", 16), "datatype": ("h", 12), "pixdim": ("8d", 104), "vox_offset": ("q", 168),
        "scale": ("2d", 176), "units": ("i", 500), "codes": ("2i", 344), "quaternion": ("6d", 352),
        "rows": ("12d", 400),
    },
}  # fmt: skip


@dataclass(frozen=True)
class NiftiHeader:
    """The part of a header that says what the voxels are, where they lie, and where their bytes are.

    Args:
        shape: numbers of voxels, [n, k, j, i]: frames, slices, rows, columns.
        dtype: of the stored voxels, with their byte order.
        slope: of stored to true values; with ``intercept``. (1, 0) where nifti1.h says that there is no scaling.
        pixdim: millimetres along i, j, k; what the header says, also where that is 0.
        step: seconds between frames.
        forms: sform and qform in millimetres.
        voxels: where the bytes are.
        notes: sentences on what is unusual.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype
    slope: float
    intercept: float
    pixdim: np.ndarray
    step: float
    forms: NiftiForms
    voxels: Payload
    notes: tuple[str, ...]

    def affine(self) -> np.ndarray:
        """The form in force; where there is none, as ITK and so 3D Slicer takes it: i to the left, j to the back."""
        affine = self.forms.affine
        return LPS_TO_RAS @ np.diag([*_usable(self.pixdim), 1.0]) if affine is None else affine


def read_nifti(path: Path) -> VolumeSequence:
    """Every frame of a NIfTI-1 or NIfTI-2 file, or of the pair whose header this is.

    Voxels keep their stored type; scaled ones are float32, or float64 where 32 bits and more are stored.

    Raises:
        InputError: this is no NIfTI file; it is damaged, cut short, in colour, complex, or has no voxels.
    """
    header = read_header(path)
    size = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    stored = header.voxels.read(size).view(header.dtype).reshape(header.shape)
    if (header.slope, header.intercept) != (1, 0):
        wide = np.float64 if header.dtype.itemsize >= 4 and header.dtype != np.dtype("f4") else np.float32
        scaled = np.empty(header.shape, wide)
        for one, target in zip(stored, scaled, strict=True):
            target[:] = one * header.slope + header.intercept
        stored = scaled
    frames = exact_for_files(stored)
    first = Volume(frames[0], header.affine(), notes=header.notes, forms=header.forms)
    return VolumeSequence.from_frames(first, frames, step=header.step if len(frames) > 1 else None)


def read_header(path: Path) -> NiftiHeader:
    """Read the header of a NIfTI file.

    Raises:
        InputError: as for ``read_nifti``, but for the voxels, which are not looked at.
    """
    raw = first_bytes(path, _HEADER_BYTES[2])
    version, order = _version(path, raw)

    def field(name: str) -> Any:
        form, place = _FIELDS[version][name]
        found = struct.unpack_from(order + form, raw, place)
        return found if len(found) > 1 else found[0]

    shape = _shape(path, field("dim"))
    units = field("units")
    to_millimetres = _MILLIMETRES.get(units & 7, 1.0)
    pixdim = np.abs(np.array(field("pixdim")[1:4], np.float64)) * to_millimetres
    forms, notes = _forms(field, np.diag([*[to_millimetres] * 3, 1.0]), shape[1:])
    notes += [f"the header is in {_UNITS[units & 7]}: millimetres are made of them"] if units & 7 in _UNITS else []
    notes += _doubts(path, forms, pixdim, shape)
    slope, intercept = (float(one) for one in field("scale"))
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        slope, intercept = 1.0, 0.0
    step = float(field("pixdim")[4]) * _SECONDS.get(units & 56, 1.0)
    return NiftiHeader(
        shape,
        np.dtype(order + _type(path, field("datatype"))),
        slope,
        intercept,
        pixdim,
        step if np.isfinite(step) else 0.0,
        forms,
        _payload(path, raw, version, field("vox_offset")),
        tuple(notes),
    )


def require_whole(path: Path) -> None:
    """Check that every voxel of the header is in the file.

    Raises:
        InputError: the file is cut short or damaged.
    """
    header = read_header(path)
    header.voxels.read(int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize)


def _version(path: Path, raw: bytes) -> tuple[int, str]:
    """1 or 2, and the byte order of the header."""
    for version, place, magics in ((1, 344, (b"n+1", b"ni1")), (2, 4, (b"n+2", b"ni2"))):
        if len(raw) >= _HEADER_BYTES[version] and raw[place : place + 3] in magics:
            return version, "<" if struct.unpack_from("<i", raw)[0] == _HEADER_BYTES[version] else ">"
    if len(raw) >= _HEADER_BYTES[1] and _HEADER_BYTES[1] in (struct.unpack_from(o + "i", raw)[0] for o in "<>"):
        raise InputError(
            f"{path} has the header of Analyze 7.5, which does not say left from right: convert it to NIfTI"
        )
    raise InputError(f"{path} is not a NIfTI file or is cut short: copy or export it again")


def _shape(path: Path, dim: tuple[int, ...]) -> tuple[int, int, int, int]:
    """[n, k, j, i]; axes of one voxel may follow."""
    rank, lengths = dim[0], list(dim[1:])
    if not 1 <= rank <= 7 or min(lengths[:rank]) < 1:
        raise InputError(f"{path} has no voxels (its axes are {dim[1:4]}): choose a volume that holds an image")
    i, j, k, n, *others = [length if axis < rank else 1 for axis, length in enumerate(lengths)]
    values = int(np.prod(others, dtype=object))
    if values > 1:
        raise InputError(f"{path} holds {values} values per voxel (colour or vectors): choose a grey-level volume")
    return n, k, j, i


def _type(path: Path, code: int) -> str:
    """numpy's name of a datatype."""
    if code in _COLOUR:
        raise InputError(
            f"{path} holds {_COLOUR[code]} values per voxel (colour or vectors): choose a grey-level volume"
        )
    if code in _COMPLEX:
        raise InputError(f"{path} holds complex numbers: save their magnitude and choose that")
    if code not in _TYPES:
        kind = "128 bit numbers" if code in _WIDE else f"voxels of the unknown NIfTI type {code}"
        raise InputError(f"{path} holds {kind}: save it as integers or float32")
    return _TYPES[code]


def _forms(field: Any, to_millimetres: np.ndarray, shape: tuple[int, ...]) -> tuple[NiftiForms, list[str]]:
    """Both forms, of which one that places nothing is left out with a note.

    Raises:
        InputError: a form is all there is, and it places nothing.
    """
    qform_code, sform_code = (max(0, code) for code in field("codes"))
    quaternion, pixdim = np.array(field("quaternion"), np.float64), field("pixdim")
    sform = np.vstack([np.reshape(field("rows"), (3, 4)), [0.0, 0.0, 0.0, 1.0]])
    spacing = _usable(np.abs(np.array(pixdim[1:4], np.float64)))
    candidates = {
        "sform": sform if sform_code else None,
        "qform": quaternion_affine(quaternion[:3], quaternion[3:], spacing, pixdim[0]) if qform_code else None,
    }
    notes = []
    finite = {"sform": True, "qform": bool(np.isfinite(pixdim[1:4]).all())}
    for name, form in candidates.items():
        if form is not None:
            form = to_millimetres @ form
            if not places(form) or not finite[name]:
                notes.append(f"the header's {name} is no affine that can place a volume: it is passed over")
                form = None
            candidates[name] = form
    forms = NiftiForms(candidates["sform"], sform_code, candidates["qform"], qform_code)
    return forms, notes


def _doubts(path: Path, forms: NiftiForms, pixdim: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    """Sentences where the header contradicts itself or leaves out what it should say."""
    taken = forms.in_force
    if taken is None:
        if not np.isfinite(pixdim).all():
            raise InputError(f"{path} gives a pixel size of {_listed(pixdim)} mm: give it a valid one")
        if forms.sform_code or forms.qform_code:
            raise InputError(f"{path} has no sform or qform of finite numbers that places it: give it a valid affine")
        made_up = (
            [] if _said(pixdim)[: min(3, len(pixdim))].all() else ["a pixel size that is not stated is taken as 1 mm"]
        )
        return ["the header has neither sform nor qform: the orientation is taken as 3D Slicer does", *made_up]
    notes = []
    assert forms.affine is not None
    spacing = np.linalg.norm(forms.affine[:3, :3], axis=0)
    gap = forms.gap(shape[-3:])
    if gap > _APART * spacing.min():
        notes.append(f"the header's sform and qform disagree by up to {gap:.3g} mm: the {taken} is taken")
    off = _said(pixdim) & (np.abs(spacing - pixdim) > _OFF_SCALE * spacing)
    if off[np.array(shape[:0:-1]) > 1].any():
        notes.append(
            f"the {taken} says a spacing of {_listed(spacing)} mm and pixdim {_listed(pixdim)} mm: "
            f"they disagree, the {taken} is taken"
        )
    return notes


def _payload(path: Path, raw: bytes, version: int, offset: float) -> Payload:
    """Where the voxels are: behind the header, or in the other file of a pair."""
    magic = raw[344:347] if version == 1 else raw[4:7]
    skip = int(offset) if np.isfinite(offset) and offset > 0 else 0
    if not magic.startswith(b"ni"):
        # Behind the header stand four bytes that announce extensions; an offset of 0 says nothing.
        return Payload(
            path, 0, coding_of(path), max(skip, _HEADER_BYTES[version]) if skip else _HEADER_BYTES[version] + 4
        )
    name = path.name
    for suffix in (".gz", ".hdr", ".nii", ".HDR", ".NII"):
        name = name.removesuffix(suffix)
    for suffix in (".img", ".img.gz", ".IMG"):
        image = path.with_name(name + suffix)
        if image.is_file():
            return Payload(image, 0, coding_of(image), skip)
    raise InputError(f"{path} keeps its voxels in {name}.img, which is missing: put it back beside the header")


def _said(lengths: np.ndarray) -> np.ndarray:
    return np.isfinite(lengths) & (lengths > 0)


def _usable(lengths: np.ndarray) -> np.ndarray:
    """Lengths along i, j, k, 1 where the header does not say one."""
    return np.where(_said(lengths), lengths, 1.0)


def _listed(lengths: np.ndarray) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths)
