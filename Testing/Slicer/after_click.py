"""What a radiologist meets after the click, inside a real Slicer with its main window:

Slicer --testing --no-splash --additional-module-path REPOSITORY/MedSR --python-script after_click.py

With --screenshots FOLDER, pictures of the window are written.

Exit code 0: every step passed. 1: one failed. 2: packages are missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from clicking import BOX, SLICE_VIEWS, composite, enhance, looks, panel, picture, rest, screenshot, settle, show, shown
from steps import bounds, region_in, run, same, sample, say, wait_until

COMPARE_VIEWS = ("MedSRInput", "MedSROutput", "MedSRAdded")


def report_of(node: Any) -> dict[str, Any]:
    return json.loads(node.GetAttribute("MedSR.Report"))


def compare_shows_what_was_looked_at_on_an_oblique_plane() -> None:
    widget, source = panel(), sample()
    matrix = vtk.vtkMatrix4x4()
    source.GetIJKToRASMatrix(matrix)
    turn = vtk.vtkTransform()
    turn.SetMatrix(matrix)
    turn.PreMultiply()
    turn.RotateWXYZ(20, 1, 2, 3)
    source.SetIJKToRASMatrix(turn.GetMatrix())
    show(source)
    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    view.RotateToVolumePlane(source)
    low = bounds(source)
    view.JumpSliceByCentering(*[0.4 * low[2 * n] + 0.6 * low[2 * n + 1] for n in range(3)])
    wanted, seen = looks("Red")[:16], view.GetFieldOfView()
    enhance(widget, source)
    widget.ui.compareButton.click()
    rest(1.5)
    for name in COMPARE_VIEWS:
        assert same(looks(name)[:16], wanted, 1e-2), f"{name} looks elsewhere"
        node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
        assert node.GetFieldOfView()[0] >= seen[0] - 0.1
        assert node.GetFieldOfView()[1] >= seen[1] - 0.1
        assert len(node.GetLayoutLabel()) <= 2
        corner = slicer.app.layoutManager().sliceWidget(name).sliceView().cornerAnnotation()
        assert corner.GetText(7)
        assert picture(name).std() > 3, f"{name} is black"
    screenshot("compare-oblique")
    widget.ui.restoreButton.click()
    rest(0.5)
    assert same(looks("Red")[:16], wanted, 1e-2)


def enhance_while_comparing_keeps_the_panes_and_the_way_back() -> None:
    widget, source = panel(), sample()
    show(source)
    layout = slicer.app.layoutManager().layout
    box = region_in(source, BOX)
    enhance(widget, source, box)
    widget.ui.compareButton.click()
    rest(0.5)
    second = enhance(widget, source, box)
    rest(0.5)
    assert shown("MedSRInput") is source
    assert shown("MedSROutput") is second
    widget.ui.restoreButton.click()
    rest(0.5)
    assert slicer.app.layoutManager().layout == layout
    assert shown("Red") is source


def a_result_is_shown_whatever_the_views_show() -> None:
    widget, source, other = panel(), sample(), sample()
    show(other)
    result = enhance(widget, source)
    assert shown("Red") is result
    assert "Red" in widget.ui.statusLabel.text
    again = enhance(widget, result)
    assert shown("Red") is again
    third = enhance(widget, source)
    assert shown("Red") is third
    widget.ui.inputSelector.setCurrentNode(other)
    widget.ui.enhanceButton.click()
    slicer.mrmlScene.RemoveNode(other)
    settle(widget)
    assert shown("Red") is widget._parameterNode.resultVolume
    assert "shown in" in widget.ui.statusLabel.text


def added_detail_of_a_changed_input_is_refused() -> None:
    widget, source = panel(), sample()
    show(source)
    enhance(widget, source, region_in(source, BOX))
    slicer.util.arrayFromVolume(source)[2:4] += 7
    source.Modified()
    layout = slicer.app.layoutManager().layout
    widget.ui.compareButton.click()
    rest(0.3)
    assert slicer.app.layoutManager().layout == layout


def an_output_leaves_the_file_that_it_came_from() -> None:
    widget, source = panel(), sample()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "somebody.nrrd")
        assert slicer.util.saveNode(source, str(path))
        target = slicer.util.loadVolume(str(path))
        written = path.read_bytes()
        widget.ui.outputSelector.setCurrentNode(target)
        widget.ui.inputSelector.setCurrentNode(source)
        widget.ui.regionSelector.setCurrentNode(region_in(source, BOX))
        widget.ui.enhanceButton.click()
        settle(widget)
        assert target.GetStorageNode() is None
        assert "MedSR x2" in target.GetName()
        assert path.read_bytes() == written
    widget.ui.outputSelector.setCurrentNode(None)


def the_verdict_stands_beside_done_and_trust_does_not_widen_the_window() -> None:
    widget, source = panel(), sample()
    show(source)
    enhance(widget, source)
    assert widget.ui.verdictLabel.visible
    assert "agrees with the scan" in widget.ui.verdictLabel.text
    notes = report_of(widget._parameterNode.resultVolume)["notes"]
    assert any("taken for MR" in note for note in notes)
    before = slicer.util.mainWindow().width
    widget.results.trust.on_details()
    widget.ui.advancedCollapsibleButton.collapsed = False
    rest(0.3)
    assert not widget.ui.trustCollapsibleButton.collapsed
    assert slicer.util.mainWindow().width == before
    wide = {
        child.name: child.minimumSizeHint.width()
        for child in slicer.util.findChildren(widget.parent)
        if isinstance(child, qt.QWidget) and child.visible and child.minimumSizeHint.width() > 330
    }
    say(f"widgets whose minimum is above 330 pixels: {wide}")
    for name in ("enhanceButton", "statusLabel", "verdictLabel"):
        one = getattr(widget.ui, name)
        say(f"{name} ends at {one.mapTo(widget.parent, qt.QPoint(0, one.height)).y()} of {widget.parent.height}")
    screenshot("verdict")
    widget.ui.trustCollapsibleButton.collapsed = True
    widget.ui.advancedCollapsibleButton.collapsed = True


def enhancing_a_result_again_warns() -> None:
    widget, source = panel(), sample()
    first = enhance(widget, source, region_in(source, BOX))
    again = enhance(widget, first)
    assert "itself a result of MedSR" in report_of(again)["warnings"][0]


def all_frames_have_reports_and_a_summary() -> None:
    widget, source = panel(), sample()
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    for n in range(2):
        sequence.SetDataNodeAtValue(source, str(n))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    show(proxy)
    widget.ui.inputSelector.setCurrentNode(proxy)
    widget.ui.regionSelector.setCurrentNode(region_in(source, BOX))
    widget.ui.allFramesCheckBox.checked = True
    assert widget.ui.estimateLabel.text.startswith("2 frames")
    assert not widget.ui.uncertaintyCheckBox.enabled
    assert not widget.ui.outputSelector.enabled
    widget.ui.enhanceButton.click()
    settle(widget)
    result = widget._parameterNode.resultVolume
    made = browser.GetSequenceNode(result)
    assert [frame["name"] for frame in report_of(made)["frames"]] == ["0", "1"]
    assert all(made.GetNthDataNode(n).GetAttribute("MedSR.Report") for n in range(2))
    assert "Frame 1" in widget.ui.reportLabel.text
    widget.ui.compareButton.click()
    rest(0.5)
    assert shown("MedSRInput") is proxy
    widget.ui.restoreButton.click()
    widget.ui.allFramesCheckBox.checked = False


def a_double_click_does_not_cancel() -> None:
    widget, source = panel(), sample()
    widget.ui.inputSelector.setCurrentNode(source)
    widget.ui.regionSelector.setCurrentNode(region_in(source, BOX))
    widget.ui.enhanceButton.click()
    widget.ui.enhanceButton.click()
    settle(widget)
    assert widget._parameterNode.resultVolume is not None


def without_pytorch_the_way_is_said_before_the_click() -> None:
    import MedSRLib.panel.assessment as assessment

    widget, source = panel(), sample()
    widget.ui.inputSelector.setCurrentNode(source)
    there = assessment.needs_extension
    assessment.needs_extension = lambda missing: True
    try:
        widget._checkCanApply()
        assert not widget.ui.enhanceButton.enabled
        assert widget.ui.extensionsButton.visible
        screenshot("without-pytorch")
    finally:
        assessment.needs_extension = there
    widget._checkCanApply()
    assert widget.ui.enhanceButton.enabled
    assert not widget.ui.extensionsButton.visible


def the_worker_starts_without_pythonpath_and_rests() -> None:
    from MedSRLib.jobs.transport import command_of

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        command_of("worker"), input="", capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert '"ready"' in ran.stdout, ran.stderr
    widget, source = panel(), sample()
    widget.logic.close()
    runner = widget.logic.backgroundJobs()._runner
    runner._idle_seconds = 1.0
    try:
        enhance(widget, source, region_in(source, BOX))
        assert runner.worker_pid is not None
        wait_until(lambda: runner.worker_pid is None, "the idle worker has ended", seconds=20)
    finally:
        runner._idle_seconds = 300.0
    assert enhance(widget, source, region_in(source, BOX)) is not None


def another_python_is_named_and_what_it_lacks_is_said() -> None:
    widget, source = panel(), sample()
    widget.ui.inputSelector.setCurrentNode(source)
    line = widget.ui.pythonPathLineEdit
    line.currentPath = sys.executable
    try:
        assert widget.ui.enhanceButton.enabled, widget.ui.enhanceButton.toolTip
        assert enhance(widget, source, region_in(source, BOX)) is not None
        with tempfile.TemporaryDirectory() as folder:
            other = Path(folder, "no_python")
            other.write_text("#!/bin/sh\nexit 1\n")
            other.chmod(0o755)
            line.currentPath = str(other)
            assert not widget.ui.enhanceButton.enabled
            assert "cannot be started as Python" in widget.ui.enhanceButton.toolTip
    finally:
        line.currentPath = ""
    assert widget.ui.enhanceButton.enabled


def a_region_is_drawn_and_its_result_lies_over_the_input() -> None:
    widget, source = panel(), sample()
    show(source)
    widget.ui.inputSelector.setCurrentNode(source)
    widget.ui.advancedCollapsibleButton.collapsed = False
    widget.ui.drawRegionButton.click()
    region = widget.ui.regionSelector.currentNode()
    assert region is not None
    widget.ui.showRegionButton.click()
    assert not region.GetDisplayNode().GetVisibility()
    widget.ui.showRegionButton.click()
    assert region.GetDisplayNode().GetVisibility()
    screenshot("region")
    result = enhance(widget, source, region)
    assert not region.GetDisplayNode().GetFillVisibility()
    assert shown("Red") is source
    assert composite("Red").GetForegroundVolumeID() == result.GetID()
    screenshot("region-result")
    widget.ui.fitRegionButton.click()
    widget.ui.advancedCollapsibleButton.collapsed = True


def before_and_after_fade_flicker_and_share_grey_levels() -> None:
    widget, source = panel(), sample()
    show(source)
    result = enhance(widget, source)
    places = [looks(name) for name in SLICE_VIEWS]
    widget.ui.beforeAfterSlider.value = 0
    before = picture("Red")
    widget.ui.beforeAfterSlider.value = 100
    assert np.abs(before.astype(int) - picture("Red")).max() > 3
    assert all(same(looks(name), place) for name, place in zip(SLICE_VIEWS, places, strict=True))
    source.GetDisplayNode().SetAutoWindowLevel(False)
    source.GetDisplayNode().SetWindowLevel(901, 333)
    assert (result.GetDisplayNode().GetWindow(), result.GetDisplayNode().GetLevel()) == (901, 333)
    widget.ui.flickerButton.click()
    seen: set[float] = set()
    wait_until(
        lambda: seen.add(composite("Red").GetForegroundOpacity()) or len(seen) == 2, "both were shown", seconds=10
    )
    widget.ui.flickerButton.click()
    assert composite("Red").GetForegroundOpacity() == 1


def the_uncertainty_map_has_colours_a_legend_and_a_view() -> None:
    widget, source = panel(), sample()
    show(source)
    widget.ui.uncertaintyCheckBox.checked = True
    result = enhance(widget, source, region_in(source, (30, 30, 3)))
    widget.ui.uncertaintyCheckBox.checked = False
    spread = result.GetNodeReference("MedSR.Uncertainty")
    assert spread.GetScalarVolumeDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeFileInferno.txt"
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(spread) is not None
    widget.ui.compareButton.click()
    rest(1.0)
    assert shown("MedSRUncertainty") is spread
    screenshot("compare-uncertainty")
    widget.ui.restoreButton.click()


run(
    [
        compare_shows_what_was_looked_at_on_an_oblique_plane,
        enhance_while_comparing_keeps_the_panes_and_the_way_back,
        a_result_is_shown_whatever_the_views_show,
        added_detail_of_a_changed_input_is_refused,
        an_output_leaves_the_file_that_it_came_from,
        the_verdict_stands_beside_done_and_trust_does_not_widen_the_window,
        enhancing_a_result_again_warns,
        all_frames_have_reports_and_a_summary,
        a_double_click_does_not_cancel,
        without_pytorch_the_way_is_said_before_the_click,
        the_worker_starts_without_pythonpath_and_rests,
        another_python_is_named_and_what_it_lacks_is_said,
        a_region_is_drawn_and_its_result_lies_over_the_input,
        before_and_after_fade_flicker_and_share_grey_levels,
        the_uncertainty_map_has_colours_a_legend_and_a_view,
    ]
)
