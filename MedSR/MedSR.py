"""The MedSR module of 3D Slicer: what its panel and its logic are; the work is done by MedSRLib."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import slicer
import vtk
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# An installed extension has MedSRLib beside this file; in a source tree it lies one folder up, where Slicer does not
# look. What MedSRLib offers is imported where it is used, so that Slicer starts and the panel opens quickly.
_HOME = Path(__file__).resolve().parent
if not (_HOME / "MedSRLib").is_dir():
    _HOME = _HOME.parent
    sys.path.insert(0, str(_HOME))

from MedSRLib.panel.about import acknowledgement_text, help_text  # noqa: E402
from MedSRLib.panel.advanced import PointSpreadKind  # noqa: E402
from MedSRLib.panel.fusion_logic import FusionLogic  # noqa: E402
from MedSRLib.panel.improvement import Improvement  # noqa: E402
from MedSRLib.panel.modality import Modality  # noqa: E402
from MedSRLib.panel.run_controls import ProcessingState, RunControls  # noqa: E402


class MedSR(ScriptedLoadableModule):
    """What Slicer's module list says about MedSR."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MedSR")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Filtering")]
        self.parent.dependencies = ["Markups", "Sequences", "SubjectHierarchy", "Volumes"]
        self.parent.contributors = ["MedSR contributors"]
        self.parent.helpText = help_text()
        self.parent.acknowledgementText = acknowledgement_text()
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offers the volumes that the extension carries in the Sample Data module."""
    from MedSRLib.panel.samples import register_samples

    register_samples(_HOME / "Resources" / "SampleData", Path(__file__).resolve().parent / "Resources" / "Icons")


@parameterNodeWrapper
class MedSRParameterNode:
    """What a scene keeps of the panel; the device is the computer's and kept in the application's settings.

    inputVolume - the volume to enhance
    outputVolume - where the result goes; none for a new volume
    improvement - what to improve
    allFrames - if the input is a frame of a sequence, enhance all frames
    model - name of a model, or "auto"
    modality - what the scanner measured
    fidelity - 1 faithful, 0 pleasing, for models that offer both
    noiseReduction - 1 agrees with the input within its noise, 0 with every grain of it
    consistency - project the result onto volumes that agree with the input
    uncertainty - make an uncertainty map, too
    pointSpread - how the scanner blurs: estimated, truncated k-space, or of a known width
    pointSpreadWidth - that width, in voxels of the input
    factor - slices made of each slice, for isotropic models; 1 as many as make voxels isotropic
    region - the box to enhance; none for the whole volume
    sliceMotion - where series are fused, follow the motion of every slice
    resultVolume - the latest result, which the Trust section is about
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    improvement: Improvement = Improvement.SharperX2
    allFrames: bool = False
    model: str = "auto"
    modality: Modality = Modality.Automatic
    fidelity: Annotated[float, WithinRange(0, 1)] = 1.0
    noiseReduction: Annotated[float, WithinRange(0, 1)] = 1.0
    consistency: bool = True
    uncertainty: bool = False
    pointSpread: PointSpreadKind = PointSpreadKind.Estimated
    pointSpreadWidth: Annotated[float, WithinRange(0.3, 3)] = 1.0
    factor: Annotated[float, WithinRange(1, 8)] = 1.0
    region: vtkMRMLMarkupsROINode
    sliceMotion: bool = False
    resultVolume: vtkMRMLScalarVolumeNode


class MedSRWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: it reads and writes the parameter node, and leaves the work to the logic."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        from MedSRLib.panel.assessment import Assessment
        from MedSRLib.panel.choosers import DeviceChooser, ModelChooser
        from MedSRLib.panel.regions import RegionTools
        from MedSRLib.panel.results import ResultTools
        from MedSRLib.panel.slice_preview import SlicePreview

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MedSR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MedSRLogic()
        self.run = RunControls(self.ui)
        self.models = ModelChooser(self.ui.improvementComboBox, self.ui.modelComboBox, lambda: self._parameterNode)
        self.devices = DeviceChooser(self.ui.deviceComboBox, self._checkCanApply)
        self.assessment = Assessment(self.ui, self.models, self.devices)
        self.results = ResultTools(self.ui, self.onUndone)
        self.preview = SlicePreview(self.ui, self.logic.backgroundJobs, self.assessment, self.results.before_after)
        self.regions = RegionTools(self.ui, lambda: self._parameterNode, self._checkCanApply)

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.ui.enhanceButton.connect("clicked(bool)", self.onEnhanceButton)

        self.assessment.refresh()
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes, and before the module is reloaded."""
        if self.logic is not None:
            self.preview.stop()
            self.logic.close()
            self.assessment.close()
            self.results.before_after.close()
            self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.assessment.refresh()
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens a different module; what is running goes on."""
        self.preview.stop()
        self.results.before_after.stop()
        self._stopFollowing()

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """Called just before the scene is closed: the result of what is running has no place to go any more."""
        self.preview.stop()
        self.logic.close()
        self.setParameterNode(None)
        self.results.forget()
        self.setProcessingState(ProcessingState.Idle)

    def onSceneEndClose(self, caller: Any, event: Any) -> None:
        """Called just after the scene is closed or loaded: the parameter node is another one now."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onReload(self) -> None:
        """Reloads the library along with this file."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "MedSRLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def initializeParameterNode(self) -> None:
        """Ensures that there is a parameter node, observed, with an input where the scene has a volume."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            firstVolumeNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if firstVolumeNode:
                self._parameterNode.inputVolume = firstVolumeNode

    def setParameterNode(self, inputParameterNode: MedSRParameterNode | None) -> None:
        """Observes a parameter node and connects it with the widgets."""
        self._stopFollowing()
        self.regions.follow(None)
        self._parameterNode = inputParameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.models.mark_improvements()
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
            self._checkCanApply()

    def _stopFollowing(self) -> None:
        """The widgets and the parameter node no longer follow each other."""
        if self._parameterNodeGuiTag is None:
            return
        self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
        self._parameterNodeGuiTag = None
        self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)

    def setProcessingState(self, state: ProcessingState, status: str = "") -> None:
        """What goes on, and what the user reads of it."""
        self.run.show(state, status)
        self._checkCanApply()

    @property
    def _state(self) -> ProcessingState:
        return self.run.state

    def _checkCanApply(self, caller: Any = None, event: Any = None) -> None:
        """Brings up to date what follows from the parameters: texts, choices, what can be clicked."""
        reason, working = _("Open the module again"), self._state is not ProcessingState.Idle
        if self._parameterNode:
            self.results.show(self._parameterNode.resultVolume, working=working)
            self.regions.offer(self._parameterNode)
            reason = self.assessment.show(self._parameterNode)
        self.run.allow(reason)
        self.preview.offer(self._parameterNode, reason, working=working)

    def onEnhanceButton(self, checked: bool = False) -> None:
        """Starts, or cancels what is running."""
        from MedSRLib.errors import MedSRError
        from MedSRLib.panel.packages import InstallationDeclined

        if self._state is ProcessingState.Running:
            if self.run.just_started():
                return
            self.setProcessingState(ProcessingState.Cancelling, _("Cancelling"))
            self.logic.cancel()
            return
        with slicer.util.tryWithErrorDisplay(_("The enhancement could not be started."), waitCursor=False):
            try:
                self._start()
            except InstallationDeclined:
                self.setProcessingState(ProcessingState.Idle, _("Nothing was installed, nothing was done"))
            except (MedSRError, ValueError) as error:
                self.onError(str(error))
            except BaseException:
                self.setProcessingState(ProcessingState.Idle)
                raise

    def _start(self) -> None:
        """Installs what is missing and hands the job to the logic, which reports to this widget."""
        from MedSRLib.panel.overwriting import may_overwrite

        if not (self.assessment.all_frames or may_overwrite(self._parameterNode.outputVolume)):
            return
        self.preview.stop()
        if self.assessment.missing:
            self.setProcessingState(ProcessingState.Installing, _("Installing packages"))
            self.logic.installPackages(prompt=slicer.util.mainWindow() is not None)
            self.assessment.refresh()
        self.setProcessingState(ProcessingState.Running, _("Starting"))
        if not self._parameterNode:  # the scene was closed while packages were installed
            self.setProcessingState(ProcessingState.Idle)
            return
        asked = self.assessment.request(self._parameterNode)
        self.results.undo.begin(asked["outputVolume"])
        self.assessment.start_of(self.logic)(**asked, waitForCompletion=False, listener=self)

    def onProgress(self, fraction: float, message: str, secondsLeft: float | None) -> None:
        """Called while the job goes on."""
        self.run.progress(fraction, message, secondsLeft)

    def onDone(self, output: Any) -> None:
        """Called when the result, a volume or a sequence, is in the scene."""
        from MedSRLib.scene.browsing import shown_volume

        self.setProcessingState(ProcessingState.Idle, _("Done: {name}").format(name=output.GetName()))
        shown = shown_volume(output)
        self.results.undo.done(output, shown)
        if shown:
            self.assessment.learn(output.GetAttribute("MedSR.Report"))
            self.regions.outline(self._parameterNode.region)
            self._parameterNode.resultVolume = shown
            where = self.results.trust.put_in_views(shown, shown.GetNodeReference("MedSR.Source"))
            self.ui.statusLabel.text = _("Done: {name}, {where}").format(name=output.GetName(), where=where)

    def onUndone(self, name: str, latest: Any) -> None:
        """Called when a result was taken out of the scene; ``latest`` is the one before it, or None."""
        self.results.trust.restore(slicer.mrmlScene, place=False)
        self._parameterNode.resultVolume = latest
        self._checkCanApply()
        self.ui.statusLabel.text = _("Undone: {name}").format(name=name)

    def onError(self, sentence: str, log: str = "") -> None:
        """Called when the job has failed; the scene is as it was."""
        self.setProcessingState(ProcessingState.Idle)
        slicer.util.errorDisplay(sentence, detailedText=log)

    def onCancelled(self) -> None:
        """Called when the job has been cancelled; the scene is as it was."""
        self.setProcessingState(ProcessingState.Idle, _("Cancelled: nothing was changed"))


class MedSRLogic(ScriptedLoadableModuleLogic, FusionLogic):
    """Enhances volumes and sequences, and fuses series, with or without a panel."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._jobs = None

    def getParameterNode(self) -> MedSRParameterNode:
        """The scene's parameter node, typed."""
        return MedSRParameterNode(super().getParameterNode())

    def installPackages(self, prompt: bool = False) -> None:
        """Installs the Python packages that are missing; does nothing where none is.

        :param prompt: ask the user first
        """
        from MedSRLib.panel.packages import ensure_packages

        ensure_packages(prompt=prompt)

    def process(
        self,
        inputVolume: Any,
        outputVolume: Any = None,
        model: str = "auto",
        *,
        region: Any = None,
        modality: str | None = None,
        progress: Callable[[float, str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        waitForCompletion: bool = True,
        listener: Any = None,
        **options: Any,
    ) -> Any:
        """Makes a volume sharper; the scene changes on success only. Needs no widget, view or answer from a user.

        :param inputVolume: volume node, or sequence node of volumes; it is not changed
        :param outputVolume: volume node to overwrite; None for a new one
        :param model: name of an installed model, folder of a model, or "auto"
        :param region: ROI node, to enhance what lies in its box; None for all of it
        :param modality: "CT", "MR", "US", "XR" or "other"; None for what the scene says, else a guess, which is told
        :param progress: called with a fraction 0..1 and a message (while waiting)
        :param cancelled: asked at every tile; true raises EnhancementCancelled (while waiting)
        :param waitForCompletion: compute here and return the result. If false, compute in another process and return
            None at once; Slicer's event loop then tells the listener
        :param listener: a JobListener (while not waiting)
        :param options: of MedSRLib.Options, by name; an uncertainty map is the result's reference "MedSR.Uncertainty"
        :return: the new node, of the input's kind; an output volume that was given is returned itself
        :raises ValueError: input, output, region, model or an option cannot be used; says what to do
        :raises MedSRError: packages are missing, or memory ran out; says what to do
        """
        from MedSRLib.errors import InputError, ModelError, UsageError
        from MedSRLib.panel.packages import require_packages
        from MedSRLib.panel.words import in_slicer

        try:
            if not waitForCompletion:
                self.backgroundJobs().start(inputVolume, outputVolume, model, region, modality, options, listener)
                return None
            require_packages()
            from MedSRLib.scene.process import process

            told = {"roi_node": region, "modality": modality, "progress": progress, "cancelled": cancelled}
            return process(inputVolume, outputVolume, model, **told, **options)
        except (InputError, ModelError, UsageError) as error:
            raise ValueError(in_slicer(str(error))) from error

    def cancel(self) -> None:
        """Cancels the job that is not waited for; its listener is told when it has ended."""
        self.backgroundJobs().cancel()

    def close(self) -> None:
        """Ends the other process, and what it was doing; nobody is told."""
        if self._jobs is not None:
            self._jobs.close()

    def backgroundJobs(self) -> Any:
        """The other process, which does one thing at a time."""
        from MedSRLib.panel.background import BackgroundJobs

        if self._jobs is None:
            self._jobs = BackgroundJobs()
        return self._jobs


class MedSRTest(ScriptedLoadableModuleTest):
    """A quick check inside Slicer; Testing/Slicer holds the thorough ones."""

    def setUp(self) -> None:
        """Starts from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Runs all checks."""
        from MedSRLib.panel.quick_test import CHECKS

        registerSampleData()
        for check in CHECKS:
            self.setUp()
            check(self, MedSRLogic())
        self.delayDisplay("Test passed")
