"""One study of a batch, from its file to its outputs: all of them or none."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.batch.history import size_of
from MedSRLib.batch.plan import Settings, Task
from MedSRLib.enhancement.request import Input
from MedSRLib.errors import EnhancementCancelled, MedSRError, OutputError, UsageError
from MedSRLib.volumes.dicom_target import put_folder, require_dicom_target, write_dicom
from MedSRLib.volumes.files import read_sequence, require_writable, write_volume
from MedSRLib.volumes.mark import UNCERTAINTY, Mark
from MedSRLib.volumes.source import Source
from MedSRLib.volumes.storage import write_atomically
from MedSRLib.volumes.targets import exists

if TYPE_CHECKING:
    from MedSRLib.progress import Cancelled, Progress
    from MedSRLib.volumes.sequence import VolumeSequence
    from MedSRLib.volumes.volume import Volume


def process_study(
    task: Task,
    settings: Settings,
    output: Path,
    *,
    progress: Progress | None = None,
    cancelled: Cancelled,
) -> dict[str, Any]:
    """Enhances one study; whatever goes wrong is in the answer, not raised.

    Args:
        task: what to do.
        settings: how.
        output: the output folder.
        progress: as for ``enhance``.
        cancelled: as for ``enhance``; asked once more before the outputs are moved to their places.

    Returns:
        ``state`` ("done", "failed" or "cancelled") and ``seconds``; done: ``output``, ``files`` (bytes by path) and
        ``report``; failed: ``error``, one sentence, and ``traceback`` where it is no error of the user's.
    """
    started = time.monotonic()
    try:
        result = {"state": "done", **_process(task, settings, output, progress, cancelled)}
    except EnhancementCancelled:
        result = {"state": "cancelled"}
    except MedSRError as error:
        result = {"state": "failed", "error": str(error)}
    except MemoryError:
        result = {"state": "failed", "error": "memory ran out: close programs, or use fewer --workers"}
    except OSError as error:
        what = error.filename or task.study.source
        result = {"state": "failed", "error": f"{what}: {error.strerror or error}: check the disk and its permissions"}
    except Exception as error:
        sentence = f"unexpected {type(error).__name__} ({' '.join(str(error).split())}): please report it"
        result = {"state": "failed", "error": sentence, "traceback": traceback.format_exc()}
    if "error" in result:
        staging = staging_folder(task, settings, output)
        result["error"] = result["error"].replace(str(staging), str(staging.parent))
    return {**result, "seconds": time.monotonic() - started}


def staging_folder(task: Task, settings: Settings, output: Path) -> Path:
    """Where a task's files are written before they are moved: hidden, beside the output, named after it."""
    volume = task.files(settings)["volume"]
    mark = hashlib.sha256(os.fsencode(volume)).hexdigest()[:12]
    return (output / volume).parent / f".medsr-{mark}"


def _process(
    task: Task, settings: Settings, output: Path, progress: Progress | None, cancelled: Cancelled
) -> dict[str, Any]:
    from MedSRLib.enhancement.enhancer import enhance_all
    from MedSRLib.enhancement.frames import join_frames

    source = Source(task.study.source, task.study.series or None)
    sequence = read_sequence(source.path, modality=settings.modality, series=source.series)
    sequence = sequence.chosen(None, source.path)
    if len(sequence) > 1 and not task.suffix:
        raise UsageError(f"{source.path} has {len(sequence)} frames, which need a 4D file: use another --format for it")
    volume = sequence.volumes[0]
    described = source.described()
    staging = staging_folder(task, settings, output)
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    staging.mkdir(parents=True)
    try:
        names = task.files(settings, _suitable_suffix(task, volume, staging))
        for kind, name in names.items():
            _require_free(kind, output / name, task, volume)
        inputs = [Input(frame) for frame in sequence.volumes]
        results = enhance_all(inputs, settings.model, settings.options, progress=progress, cancelled=cancelled)
        enhanced = join_frames(sequence, results)
        fidelity = replace(enhanced.report, warnings=(*source.warnings(), *enhanced.report.warnings))
        report = {**described, **fidelity.to_json()}
        for kind, name in names.items():
            path = staging / Path(name).name
            if kind == "report":
                content = {"input": task.study.name, "output": names["volume"], **report}
                write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
            elif kind == "uncertainty" and enhanced.uncertainty is not None:
                report["notes"] += _write(enhanced.uncertainty, path, Mark.of(report, UNCERTAINTY), source, task)
            else:
                report["notes"] += _write(enhanced.sequence, path, Mark.of(report), source, task)
        if cancelled():
            raise EnhancementCancelled("cancelled: nothing was written")
        _move(staging, output, list(names.values()))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _remove_previous(task, output, names.values())
    files = {name: size_of(output / name) for name in names.values()}
    return {"output": names["volume"], "files": files, "report": report}


def _write(sequence: VolumeSequence, path: Path, mark: Mark, source: Source, task: Task) -> list[str]:
    """Writes volumes into the staging folder; returns what their format could not keep."""
    if task.suffix:
        return write_volume(sequence, path, mark=mark)
    template = source.template()
    assert template is not None  # only a DICOM series has a task without a suffix
    return write_dicom(sequence.volumes[0], path, template, mark)


def _move(staging: Path, output: Path, names: Sequence[str]) -> None:
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


def _remove_previous(task: Task, output: Path, names: Iterable[str]) -> None:
    """Takes away what an earlier run made of the study and this one did not, such as a report of the old volume."""
    for name, size in task.previous.items():
        if name not in names and size_of(output / name) == size:
            _remove(output / name)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _suitable_suffix(task: Task, volume: Volume, staging: Path) -> str:
    """The planned suffix, or another one where that format cannot hold the volume's axes."""
    for suffix in task.suffixes()[:-1]:
        try:
            # The folder is new and ours, so that the only thing to be refused is the volume's shear.
            require_writable(staging / f"volume{suffix}", volume=volume)
        except OutputError:
            continue
        return suffix
    return task.suffixes()[-1]


def _require_free(kind: str, path: Path, task: Task, volume: Volume) -> None:
    """Refuse, before any work, to write onto the input or onto what may not be replaced."""
    if kind != "report" and not task.suffix:
        require_dicom_target(path, volume, overwrite=task.replace, protected=[task.study.source])
    elif kind != "report":
        require_writable(path, overwrite=task.replace, protected=[task.study.source])
    elif path.exists() and not task.replace:
        raise exists(path)
