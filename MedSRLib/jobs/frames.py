"""Several jobs one after another, as the frames of a sequence, told about as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from MedSRLib.enhancement.report import estimated_point_spread
from MedSRLib.errors import MedSRError
from MedSRLib.jobs.job import Callbacks, Job
from MedSRLib.jobs.runner import JobRunner
from MedSRLib.jobs.time_left import TimeLeft
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.enhancer import Enhanced


def submit_all(
    runner: JobRunner, jobs: Sequence[Job], callbacks: Callbacks, on_all_done: Callable[[list[Enhanced]], None]
) -> None:
    """Runs jobs in order; cancelling the runner, or an error, ends them all.

    Args:
        runner: idle.
        jobs: at least one.
        callbacks: told of progress over all, and how it ends when that is not well; ``on_done`` is not used.
        on_all_done: the results in order, in memory.

    Raises:
        MedSRError: as ``JobRunner.submit``, for the first job.
    """
    results: list[Enhanced] = []
    time_left = TimeLeft()

    def progress(fraction: float, message: str, _: float | None) -> None:
        whole = (len(results) + fraction) / len(jobs)
        frame = f"frame {len(results) + 1} of {len(jobs)}: {message}"
        callbacks.on_progress(whole, frame, time_left.update(whole))

    def done(enhanced: Enhanced) -> None:
        results.append(_kept(enhanced))
        if len(results) == len(jobs):
            on_all_done(results)
            return
        job = jobs[len(results)]
        if (spread := estimated_point_spread(results[0].report)) is not None:
            job = replace(job, options={**job.options, "psf_fwhm": spread})
        try:
            runner.submit(job, each)
        except MedSRError as error:
            callbacks.on_error(str(error), "")

    each = replace(callbacks, on_progress=progress, on_done=done)
    runner.submit(jobs[0], each)


def _kept(enhanced: Enhanced) -> Enhanced:
    """With voxels of its own: those that come lie in a file that is removed."""

    def kept(volume: Volume) -> Volume:
        return volume.with_voxels(np.array(volume.voxels))

    spread = enhanced.uncertainty
    return replace(enhanced, volume=kept(enhanced.volume), uncertainty=None if spread is None else kept(spread))
