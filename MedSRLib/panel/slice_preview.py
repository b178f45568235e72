"""The panel's Preview button: what a slice view shows, enhanced in place before a whole volume is waited for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from MedSRLib.enhancement.restorations import RESTORATIONS
from MedSRLib.enhancement.turning import slice_axis
from MedSRLib.errors import MedSRError
from MedSRLib.jobs.job import Callbacks
from MedSRLib.jobs.preview import PreviewJob
from MedSRLib.models.manifest import Manifest
from MedSRLib.panel.words import in_slicer

if TYPE_CHECKING:
    import numpy as np

    from MedSRLib.enhancement.request import VoxelBox

_SETTLE_MILLISECONDS = 120
"""After the last turn of a wheel: what is only scrolled past is not computed."""
_KEPT_BYTES = 2**29
_numbers = itertools.count(1)


def reason_against(manifest: Manifest) -> str:
    """Why a model cannot show a slice before the volume is done; "" where it can."""
    if RESTORATIONS[manifest.task].slices_around(manifest) is not None:
        return ""
    return str(_("This model needs the whole stack of slices for every pixel: there is no preview of one slice"))


class SlicePreview:
    """Follows one slice view while it is on, and leaves nothing when it is off.

    Args:
        ui: the panel's widgets by name.
        jobs: gives the ``BackgroundJobs`` that have the worker.
        assessment: ``Assessment``, with the model and options to ask for.
        before_after: ``BeforeAfter``, whose slider fades the preview, too.
    """

    def __init__(self, ui: Any, jobs: Callable[[], Any], assessment: Any, before_after: Any) -> None:
        self._ui, self._jobs = ui, jobs
        self._assessment, self._before_after = assessment, before_after
        self._parameters: Any = None
        self._settings: Any = None
        self._layer: Any = None
        self._grid: Any = None
        self._job: tuple[Any, str] = None, ""
        self._wanted: list[VoxelBox] = []
        self._asked: set[VoxelBox] = set()
        self._voxels_of: Any = None
        self._parts: dict[VoxelBox, np.ndarray] = {}
        self._observed: list[tuple[Any, int]] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(_SETTLE_MILLISECONDS)
        self._timer.connect("timeout()", self._update)
        ui.previewButton.connect("toggled(bool)", self._toggled)
        for other in (ui.compareButton, ui.restoreButton, ui.undoButton):  # before these look at the views
            other.connect("pressed()", self.stop)

    @property
    def is_on(self) -> bool:
        """Whether something is previewed."""
        return self._layer is not None

    def offer(self, parameters: Any, reason: str, *, working: bool) -> None:
        """Enables the button for what can be previewed; a preview follows what was changed, or ends.

        Args:
            parameters: MedSRParameterNode, or None.
            reason: why the input cannot be enhanced, "" where it can.
            working: something else goes on.
        """
        if not reason and self._assessment.fusing:
            reason = str(_("Fused volumes are made of all series at once: there is no preview of one slice"))
        if not reason:
            reason = reason_against(self._assessment.manifest)
        if not reason and self._assessment.missing:
            reason = str(_("The first Enhance installs what is needed; after that there is a preview"))
        button = self._ui.previewButton
        button.enabled = not reason and not working
        button.toolTip = reason or _(
            "Show what the view of the slices will look like, before the volume is computed: fade with the slider "
            "below (Ctrl+Shift+P)"
        )
        if not button.enabled or parameters is None:
            self.stop()
            return
        self._parameters = parameters
        asked = self._assessment
        settings = parameters.inputVolume.GetID(), asked.manifest, asked.options, parameters.modality
        if self.is_on and settings != self._settings:
            self._begin_anew()
        self._settings = settings

    def stop(self) -> None:
        """Ends it: the views are as they were, and the worker is free."""
        self._ui.previewButton.checked = False
        self._end()

    def _toggled(self, on: bool) -> None:
        if not on:
            self._end()
            return
        with slicer.util.tryWithErrorDisplay(_("There is no preview."), waitCursor=False):
            try:
                self._begin()
            except MedSRError as error:
                self.stop()
                slicer.util.errorDisplay(in_slicer(str(error)))
            except BaseException:
                self.stop()
                raise

    def _begin(self) -> None:
        from MedSRLib.scene.nodes import volume_from_node
        from MedSRLib.scene.preview_layer import PreviewLayer
        from MedSRLib.scene.slice_tiles import TileGrid, view_along_slices

        source = self._parameters.inputVolume
        volume = volume_from_node(source, modality=self._parameters.modality.value)
        axis = slice_axis(volume)
        view, composite = view_along_slices(source, axis)
        # A turned volume's i, j and k are the axes that follow its slice axis.
        factors = [round(self._assessment.manifest.factors[(n - axis - 1) % 3]) for n in range(3)]
        size = (volume.shape[2], volume.shape[1], volume.shape[0])
        self._layer = PreviewLayer(source, volume, factors, view, composite)
        self._grid = TileGrid(size, axis)
        self._parts.clear()
        self._wanted = []
        self._job = volume, f"{source.GetID()} {next(_numbers)}"
        self._voxels_of = _voxels_now(source)
        follow = self._observe
        follow(view, "ModifiedEvent", self._settle)
        follow(composite, "ModifiedEvent", self._check_view)
        # Not every program that edits voxels tells of it by the same event.
        follow(source, source.ImageDataModifiedEvent, self._check_voxels)
        follow(source, "ModifiedEvent", self._check_voxels)
        follow(source, source.TransformModifiedEvent, self._settle)
        self._before_after.show_preview(self._layer)
        self._update()

    def _begin_anew(self, *_: Any) -> None:
        """Other voxels, another model or other options: nothing of what was computed is right any more."""
        self._forget()
        self._layer.fade(0.0)
        self._timer.start()

    def _forget(self) -> None:
        """The job's results are of no use."""
        if self._asked:
            self._jobs().cancel()
        self._asked.clear()
        self._parts.clear()
        self._job = None, ""

    def _settle(self, *_: Any) -> None:
        """Waits until the view stands still."""
        self._timer.start()

    def _check_voxels(self, *_: Any) -> None:
        """The input's voxels may have been edited, or replaced by those of another frame."""
        now = _voxels_now(self._layer.source)
        if self.is_on and now != self._voxels_of:
            self._voxels_of = now
            self._begin_anew()

    def _check_view(self, *_: Any) -> None:
        """The user chose another volume for the view, or the input is gone."""
        if self.is_on and not self._layer.is_in_place:
            self.stop()

    def _update(self) -> None:
        """Shows what is there of what the view shows, and asks for the rest."""
        from MedSRLib.scene.slice_tiles import tiles_seen

        self._timer.stop()
        if not self.is_on:
            return
        if not self._job[1]:
            self._restart()
            return
        problem, wanted = "", []
        try:
            wanted = tiles_seen(self._layer.source, self._layer.view, self._grid)
        except MedSRError as error:
            problem = in_slicer(str(error))
        if wanted != self._wanted:  # showing modifies what is observed
            self._wanted = wanted
            self._layer.show(wanted, self._parts)
        missing = [box for box in wanted if box not in self._parts]
        if not missing:
            self._leave_worker()
        elif not set(missing) <= self._asked:
            self._ask(missing)
        if problem:
            self._say(problem)
        elif self.is_on:
            self._say_progress()

    def _restart(self) -> None:
        """In the same view, for what the parameters are now."""
        self._end(quietly=True)
        try:
            self._begin()
        except MedSRError as error:
            self.stop()
            self._say(in_slicer(str(error)))

    def _ask(self, missing: list[VoxelBox]) -> None:
        if self._asked:
            self._jobs().cancel()
        volume, kept = self._job
        options = self._assessment.options
        job = PreviewJob(kept, volume, self._assessment.model, options, tuple(missing), self._taker(kept))
        asked = self._asked = set(missing)

        def mine() -> bool:
            return self.is_on and self._asked is asked

        def ended() -> None:
            if mine():
                self._asked = set()
                self._say_progress()

        def failed(sentence: str, log: str) -> None:
            if mine():
                self._asked = set()
                self.stop()
                slicer.util.errorDisplay(in_slicer(sentence), detailedText=log)

        def progress(fraction: float, message: str, seconds_left: float | None) -> None:
            if mine():
                self._say(_("Preview: {what}").format(what=message))

        try:
            self._jobs().preview(job, Callbacks(progress, lambda results: ended(), failed, lambda: None))
        except MedSRError as error:
            self._asked = set()
            self.stop()
            slicer.util.errorDisplay(in_slicer(str(error)))

    def _taker(self, kept: str) -> Callable[[VoxelBox, np.ndarray], None]:
        """Keeps and shows the parts that come for these voxels, model and options; later ones are of others."""

        def take(box: VoxelBox, voxels: np.ndarray) -> None:
            if not self.is_on or self._job[1] != kept:
                return
            factors = self._layer.factors
            for tile in self._grid.within(box):
                place = tuple(
                    slice((tile[2 * n] - box[2 * n]) * factors[n], (tile[2 * n + 1] - box[2 * n]) * factors[n])
                    for n in (2, 1, 0)
                )
                self._parts[tile] = voxels[place]
                self._layer.put(tile, voxels[place])
            self._asked -= set(self._parts)
            self._thin()
            self._say_progress()

        return take

    def _thin(self) -> None:
        """Lets go of what was computed longest ago, where it has become too much."""
        total = sum(part.nbytes for part in self._parts.values())
        for box in [box for box in self._parts if box not in self._wanted]:
            if total <= _KEPT_BYTES:
                return
            total -= self._parts.pop(box).nbytes

    def _leave_worker(self) -> None:
        if self._asked:
            self._asked = set()
            self._jobs().cancel()

    def _end(self, *, quietly: bool = False) -> None:
        layer, self._layer = self._layer, None
        self._timer.stop()
        self._forget()
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()
        if layer is None:
            return
        self._before_after.show_preview(None)
        layer.remove()
        if not quietly:
            self._say("")

    def _observe(self, node: Any, event: Any, slot: Callable[..., None]) -> None:
        self._observed.append((node, node.AddObserver(event, lambda *_: slot())))

    def _say_progress(self) -> None:
        there, count = sum(box in self._parts for box in self._wanted), len(self._wanted)
        if not count:
            self._say(_("Preview: the view looks beside the volume"))
        elif not self._parts:
            self._say(_("Preview: starting"))
        elif there < count:
            self._say(_("Preview: {n} of {all} tiles").format(n=there, all=count))
        else:
            where = self._layer.view.GetName()
            self._say(_("Preview in {view}: fade with the slider, scroll to see other slices").format(view=where))

    def _say(self, text: str) -> None:
        self._ui.statusLabel.text = text


def _voxels_now(volume: Any) -> tuple[Any, int]:
    """Tells a volume's voxels from other ones, and from themselves before they were edited."""
    image = volume.GetImageData()
    return image, 0 if image is None else image.GetMTime()
