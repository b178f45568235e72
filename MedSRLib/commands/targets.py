"""Files that a command writes beside volumes (JSON, PNG): refused early, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from MedSRLib.errors import OutputError, UsageError


def require_target(path: Path, suffix: str, *, overwrite: bool, inputs: Sequence[Path]) -> None:
    """Check that a file may be written.

    Args:
        path: the target.
        suffix: what its name must end with, such as ".png".
        overwrite: whether an existing file may be replaced.
        inputs: files that are never written onto.

    Raises:
        UsageError: the suffix is another one, or the target exists, is a folder or is an input.
        OutputError: its folder does not exist.
    """
    if path.suffix.lower() != suffix:
        raise UsageError(f"{path.name} does not end with {suffix}: name the output so")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it")
    if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
        raise UsageError(f"{path} is an input, which is never overwritten: choose another output")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: choose another output or allow overwriting (--overwrite)")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: create it first")
