"""Nodes enhanced in the worker process, while Slicer goes on: what the panel's button starts."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import slicer
from slicer.i18n import tr as _

from MedSRLib.enhancement.request import Options
from MedSRLib.fusion.request import FusionOptions
from MedSRLib.jobs.job import Callbacks, Job
from MedSRLib.jobs.preview import PreviewJob
from MedSRLib.jobs.runner import JobRunner
from MedSRLib.panel.qprocess import QProcessTransport
from MedSRLib.panel.words import in_slicer


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
        self._runner = JobRunner(QProcessTransport, temporary_folder=_temporary_folder())

    def start(
        self,
        input_node: Any,
        output_node: Any,
        model: str,
        roi_node: Any,
        modality: str | None,
        options: Mapping[str, Any],
        listener: JobListener,
    ) -> None:
        """Starts enhancing a volume or every frame of a sequence.

        Args:
            input_node: vtkMRMLScalarVolumeNode or vtkMRMLSequenceNode.
            output_node: vtkMRMLScalarVolumeNode to write into, or None for a new node.
            model: as for ``enhance``.
            roi_node: vtkMRMLMarkupsROINode, or None for all of it.
            modality: one of ``MODALITIES``, or None for what the scene says, else a guess.
            options: of ``Options``, by name.
            listener: told how it goes.

        Raises:
            MedSRError: the input, output or region cannot be used, or a job is running.
        """
        from MedSRLib.scene.request import request_of

        asked = Options.from_json(options)
        request = request_of(input_node, output_node, asked, roi_node=roi_node, modality=modality)
        self._runner.submit(Job(request.inputs, model, asked), _callbacks(request.place, listener))

    def fuse(
        self,
        nodes: Sequence[Any],
        output_node: Any,
        model: str,
        modality: str | None,
        options: Mapping[str, Any],
        listener: JobListener,
    ) -> None:
        """Starts fusing series.

        Args:
            nodes: vtkMRMLScalarVolumeNode, two or more.
            output_node, model, modality, listener: as for ``start``.
            options: of ``FusionOptions``, by name.

        Raises:
            MedSRError: an input or the output cannot be used, or a job is running.
        """
        from MedSRLib.jobs.fusion import FusionJob
        from MedSRLib.scene.fusion import fusion_request_of

        asked = FusionOptions.from_json(options)
        request = fusion_request_of(nodes, output_node, asked, modality=modality)
        job = FusionJob(request.volumes, tuple(request.names), model, asked)
        self._runner.submit(job, _callbacks(lambda results: request.place(results[0]), listener))

    def preview(self, job: PreviewJob, callbacks: Callbacks) -> None:
        """Starts enhancing parts of a volume, or lets that wait for the end of what is being cancelled.

        Args:
            job: the parts.
            callbacks: told how it goes.

        Raises:
            MedSRError: the volume could not be written, or a job is running.
        """
        self._runner.submit(job, callbacks)

    def cancel(self) -> None:
        """Cancels what is running; the listener is told when it has ended."""
        self._runner.cancel()

    def close(self) -> None:
        """Ends the worker, and what it was doing; nobody is told."""
        self._runner.close()


def _temporary_folder() -> Path | None:
    """The one in Slicer's settings, made if it is not there; the system's where there is none."""
    chosen = slicer.app.temporaryPath
    if not chosen:
        return None
    folder = Path(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _callbacks(place: Callable[[list[Any]], Any], listener: JobListener) -> Callbacks:
    """What the runner tells, for a listener; ``place`` puts results into the scene."""
    return Callbacks(
        listener.onProgress,
        lambda results: _finish(lambda: place(results), listener),
        lambda sentence, log: listener.onError(in_slicer(sentence), log),
        listener.onCancelled,
    )


def _finish(place: Callable[[], Any], listener: JobListener) -> None:
    """Puts a result into the scene and tells the listener how that went."""
    try:
        output = place()
    except Exception as error:
        problem = _("The result could not be put into the scene: {problem}").format(problem=error)
        listener.onError(problem, traceback.format_exc())
    else:
        listener.onDone(output)
