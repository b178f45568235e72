"""Preview, Undo and the keys, inside a real Slicer with its main window:

Slicer --testing --no-splash --additional-module-path REPOSITORY/MedSR --python-script preview.py

With --screenshots FOLDER, pictures of the window are written. Times are printed.

Exit code 0: every step passed. 1: one failed. 2: packages are missing.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from clicking import BOX, composite, enhance, panel, picture, rest, screenshot, settle, show, shown
from steps import region_in, run, sample, say, wait_until


def preview_of(widget: Any, volume: Any) -> Any:
    """Clicks Preview for a volume in the red view, and waits until the slice is there; the temporary volume."""
    show(volume)
    slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().RotateToVolumePlane(volume)
    widget.ui.inputSelector.setCurrentNode(volume)
    widget.ui.regionSelector.setCurrentNode(None)
    assert widget.ui.previewButton.enabled, widget.ui.previewButton.toolTip
    widget.ui.previewButton.click()
    wait_for_slice(widget)
    return widget.preview._layer.node


def nodes_of_previews() -> list[str]:
    """Names of what a preview has in the scene."""
    names = [node.GetName() or "" for node in slicer.util.getNodesByClass("vtkMRMLNode")]
    return sorted(name for name in names if name.startswith("MedSR preview"))


def wait_for_slice(widget: Any) -> None:
    wait_until(lambda: not widget.preview._timer.active and not widget.preview._asked, "the slice is previewed")


def a_preview_shows_the_slice_as_the_full_run_makes_it() -> None:
    widget, source = panel(), sample()
    enhance(widget, source, region_in(source, BOX))  # the worker is warm
    started = time.monotonic()
    node = preview_of(widget, source)
    say(f"preview of a slice of {source.GetImageData().GetDimensions()}: {time.monotonic() - started:.1f} s")
    name = widget.preview._layer.view.GetLayoutName()
    assert composite(name).GetForegroundVolumeID() == node.GetID()
    after = picture(name)
    screenshot("preview")
    widget.ui.beforeAfterSlider.value = 0
    assert np.abs(after.astype(int) - picture(name)).max() > 3, "before and after look alike"
    widget.ui.beforeAfterSlider.value = 100
    previewed, there = np.array(slicer.util.arrayFromVolume(node)), widget.preview._layer._box
    k = there[4]
    result = slicer.util.arrayFromVolume(enhance(widget, source))
    assert not widget.ui.previewButton.checked
    whole = result[k : k + 1, 2 * there[2] : 2 * there[3], 2 * there[0] : 2 * there[1]]
    assert np.abs(previewed[:1].astype(int) - whole).max() <= 1


def a_preview_follows_the_wheel_and_leaves_nothing() -> None:
    widget, source = panel(), sample()
    node = preview_of(widget, source)
    assert nodes_of_previews() == ["MedSR preview", "MedSR preview display"]
    assert slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene).GetItemByDataNode(node) == 0
    view = widget.preview._layer.view
    for _ in range(3):
        view.SetSliceOffset(view.GetSliceOffset() + source.GetSpacing()[2])
        rest(0.03)
    started = time.monotonic()
    rest(0.2)
    wait_for_slice(widget)
    say(f"the next slice after scrolling: {time.monotonic() - started:.1f} s")
    assert len(widget.preview._parts) >= 2
    screenshot("preview-scrolled")
    slicer.util.selectModule("Volumes")
    rest(0.3)
    assert nodes_of_previews() == []
    assert shown("Red") is source
    panel()
    preview_of(widget, source)
    widget.ui.previewButton.click()
    assert nodes_of_previews() == []
    preview_of(widget, source)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "scene.mrb"))
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(path)
    assert nodes_of_previews() == []
    assert not widget.ui.previewButton.checked


def an_isotropic_model_says_why_there_is_no_preview() -> None:
    widget, source = panel(), sample()
    widget.ui.inputSelector.setCurrentNode(source)
    widget.ui.improvementComboBox.setCurrentIndex(2)
    slicer.app.processEvents()
    assert not widget.ui.previewButton.enabled
    assert widget.ui.previewButton.toolTip
    widget.ui.improvementComboBox.setCurrentIndex(0)


def undo_takes_results_out_of_the_scene() -> None:
    widget, source = panel(), sample()
    show(source)
    box = region_in(source, BOX)
    widget.ui.uncertaintyCheckBox.checked = True
    first = enhance(widget, source, box)
    widget.ui.uncertaintyCheckBox.checked = False
    widget.ui.compareButton.click()
    rest(0.5)
    second = enhance(widget, source, box)
    for result, left in ((second, 1), (first, 0)):
        name = result.GetName()
        assert widget.ui.undoButton.visible
        widget.ui.undoButton.click()
        rest(0.3)
        assert slicer.mrmlScene.GetFirstNodeByName(name) is None
        found = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        assert (
            sum(bool(node.GetAttribute("MedSR.Report")) and "uncertainty" not in node.GetName() for node in found)
            == left
        )
    assert [node.GetName() for node in found] == [source.GetName()]
    assert shown("Red") is source
    assert not widget.ui.undoButton.visible


def the_keys_do_what_the_buttons_do() -> None:
    widget, source = panel(), sample()
    widget.ui.inputSelector.setCurrentNode(source)
    widget.ui.regionSelector.setCurrentNode(region_in(source, BOX))
    keys = {"enhanceButton": "E", "previewButton": "P", "flickerButton": "B", "undoButton": "U"}
    for name, key in keys.items():
        assert getattr(widget.ui, name).shortcut.toString() == f"Ctrl+Shift+{key}", name
    widget.ui.enhanceButton.click()
    assert widget.ui.enhanceButton.shortcut.toString() == "Ctrl+Shift+E"
    settle(widget)
    assert widget.ui.enhanceButton.shortcut.toString() == "Ctrl+Shift+E"


def reloading_in_mid_preview_is_safe() -> None:
    widget, source = panel(), sample()
    preview_of(widget, source)
    widget.onReload()
    assert nodes_of_previews() == []
    widget = slicer.util.getModuleWidget("MedSR")
    preview_of(widget, source)
    widget.ui.previewButton.click()
    assert enhance(widget, source, region_in(source, BOX)) is not None


run(
    [
        a_preview_shows_the_slice_as_the_full_run_makes_it,
        a_preview_follows_the_wheel_and_leaves_nothing,
        an_isotropic_model_says_why_there_is_no_preview,
        undo_takes_results_out_of_the_scene,
        the_keys_do_what_the_buttons_do,
        reloading_in_mid_preview_is_safe,
    ]
)
