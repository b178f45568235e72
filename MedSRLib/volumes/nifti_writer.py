"""What ITK cannot write into NIfTI: a header extension (nifti1.h), between the header and the voxels."""

from __future__ import annotations

import gzip
import shutil
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

_HEADER_BYTES = 348
_VOX_OFFSET = 108
_COMMENT = 6
"""NIFTI_ECODE_COMMENT: plain text."""
_COMPRESSION = 6
"""zlib's default, which ITK takes too."""


def add_comment(plain: Path, path: Path, comment: bytes) -> None:
    """Copy a NIfTI-1 file with a comment extension added; compressed where the name ends with .gz.

    Args:
        plain: an uncompressed one-file NIfTI-1 as ITK writes it: in this machine's byte order, without extensions.
        path: the copy.
        comment: ASCII text.
    """
    size = -(-(8 + len(comment)) // 16) * 16
    with open(plain, "rb") as source, open(path, "wb") as file:
        header = bytearray(source.read(_HEADER_BYTES))
        (offset,) = struct.unpack_from("=f", header, _VOX_OFFSET)
        struct.pack_into("=f", header, _VOX_OFFSET, _HEADER_BYTES + 4 + size)
        source.seek(int(offset))
        with ExitStack() as stack:
            target: BinaryIO | gzip.GzipFile = file
            if path.name.lower().endswith(".gz"):
                target = stack.enter_context(gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0))
            target.write(header)
            target.write(b"\x01\x00\x00\x00" + struct.pack("=2i", size, _COMMENT) + comment.ljust(size - 8, b"\0"))
            shutil.copyfileobj(source, target, 2**22)
