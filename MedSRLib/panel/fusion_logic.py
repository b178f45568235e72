"""What ``MedSRLogic`` offers for series that become one volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class FusionLogic:
    """The part of the module's logic that fuses; ``backgroundJobs`` is the module's."""

    backgroundJobs: Callable[[], Any]

    def fuse(
        self,
        inputVolumes: Sequence[Any],
        outputVolume: Any = None,
        model: str = "auto",
        *,
        modality: str | None = None,
        progress: Callable[[float, str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        waitForCompletion: bool = True,
        listener: Any = None,
        **options: Any,
    ) -> Any:
        """Makes one isotropic volume of several series of thick slices; the scene changes on success only.

        :param inputVolumes: two or more volume nodes of one contrast; they are not changed. The result lies as the
            first one does, and has its grey levels
        :param outputVolume: volume node to overwrite; None for a new one
        :param model: name of an installed isotropic model, folder of a model, or "auto"
        :param modality: "CT", "MR", "US", "XR" or "other"; None for what the scene says, else a guess, which is told
        :param progress: called with a fraction 0..1 and a message (while waiting)
        :param cancelled: asked in every iteration; true raises EnhancementCancelled (while waiting)
        :param waitForCompletion: compute here and return the result. If false, compute in another process and return
            None at once; Slicer's event loop then tells the listener
        :param listener: a JobListener (while not waiting)
        :param options: of MedSRLib.fuse, by name: spacing, field, profile, registration, slice_motion, generator,
            device, precision
        :return: the new node; an output volume that was given is returned itself
        :raises ValueError: inputs, output, model or an option cannot be used; says what to do
        :raises MedSRError: packages are missing, or memory ran out; says what to do
        """
        from MedSRLib.errors import InputError, ModelError, UsageError
        from MedSRLib.panel.packages import require_packages
        from MedSRLib.panel.words import in_slicer

        try:
            if not waitForCompletion:
                self.backgroundJobs().fuse(inputVolumes, outputVolume, model, modality, options, listener)
                return None
            require_packages()
            from MedSRLib.scene.fusion import fuse_nodes

            return fuse_nodes(
                inputVolumes, outputVolume, model, modality=modality, progress=progress, cancelled=cancelled, **options
            )
        except (InputError, ModelError, UsageError) as error:
            raise ValueError(in_slicer(str(error))) from error
