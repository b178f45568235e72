"""NIfTI, NRRD and MetaImage files made by hand, as other programs write them and as ITK does not."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

NIFTI_TYPES = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 64, "int64": 1024, "complex64": 32}
NRRD_TYPES = {"uint8": "uchar", "int16": "short", "uint16": "ushort", "int32": "int", "float32": "float"}


def noise(*shape: int, dtype: Any = np.int16) -> np.ndarray:
    """Voxels that look like nothing else, the last one too."""
    return np.random.default_rng(0).integers(1, 900, shape).astype(dtype)


def oblique(spacing: tuple[float, float, float] = (0.8, 0.9, 3.0)) -> np.ndarray:
    """An oblique RAS affine of float32 numbers, as a NIfTI header holds them."""
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.sign(np.linalg.det(rotation)) * spacing
    affine[:3, 3] = (11, -22, 33)
    return affine.astype(np.float32).astype(np.float64)


def write_nifti(
    path: Path,
    voxels: np.ndarray,
    *,
    sform: np.ndarray | None = None,
    sform_code: int = 1,
    quaternion: tuple[float, ...] | None = None,
    qform_code: int = 1,
    pixdim: tuple[float, ...] = (1, 1, 1),
    units: int = 2,
    scale: tuple[float, float] = (0, 0),
    order: str = "<",
    version: int = 1,
    magic: bytes | None = None,
    dims: tuple[int, ...] | None = None,
    step: float = 0,
) -> Path:
    """A file of one NIfTI image.

    Args:
        path: compressed where it ends with .gz.
        voxels: [..., k, j, i] as stored.
        sform, quaternion: the forms; the quaternion with its offset, six numbers.
        dims: numbers of voxels in the header, where they are not those of the array.
        step: pixdim of the fourth axis.
    """
    dims = dims or voxels.shape[::-1]
    length = [len(dims), *dims, *[1] * (7 - len(dims))]
    spacing = [1, *pixdim, step, 1, 1, 1]
    rows = np.zeros(12) if sform is None else sform[:3].ravel()
    codes = (0 if quaternion is None else qform_code, 0 if sform is None else sform_code)
    kind = NIFTI_TYPES[voxels.dtype.name]
    if version == 1:
        header = bytearray(352)
        struct.pack_into(order + "i", header, 0, 348)
        struct.pack_into(order + "8h", header, 40, *length)
        struct.pack_into(order + "2h", header, 70, kind, 8 * voxels.itemsize)
        struct.pack_into(order + "8f", header, 76, *spacing)
        struct.pack_into(order + "3f", header, 108, 352, *scale)
        header[123] = units
        struct.pack_into(order + "2h", header, 252, *codes)
        struct.pack_into(order + "6f", header, 256, *(quaternion or (0,) * 6))
        struct.pack_into(order + "12f", header, 280, *rows)
        header[344:348] = magic if magic is not None else b"n+1\0"
    else:
        header = bytearray(544)
        struct.pack_into(order + "i", header, 0, 540)
        header[4:12] = b"n+2\0\r\n\x1a\n"
        struct.pack_into(order + "2h8q", header, 12, kind, 8 * voxels.itemsize, *length)
        struct.pack_into(order + "8dq2d", header, 104, *spacing, 544, *scale)
        struct.pack_into(order + "2i", header, 344, *codes)
        struct.pack_into(order + "6d12d", header, 352, *(quaternion or (0,) * 6), *rows)
        struct.pack_into(order + "2i", header, 496, 0, units)
    raw = bytes(header) + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(gzip.compress(raw) if path.name.endswith(".gz") else raw)
    return path


def write_nrrd(
    path: Path,
    voxels: np.ndarray,
    *lines: str,
    encoding: str = "raw",
    sizes: tuple[int, ...] | None = None,
    data_file: str | None = None,
    before: bytes = b"",
) -> Path:
    """A NRRD file; ``lines`` are further lines of its header, ``before`` comes before the voxels."""
    sizes = sizes or voxels.shape[::-1]
    header = ["NRRD0005", "# made by hand", f"type: {NRRD_TYPES[voxels.dtype.name]}", f"dimension: {len(sizes)}"]
    header += [f"sizes: {' '.join(map(str, sizes))}", f"encoding: {encoding}", "endian: little", *lines]
    raw = before + voxels.tobytes()
    if encoding == "gzip":
        raw = gzip.compress(raw)
    elif encoding == "ascii":
        raw = " ".join(map(str, voxels.ravel())).encode()
    elif encoding == "hex":
        raw = raw.hex().encode()
    if data_file is None:
        path.write_bytes("\n".join(header).encode() + b"\n\n" + raw)
    else:
        path.write_text("\n".join([*header, f"data file: {data_file}", ""]))
    return path


def write_meta(
    path: Path,
    voxels: np.ndarray,
    *lines: str,
    compressed: bool = False,
    data_file: str = "LOCAL",
    sizes: tuple[int, ...] | None = None,
) -> Path:
    """A MetaImage file of int16 voxels; without ``CompressedDataSize`` unless a line gives it."""
    sizes = sizes or voxels.shape[::-1]
    raw = zlib.compress(voxels.tobytes()) if compressed else voxels.tobytes()
    header = ["ObjectType = Image", f"NDims = {len(sizes)}", "BinaryDataByteOrderMSB = False", *lines]
    header += ["CompressedData = True"] if compressed else []
    header += [f"DimSize = {' '.join(map(str, sizes))}", "ElementType = MET_SHORT", f"ElementDataFile = {data_file}"]
    text = "\n".join(header).encode() + b"\n"
    if data_file == "LOCAL":
        path.write_bytes(text + raw)
    else:
        path.write_bytes(text)
        if not data_file.startswith("LIST") and "%" not in data_file:
            (path.parent / data_file).write_bytes(raw)
    return path
