"""Volumes packed to be carried to another machine: lossless, three quarters of a NIfTI file, readable with numpy.

A packed file is a line of JSON and a bzip2 stream. The stream holds the differences of each voxel from its left
neighbour (from 0 for the first of a row), modulo the voxel's size, as zigzag numbers (0, -1, 1, -2, ... become
0, 1, 2, 3, ...), first all lowest bytes, then all next ones: neighbours are alike, so the higher bytes are mostly zero.
"""

from __future__ import annotations

import bz2
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.volume import Volume

SUFFIX = ".medsr"
_FORMAT = 1
_DTYPES = {
    f"<{kind}{size}": np.dtype(f"<{kind}{size}") for kind in "iuf" for size in (1, 2, 4, 8) if f"{kind}{size}" != "f1"
}
_LONGEST_HEADER = 2**16


def pack_volume(volume: Volume, *, is_stack: bool = False) -> bytes:
    """A packed file; see the module.

    Args:
        volume: of whole numbers or floats.
        is_stack: its slices are unrelated images.
    """
    voxels = np.ascontiguousarray(volume.voxels, volume.voxels.dtype.newbyteorder("<"))
    header = {
        "medsr": _FORMAT,
        "dtype": f"<{voxels.dtype.kind}{voxels.dtype.itemsize}",
        "shape": voxels.shape,
        "affine": volume.affine.tolist(),
        "modality": volume.modality,
        "slice_thickness": volume.slice_thickness,
        "stack": is_stack,
    }
    bits, size = 8 * voxels.dtype.itemsize, voxels.dtype.itemsize
    difference = voxels.view(f"<u{size}").copy()
    difference[:, :, 1:] -= voxels.view(f"<u{size}")[:, :, :-1]
    signed = difference.view(f"<i{size}")
    zigzag = (signed << 1) ^ (signed >> (bits - 1))
    planes = np.ascontiguousarray(zigzag.reshape(-1).view(np.uint8).reshape(-1, size).T)
    return json.dumps(header).encode() + b"\n" + bz2.compress(planes.tobytes())


def unpack_volume(content: bytes) -> tuple[Volume, bool]:
    """A volume, and whether its slices are unrelated images.

    Args:
        content: of a packed file.

    Raises:
        InputError: it is no packed file, or is damaged.
    """
    line, _, stream = content.partition(b"\n")
    try:
        header: dict[str, Any] = json.loads(line[:_LONGEST_HEADER])
        if header["medsr"] != _FORMAT:
            raise InputError(f"it was packed in format {header['medsr']}, which a newer MedSR reads")
        dtype, shape = _DTYPES[header["dtype"]], tuple(int(n) for n in header["shape"])
        count, size = math.prod(shape), dtype.itemsize
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError
        decoder = bz2.BZ2Decompressor()
        raw = decoder.decompress(stream, count * size + 1)
        if len(raw) != count * size or not decoder.eof:
            raise ValueError
        affine, thickness = np.array(header["affine"], np.float64), header["slice_thickness"]
        modality, is_stack = header["modality"], bool(header["stack"])
    except (ValueError, KeyError, TypeError, OSError, OverflowError, MemoryError) as error:
        raise InputError("it is damaged, or no packed volume: pack it again with medsr data pack") from error
    planes = np.frombuffer(raw, np.uint8).reshape(size, count)
    zigzag = np.ascontiguousarray(planes.T).reshape(-1).view(f"<u{size}").reshape(shape)
    one = zigzag.dtype.type(1)
    difference = (zigzag >> one) ^ (~(zigzag & one) + one)
    voxels = np.cumsum(difference, axis=2, dtype=difference.dtype).view(dtype)
    return Volume(voxels, affine, modality, slice_thickness=thickness), is_stack


def read_packed(path: Path) -> tuple[Volume, bool]:
    """A packed file; see ``unpack_volume``.

    Raises:
        InputError: it cannot be read, is no packed file, or is damaged.
    """
    try:
        return unpack_volume(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from error
