"""The Preview button among doubles, over real MRML and a real worker: it follows the view and leaves nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_qt
import fake_slicer
import fake_widgets
import numpy as np
import pytest
from conftest import make_tiny_model
from fake_layout import LayoutManager
from jobs_support import wait_until
from module_fixtures import MODULE_FILE, settle
from scene_fixtures import STRAIGHT, blob, enhance_node, node_ids

from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.jobs.preview import PreviewJob
from MedSRLib.models.catalogue import Model


@pytest.fixture
def manager(application: Any, scene: Any) -> Iterator[LayoutManager]:
    """Slicer's layout manager, with its four-up views."""
    manager = application.layout_manager = LayoutManager(scene)
    yield manager
    manager.close()


@pytest.fixture
def panel(
    open_panel: Callable[[], Any],
    models_folder: Path,
    add_volume: Callable[..., Any],
    manager: LayoutManager,
    tiny_model: Model,
) -> Any:
    """An open panel with the tiny model on the CPU; a volume in all views, the red one in the middle of slice 6."""
    source = add_volume(blob(), STRAIGHT)
    for name in ("Red", "Green", "Yellow"):
        widget = manager.sliceWidget(name)
        widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(source.GetID())
        widget.mrmlSliceNode().JumpSliceByCentering(*(STRAIGHT @ [12, 14, 6, 1])[:3])
        widget.mrmlSliceNode().SetFieldOfView(40, 30, 1)
    widget = open_panel()
    widget.ui.modelComboBox.choose(tiny_model.manifest.name)
    widget.ui.deviceComboBox.choose("CPU")
    return widget


class Jobs:
    """Records what the worker is asked for, and answers when the test says so."""

    def __init__(self, panel: Any) -> None:
        self.asked: list[tuple[PreviewJob, Any]] = []
        self.cancelled = 0
        panel.preview._jobs = lambda: self

    def preview(self, job: PreviewJob, callbacks: Any) -> None:
        self.asked.append((job, callbacks))

    def cancel(self) -> None:
        self.cancelled += 1

    def answer(self, value: int = 500) -> None:
        """All that was asked for last, in one grey level."""
        job, callbacks = self.asked[-1]
        for box in job.boxes:
            i0, i1, j0, j1, k0, k1 = box
            job.on_part(box, np.full((k1 - k0, 2 * (j1 - j0), 2 * (i1 - i0)), value, np.int16))
        callbacks.on_done([])


@pytest.fixture
def jobs(panel: Any) -> Jobs:
    return Jobs(panel)


def composite(manager: LayoutManager, name: str = "Red") -> Any:
    return manager.sliceWidget(name).mrmlSliceCompositeNode()


def scroll(manager: LayoutManager, slices: int, name: str = "Red") -> None:
    """Turns the wheel, and waits until the view stands still."""
    view = manager.sliceWidget(name).mrmlSliceNode()
    view.SetSliceOffset(view.GetSliceOffset() + 2.5 * slices)
    rest(0.3)


def rest(seconds: float) -> None:
    import time

    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, fake_qt.pump)


def voxels(panel: Any) -> np.ndarray:
    import slicer

    return np.array(slicer.util.arrayFromVolume(panel.preview._layer.node))


def test_the_worker_shows_the_slice_as_the_full_run_makes_it(
    panel: Any, scene: Any, manager: LayoutManager, tiny_model: Model
) -> None:
    from MedSRLib.scene.nodes import volume_from_node

    nodes = node_ids(scene)
    panel.ui.previewButton.press("Ctrl+Shift+P")
    assert panel.ui.beforeAfterSlider.visible
    wait_until(lambda: "fade with the slider" in panel.ui.statusLabel.text, fake_qt.pump, seconds=300)
    assert fake_widgets.BOXES == []
    source = panel._parameterNode.inputVolume
    whole = enhance(volume_from_node(source), tiny_model, **panel.assessment.options.to_json())
    assert np.abs(voxels(panel)[0].astype(int) - whole.volume.voxels[6]).max() <= 1
    assert composite(manager).GetForegroundVolumeID() == panel.preview._layer.node.GetID()
    assert composite(manager, "Green").GetForegroundVolumeID() is None
    scroll(manager, 1)
    wait_until(lambda: not panel.preview._asked, fake_qt.pump, seconds=60)
    assert np.abs(voxels(panel)[0].astype(int) - whole.volume.voxels[7]).max() <= 1
    panel.ui.previewButton.press("Ctrl+Shift+P")
    assert node_ids(scene) == nodes
    assert composite(manager).GetForegroundVolumeID() is None
    assert not panel.ui.beforeAfterSlider.visible
    # The worker is free for the whole volume at once.
    panel.ui.previewButton.click()
    panel.ui.enhanceButton.press("Ctrl+Shift+E")
    assert not panel.ui.previewButton.checked
    settle(panel)
    assert fake_widgets.BOXES == []
    import slicer

    result = slicer.util.arrayFromVolume(panel._parameterNode.resultVolume)
    assert np.abs(result.astype(int) - whole.volume.voxels).max() <= 1
    assert "MedSR preview" not in {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode", scene)}


def test_it_follows_the_view_and_keeps_what_was_computed(panel: Any, jobs: Jobs, manager: LayoutManager) -> None:
    panel.ui.previewButton.click()
    assert panel.ui.statusLabel.text == "Preview: starting"
    assert [job.boxes for job, _ in jobs.asked] == [((0, 26, 0, 30, 6, 7),)]
    jobs.answer(111)
    assert (voxels(panel) == 111).all()
    scroll(manager, 2)
    assert jobs.asked[-1][0].boxes == ((0, 26, 0, 30, 8, 9),)
    assert jobs.asked[-1][0].kept == jobs.asked[0][0].kept
    jobs.answer(222)
    scroll(manager, -2)
    assert len(jobs.asked) == 2
    assert (voxels(panel) == 111).all()
    assert jobs.cancelled == 0


def test_what_is_scrolled_past_is_not_waited_for(panel: Any, jobs: Jobs, manager: LayoutManager) -> None:
    panel.ui.previewButton.click()
    scroll(manager, 1)
    assert jobs.cancelled == 1
    assert [job.boxes[0][4] for job, _ in jobs.asked] == [6, 7]
    jobs.asked[0][1].on_cancelled()
    jobs.answer(222)
    assert (voxels(panel) == 222).all()
    # A late part of the first is kept all the same.
    jobs.asked[0][0].on_part(jobs.asked[0][0].boxes[0], np.full((1, 60, 52), 111, np.int16))
    scroll(manager, -1)
    assert (voxels(panel) == 111).all()
    assert len(jobs.asked) == 2


def test_a_whole_slice_that_comes_for_a_tile_fills_all_its_tiles(
    panel: Any, jobs: Jobs, manager: LayoutManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    import MedSRLib.scene.slice_tiles as slice_tiles

    monkeypatch.setattr(slice_tiles, "TILE", 10)
    panel.ui.previewButton.click()
    (job, _) = jobs.asked[0]
    assert len(job.boxes) > 4
    job.on_part(job.boxes[0], np.zeros((1, 20, 2 * (job.boxes[0][1] - job.boxes[0][0])), np.int16))
    assert panel.ui.statusLabel.text == f"Preview: 1 of {len(job.boxes)} tiles"
    whole = np.arange(60 * 52, dtype=np.int16).reshape(1, 60, 52)
    job.on_part((0, 26, 0, 30, 6, 7), whole)
    i0, i1, j0, j1, _, _ = panel.preview._layer._box
    assert np.array_equal(voxels(panel), whole[:, 2 * j0 : 2 * j1, 2 * i0 : 2 * i1])


def test_a_view_beside_the_volume_says_so(panel: Any, jobs: Jobs, manager: LayoutManager) -> None:
    panel.ui.previewButton.click()
    jobs.answer()
    scroll(manager, 60)
    assert panel.ui.statusLabel.text == "Preview: the view looks beside the volume"
    scroll(manager, -60)
    assert "fade with the slider" in panel.ui.statusLabel.text


def test_a_view_that_is_turned_across_the_slices_says_so_and_waits(
    panel: Any, jobs: Jobs, manager: LayoutManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    import MedSRLib.scene.slice_tiles as slice_tiles

    monkeypatch.setattr(slice_tiles, "_MOST_SLICES", 3)
    panel.ui.previewButton.click()
    view = manager.sliceWidget("Red").mrmlSliceNode()
    view.SetOrientationToSagittal()
    rest(0.3)
    assert "cuts through 12 slices" in panel.ui.statusLabel.text
    assert jobs.cancelled == 1
    assert panel.ui.previewButton.checked
    view.SetOrientationToAxial()
    rest(0.3)
    assert len(jobs.asked) == 2
    jobs.answer()
    assert "fade with the slider" in panel.ui.statusLabel.text


def test_a_view_that_is_modified_but_stands_still_is_left_alone(
    panel: Any, jobs: Jobs, manager: LayoutManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Showing something may modify the view: that must not go round in a circle."""
    panel.ui.previewButton.click()
    jobs.answer()
    shown = []
    monkeypatch.setattr(panel.preview._layer, "show", lambda *_: shown.append(1))
    manager.sliceWidget("Red").mrmlSliceNode().Modified()
    rest(0.3)
    assert shown == []
    assert len(jobs.asked) == 1


def test_the_slider_and_the_flicker_key_show_before_and_after(panel: Any, jobs: Jobs, manager: LayoutManager) -> None:
    panel.ui.previewButton.click()
    red = composite(manager)
    assert red.GetForegroundOpacity() == 1
    panel.ui.beforeAfterSlider.value = 25
    assert red.GetForegroundOpacity() == pytest.approx(0.25)
    panel.results.before_after._timer.setInterval(20)
    panel.ui.flickerButton.press("Ctrl+Shift+B")
    seen: set[float] = set()
    wait_until(lambda: seen.add(red.GetForegroundOpacity()) or {0.0, 1.0} <= seen, fake_qt.pump)
    source, node = panel._parameterNode.inputVolume, panel.preview._layer.node
    source.GetDisplayNode().SetAutoWindowLevel(False)
    source.GetDisplayNode().SetWindowLevel(111, 55)
    assert (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()) == (111, 55)
    panel.ui.previewButton.click()
    assert not panel.ui.flickerButton.checked


def test_edited_voxels_and_other_options_are_computed_anew(panel: Any, jobs: Jobs) -> None:
    import slicer

    panel.ui.previewButton.click()
    jobs.answer(111)
    source = panel._parameterNode.inputVolume
    slicer.util.arrayFromVolume(source)[6, 10:20, 10:20] += 50
    slicer.util.arrayFromVolumeModified(source)
    rest(0.3)
    assert len(jobs.asked) == 2
    assert jobs.asked[1][0].kept != jobs.asked[0][0].kept
    assert np.array_equal(jobs.asked[1][0].volume.voxels, slicer.util.arrayFromVolume(source))
    jobs.asked[0][0].on_part(jobs.asked[0][0].boxes[0], np.full((1, 60, 52), 9, np.int16))  # of the old voxels
    jobs.answer(222)
    assert (voxels(panel) == 222).all()
    panel.ui.consistencyCheckBox.checked = not panel.ui.consistencyCheckBox.checked
    rest(0.3)
    assert len(jobs.asked) == 3
    assert jobs.asked[2][0].options.consistency is panel.ui.consistencyCheckBox.checked
    assert panel.ui.previewButton.checked


@pytest.mark.parametrize(
    "end", ["button", "leave", "scene", "reload", "enhance", "input removed", "view", "other input"]
)
def test_nothing_is_left_however_it_ends(
    panel: Any, jobs: Jobs, scene: Any, manager: LayoutManager, add_volume: Any, monkeypatch: Any, end: str
) -> None:
    import slicer

    other = add_volume(blob(), STRAIGHT, "other")
    nodes = node_ids(scene)
    panel.ui.previewButton.click()
    node = panel.preview._layer.node
    assert node_ids(scene) - nodes == {node.GetID(), node.GetDisplayNodeID()}
    source = panel._parameterNode.inputVolume
    kept = source.GetID()
    match end:
        case "button":
            panel.ui.previewButton.click()
        case "leave":
            panel.exit()
        case "scene":
            scene.Clear(0)
        case "reload":
            panel.cleanup()
        case "enhance":
            monkeypatch.setattr(panel.logic, "process", lambda **given: None)
            panel.ui.enhanceButton.click()
            assert panel.ui.statusLabel.text == "Starting"
        case "input removed":
            scene.RemoveNode(source)
        case "view":
            composite(manager).SetBackgroundVolumeID(other.GetID())
        case "other input":
            panel.ui.inputSelector.setCurrentNode(other)
            rest(0.3)
            assert panel.ui.previewButton.checked
            assert panel.preview._layer.source is other
            panel.ui.previewButton.click()
    assert jobs.cancelled >= 1
    assert not panel.ui.previewButton.checked
    names = [one.GetName() or "" for one in slicer.util.getNodesByClass("vtkMRMLNode", scene)]
    assert not [name for name in names if name.startswith("MedSR preview")]
    if end in ("button", "leave", "reload", "enhance", "other input"):
        assert node_ids(scene) == nodes
        assert composite(manager).GetBackgroundVolumeID() == kept
    if end == "view":
        assert composite(manager).GetBackgroundVolumeID() == other.GetID()
    assert composite(manager).GetForegroundVolumeID() is None
    rest(0.3)  # no timer goes on
    assert fake_widgets.BOXES == []


def test_reloading_the_module_in_mid_preview_is_safe(
    panel: Any, jobs: Jobs, scene: Any, module: Any, application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Slicer reloads: the new code is run while the old widget is still there, which is cleaned up then."""
    nodes, made = node_ids(scene), []

    def reload(old: Any) -> None:
        new = fake_slicer.load_module(monkeypatch, MODULE_FILE)
        old.cleanup()
        parent = fake_widgets.qMRMLWidget()
        parent.setLayout(fake_widgets.QVBoxLayout())
        parent.__dict__["isEntered"] = True
        made.append(new.MedSRWidget(parent))
        made[0].setup()
        made[0].enter()

    monkeypatch.setattr(module.ScriptedLoadableModuleWidget, "onReload", reload)
    kept = {name: one for name, one in sys.modules.items() if name.partition(".")[0] == "MedSRLib"}
    panel.ui.previewButton.click()
    panel.ui.flickerButton.click()
    try:
        panel.onReload()
        (new,) = made
        assert type(new.preview) is not type(panel.preview)
        assert node_ids(scene) == nodes
        assert jobs.cancelled == 1
        rest(1.0)  # no timer of the old one goes on
        again = Jobs(new)
        assert new._parameterNode.inputVolume is scene.GetFirstNodeByName("T1")
        new.ui.previewButton.click()
        again.answer(333)
        assert (voxels(new) == 333).all()
        new.cleanup()
        assert node_ids(scene) == nodes
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "MedSRLib"]:
            del sys.modules[name]
        sys.modules.update(kept)
    assert fake_widgets.BOXES == []


def test_a_failure_is_one_sentence_and_ends_it(panel: Any, jobs: Jobs, scene: Any) -> None:
    nodes = node_ids(scene)
    panel.ui.previewButton.click()
    jobs.asked[0][1].on_error("it is too <flat>: choose another", "the log")
    (box,) = fake_widgets.BOXES
    assert box.text == "it is too <flat>: choose another"
    assert not panel.ui.previewButton.checked
    assert node_ids(scene) == nodes


def test_what_lies_over_the_input_is_said(panel: Any, jobs: Jobs, manager: LayoutManager, add_volume: Any) -> None:
    composite(manager).SetForegroundVolumeID(add_volume(blob(), STRAIGHT, "PET").GetID())
    composite(manager).SetForegroundOpacity(0.5)
    panel.ui.previewButton.click()
    (box,) = fake_widgets.BOXES
    assert "'PET' lies over the volume in the Red view" in box.text
    assert not panel.ui.previewButton.checked
    assert jobs.asked == []


def test_a_model_of_whole_stacks_says_why_there_is_no_preview(
    open_panel: Callable[[], Any], add_volume: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_model(tmp_path / "thick", task="through-plane", factors=(1, 1, 4), factor_range=(1.5, 8), name="thick")
    make_tiny_model(tmp_path / "plane", name="plane")
    monkeypatch.setenv("MEDSR_MODELS", str(tmp_path))
    add_volume(blob())
    panel = open_panel()
    panel.ui.modelComboBox.choose("plane")
    assert panel.ui.previewButton.enabled
    panel.ui.improvementComboBox.choose("Isotropic from thick slices")
    panel.ui.modelComboBox.choose("thick")
    assert panel.ui.enhanceButton.enabled
    assert not panel.ui.previewButton.enabled
    assert "whole stack of slices" in panel.ui.previewButton.toolTip


def test_without_packages_the_preview_waits_for_the_first_enhance(panel: Any) -> None:
    panel.assessment.missing = ["monai"]
    panel._checkCanApply()
    assert not panel.ui.previewButton.enabled
    assert "installs what is needed" in panel.ui.previewButton.toolTip


def test_over_a_result_the_input_is_previewed_and_the_result_comes_back(
    panel: Any, jobs: Jobs, manager: LayoutManager
) -> None:
    result = enhance_node(panel._parameterNode.inputVolume)
    panel.onDone(result)
    assert composite(manager).GetBackgroundVolumeID() == result.GetID()
    panel.ui.previewButton.click()
    assert composite(manager).GetBackgroundVolumeID() == panel._parameterNode.inputVolume.GetID()
    panel.ui.beforeAfterSlider.value = 40
    assert composite(manager, "Green").GetForegroundVolumeID() is None
    panel.ui.previewButton.click()
    assert composite(manager).GetBackgroundVolumeID() == result.GetID()
    assert panel.ui.beforeAfterSlider.visible  # of the result again


@pytest.mark.parametrize("button", ["compareButton", "restoreButton", "undoButton"])
def test_other_looks_at_the_result_end_the_preview_first(
    panel: Any, jobs: Jobs, manager: LayoutManager, monkeypatch: pytest.MonkeyPatch, button: str
) -> None:
    source = panel._parameterNode.inputVolume
    monkeypatch.setattr(panel.logic, "process", lambda **asked: panel.onDone(enhance_node(source)))
    panel.ui.enhanceButton.click()
    panel.ui.previewButton.click()
    getattr(panel.ui, button).click()
    assert fake_widgets.BOXES == []
    assert not panel.ui.previewButton.checked
    assert panel.preview._layer is None
    assert composite(manager).GetForegroundVolumeID() is None


def test_too_much_is_let_go_of_oldest_first(
    panel: Any, jobs: Jobs, manager: LayoutManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    import MedSRLib.panel.slice_preview as slice_preview

    monkeypatch.setattr(slice_preview, "_KEPT_BYTES", 2 * 60 * 52 * 2)
    panel.ui.previewButton.click()
    jobs.answer()
    for _ in range(3):
        scroll(manager, 1)
        jobs.answer()
    assert sorted(box[4] for box in panel.preview._parts) == [8, 9]
