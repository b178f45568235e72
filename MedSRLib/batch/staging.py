"""All files of a task or none: written into a hidden folder beside their places, then moved there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from MedSRLib.batch.history import size_of
from MedSRLib.batch.plan import Settings, Task
from MedSRLib.volumes.dicom_target import put_folder, require_dicom_target
from MedSRLib.volumes.files import require_writable
from MedSRLib.volumes.targets import exists
from MedSRLib.volumes.volume import Volume


def staging_folder(task: Task, settings: Settings, output: Path) -> Path:
    """Where a task's files are written before they are moved: hidden, beside the output, named after it."""
    volume = task.files(settings)["volume"]
    mark = hashlib.sha256(os.fsencode(volume)).hexdigest()[:12]
    return (output / volume).parent / f".medsr-{mark}"


@contextlib.contextmanager
def staged(task: Task, settings: Settings, output: Path) -> Iterator[Path]:
    """The folder that a task's files are written into; it is gone when the work ends, however that happens."""
    staging = staging_folder(task, settings, output)
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_free(kind: str, path: Path, task: Task, volume: Volume) -> None:
    """Refuse, before any work, to write onto the input or onto what may not be replaced."""
    if kind != "report" and not task.suffix:
        require_dicom_target(path, volume, overwrite=task.replace, protected=task.study.sources)
    elif kind != "report":
        require_writable(path, overwrite=task.replace, protected=task.study.sources)
    elif path.exists() and not task.replace:
        raise exists(path)


def move(staging: Path, output: Path, names: Sequence[str]) -> None:
    """Moves what was written to its place, the volume last: where it is, all is. Of what fails half-way nothing stays.

    Raises:
        OSError: something cannot be moved.
    """
    moved: list[Path] = []
    try:
        for name in reversed(names):
            new, path = staging / Path(name).name, output / name
            if new.is_dir():
                put_folder(new, path, staging / f"{new.name}.old")
            else:
                os.replace(new, path)
            moved.append(path)
    except OSError:
        for path in moved:
            _remove(path)
        raise


def remove_previous(task: Task, output: Path, names: Iterable[str]) -> None:
    """Takes away what an earlier run made of the study and this one did not, such as a report of the old volume."""
    for name, size in task.previous.items():
        if name not in names and size_of(output / name) == size:
            _remove(output / name)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
