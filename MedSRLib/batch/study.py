"""One study of a batch, from its file to its outputs: all of them or none."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.batch.history import size_of
from MedSRLib.batch.plan import Settings, Task
from MedSRLib.batch.staging import move, remove_previous, require_free, staged, staging_folder
from MedSRLib.enhancement.request import Input
from MedSRLib.errors import EnhancementCancelled, MedSRError, OutputError, UsageError
from MedSRLib.volumes.dicom_target import write_dicom
from MedSRLib.volumes.files import read_sequence, require_writable, write_volume
from MedSRLib.volumes.mark import UNCERTAINTY, Mark
from MedSRLib.volumes.source import Source
from MedSRLib.volumes.storage import write_atomically

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
        process = _process
        if task.study.members:
            from MedSRLib.batch.fusing import fuse_group

            process = fuse_group
        result = {"state": "done", **process(task, settings, output, progress, cancelled)}
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


def _process(
    task: Task, settings: Settings, output: Path, progress: Progress | None, cancelled: Cancelled
) -> dict[str, Any]:
    from MedSRLib.enhancement.enhancer import enhance_all
    from MedSRLib.enhancement.frames import join_frames

    assert settings.model is not None
    source = Source(task.study.source, task.study.series or None)
    sequence = read_sequence(source.path, modality=settings.modality, series=source.series)
    sequence = sequence.chosen(None, source.path)
    if len(sequence) > 1 and not task.suffix:
        raise UsageError(f"{source.path} has {len(sequence)} frames, which need a 4D file: use another --format for it")
    volume = sequence.volumes[0]
    described = source.described()
    with staged(task, settings, output) as staging:
        names = task.files(settings, _suitable_suffix(task, volume, staging))
        for kind, name in names.items():
            require_free(kind, output / name, task, volume)
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
        move(staging, output, list(names.values()))
    remove_previous(task, output, names.values())
    files = {name: size_of(output / name) for name in names.values()}
    return {"output": names["volume"], "files": files, "report": report}


def _write(sequence: VolumeSequence, path: Path, mark: Mark, source: Source, task: Task) -> list[str]:
    """Writes volumes into the staging folder; returns what their format could not keep."""
    if task.suffix:
        return write_volume(sequence, path, mark=mark)
    template = source.template()
    assert template is not None  # only a DICOM series has a task without a suffix
    return write_dicom(sequence.volumes[0], path, template, mark)


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
