"""The check that a MetaImage file is whole: ITK leaves zeros where its compressed voxels are damaged."""

from __future__ import annotations

import zlib
from pathlib import Path

from MedSRLib.errors import InputError

_HEADER_BYTES = 2**16
_CHUNK_BYTES = 2**22


def require_whole(path: Path, voxel_bytes: int) -> None:
    """Check that every voxel is in the file, or in the data file that a .mhd names.

    A header that lists several data files (LIST or a %d pattern) is left to ITK, which misses none of them.

    Args:
        path: a .mha or .mhd file.
        voxel_bytes: bytes of all voxels, decompressed.

    Raises:
        InputError: a file is missing, cut short or damaged.
    """
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    fields = {}
    position = 0
    for line in start.splitlines(keepends=True):
        position += len(line)
        key, _, value = line.partition(b"=")
        fields[key.strip()] = value.strip()
        if key.strip() == b"ElementDataFile":
            break
    name = fields.get(b"ElementDataFile", b"").decode(errors="replace")
    if not name:
        raise InputError(f"{path} is not a MetaImage file or is cut short: copy or export it again")
    if name.startswith("LIST") or "%" in name:
        return
    local = name.upper() == "LOCAL"
    data = path if local else path.parent / name
    if not data.is_file():
        raise InputError(f"{path} keeps its voxels in {data}, which is missing: put it back beside the header")
    if fields.get(b"CompressedData", b"").upper() == b"TRUE":
        found = _decompressed_bytes(data, position if local else 0)
    else:
        found = data.stat().st_size - (position if local else 0)
    if found < voxel_bytes:
        raise InputError(f"{data} is cut short, {found} of {voxel_bytes} bytes are there: copy or export it again")


def _decompressed_bytes(data: Path, start: int) -> int:
    """Length of the zlib stream at ``start``, its checksum checked on the way."""
    stream = zlib.decompressobj()
    found = 0
    try:
        with data.open("rb") as file:
            file.seek(start)
            while not stream.eof and (chunk := file.read(_CHUNK_BYTES)):
                found += len(stream.decompress(chunk))
    except zlib.error as error:
        raise InputError(f"{data} is damaged ({error}): copy or export it again") from error
    if not stream.eof:
        raise InputError(f"{data} is cut short: copy or export it again")
    return found
