"""The bytes of voxels: all that the header promises, their checksum checked, or a sentence.

ITK fills what is missing with whatever lies in memory, passes over a wrong checksum, and takes the memory that a header
claims before it looks. So the readers of NIfTI, NRRD and MetaImage fetch their bytes here.
"""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from MedSRLib.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
AT_END = -1
_MOST_FILES = 2**16
_CHUNK_BYTES = 2**22
_DENSEST = {"raw": 1, "gzip": 1032, "zlib": 1032, "bzip2": 2**20}
"""Bytes that one stored byte can at most become: deflate's limit; bzip2 has hardly one."""
_SPARE_BYTES = 2**24
"""What may follow the voxels; more than this and than the voxels again is no honest file."""


@dataclass(frozen=True)
class Payload:
    """Where voxels are stored.

    Args:
        path: the file.
        start: the first byte of the (compressed) stream in it.
        coding: "raw", "gzip", "zlib", "bzip2", or digits: "ascii" (decimal) or "hex".
        skip: decoded bytes that come before the voxels; ``AT_END``: they are the last bytes of a raw file.
    """

    path: Path
    start: int = 0
    coding: str = "raw"
    skip: int = 0

    def voxels(self, count: int, dtype: np.dtype) -> np.ndarray:
        """So many voxels of a dtype, [count].

        Raises:
            InputError: as for ``read``.
        """
        size = count * dtype.itemsize
        if self.coding in ("ascii", "hex"):
            return self._digits(count, dtype)
        if self.skip == AT_END:
            start = max(self.start, self.path.stat().st_size - size)
            return replace(self, start=start, skip=0).read(size).view(dtype)
        return self.read(size).view(dtype)

    def read(self, size: int) -> np.ndarray:
        """The voxels' bytes, uint8 [size]; what the header claims takes no memory before it is seen to be there.

        Args:
            size: how many the header promises.

        Raises:
            InputError: there are fewer, the stream is damaged, or the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                stored = self.path.stat().st_size - self.start
                if stored * _DENSEST[self.coding] < size + self.skip:
                    found = max(0, stored - self.skip) if self.coding == "raw" else None
                    raise _cut_short(self.path, found, size)
                file.seek(self.start)
                if self.coding == "raw":
                    return np.fromfile(file, np.uint8, size, offset=self.skip)
                return self._gather(file, size)
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(self.path, error) from error

    def _digits(self, count: int, dtype: np.dtype) -> np.ndarray:
        least = 2 * count - 1 if self.coding == "ascii" else 2 * count * dtype.itemsize
        size = max(0, self.path.stat().st_size - self.start)
        if size < least:
            raise _cut_short(self.path, size, least)
        text = replace(self, coding="raw", skip=max(0, self.skip)).read(size - max(0, self.skip)).tobytes()
        try:
            if self.coding == "hex":
                voxels = np.frombuffer(bytes.fromhex(text.decode("ascii")), dtype, count)
            else:
                voxels = np.array(text.replace(b",", b" ").split()[:count], dtype=dtype.newbyteorder("="))
        except (ValueError, OverflowError) as error:
            raise unreadable(self.path, error) from error
        if voxels.size < count:
            raise InputError(f"{self.path} is cut short, {voxels.size} of {count} voxels are there: export it again")
        return voxels

    def _gather(self, file: BinaryIO, size: int) -> np.ndarray:
        """Decodes the stream to its end, where the checksum is."""
        found, kept = 0, bytearray()
        for chunk in _decoded(file, self.coding):
            first = max(0, self.skip - found)
            found += len(chunk)
            kept += memoryview(chunk)[first : first + size - len(kept)]
            if found > 2 * (self.skip + size) + _SPARE_BYTES:
                raise InputError(
                    f"{self.path} unpacks to far more than the {size} bytes its header promises: export it again"
                )
        if len(kept) < size:
            raise _cut_short(self.path, len(kept), size)
        return np.frombuffer(kept, np.uint8)


def gather(payloads: Sequence[Payload], count: int, dtype: np.dtype) -> np.ndarray:
    """All voxels of files that hold equal parts of them, one after the other.

    Raises:
        InputError: as for ``Payload.read``, or they do not divide into so many files.
    """
    each, rest = divmod(count, len(payloads))
    if rest:
        raise InputError(
            f"{count} voxels do not divide into the {len(payloads)} data files of {payloads[0].path.parent}: "
            "put back those that are missing, or export again"
        )
    parts = [payload.voxels(each, dtype) for payload in payloads]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def numbered_names(text: str) -> list[str] | None:
    """The file names of a pattern such as ``slice%03d.raw 1 24 1`` (first, last, step); None where it is none.

    Raises:
        InputError: the pattern makes no list.
    """
    pattern = re.fullmatch(r"(.*%0?\d*[du].*?)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)(\s+\d+)?", text)
    if pattern is None:
        return None
    first, last, step = (int(number) for number in pattern.groups()[1:4])
    numbers = range(first, last + (1 if step > 0 else -1), step or 1)
    if not 0 < len(numbers) <= _MOST_FILES:
        raise InputError(f"the data files {text!r} make no list: correct the header")
    try:
        return [pattern.group(1) % number for number in numbers]
    except (TypeError, ValueError):
        raise InputError(f"the data files {text!r} make no list: correct the header") from None


def unreadable(path: Path, error: Exception) -> InputError:
    """The sentence for a file that the system does not let us read, or whose stream is damaged."""
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"{path} cannot be read ({error.strerror}): check the file and its permissions")
    return InputError(f"{path} is cut short or damaged ({error}): copy or export it again")


def first_bytes(path: Path, count: int) -> bytes:
    """The beginning of a file, unpacked where it is a gzip file.

    Raises:
        InputError: the file cannot be read or is damaged.
    """
    try:
        with path.open("rb") as file:
            start = file.read(count)
            if not start.startswith(GZIP_MAGIC):
                return start
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return unpacked.read(count)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error


def coding_of(path: Path) -> str:
    """How a file is stored: "gzip" where it begins like one, whatever its name says, else "raw"."""
    with path.open("rb") as file:
        return "gzip" if file.read(2) == GZIP_MAGIC else "raw"


def _cut_short(path: Path, found: int | None, size: int) -> InputError:
    there = f"{found} of {size} bytes are there" if found is not None else f"its header promises {size} bytes"
    return InputError(f"{path} is cut short, {there}: copy or export it again")


def _decoded(file: BinaryIO, coding: str) -> Iterator[bytes]:
    """A compressed stream, piece by piece.

    Raises:
        EOFError, OSError, zlib.error: it ends early, or is damaged.
    """
    if coding == "zlib":
        yield from _inflated(file)
        return
    with gzip.GzipFile(fileobj=file) if coding == "gzip" else bz2.BZ2File(file) as unpacked:
        while chunk := unpacked.read(_CHUNK_BYTES):
            yield chunk


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    stream = zlib.decompressobj()
    while not stream.eof:
        stored = stream.unconsumed_tail or file.read(_CHUNK_BYTES)
        if not stored:
            raise EOFError("the compressed stream has no end")
        yield stream.decompress(stored, _CHUNK_BYTES)
