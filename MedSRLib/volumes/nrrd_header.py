"""The header of a NRRD file, after the format's definition (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.payload import AT_END, Payload, numbered_names, unreadable
from MedSRLib.volumes.units import real

_HEADER_BYTES = 2**20
_BITS = {"char": 8, "int8": 8, "short": 16, "int16": 16, "int": 32, "int32": 32, "longlong": 64, "int64": 64}
_CODINGS = {
    "raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
    "txt": "ascii", "text": "ascii", "ascii": "ascii", "hex": "hex",
}  # fmt: skip


@dataclass(frozen=True)
class NrrdHeader:
    """What a header says, field by field.

    Args:
        path: the header's file.
        fields: by lower-case name without spaces, as ``spacedirections``.
        data_files: lines below ``data file: LIST``.
        end: bytes of the header; attached voxels begin there.
    """

    path: Path
    fields: dict[str, str]
    data_files: tuple[str, ...]
    end: int

    @classmethod
    def read(cls, path: Path) -> NrrdHeader:
        """Read a .nrrd or .nhdr.

        Raises:
            InputError: this is no NRRD file or it is damaged.
        """
        try:
            with path.open("rb") as file:
                start = file.read(_HEADER_BYTES)
        except OSError as error:
            raise unreadable(path, error) from error
        if not start.startswith(b"NRRD000"):
            raise InputError(f"{path} is not a NRRD file or is cut short: copy or export it again")
        blank = re.search(rb"\n\r?\n", start)
        end = blank.end() if blank else len(start)
        fields: dict[str, str] = {}
        listed: list[str] = []
        for line in start[:end].decode("utf-8", "surrogateescape").splitlines()[1:]:
            if "datafile" in fields and fields["datafile"].upper().startswith("LIST"):
                listed += [line.strip()] if line.strip() else []
                continue
            name, separator, value = line.partition(": ")
            if separator and not line.startswith("#") and ":=" not in name:
                fields[name.replace(" ", "").lower()] = value.strip()
        return cls(path, fields, tuple(listed), end)

    def damaged(self, what: str) -> InputError:
        """The sentence for a field that is missing or makes no sense."""
        return InputError(f"{self.path} is damaged ({what}): copy or export it again")

    @property
    def sizes(self) -> list[int]:
        """Numbers of voxels, the fastest axis first."""
        try:
            sizes = [_whole(word) for word in self.fields["sizes"].split()]
        except (KeyError, ValueError):
            raise self.damaged("its header gives no sizes") from None
        if str(len(sizes)) != self.fields.get("dimension"):
            raise self.damaged(f"its header gives {len(sizes)} sizes for dimension {self.fields.get('dimension')}")
        if min(sizes) < 1:
            raise InputError(f"{self.path} has no voxels: choose a volume that holds an image")
        return sizes

    @property
    def dtype(self) -> np.dtype:
        """Of the stored voxels, with their byte order."""
        text = self.fields.get("type", "").lower().removesuffix("_t")
        if text in ("float", "double"):
            kind = "f4" if text == "float" else "f8"
        else:
            name = re.sub(r"^(unsigned|signed|u)\s*", "", text)
            name = (re.sub(r"\s*int$", "", name) or "int").replace(" ", "")
            if name not in _BITS:
                raise self.damaged(f"voxels of type {text!r} are not grey levels")
            kind = f"{'u' if text.startswith('u') else 'i'}{_BITS[name] // 8}"
        dtype = np.dtype(kind)
        endian = self.fields.get("endian", "")
        if dtype.itemsize > 1 and self.coding in ("raw", "gzip", "bzip2") and endian not in ("little", "big"):
            raise self.damaged("its header does not say the order of bytes")
        return dtype.newbyteorder(">" if endian == "big" else "<")

    @property
    def coding(self) -> str:
        """How voxels are written: "raw", "gzip", "bzip2", "ascii" or "hex"."""
        encoding = self.fields.get("encoding", "").lower()
        if encoding not in _CODINGS:
            raise self.damaged(f"the encoding {encoding!r} is not known")
        return _CODINGS[encoding]

    def per_axis(self, name: str) -> list[str]:
        """A field with a word or a quoted text for each axis; empty where it is not there."""
        return [quoted or word for quoted, word in re.findall(r'"([^"]*)"|(\S+)', self.fields.get(name, ""))]

    def vectors(self, name: str) -> list[np.ndarray | None]:
        """A field of vectors; None for ``none``."""
        found: list[np.ndarray | None] = []
        for vector, word in re.findall(r"\(([^)]*)\)|(\S+)", self.fields.get(name, "")):
            if word and word != "none":
                raise self.damaged(f"{name} holds {word!r}")
            try:
                found.append(np.array([real(one) for one in vector.split(",")]) if vector else None)
            except ValueError:
                raise self.damaged(f"{name} holds ({vector})") from None
        return found

    def payloads(self) -> list[Payload]:
        """Where the voxels are, in the order of the slowest axis.

        Raises:
            InputError: a data file is missing, or what to skip makes no sense.
        """
        try:
            skip, lines = (int(self.fields.get(name, 0)) for name in ("byteskip", "lineskip"))
        except ValueError:
            raise self.damaged("what to skip is no number") from None
        found = []
        for path in self._files():
            start = self.end if path == self.path else 0
            if not path.is_file():
                raise InputError(f"{self.path} keeps its voxels in {path}, which is missing: put it back")
            found.append(Payload(path, _after_lines(path, start, lines), self.coding, max(AT_END, skip)))
        if not found:
            raise self.damaged("its list of data files is empty")
        return found

    def _files(self) -> list[Path]:
        name = self.fields.get("datafile")
        if name is None:
            return [self.path]
        folder = self.path.parent
        if name.upper().startswith("LIST"):
            return [folder / one for one in self.data_files]
        names = numbered_names(name)
        return [folder / one for one in ([name] if names is None else names)]


def _whole(word: str) -> int:
    real(word)  # which knows ASCII digits only
    return int(word)


def _after_lines(path: Path, start: int, lines: int) -> int:
    """Where the voxels begin when so many lines stand before them."""
    if lines <= 0:
        return start
    with path.open("rb") as file:
        file.seek(start)
        for _ in range(lines):
            file.readline(_HEADER_BYTES)
        return file.tell()
