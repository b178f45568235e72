"""Files of a model folder: hashes, and writing in one step."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from urllib.parse import urlparse

from MedSRLib.errors import OutputError


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_url(place: str) -> bool:
    """Whether a file lies on the web rather than on this machine."""
    return urlparse(place).scheme in ("http", "https")


def hash_mismatch(path: Path) -> str:
    """The sentence for weights that are not the ones their manifest names."""
    return f"{path} does not match the SHA-256 in its manifest: it is damaged or was changed, install the model again"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes beside the target and renames, so that an interrupted write leaves the old file as it was.

    Args:
        path: its folder is made when it is not there.
        content: the whole file.

    Raises:
        OutputError: no permission or no space.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
