"""What the panel says before anything runs: what will be gained, what it takes, or why it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from slicer import util
from slicer.i18n import tr as _

from MedSRLib.enhancement.estimate import Estimate, remember_speed
from MedSRLib.enhancement.request import USUAL
from MedSRLib.errors import MedSRError
from MedSRLib.jobs.interpreter import named_interpreter
from MedSRLib.models.installed import manifest_for
from MedSRLib.panel.advanced import AdvancedSection
from MedSRLib.panel.choosers import DeviceChooser, ModelChooser
from MedSRLib.panel.expectation import expect
from MedSRLib.panel.fusion import SeriesList
from MedSRLib.panel.interpreter import InterpreterChooser, interpreter_problem
from MedSRLib.panel.packages import missing_packages, needs_extension
from MedSRLib.panel.words import in_slicer
from MedSRLib.scene.browsing import sequence_of
from MedSRLib.scene.roles import REPORT


class Assessment:
    """Keeps the panel's texts up to date with the parameters, and what follows from them for a job.

    ``missing`` packages, ``model`` (with its ``manifest``) and ``options`` to ask for, ``sequence`` that the input
    shows a frame of, whether ``all_frames`` of it are asked for, whether ``fusing`` the ``series``, the ``estimate``.

    Args:
        ui: the panel's widgets by name.
        models: list of models.
        devices: list of devices.
    """

    def __init__(self, ui: Any, models: ModelChooser, devices: DeviceChooser) -> None:
        self._ui = ui
        self._models = models
        self._devices = devices
        self._advanced = AdvancedSection(ui)
        self.series = SeriesList(ui)
        ui.extensionsButton.connect("clicked(bool)", self.open_extensions_manager)
        ui.advancedCollapsibleButton.connect("contentsCollapsed(bool)", self._advanced_collapsed)
        self._interpreter = InterpreterChooser(ui.pythonPathLineEdit, self._interpreter_changed)
        self._problem = ""
        self.missing: list[str] = []
        self.model: str | None = None
        self.options = USUAL
        self.sequence: Any = None
        self.all_frames = self.fusing = False
        self.estimate: Estimate | None = None
        self.manifest: Any = None

    def open_extensions_manager(self, checked: bool = False) -> None:
        """Opens the Extensions Manager, where the PyTorch extension is."""
        util.mainWindow().on_ViewExtensionsManagerAction_triggered()

    def _advanced_collapsed(self, collapsed: bool) -> None:
        """The devices' names are not known before that section is opened."""
        if not collapsed and not self.missing:
            self._devices.look()

    def close(self) -> None:
        """Follows nothing any more."""
        self._devices.close()
        self.series.close()

    def refresh(self) -> None:
        """Looks again for models and packages; none is loaded."""
        self._models.refresh()
        self._problem = interpreter_problem()
        self.missing = [] if named_interpreter() else missing_packages()

    def _interpreter_changed(self) -> None:
        self.refresh()
        self._devices.look_again()

    def show(self, parameters: Any) -> str:
        """Shows what follows from the parameters.

        Args:
            parameters: MedSRParameterNode.

        Returns:
            Why it cannot be done, or nothing.
        """
        ui = self._ui
        volume = parameters.inputVolume
        ui.explanationLabel.text = parameters.improvement.explanation()
        if volume is not None and volume.GetAttribute(REPORT):
            ui.explanationLabel.text += " " + _("The input is a result of MedSR: estimates would be taken for a scan.")
        self.sequence = None if volume is None else sequence_of(volume)
        self.fusing = self.series.show(parameters)
        ui.allFramesCheckBox.visible = self.sequence is not None and not self.fusing
        self.all_frames = self.sequence is not None and parameters.allFrames and not self.fusing
        ui.outputSelector.enabled = not self.all_frames
        ui.outputSelector.toolTip = (
            _("All frames of a sequence go into a new sequence.")
            if self.all_frames
            else _("Where the result goes. One that MedSR did not make is overwritten only after asking.")
        )
        self.estimate, reason = None, ""
        blocked = needs_extension(self.missing)
        ui.packagesLabel.visible = bool(self.missing) and not blocked
        ui.packagesLabel.text = _("Enhance will first install: {packages}").format(packages=", ".join(self.missing))
        ui.extensionsButton.visible = blocked
        self.model = self._models.show(parameters.improvement, parameters.model)
        try:
            self.estimate = self._estimate(parameters)
        except MedSRError as error:
            reason = in_slicer(str(error))
        if blocked:
            self.estimate = None
            reason = _("PyTorch is missing: install the PyTorch extension from the Extensions Manager, and start again")
        if self._problem:
            self.estimate, reason = None, self._problem
        text = reason if self.estimate is None else self.estimate.line()
        if self.estimate is not None and self.all_frames:
            text = _("{n} frames of {each}").format(n=self.sequence.GetNumberOfDataNodes(), each=text)
        ui.estimateLabel.text = text
        return reason

    def request(self, parameters: Any) -> dict[str, Any]:
        """What to ask ``MedSRLogic.process``, or ``MedSRLogic.fuse``, for, by argument.

        Args:
            parameters: MedSRParameterNode, as ``show`` saw it last.
        """
        if self.fusing:
            return self.series.request(parameters, self.model)
        return {
            "inputVolume": self.sequence if self.all_frames else parameters.inputVolume,
            "outputVolume": None if self.all_frames else parameters.outputVolume,
            "model": self.model,
            "region": parameters.region,
            "modality": parameters.modality.value,
            **self.options.to_json(),
        }

    def start_of(self, logic: Any) -> Callable[..., None]:
        """The method of a MedSRLogic that takes what ``request`` gives."""
        start: Callable[..., None] = logic.fuse if self.fusing else logic.process
        return start

    def learn(self, report: str) -> None:
        """Keeps what a finished run says about the device and its speed, for the next estimate.

        Args:
            report: of a result, as its attribute holds it.
        """
        told = json.loads(report)
        self._devices.keep_used(told["device"])
        if self.estimate is not None:
            remember_speed(self.estimate, told["device"], told["seconds"])

    def _estimate(self, parameters: Any) -> Estimate:
        if self.model is None:
            raise MedSRError(_("No model for this is installed: choose another one, or another improvement"))
        manifest = self.manifest = manifest_for(self.model, self._devices.label)
        self.options = self._advanced.options(
            parameters,
            manifest,
            device=self._devices.name,
            all_frames=self.all_frames,
        )
        self._advanced.allow(fusing=self.fusing)
        if self.fusing:
            return self.series.estimate(parameters, manifest, self._devices.name, self._devices.label)
        one = expect(
            parameters.inputVolume,
            None if self.all_frames else parameters.outputVolume,
            parameters.region,
            manifest,
            self._devices.label,
            self.options,
        )
        return one.of_frames(self.sequence.GetNumberOfDataNodes()) if self.all_frames else one
