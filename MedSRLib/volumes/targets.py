"""Paths that are to be written: refused early, before any work is done, in the same words everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from MedSRLib.errors import OutputError, UsageError

_DETACHED = (".mhd", ".nhdr")
_HEADER_BYTES = 2**16


def require_file_target(path: Path, *, overwrite: bool, protected: Iterable[str | Path] = ()) -> None:
    """Check that a file may be written.

    Args:
        path: the target.
        overwrite: whether an existing file may be replaced.
        protected: inputs, which are never written onto or into.

    Raises:
        UsageError: the target exists, is a folder, or is part of an input.
        OutputError: its folder does not exist or does not let us write.
    """
    if any(_touches(path, Path(other)) for other in protected):
        raise UsageError(f"{path} is part of the input, which is never overwritten: choose another output")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it")
    if path.exists() and not overwrite:
        raise exists(path)
    require_folder_of(path)


def exists(path: Path) -> UsageError:
    """What is said of a target that is there already."""
    return UsageError(f"{path} exists: choose another output or allow overwriting (--overwrite)")


def require_folder_of(path: Path) -> None:
    """Check the folder around a target.

    Raises:
        OutputError: it does not exist or does not let us write.
    """
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"the folder {path.parent} may not be written to: choose another one")


def _touches(target: Path, protected: Path) -> bool:
    """Whether writing ``target`` would change a protected file, a folder, or the data file of a protected header."""
    if protected.is_dir():
        return target.resolve().is_relative_to(protected.resolve())
    if target.exists() and protected.exists() and target.samefile(protected):
        return True
    if protected.suffix.lower() in _DETACHED and protected.is_file():
        header = protected.read_bytes()[:_HEADER_BYTES]
        return target.parent.resolve() == protected.parent.resolve() and target.name.encode() in header
    return False
