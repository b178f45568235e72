"""One group of series of a batch, from their files to one fused volume: all outputs or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.batch.history import size_of
from MedSRLib.batch.plan import Settings, Task
from MedSRLib.batch.staging import move, remove_previous, require_free, staged
from MedSRLib.errors import EnhancementCancelled
from MedSRLib.fusion.reading import read_series
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.source import Source
from MedSRLib.volumes.storage import write_atomically

if TYPE_CHECKING:
    from MedSRLib.progress import Cancelled, Progress


def fuse_group(
    task: Task, settings: Settings, output: Path, progress: Progress | None, cancelled: Cancelled
) -> dict[str, Any]:
    """Fuses the members of a task's study.

    Args:
        task: what to do; its study has members.
        settings: how.
        output: the output folder.
        progress: as for ``fuse``.
        cancelled: as for ``fuse``; asked once more before the outputs are moved to their places.

    Returns:
        ``output``, ``files`` (bytes by path) and ``report``.

    Raises:
        MedSRError: as ``fuse``.
    """
    from MedSRLib.fusion.fuse import fuse
    from MedSRLib.fusion.report import mark_of, with_inputs

    assert settings.fusion is not None
    sources = [Source(member.source, member.series or None) for member in task.study.members]
    volumes = [read_series(source.path, modality=settings.modality, series=source.series) for source in sources]
    described = [source.described() for source in sources]
    members = [member.name for member in task.study.members]
    with staged(task, settings, output) as staging:
        names = task.files(settings)
        for kind, name in names.items():
            require_free(kind, output / name, task, volumes[0])
        fused = fuse(
            volumes,
            names=members,
            model=settings.model or "auto",
            progress=progress,
            cancelled=cancelled,
            **settings.fusion.to_json(),
        )
        report = with_inputs(fused.report, members, sources, described)
        report["notes"] += write_volume(fused.volume, staging / Path(names["volume"]).name, mark=mark_of(report))
        if settings.report:
            content = {"input": task.study.name, "output": names["volume"], **report}
            text = f"{json.dumps(content, indent=2)}\n"
            write_atomically(staging / Path(names["report"]).name, text.encode())
        if cancelled():
            raise EnhancementCancelled("cancelled: nothing was written")
        move(staging, output, list(names.values()))
    remove_previous(task, output, names.values())
    files = {name: size_of(output / name) for name in names.values()}
    return {"output": names["volume"], "files": files, "report": report}
