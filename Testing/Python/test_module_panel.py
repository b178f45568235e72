"""The panel inside a Slicer of doubles, over real MRML and a real worker process: what happens at which click."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_qt
import fake_widgets
import numpy as np
import pytest
from conftest import make_tiny_model
from jobs_support import wait_until, worker_with
from module_fixtures import MODULE_FILE, ended, settle
from scene_fixtures import OBLIQUE, blob

from MedSRLib.models.catalogue import Model

ENHANCE = """
from MedSRLib.errors import EnhancementCancelled, InputError
from MedSRLib.volumes.geometry import upsampled_affine

def enhance(volume, model, *, progress, cancelled, **options):
    {before}
    voxels = volume.voxels.repeat(2, 1).repeat(2, 2)
    affine = upsampled_affine(volume.affine, volume.shape, voxels.shape)
    used = dict(name=model, version="1", sha256=dict(fidelity="f" * 64), fidelity=1.0)
    report = dict(
        notice="not for <diagnosis>", model=used, warnings=["unlike <what> it knows"],
        roi=options.pop("roi"), options=options,
    )
    return Enhanced(volume=volume.with_voxels(voxels, affine), report=report, uncertainty=None)
"""
AT_ONCE = ENHANCE.format(before="pass")
UNTIL_CANCELLED = ENHANCE.format(
    before="""
    while not cancelled():
        progress(0.25, "enhancing on CPU")
        time.sleep(0.02)
    raise EnhancementCancelled("cancelled")
"""
)
FAILING = ENHANCE.format(before='raise InputError("it is <too> flat: choose another")')


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the panel's worker process run an ``enhance`` of the test's own."""

    def use(lines: str) -> None:
        import MedSRLib.jobs.runner as runner

        monkeypatch.setattr(runner, "worker_command", lambda: worker_with(lines))

    return use


@pytest.fixture
def panel(open_panel: Callable[[], Any], models_folder: Path, add_volume: Callable[..., Any]) -> Any:
    """An open panel in a scene with one volume, which a user has told to use the tiny model."""
    add_volume(blob())
    widget = open_panel()
    return widget


def test_opens_without_a_volume_and_says_what_is_missing(open_panel: Callable[[], Any], models_folder: Path) -> None:
    widget = open_panel()
    assert not widget.ui.enhanceButton.enabled
    assert "choose a volume" in widget.ui.enhanceButton.toolTip
    assert not widget.ui.progressBar.visible
    assert widget.ui.advancedCollapsibleButton.collapsed
    assert widget.ui.trustCollapsibleButton.collapsed
    assert "Not for primary diagnosis" in widget.ui.noticeLabel.text


def test_whatever_can_be_clicked_says_what_it_is_for(panel: Any) -> None:
    kinds = ("QComboBox", "QPushButton", "QToolButton", "QCheckBox", "QSlider", "ctkSliderWidget", "QDoubleSpinBox")
    kinds += ("qMRMLNodeComboBox", "ctkPathLineEdit")
    widgets = {name: one for name, one in vars(panel.ui).items() if type(one).__name__ in kinds}
    assert len(widgets) > 25
    assert [name for name, one in widgets.items() if not one.toolTip] == []


def test_takes_the_first_volume_and_estimates(panel: Any) -> None:
    assert panel.ui.inputSelector.currentNode().GetName() == "T1"
    assert panel.ui.outputSelector.currentNode() is None
    assert panel.ui.enhanceButton.enabled
    assert panel.ui.estimateLabel.text.startswith("52 x 60 x 12 voxels")
    assert panel.ui.explanationLabel.text.startswith("Each slice")


def test_enhance_puts_the_result_into_the_scene(panel: Any, worker: Callable[[str], None], scene: Any) -> None:
    worker(AT_ONCE)
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    panel.ui.enhanceButton.click()
    assert panel.ui.enhanceButton.text == "Cancel"
    assert panel.ui.progressBar.visible
    settle(panel)
    assert fake_widgets.BOXES == []
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == count + 1
    result = scene.GetFirstNodeByName("T1 MedSR x2")
    assert result.GetImageData().GetDimensions() == (52, 60, 12)
    assert panel.ui.enhanceButton.text == "Enhance"
    assert not panel.ui.progressBar.visible
    assert panel.ui.statusLabel.text.startswith("Done: T1 MedSR x2")
    assert panel._parameterNode.resultVolume is result
    assert "unlike &lt;what&gt; it knows" in panel.ui.reportLabel.text
    assert panel.ui.compareButton.enabled
    assert fake_widgets.SETTINGS["MedSR/LastDevice"] == "CPU"


def test_the_job_is_what_was_set_when_enhance_was_clicked(
    panel: Any, worker: Callable[[str], None], scene: Any, add_volume: Callable[..., Any], tiny_model: Model
) -> None:
    worker(AT_ONCE)
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    source = panel.ui.inputSelector.currentNode()
    region.SetCenter(*(OBLIQUE @ [12, 14, 6, 1])[:3])
    region.SetSize(9, 9, 9)
    panel.ui.modelComboBox.choose(tiny_model.manifest.name)
    panel.ui.deviceComboBox.choose("CPU")
    panel.ui.consistencyCheckBox.checked = False
    panel.ui.regionSelector.setCurrentNode(region)
    panel.ui.enhanceButton.click()
    panel.ui.inputSelector.setCurrentNode(add_volume(blob(), name="other"))
    panel.ui.consistencyCheckBox.checked = True
    settle(panel)
    result = panel._parameterNode.resultVolume
    assert result.GetNodeReference("MedSR.Source") is source
    report = json.loads(result.GetAttribute("MedSR.Report"))
    assert report["model"]["name"] == tiny_model.manifest.name
    assert report["options"]["device"] == "cpu"
    assert report["options"]["consistency"] is False
    i0, i1, j0, j1, k0, k1 = report["roi"]
    assert i0 < 12 < i1
    assert j0 < 14 < j1
    assert k0 < 6 < k1
    assert fake_widgets.SETTINGS["MedSR/Device"] == "cpu"


def test_a_chosen_output_is_overwritten_and_the_input_never(
    panel: Any, worker: Callable[[str], None], scene: Any, add_volume: Callable[..., Any]
) -> None:
    worker(AT_ONCE)
    target = add_volume(np.zeros((2, 2, 2), np.int16), name="target")
    panel.ui.outputSelector.setCurrentNode(target)
    count = scene.GetNumberOfNodes()
    panel.ui.enhanceButton.click()
    assert panel._state.name == "Idle"
    assert target.GetImageData().GetDimensions() == (2, 2, 2)
    fake_widgets.BOXES.clear()
    fake_widgets.ANSWERS.append(fake_widgets.QMessageBox.Ok)
    panel.ui.enhanceButton.click()
    settle(panel)
    assert target.GetImageData().GetDimensions() == (52, 60, 12)
    (box,) = fake_widgets.BOXES
    assert "'target' was not made by MedSR" in box.text
    assert target.GetName() == "target"
    assert scene.GetNumberOfNodes() == count
    panel.ui.outputSelector.setCurrentNode(panel.ui.inputSelector.currentNode())
    assert not panel.ui.enhanceButton.enabled
    assert "never overwritten" in panel.ui.enhanceButton.toolTip


@pytest.mark.parametrize(
    ("choice", "width", "asked"),
    [("Estimated", 0.7, None), ("Truncated k-space (MR)", 0.7, "kspace"), ("Known width", 0.7, 0.7)],
)
def test_the_point_spread_can_be_said(
    panel: Any, worker: Callable[[str], None], choice: str, width: float, asked: Any
) -> None:
    worker(AT_ONCE)
    panel.ui.pointSpreadComboBox.choose(choice)
    panel.ui.pointSpreadWidthSpinBox.value = width
    assert panel.ui.pointSpreadWidthSpinBox.enabled == (choice == "Known width")
    panel.ui.enhanceButton.click()
    settle(panel)
    report = json.loads(panel._parameterNode.resultVolume.GetAttribute("MedSR.Report"))
    assert report["options"]["point_spread"] == asked


def test_the_slice_factor_is_asked_of_isotropic_models_only(
    open_panel: Callable[[], Any], add_volume: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_model(tmp_path / "thick", task="through-plane", factors=(1, 1, 4), factor_range=(1.5, 8), name="thick")
    monkeypatch.setenv("MEDSR_MODELS", str(tmp_path))
    add_volume(blob())
    panel = open_panel()
    panel.ui.factorSpinBox.value = 3.0
    assert not panel.ui.factorSpinBox.enabled
    assert panel.assessment.options.factor is None
    panel.ui.improvementComboBox.choose("Isotropic from thick slices")
    panel.ui.modelComboBox.choose("thick")
    assert panel.ui.factorSpinBox.enabled
    assert panel.assessment.options.factor == 3.0
    assert panel.ui.estimateLabel.text.startswith("26 x 30 x 36 voxels")
    panel.ui.pointSpreadComboBox.choose("Truncated k-space (MR)")
    assert "as a number" in panel.ui.enhanceButton.toolTip


def test_how_much_noise_is_kept_is_asked_of_models_that_are_told_it(
    open_panel: Callable[[], Any], add_volume: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_model(tmp_path / "told", conditions=("noise",), arguments={"in_channels": 2}, name="told")
    make_tiny_model(tmp_path / "blind", name="blind")
    monkeypatch.setenv("MEDSR_MODELS", str(tmp_path))
    add_volume(blob())
    panel = open_panel()
    panel.ui.noiseReductionSlider.value = 0.4
    for name, told in (("told", True), ("blind", False)):
        panel.ui.modelComboBox.choose(name)
        assert panel.ui.noiseReductionSlider.enabled == told
        assert panel.assessment.options.noise_reduction == 0.4


def test_progress_is_shown_and_cancel_leaves_nothing(panel: Any, worker: Callable[[str], None], scene: Any) -> None:
    worker(UNTIL_CANCELLED)
    nodes = scene.GetNumberOfNodes()
    panel.ui.enhanceButton.click()
    panel.ui.enhanceButton.click()  # the second of a double click
    assert panel._state.name == "Running"
    wait_until(lambda: panel.ui.progressBar.value == 25, fake_qt.pump)
    wait_until(lambda: not panel.run.just_started(), fake_qt.pump)
    assert panel.ui.statusLabel.text.startswith("enhancing on CPU")
    panel.ui.enhanceButton.click()
    assert panel.ui.statusLabel.text == "Cancelling"
    assert not panel.ui.enhanceButton.enabled
    settle(panel)
    assert panel.ui.statusLabel.text == "Cancelled: nothing was changed"
    assert panel.ui.enhanceButton.text == "Enhance"
    assert panel.ui.enhanceButton.enabled
    assert scene.GetNumberOfNodes() == nodes
    assert fake_widgets.BOXES == []


def test_an_error_is_one_sentence_in_a_box(panel: Any, worker: Callable[[str], None], scene: Any) -> None:
    worker(FAILING)
    nodes = scene.GetNumberOfNodes()
    panel.ui.enhanceButton.click()
    settle(panel)
    (box,) = fake_widgets.BOXES
    assert box.text == "it is <too> flat: choose another"
    assert panel.ui.enhanceButton.enabled
    assert scene.GetNumberOfNodes() == nodes


def test_a_crashed_worker_is_told_and_the_next_click_works(
    panel: Any, worker: Callable[[str], None], scene: Any
) -> None:
    worker(ENHANCE.format(before="os.abort()"))
    panel.ui.enhanceButton.click()
    settle(panel)
    (box,) = fake_widgets.BOXES
    assert "The scene was not changed" in box.text
    assert "Fatal Python error" in box.detailedText
    worker(AT_ONCE)
    panel.ui.enhanceButton.click()
    settle(panel)
    assert panel._parameterNode.resultVolume is not None


@pytest.mark.skipif(os.name == "nt", reason="looks for the process in /proc")
@pytest.mark.parametrize("end", ["scene", "module"])
def test_closing_the_scene_or_the_module_in_mid_run_ends_the_worker(
    panel: Any, worker: Callable[[str], None], scene: Any, end: str
) -> None:
    worker(UNTIL_CANCELLED)
    panel.ui.enhanceButton.click()
    wait_until(lambda: panel.ui.progressBar.value == 25, fake_qt.pump)
    pid = panel.logic._jobs._runner.worker_pid
    assert not ended(pid)
    if end == "module":
        panel.cleanup()
    else:
        scene.Clear(0)
        assert panel._state.name == "Idle"
        assert panel._parameterNode.inputVolume is None
        assert not panel.ui.enhanceButton.enabled
    wait_until(lambda: ended(pid), fake_qt.pump)
    assert scene.GetFirstNodeByName("T1 MedSR x2") is None
    assert fake_widgets.BOXES == []


def test_the_input_may_be_removed_in_mid_run(panel: Any, worker: Callable[[str], None], scene: Any) -> None:
    worker(ENHANCE.format(before="time.sleep(0.5)"))
    panel.ui.enhanceButton.click()
    scene.RemoveNode(panel.ui.inputSelector.currentNode())
    settle(panel)
    assert fake_widgets.BOXES == []
    assert panel._parameterNode.resultVolume.GetName() == "T1 MedSR x2"
    assert not panel.ui.compareButton.enabled


@pytest.mark.filterwarnings("error:does not have observer")
def test_a_job_goes_on_while_the_user_is_in_another_module(
    panel: Any, worker: Callable[[str], None], scene: Any
) -> None:
    worker(ENHANCE.format(before="time.sleep(0.2)"))
    panel.ui.enhanceButton.click()
    panel.exit()
    settle(panel)
    panel.exit()  # Slicer calls it again when it quits
    panel.enter()
    assert panel._parameterNode.resultVolume.GetName() == "T1 MedSR x2"
    assert panel.ui.compareButton.enabled
    panel.ui.inputSelector.setCurrentNode(panel._parameterNode.resultVolume)
    assert panel._parameterNode.inputVolume is panel._parameterNode.resultVolume


def test_what_no_model_does_is_greyed_out_with_the_reason(panel: Any, module: ModuleType) -> None:
    box = panel.ui.improvementComboBox
    assert [box.itemText(n) for n in range(box.count)] == [one.label() for one in module.Improvement]
    with pytest.raises(AssertionError, match="greyed out"):
        box.choose("Volumetric x2")
    assert box.itemData(3, fake_widgets.Qt.ToolTipRole) == "No model for this is installed yet"
    panel._parameterNode.improvement = module.Improvement.Volumetric  # as an older scene may ask for
    assert not panel.ui.enhanceButton.enabled
    assert panel.ui.estimateLabel.text.startswith("No model for this is installed")


def test_a_scene_that_names_a_missing_model_says_so(panel: Any) -> None:
    panel._parameterNode.model = "gone"
    assert panel.ui.modelComboBox.currentText == "gone (not for this)"
    assert not panel.ui.enhanceButton.enabled
    panel.ui.improvementComboBox.choose("Sharper slices x2")
    assert panel._parameterNode.model == "auto"
    assert panel.ui.enhanceButton.enabled


def test_without_packages_the_panel_opens_and_enhance_installs_them(
    open_panel: Callable[[], Any],
    models_folder: Path,
    add_volume: Callable[..., Any],
    worker: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    application: Any,
) -> None:
    import MedSRLib.panel.assessment as assessment
    import MedSRLib.panel.packages as packages

    missing, asked = ["torch>=2.1", "monai>=1.3"], []

    def install(*, prompt: bool) -> None:
        asked.append(prompt)
        missing.clear()

    monkeypatch.setattr(assessment, "missing_packages", lambda: list(missing))
    monkeypatch.setattr(assessment, "needs_extension", lambda missing: False)
    monkeypatch.setattr(packages, "ensure_packages", install)
    worker(AT_ONCE)
    add_volume(blob())
    panel = open_panel()
    assert panel.ui.packagesLabel.visible
    assert panel.ui.packagesLabel.text == "Enhance will first install: torch>=2.1, monai>=1.3"
    panel.ui.enhanceButton.click()
    settle(panel)
    assert asked == [True]
    assert not panel.ui.packagesLabel.visible
    assert panel._parameterNode.resultVolume is not None
    missing.append("monai>=1.3")
    application.main_window = None
    panel.enter()
    panel.ui.enhanceButton.click()
    settle(panel)
    assert asked == [True, False]


def test_a_declined_installation_is_no_error(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import MedSRLib.panel.packages as packages

    def decline(*, prompt: bool) -> None:
        raise packages.InstallationDeclined("torch was not installed: agree when MedSR asks")

    monkeypatch.setattr(packages, "ensure_packages", decline)
    panel.assessment.missing = ["monai"]
    panel.ui.enhanceButton.click()
    assert fake_widgets.BOXES == []
    assert panel.ui.statusLabel.text == "Nothing was installed, nothing was done"
    assert panel.ui.enhanceButton.text == "Enhance"


def test_a_failed_installation_is_one_sentence(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import MedSRLib.panel.packages as packages
    from MedSRLib.errors import MissingPackageError

    def fail(*, prompt: bool) -> None:
        raise MissingPackageError("installing torch failed: check the network")

    monkeypatch.setattr(packages, "ensure_packages", fail)
    panel.assessment.missing = ["monai"]
    panel.ui.enhanceButton.click()
    (box,) = fake_widgets.BOXES
    assert box.text == "installing torch failed: check the network"


def test_without_pytorch_and_its_extension_the_way_is_said_before_the_click(
    open_panel: Callable[[], Any],
    models_folder: Path,
    add_volume: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    application: Any,
) -> None:
    import MedSRLib.panel.assessment as assessment
    import MedSRLib.panel.packages as packages

    monkeypatch.setattr(assessment, "missing_packages", lambda: [packages.TORCH])
    assert packages.needs_extension([packages.TORCH])  # no extension of Slicer is here
    add_volume(blob())
    opened = []
    application.main_window.on_ViewExtensionsManagerAction_triggered = lambda: opened.append(True)
    panel = open_panel()
    assert not panel.ui.enhanceButton.enabled
    assert "install the PyTorch extension" in panel.ui.estimateLabel.text
    assert panel.ui.extensionsButton.visible
    panel.ui.extensionsButton.click()
    assert opened == [True]


def test_devices_get_their_names_when_advanced_is_opened(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import MedSRLib.jobs.device_query as devices

    box = panel.ui.deviceComboBox
    assert [box.itemText(n) for n in range(box.count)] == ["Automatic", "CPU"]
    answer = 'import sys; print(\'a greeting\'); print(\'[["cpu", "CPU"], ["cuda:0", "Some GPU, 21 GB free"]]\')'
    stub = Path(os.environ["HOME"]) / "python"
    stub.parent.mkdir(parents=True, exist_ok=True)
    stub.write_text(f"#!{sys.executable}\n{answer}\n")
    stub.chmod(0o755)
    monkeypatch.setattr(devices, "command_of", lambda module: [str(stub)])
    panel.ui.advancedCollapsibleButton.collapsed = False
    wait_until(lambda: box.count == 3, fake_qt.pump)
    box.choose("Some GPU, 21 GB free")
    assert panel.devices.name == "cuda:0"
    assert "known after the first run" in panel.ui.estimateLabel.text
    panel.ui.advancedCollapsibleButton.collapsed = True
    panel.ui.advancedCollapsibleButton.collapsed = False  # asks once only


def test_all_frames_of_a_sequence_become_a_new_sequence(
    panel: Any, scene: Any, add_volume: Callable[..., Any], tiny_model: Model
) -> None:
    """By the real worker, which estimates the point spread of the first frame for all."""
    import slicer

    panel.ui.modelComboBox.choose(tiny_model.manifest.name)
    panel.ui.deviceComboBox.choose("CPU")
    assert not panel.ui.allFramesCheckBox.visible
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    for n in range(3):
        frame = add_volume(blob() + n, name=f"frame {n}")
        sequence.SetDataNodeAtValue(frame, str(n))
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    logic.UpdateProxyNodesFromSequences(browser)
    panel.ui.inputSelector.setCurrentNode(browser.GetProxyNode(sequence))
    assert panel.ui.allFramesCheckBox.visible
    assert panel.ui.outputSelector.enabled
    panel.ui.allFramesCheckBox.checked = True
    assert panel.ui.estimateLabel.text.startswith("3 frames of 52 x 60 x 12 voxels")
    assert not panel.ui.outputSelector.enabled
    assert "new sequence" in panel.ui.outputSelector.toolTip
    assert not panel.ui.uncertaintyCheckBox.enabled
    assert "Not with all frames" in panel.ui.uncertaintyHintLabel.text
    messages = []
    told = panel.onProgress
    panel.onProgress = lambda *progress: (messages.append(progress), told(*progress))
    panel.ui.enhanceButton.click()
    settle(panel)
    assert fake_widgets.BOXES == []
    sequences = slicer.util.getNodesByClass("vtkMRMLSequenceNode", scene)
    assert len(sequences) == 2
    assert sequences[1].GetNumberOfDataNodes() == 3
    reports = [json.loads(sequences[1].GetNthDataNode(n).GetAttribute("MedSR.Report")) for n in range(3)]
    assert [report["point_spread_source"] for report in reports] == ["estimated", "given", "given"]
    whole = json.loads(sequences[1].GetAttribute("MedSR.Report"))
    assert [frame["name"] for frame in whole["frames"]] == ["0", "1", "2"]
    assert whole["lr_consistency_percent"] == max(report["lr_consistency_percent"] for report in reports)
    assert "Frame 2" in panel.ui.reportLabel.text
    assert "worst of all" in panel.ui.reportLabel.text
    result = panel._parameterNode.resultVolume
    assert result is browser.GetProxyNode(sequences[1])
    assert result.GetNodeReference("MedSR.Source") is browser.GetProxyNode(sequence)
    assert panel.ui.compareButton.enabled
    assert messages[-1][1].startswith("frame 3 of 3: ")
    assert [m[0] for m in messages] == sorted(m[0] for m in messages)


def test_parameters_survive_saving_and_reloading_the_scene(
    panel: Any, worker: Callable[[str], None], scene: Any, module: ModuleType, tmp_path: Path
) -> None:
    from scene_fixtures import save_and_reload

    worker(AT_ONCE)
    panel.ui.consistencyCheckBox.checked = False
    panel.ui.uncertaintyCheckBox.checked = True
    panel.ui.enhanceButton.click()
    settle(panel)
    save_and_reload(scene, tmp_path / "scene.mrb")
    node = panel._parameterNode
    assert node.improvement is module.Improvement.SharperX2
    assert node.consistency is False
    assert node.uncertainty is True
    assert node.inputVolume.GetName() == "T1"
    assert node.resultVolume.GetName() == "T1 MedSR x2"
    panel.enter()
    assert "unlike &lt;what&gt; it knows" in panel.ui.reportLabel.text
    assert panel.ui.compareButton.enabled


def test_opens_quickly_and_without_torch_or_scipy(tmp_path: Path) -> None:
    program = f"""
import sys, time, types
sys.path[:0] = [{str(MODULE_FILE.parents[1] / "Testing" / "Python")!r}]
import numpy, slicer, pytest
from vtk.util import numpy_support
import slicer.util, fake_slicer, fake_widgets
scene = slicer.mrmlScene = slicer.vtkMRMLScene()
logic = slicer.vtkMRMLApplicationLogic()
logic.SetMRMLScene(scene)
patch = pytest.MonkeyPatch()
fake_slicer.install(patch, None)
start = time.perf_counter()
module = fake_slicer.load_module(patch, __import__("pathlib").Path({str(MODULE_FILE)!r}))
parent = fake_widgets.qMRMLWidget()
parent.setLayout(fake_widgets.QVBoxLayout())
parent.__dict__["isEntered"] = True
widget = module.MedSRWidget(parent)
widget.setup()
widget.enter()
print(time.perf_counter() - start)
print([m for m in ("torch", "monai", "skimage", "scipy", "SimpleITK", "pydicom") if m in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    seconds, imported = ran.stdout.splitlines()[-2:]
    assert imported == "[]"
    assert float(seconds) < 2.0  # 0.2 s where nothing else runs


def test_reloading_in_mid_run_ends_the_job_and_leaves_the_old_widgets_alone(
    panel: Any, worker: Callable[[str], None], open_panel: Callable[[], Any]
) -> None:
    """Slicer cleans the old widget up without leaving the module, hides its children, and sets a new one up."""
    worker(UNTIL_CANCELLED)
    panel.ui.enhanceButton.click()
    wait_until(lambda: panel.ui.progressBar.value == 25, fake_qt.pump)
    panel.cleanup()
    new = open_panel()
    new.ui.consistencyCheckBox.checked = False
    assert panel.ui.consistencyCheckBox.checked
    worker(AT_ONCE)
    new.ui.enhanceButton.click()
    settle(new)
    assert fake_widgets.BOXES == []
    assert new._parameterNode.resultVolume.GetName() == "T1 MedSR x2"
    assert panel.ui.statusLabel.text != new.ui.statusLabel.text


def test_reloading_takes_the_library_along(panel: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def library() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] == "MedSRLib"]

    left = []
    monkeypatch.setattr(module.ScriptedLoadableModuleWidget, "onReload", lambda self: left.append(library()))
    kept = {name: sys.modules[name] for name in library()}
    try:
        panel.onReload()
    finally:
        sys.modules.update(kept)
    assert left == [[]]
