"""MedSR's panel, clicked through inside a real Slicer with its main window:

Slicer --testing --no-splash --additional-module-path REPOSITORY/MedSR --python-script panel.py [--screenshots FOLDER]

Exit code 0: every step passed. 1: one failed. 2: packages are missing. Times are printed; with --screenshots, pictures
of the window after a run and in the compare views are written.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import slicer
from clicking import SLICE_VIEWS, composite, enhance, looks, panel, screenshot, settle, shown
from steps import bounds, region_in, run, same, sample, say, wait_until


def it_opens_quickly_and_without_torch() -> None:
    loaded = "torch" in sys.modules
    started = time.monotonic()
    widget = panel()
    say(f"the panel opened in {time.monotonic() - started:.2f} s")
    assert loaded or "torch" not in sys.modules
    assert not widget.ui.enhanceButton.enabled
    assert widget.ui.enhanceButton.toolTip


def a_click_makes_a_sharper_volume_in_the_inputs_place() -> None:
    widget, source = panel(), sample()
    slicer.util.setSliceViewerLayers(background=source, fit=True)
    source.GetDisplayNode().SetAutoWindowLevel(False)
    source.GetDisplayNode().SetWindowLevel(1200, 700)
    before = [looks(name) for name in SLICE_VIEWS]
    widget.logic.close()
    for which in ("first", "second"):
        started = time.monotonic()
        result = enhance(widget, source)
        say(f"{which} click to result: {time.monotonic() - started:.1f} s")
        assert same(bounds(result), bounds(source))
        assert (result.GetDisplayNode().GetWindow(), result.GetDisplayNode().GetLevel()) == (1200, 700)
        for name, place in zip(SLICE_VIEWS, before, strict=True):
            assert shown(name) is result
            assert same(looks(name), place)
    assert widget.ui.enhanceButton.text == "Enhance"
    assert not widget.ui.progressBar.visible
    widget.ui.trustCollapsibleButton.collapsed = False
    assert "<table>" in widget.ui.reportLabel.text
    screenshot("panel")


def results_are_compared_and_the_views_restored() -> None:
    widget, source = panel(), sample()
    slicer.util.setSliceViewerLayers(background=source, fit=True)
    layout = slicer.app.layoutManager().layout
    place = looks("Red")
    result = enhance(widget, source, region_in(source, (90, 90, 9)))
    widget.ui.compareButton.click()
    slicer.app.processEvents()
    assert shown("MedSRInput") is source
    assert shown("MedSROutput") is result
    assert shown("MedSRAdded") is result.GetNodeReference("MedSR.Added")
    assert same(looks("MedSRInput")[:16], place[:16])
    assert all(composite(name).GetLinkedControl() for name in ("MedSRInput", "MedSROutput", "MedSRAdded"))
    screenshot("compare")
    widget.ui.restoreButton.click()
    slicer.app.processEvents()
    assert slicer.app.layoutManager().layout == layout
    assert shown("Red") is source
    assert same(looks("Red"), place)
    assert not widget.ui.restoreButton.enabled


def cancel_leaves_nothing() -> None:
    widget, source = panel(), sample()
    widget.ui.inputSelector.setCurrentNode(source)
    widget.ui.uncertaintyCheckBox.checked = True
    count = slicer.mrmlScene.GetNumberOfNodes()
    widget.ui.enhanceButton.click()
    assert widget.ui.enhanceButton.text == "Cancel"
    wait_until(lambda: widget.ui.progressBar.value > 0 and not widget.run.just_started(), "there is progress")
    widget.ui.enhanceButton.click()
    settle(widget)
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    assert widget.ui.enhanceButton.enabled
    assert widget._parameterNode.resultVolume is None


def an_error_leaves_the_scene_as_it_was() -> None:
    widget, source = panel(), sample()
    slicer.util.updateVolumeFromArray(source, np.full((4, 20, 20), 7, np.int16))
    widget.ui.inputSelector.setCurrentNode(source)
    count = slicer.mrmlScene.GetNumberOfNodes()
    widget.ui.enhanceButton.click()
    settle(widget)
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    assert widget._parameterNode.resultVolume is None
    assert widget.ui.enhanceButton.enabled


def closing_the_scene_in_mid_run_ends_the_job() -> None:
    widget, source = panel(), sample()
    widget.ui.inputSelector.setCurrentNode(source)
    widget.ui.uncertaintyCheckBox.checked = True
    widget.ui.enhanceButton.click()
    wait_until(lambda: widget.ui.progressBar.value > 0, "there is progress")
    pid = widget.logic._jobs._runner.worker_pid
    slicer.mrmlScene.Clear(0)
    assert widget._state.name == "Idle"
    wait_until(lambda: not alive(pid), "the worker is gone", seconds=10)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    result = enhance(widget, sample(), None)
    assert result.GetNodeReference("MedSR.Source") is not None


def alive(pid: int) -> bool:
    """Whether a process is there; on Windows nothing is asked, as os.kill would end it."""
    if os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def a_saved_scene_comes_back_with_its_report() -> None:
    widget, source = panel(), sample()
    widget.ui.consistencyCheckBox.checked = False
    result = enhance(widget, source, region_in(source, (45, 45, 6)))
    name = result.GetName()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "scene.mrb"))
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(path)
        slicer.app.processEvents()
        assert widget._parameterNode.resultVolume.GetName() == name
        assert widget._parameterNode.consistency is False
        assert not widget.ui.consistencyCheckBox.checked
        assert widget.ui.regionSelector.currentNode() is not None
        assert "<table>" in widget.ui.reportLabel.text


def the_devices_get_their_names() -> None:
    widget = panel()
    widget.ui.advancedCollapsibleButton.collapsed = False
    wait_until(lambda: widget.devices._query._transport is None, "the devices are known", seconds=60)
    box = widget.ui.deviceComboBox
    say(f"devices: {[box.itemText(n) for n in range(box.count)]}")
    assert box.findData("cpu") >= 0
    widget.ui.advancedCollapsibleButton.collapsed = True


def other_modules_and_back() -> None:
    widget, source = panel(), sample()
    widget.ui.inputSelector.setCurrentNode(source)
    slicer.util.selectModule("Volumes")
    slicer.app.processEvents()
    widget = panel()
    assert widget.ui.inputSelector.currentNode() is source
    assert widget.ui.enhanceButton.enabled


def it_reloads() -> None:
    panel().onReload()
    widget = slicer.util.getModuleWidget("MedSR")
    assert enhance(widget, sample(), None) is not None


run(
    [
        it_opens_quickly_and_without_torch,
        a_click_makes_a_sharper_volume_in_the_inputs_place,
        results_are_compared_and_the_views_restored,
        cancel_leaves_nothing,
        an_error_leaves_the_scene_as_it_was,
        closing_the_scene_in_mid_run_ends_the_job,
        a_saved_scene_comes_back_with_its_report,
        the_devices_get_their_names,
        other_modules_and_back,
        it_reloads,
    ]
)
