"""Files that a command writes beside volumes (JSON, PNG): refused early, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from MedSRLib.errors import UsageError
from MedSRLib.volumes.targets import require_file_target


def require_target(path: Path, suffix: str, *, overwrite: bool, inputs: Sequence[Path]) -> None:
    """Check that a file may be written.

    Args:
        path: the target.
        suffix: what its name must end with, such as ".png".
        overwrite: whether an existing file may be replaced.
        inputs: files that are never written onto.

    Raises:
        UsageError: the suffix is another one, or the target exists, is a folder or is part of an input.
        OutputError: its folder does not exist or does not let us write.
    """
    if path.suffix.lower() != suffix:
        raise UsageError(f"{path.name} does not end with {suffix}: name the output so")
    require_file_target(path, overwrite=overwrite, protected=inputs)
