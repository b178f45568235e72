"""What ITK leaves out of NIfTI: sheared and scaled forms, and the check that the file is whole.

ITK fills the missing voxels of a truncated NIfTI file with whatever lies in memory, refuses a sheared sform or
quietly takes another one, and drops the third row of a one-slice file. So the header is read here as well.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.geometry import field_of_view_corners

_HEADER_BYTES = 348
_SAME_PLACE_MM = 1e-3
_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class NiftiHeader:
    """The part of a NIfTI-1 header (nifti1.h) that says where voxels lie and how many bytes they take.

    Args:
        size: numbers of voxels along i, j, k and further axes.
        file_bytes: what the file, decompressed, must at least hold.
        sform: 4x4 IJK to RAS, or None where sform_code is 0.
        qform: 4x4 IJK to RAS, or None where qform_code is 0.
    """

    size: tuple[int, ...]
    file_bytes: int
    sform: np.ndarray | None
    qform: np.ndarray | None

    def affine(self, itk_affine: np.ndarray) -> np.ndarray:
        """The affine in force: the form that ITK (and so 3D Slicer) took, with the header's own numbers.

        Where ITK's affine is neither form (it cannot hold shear, and takes its scale from pixdim), the sform is.

        Args:
            itk_affine: 4x4, IJK to RAS, as ITK read it from the same file.
        """
        forms = [form for form in (self.sform, self.qform) if form is not None]
        for form in forms:
            if self._same_place(form, itk_affine):
                return form
        return forms[0] if forms else itk_affine

    def _same_place(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether two affines put every corner of the volume at the same place, but for float32 rounding."""
        shape = (*self.size, 1, 1)[2::-1]
        gap = field_of_view_corners(one, shape) - field_of_view_corners(other, shape)
        return bool(np.abs(gap).max() <= _SAME_PLACE_MM)


def read_header(path: Path) -> NiftiHeader:
    """Read the header of a .nii or .nii.gz file.

    Raises:
        InputError: this is no NIfTI-1 file, it is damaged, or it has no voxels.
    """
    try:
        with _open(path) as file:
            raw = file.read(_HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): copy or export it again") from error
    if len(raw) < _HEADER_BYTES or raw[344:347] not in (b"n+1", b"ni1"):
        raise InputError(f"{path} is not a NIfTI-1 file or is cut short: copy or export it again")
    order = "<" if struct.unpack_from("<i", raw)[0] == _HEADER_BYTES else ">"
    rank, *lengths = struct.unpack_from(order + "8h", raw, 40)
    size = tuple(lengths[: max(0, rank)])
    if not 1 <= rank <= 7 or min(size) < 1:
        raise InputError(f"{path} has no voxels: choose a volume that holds an image")
    (bits,) = struct.unpack_from(order + "h", raw, 72)
    pixdim = struct.unpack_from(order + "8f", raw, 76)
    (offset,) = struct.unpack_from(order + "f", raw, 108)
    qform_code, sform_code = struct.unpack_from(order + "2h", raw, 252)
    quaternion = struct.unpack_from(order + "6f", raw, 256)
    rows = struct.unpack_from(order + "12f", raw, 280)
    sform = np.vstack([np.reshape(rows, (3, 4)), [0.0, 0.0, 0.0, 1.0]]) if sform_code > 0 else None
    qform = _quaternion_affine(quaternion, pixdim) if qform_code > 0 else None
    return NiftiHeader(size, int(offset) + int(np.prod(size, dtype=np.int64)) * bits // 8, sform, qform)


def require_whole(path: Path, header: NiftiHeader) -> None:
    """Check that every voxel of the header is in the file.

    A compressed file is decompressed once, chunk by chunk; its checksum is checked on the way.

    Raises:
        InputError: the file is cut short or damaged.
    """
    try:
        with _open(path) as file:
            if isinstance(file, gzip.GzipFile):
                found = 0
                while chunk := file.read(_CHUNK_BYTES):
                    found += len(chunk)
            else:
                found = path.stat().st_size
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is cut short or damaged ({error}): copy or export it again") from error
    if found < header.file_bytes:
        raise InputError(
            f"{path} is cut short, {found} of {header.file_bytes} bytes are there: copy or export it again"
        )


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    """The file, decompressed where it begins like a gzip file (some .nii.gz are not compressed)."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")


def _quaternion_affine(quaternion: tuple[float, ...], pixdim: tuple[float, ...]) -> np.ndarray:
    """Method 2 of nifti1.h: quaternion b, c, d and offset, handedness in pixdim[0].

    Args:
        quaternion: quatern_b, quatern_c, quatern_d, qoffset_x, qoffset_y, qoffset_z.
        pixdim: the header's eight pixdim values.
    """
    b, c, d = quaternion[:3]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    norm = np.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / norm, b / norm, c / norm, d / norm
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    steps = [abs(step) if np.isfinite(step) and step != 0 else 1.0 for step in pixdim[1:4]]
    steps[2] *= -1.0 if pixdim[0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * steps
    affine[:3, 3] = quaternion[3:]
    return affine
