"""What ITK cannot write into NIfTI: header extensions and two transforms of their own (nifti1.h)."""

from __future__ import annotations

import gzip
import shutil
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from MedSRLib.volumes.forms import NiftiForms, affine_quaternion

_HEADER_BYTES = 348
_VOX_OFFSET = 108
_PIXDIM = 76
_CODES = 252
_QUATERNION = 256
_ROWS = 280
_COMMENT = 6
"""NIFTI_ECODE_COMMENT: plain text."""
_COMPRESSION = 6
"""zlib's default, which ITK takes too."""


def complete(plain: Path, path: Path, *, comment: bytes = b"", forms: NiftiForms | None = None) -> None:
    """Copy a NIfTI-1 file with a comment extension and its forms; compressed where the name ends with .gz.

    Args:
        plain: an uncompressed one-file NIfTI-1 as ITK writes it: in this machine's byte order, without extensions.
        path: the copy.
        comment: ASCII text; none where it is empty.
        forms: sform and qform to write in place of ITK's.
    """
    size = -(-(8 + len(comment)) // 16) * 16 if comment else 0
    extension = struct.pack("=2i", size, _COMMENT) + comment.ljust(size - 8, b"\0") if comment else b""
    with open(plain, "rb") as source, open(path, "wb") as file:
        header = bytearray(source.read(_HEADER_BYTES))
        (offset,) = struct.unpack_from("=f", header, _VOX_OFFSET)
        struct.pack_into("=f", header, _VOX_OFFSET, _HEADER_BYTES + 4 + size)
        if forms is not None:
            _set_forms(header, forms)
        source.seek(int(offset))
        with ExitStack() as stack:
            target: BinaryIO | gzip.GzipFile = file
            if path.name.lower().endswith(".gz"):
                target = stack.enter_context(gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0))
            target.write(header)
            target.write(bytes([bool(comment), 0, 0, 0]) + extension)
            shutil.copyfileobj(source, target, 2**22)


def _set_forms(header: bytearray, forms: NiftiForms) -> None:
    codes = (forms.qform_code if forms.qform is not None else 0, forms.sform_code if forms.sform is not None else 0)
    struct.pack_into("=2h", header, _CODES, *codes)
    if forms.qform is not None:
        quaternion, spacing, handedness = affine_quaternion(forms.qform)
        struct.pack_into("=4f", header, _PIXDIM, handedness, *spacing)
        struct.pack_into("=6f", header, _QUATERNION, *quaternion, *forms.qform[:3, 3])
    sform = np.zeros((3, 4)) if forms.sform is None else forms.sform[:3]
    struct.pack_into("=12f", header, _ROWS, *sform.ravel())
