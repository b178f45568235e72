"""What a user meets after the click: where the result is shown, what is said of it, and the tools to judge it with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_qt
import fake_widgets
import numpy as np
import pytest
from fake_layout import LayoutManager
from jobs_support import wait_until
from module_fixtures import settle
from reports import report_of
from scene_fixtures import STRAIGHT, blob, enhance_node, node_ids


@pytest.fixture
def manager(application: Any, scene: Any) -> Iterator[LayoutManager]:
    """Slicer's layout manager, with its four-up views."""
    manager = application.layout_manager = LayoutManager(scene)
    yield manager
    manager.close()


@pytest.fixture
def panel(
    open_panel: Callable[[], Any], models_folder: Path, add_volume: Callable[..., Any], manager: LayoutManager
) -> Any:
    """An open panel; a volume in all views, looked at off-centre."""
    source = add_volume(blob(), STRAIGHT)
    for name in ("Red", "Green", "Yellow"):
        widget = manager.sliceWidget(name)
        widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(source.GetID())
        widget.mrmlSliceNode().JumpSliceByCentering(*(STRAIGHT @ [12, 14, 6, 1])[:3])
        widget.mrmlSliceNode().SetFieldOfView(20, 15, 1)
    return open_panel()


def finish(panel: Any, source: Any = None, **options: Any) -> Any:
    """A run that ends now, without a worker: the result is in the scene and the panel is told."""
    result = enhance_node(source or panel._parameterNode.inputVolume, **options)
    panel.onDone(result)
    return result


def shown(manager: LayoutManager, name: str) -> Any:
    return manager.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID()


def offset(manager: LayoutManager, name: str) -> float:
    return manager.sliceWidget(name).mrmlSliceNode().GetSliceOffset()


def test_the_status_says_where_the_result_is_shown(panel: Any, manager: LayoutManager) -> None:
    result = finish(panel)
    assert panel.ui.statusLabel.text == "Done: T1 MedSR x2, shown in Red, Green, Yellow"
    assert {shown(manager, name) for name in ("Red", "Green", "Yellow")} == {result.GetID()}
    assert panel.ui.verdictLabel.visible


def test_a_result_whose_input_no_view_shows_goes_to_all_views_and_is_seen_whole(
    panel: Any, manager: LayoutManager, add_volume: Callable[..., Any]
) -> None:
    hidden = add_volume(blob() + np.int16(1), STRAIGHT + np.eye(4, k=3) * 300, "hidden")
    result = finish(panel, hidden)
    assert panel.ui.statusLabel.text == "Done: hidden MedSR x2, shown in Red, Green, Yellow"
    assert shown(manager, "Red") == result.GetID()
    low = [0.0] * 6
    result.GetRASBounds(low)
    assert low[4] <= offset(manager, "Red") <= low[5]
    assert low[0] <= -offset(manager, "Yellow") <= low[1]  # a sagittal view looks against R


def test_a_result_whose_input_was_deleted_in_mid_run_is_shown(panel: Any, manager: LayoutManager, scene: Any) -> None:
    source = panel._parameterNode.inputVolume
    result = enhance_node(source)
    scene.RemoveNode(source)
    panel.onDone(result)
    assert "shown in Red, Green, Yellow" in panel.ui.statusLabel.text
    assert shown(manager, "Green") == result.GetID()
    assert not panel.ui.flickerButton.visible


def test_without_a_slice_view_the_status_says_so(panel: Any, manager: LayoutManager) -> None:
    import slicer

    manager.node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView)
    finish(panel)
    assert panel.ui.statusLabel.text.endswith("not shown, as no slice view is open")


def test_compare_looks_where_the_input_was_looked_at_and_names_the_panes(panel: Any, manager: LayoutManager) -> None:
    place = offset(manager, "Red")
    assert place != 0
    result = finish(panel)
    panel.ui.compareButton.click()
    fake_qt.pump()
    assert fake_widgets.BOXES == []
    for name, text in (("MedSRInput", "Input"), ("MedSROutput", "MedSR result"), ("MedSRAdded", "Added detail")):
        assert offset(manager, name) == pytest.approx(place)
        assert manager.annotations[name][7] == text
    assert shown(manager, "MedSRInput") == result.GetNodeReferenceID("MedSR.Source")


def test_the_next_result_takes_its_pane_while_comparing_and_the_way_back_stays(
    panel: Any, manager: LayoutManager
) -> None:
    source, before = panel._parameterNode.inputVolume, manager.layout
    finish(panel)
    panel.ui.compareButton.click()
    comparing = manager.layout
    second = finish(panel)
    assert manager.layout == comparing
    assert shown(manager, "MedSRInput") == source.GetID()
    assert shown(manager, "MedSROutput") == second.GetID()
    assert "beside its input" in panel.ui.statusLabel.text
    panel.ui.restoreButton.click()
    assert manager.layout == before
    assert shown(manager, "Red") == source.GetID()
    assert not panel.ui.restoreButton.enabled


def test_an_input_that_changed_while_the_job_ran_ends_comparing(panel: Any, manager: LayoutManager) -> None:
    import slicer

    source, before = panel._parameterNode.inputVolume, manager.layout
    finish(panel)
    panel.ui.compareButton.click()
    second = enhance_node(source)
    slicer.util.arrayFromVolume(source)[2, 3, 4] += 5
    panel.onDone(second)
    assert manager.layout == before
    assert shown(manager, "Red") == second.GetID()
    assert "shown in Red" in panel.ui.statusLabel.text


def test_an_input_that_changed_since_is_not_compared_but_said(panel: Any, manager: LayoutManager) -> None:
    import slicer

    finish(panel)
    slicer.util.arrayFromVolume(panel._parameterNode.inputVolume)[2, 3, 4] += 5
    before = manager.layout
    panel.ui.compareButton.click()
    (box,) = fake_widgets.BOXES
    assert "was changed since" in box.text
    assert manager.layout == before


def test_details_unfold_the_report(panel: Any) -> None:
    finish(panel, warnings=("unlike <what> it knows",))
    assert "1 warning" in panel.ui.verdictLabel.text
    assert panel.ui.trustCollapsibleButton.collapsed
    panel.ui.verdictLabel.linkActivated.emit("details")
    assert not panel.ui.trustCollapsibleButton.collapsed
    assert "unlike &lt;what&gt; it knows" in panel.ui.reportLabel.text


def test_an_old_verdict_is_not_shown_beside_a_running_job(panel: Any, module: Any) -> None:
    finish(panel)
    panel.setProcessingState(module.ProcessingState.Running, "enhancing")
    assert not panel.ui.verdictLabel.visible
    panel.setProcessingState(module.ProcessingState.Idle, "Cancelled")
    assert panel.ui.verdictLabel.visible


@pytest.mark.parametrize(
    ("figures", "verdict", "says"),
    [
        (
            {"lr_consistency_percent": 0.31, "edge_sharpness_gain": 1.12},
            "Good",
            "edges 12 % steeper, no warnings",
        ),
        ({"lr_consistency_percent": 0.31, "warnings": ("w", "v")}, "Check", "agrees with the scan to 0.31 %"),
        ({"lr_consistency_percent": 2.0, "edge_sharpness_gain": 0.98}, "Check", "edges no steeper, no warnings"),
        ({"lr_consistency_percent": 7.5}, "Bad", "departs from the scan by 7.5 %"),
        # What was taken off as noise is no disagreement.
        ({"lr_consistency_percent": 4.0, "noise": 4.0}, "Good", "agrees with the scan to 4 %"),
        ({"lr_consistency_percent": 4.0, "noise": 2.0}, "Bad", "departs from the scan by 4 %"),
    ],
)
def test_the_verdict_is_one_line_in_plain_words(
    module: ModuleType, figures: dict[str, Any], verdict: str, says: str
) -> None:
    from MedSRLib.panel.verdict import verdict_line, verdict_of

    report = report_of(**figures)
    assert verdict_of(report).name == verdict
    assert says in verdict_line(report)


def test_the_report_has_units_and_says_who_said_how_the_input_was_acquired(module: ModuleType) -> None:
    from MedSRLib.panel.verdict import report_table

    table = report_table(report_of((1, 1, 3), added_detail_rms=12.3))
    assert "12.3 grey levels" in table
    assert "spacing (from the header)" in table
    assert "spacing (assumed)" in report_table(report_of((1, 1, 3), slice_thickness_source="assumed"))
    assert "noise of 0.8 \N{PLUS-MINUS SIGN} 0.1 % of the range (estimated)" in table
    assert "0.90 times the noise, correlation of neighbours +0.05, 2 % of fine detail is missing" in table


def test_input_and_result_fade_into_each_other_in_the_same_grey_levels(panel: Any, manager: LayoutManager) -> None:
    assert not panel.ui.beforeAfterSlider.visible
    result = finish(panel)
    source = result.GetNodeReference("MedSR.Source")
    assert panel.ui.beforeAfterSlider.visible
    assert panel.ui.beforeAfterSlider.value == 100
    panel.ui.beforeAfterSlider.value = 30
    red = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    assert (red.GetBackgroundVolumeID(), red.GetForegroundVolumeID()) == (source.GetID(), result.GetID())
    assert red.GetForegroundOpacity() == pytest.approx(0.3)
    source.GetDisplayNode().SetAutoWindowLevel(False)  # as the mouse does that changes it
    source.GetDisplayNode().SetWindowLevel(111, 55)
    assert (result.GetDisplayNode().GetWindow(), result.GetDisplayNode().GetLevel()) == (111, 55)
    result.GetDisplayNode().SetWindowLevel(222, 66)
    assert (source.GetDisplayNode().GetWindow(), source.GetDisplayNode().GetLevel()) == (222, 66)


def test_what_the_user_laid_over_the_image_stays(
    panel: Any, manager: LayoutManager, add_volume: Callable[..., Any]
) -> None:
    finish(panel)
    pet = add_volume(blob(), STRAIGHT, "PET")
    red = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    red.SetForegroundVolumeID(pet.GetID())
    panel.ui.beforeAfterSlider.value = 0
    assert red.GetForegroundVolumeID() == pet.GetID()
    assert manager.sliceWidget("Green").mrmlSliceCompositeNode().GetForegroundOpacity() == 0


def test_flickering_shows_both_in_turn_and_ends_with_the_result(panel: Any, manager: LayoutManager) -> None:
    finish(panel)
    panel.results.before_after._timer.setInterval(20)
    red, seen = manager.sliceWidget("Red").mrmlSliceCompositeNode(), []
    panel.ui.flickerButton.click()

    def both() -> bool:
        seen.append(red.GetForegroundOpacity())
        return {0.0, 1.0} <= set(seen[-200:]) and len(seen) > 20

    wait_until(both, fake_qt.pump)
    panel.ui.flickerButton.click()
    assert panel.ui.beforeAfterSlider.value == 100
    fake_qt.pump()
    assert red.GetForegroundOpacity() == 1


def test_another_result_ends_flickering(panel: Any) -> None:
    finish(panel)
    panel.ui.flickerButton.click()
    finish(panel)
    assert not panel.ui.flickerButton.checked


def test_a_box_is_drawn_shown_hidden_and_put_around_the_volume(panel: Any, manager: LayoutManager) -> None:
    assert not panel.ui.fitRegionButton.enabled
    panel.ui.drawRegionButton.click()
    region = panel.ui.regionSelector.currentNode()
    assert region is panel._parameterNode.region
    small = panel.ui.estimateLabel.text
    assert not small.startswith("52 x 60 x 12")
    panel.ui.showRegionButton.click()
    assert not region.GetDisplayNode().GetVisibility()
    panel.ui.showRegionButton.click()
    assert region.GetDisplayNode().GetVisibility()
    panel.ui.fitRegionButton.click()
    assert panel.ui.estimateLabel.text.startswith("52 x 60 x 12")  # the estimate follows the box
    finish(panel)
    assert not region.GetDisplayNode().GetFillVisibility()


def test_the_result_of_a_region_lies_over_its_input(panel: Any, manager: LayoutManager) -> None:
    result = finish(panel, roi=(2, 20, 3, 20, 1, 9))
    red = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == result.GetNodeReferenceID("MedSR.Source")
    assert red.GetForegroundVolumeID() == result.GetID()
    assert red.GetForegroundOpacity() == 1
    assert "shown in Red" in panel.ui.statusLabel.text


def test_the_modality_that_is_chosen_reaches_the_job(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(panel.logic, "process", lambda *_, **given: asked.append(given["modality"]))
    for label in ("Automatic", "Ultrasound"):
        panel.ui.modalityComboBox.choose(label)
        panel.ui.enhanceButton.click()
        panel.onCancelled()
    assert asked == [None, "US"]


def test_a_result_that_is_enhanced_again_is_said_to_be_one_before_the_click(panel: Any) -> None:
    result = finish(panel)
    assert "result of MedSR" not in panel.ui.explanationLabel.text
    panel.ui.inputSelector.setCurrentNode(result)
    assert "result of MedSR" in panel.ui.explanationLabel.text
    again = enhance_node(result)
    assert "itself a result" in json.loads(again.GetAttribute("MedSR.Report"))["warnings"][0]


def test_leaving_the_module_ends_flickering(panel: Any) -> None:
    finish(panel)
    panel.ui.flickerButton.click()
    panel.exit()
    assert not panel.ui.flickerButton.checked
    settle(panel)


def run(panel: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """A click on Enhance whose run ends at once."""
    monkeypatch.setattr(
        panel.logic,
        "process",
        lambda **asked: panel.onDone(enhance_node(asked["inputVolume"], asked["outputVolume"], **options)),
    )
    panel.ui.enhanceButton.press("Ctrl+Shift+E")
    return panel._parameterNode.resultVolume


def test_undo_takes_the_latest_results_out_of_the_scene_one_by_one(
    panel: Any, manager: LayoutManager, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, before = panel._parameterNode.inputVolume, node_ids(scene)
    assert not panel.ui.undoButton.visible
    first = run(panel, monkeypatch)
    after_first = node_ids(scene)
    second = run(panel, monkeypatch, uncertainty=True)
    assert panel.ui.undoButton.visible
    panel.ui.compareButton.click()
    panel.ui.undoButton.press("Ctrl+Shift+U")
    assert panel.ui.statusLabel.text == "Undone: T1 MedSR x2_1"
    assert scene.GetFirstNodeByName("T1 MedSR x2_1") is None
    assert {name for name in node_ids(scene) - after_first if "Volume" in name and "Display" not in name} == set()
    assert panel._parameterNode.resultVolume is first
    assert panel.ui.verdictLabel.visible
    assert shown(manager, "Red") == source.GetID()
    panel.ui.undoButton.press("Ctrl+Shift+U")
    assert {name for name in node_ids(scene) - before if "Volume" in name} == set()
    assert panel._parameterNode.resultVolume is None
    assert not panel.ui.undoButton.visible
    assert not panel.ui.verdictLabel.visible
    assert not panel.ui.flickerButton.visible
    assert panel._parameterNode.inputVolume is source
    assert second.GetScene() is None


@pytest.mark.parametrize("restored", [False, True])
def test_undo_shows_the_input_where_the_user_looks_now(
    panel: Any, manager: LayoutManager, monkeypatch: pytest.MonkeyPatch, restored: bool
) -> None:
    source = panel._parameterNode.inputVolume
    result = run(panel, monkeypatch)
    if restored:  # there is no way back any more, and the user chose the result again
        panel.ui.restoreButton.click()
        manager.sliceWidget("Red").mrmlSliceCompositeNode().SetBackgroundVolumeID(result.GetID())
    view = manager.sliceWidget("Red").mrmlSliceNode()
    view.SetSliceOffset(view.GetSliceOffset() + 5)
    place = offset(manager, "Red")
    panel.ui.undoButton.click()
    assert shown(manager, "Red") == source.GetID()
    assert offset(manager, "Red") == pytest.approx(place)


def test_undo_gives_back_what_was_written_over(
    panel: Any, add_volume: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    target = add_volume(np.full((3, 4, 5), 9, np.int16), name="target")
    panel.ui.outputSelector.setCurrentNode(target)
    fake_widgets.ANSWERS.append(fake_widgets.QMessageBox.Ok)
    assert run(panel, monkeypatch) is target
    assert target.GetImageData().GetDimensions() == (52, 60, 12)
    panel.ui.undoButton.click()
    assert (slicer.util.arrayFromVolume(target) == 9).all()
    assert target.GetAttribute("MedSR.Report") is None


def test_undo_is_not_offered_for_what_is_gone_or_in_mid_run(
    panel: Any, scene: Any, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(panel, monkeypatch)
    panel.setProcessingState(module.ProcessingState.Running, "enhancing")
    assert not panel.ui.undoButton.enabled
    panel.setProcessingState(module.ProcessingState.Idle)
    assert panel.ui.undoButton.enabled
    scene.RemoveNode(result)
    panel._checkCanApply()
    assert not panel.ui.undoButton.visible


def test_a_failed_run_leaves_nothing_to_take_back(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel.logic, "process", lambda **asked: panel.onError("it is too flat"))
    panel.ui.enhanceButton.click()
    assert not panel.ui.undoButton.visible


def test_enhance_keeps_its_key_when_its_text_changes(panel: Any, module: Any) -> None:
    for state in (module.ProcessingState.Running, module.ProcessingState.Idle):
        panel.setProcessingState(state)
        assert panel.ui.enhanceButton.shortcut == "Ctrl+Shift+E"
        assert "Ctrl+Shift+E" in panel.ui.enhanceButton.toolTip
