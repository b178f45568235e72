"""Which volumes a configuration's patterns name: files, DICOM folders, and everything below a folder of volumes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from MedSRLib.errors import InputError
from MedSRLib.volumes.files import READABLE, is_dicom
from MedSRLib.volumes.packed import SUFFIX


def find_volumes(patterns: Sequence[str], folder: Path) -> list[Path]:
    """Files and folders of one DICOM series each, sorted, each once.

    Args:
        patterns: files, folders or glob patterns, relative to ``folder`` or absolute. What exists by that very name is
            no pattern. A folder stands for the volumes below it.
        folder: that relative patterns begin at.

    Raises:
        InputError: a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = _matches(folder / Path(pattern).expanduser())
        if not matches:
            raise InputError(f"no volume matches {pattern!r} in {folder}: give a file, a folder or a pattern in quotes")
        for match in matches:
            found.update((path.resolve(), None) for path in (_volumes_below(match) if match.is_dir() else [match]))
    return list(found)


def _matches(path: Path) -> list[Path]:
    """What a path stands for: as much of its beginning as exists is taken literally, the rest is a pattern."""
    start = path
    while not start.exists() and start != start.parent:
        start = start.parent
    rest = path.relative_to(start)
    return sorted(start.glob(str(rest))) if rest.parts else [path]


def _volumes_below(folder: Path) -> list[Path]:
    """Image files and DICOM folders; the folder itself, for its reader to complain of, where there are none."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = [Path(place, name) for name in sorted(names) if not name.startswith(".")]
        files = [path for path in visible if path.name.lower().endswith((*READABLE, SUFFIX))]
        found += files
        if any(is_dicom(path) for path in visible if path not in files):
            found.append(Path(place))
    return found or [folder]
