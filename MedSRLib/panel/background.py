"""Nodes enhanced in the worker process, while Slicer goes on: what the panel's button starts."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from slicer.i18n import tr as _

from MedSRLib.jobs.frames import submit_all
from MedSRLib.jobs.job import Callbacks, Job
from MedSRLib.jobs.runner import JobRunner
from MedSRLib.panel.qprocess import QProcessTransport


class JobListener(Protocol):
    """Who is told how a job goes: onProgress until one of the others ends it. Named as Slicer names its handlers."""

    def onProgress(self, fraction: float, message: str, secondsLeft: float | None) -> None:
        """It goes on; ``fraction`` is 0..1."""

    def onDone(self, output: Any) -> None:
        """The result, a volume or sequence node, is in the scene."""

    def onError(self, sentence: str, log: str) -> None:
        """It failed; the scene is as it was."""

    def onCancelled(self) -> None:
        """It was cancelled; the scene is as it was."""


class BackgroundJobs:
    """One job at a time. Slicer's event loop delivers how it goes."""

    def __init__(self) -> None:
        self._runner = JobRunner(QProcessTransport)

    def start(
        self,
        input_node: Any,
        output_node: Any,
        model: str,
        roi_node: Any,
        options: Mapping[str, Any],
        listener: JobListener,
    ) -> None:
        """Starts enhancing a volume or every frame of a sequence.

        Args:
            input_node: vtkMRMLScalarVolumeNode or vtkMRMLSequenceNode.
            output_node: vtkMRMLScalarVolumeNode to write into, or None for a new node.
            model, options: as for ``Job``, without the region.
            roi_node: vtkMRMLMarkupsROINode, or None for all of it.
            listener: told how it goes.

        Raises:
            MedSRError: the input, output or region cannot be used, or a job is running.
        """
        if input_node is not None and input_node.IsA("vtkMRMLSequenceNode"):
            self._start_sequence(input_node, model, roi_node, options, listener)
            return
        from MedSRLib.scene.capture import capture
        from MedSRLib.scene.output import place

        job = capture(input_node, output_node, roi_node=roi_node)
        self._runner.submit(
            Job(job.volume, model, {**options, "roi": job.region}),
            _callbacks(listener, lambda enhanced: _finish(lambda: place(job, enhanced), listener)),
        )

    def cancel(self) -> None:
        """Cancels what is running; the listener is told when it has ended."""
        self._runner.cancel()

    def close(self) -> None:
        """Ends the worker, and what it was doing; nobody is told."""
        self._runner.close()

    def _start_sequence(
        self, sequence: Any, model: str, roi_node: Any, options: Mapping[str, Any], listener: JobListener
    ) -> None:
        from MedSRLib.scene.sequences import capture_sequence, place_sequence

        job = capture_sequence(sequence, roi_node=roi_node)
        submit_all(
            self._runner,
            [Job(frame.volume, model, {**options, "roi": frame.region}) for _index, frame in job.frames],
            _callbacks(listener, lambda enhanced: None),
            lambda results: _finish(lambda: place_sequence(job, results), listener),
        )


def _callbacks(listener: JobListener, on_done: Callable[[Any], None]) -> Callbacks:
    return Callbacks(listener.onProgress, on_done, listener.onError, listener.onCancelled)


def _finish(place: Callable[[], Any], listener: JobListener) -> None:
    """Puts a result into the scene and tells the listener how that went."""
    try:
        output = place()
    except Exception as error:
        problem = _("The result could not be put into the scene: {problem}").format(problem=error)
        listener.onError(problem, traceback.format_exc())
    else:
        listener.onDone(output)
