"""What the scripts that click through the panel share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import slicer
from steps import wait_until

SLICE_VIEWS = ("Red", "Green", "Yellow")


def panel() -> Any:
    """The panel, opened as a user does."""
    slicer.util.selectModule("MedSR")
    slicer.app.processEvents()
    return slicer.util.getModuleWidget("MedSR")


def settle(widget: Any) -> None:
    wait_until(lambda: widget._state.name == "Idle", "the panel is idle")


def enhance(widget: Any, volume: Any, box: Any = None) -> Any:
    """Chooses a volume, clicks Enhance, and waits; the result."""
    widget.ui.inputSelector.setCurrentNode(volume)
    widget.ui.regionSelector.setCurrentNode(box)
    before = widget._parameterNode.resultVolume
    widget.ui.enhanceButton.click()
    settle(widget)
    result = widget._parameterNode.resultVolume
    assert result is not None
    assert result is not before
    return result


def shown(name: str) -> Any:
    """What a slice view has as background."""
    return slicer.mrmlScene.GetNodeByID(composite(name).GetBackgroundVolumeID())


def composite(name: str) -> Any:
    return slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()


def looks(name: str) -> list[float]:
    """Where a slice view looks."""
    node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
    matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    return [*matrix.ravel().tolist(), node.GetFieldOfView()[1], *node.GetXYZOrigin()]


def screenshot(name: str) -> None:
    """Writes a picture of the window where they were asked for."""
    if "--screenshots" in sys.argv:
        folder = Path(sys.argv[sys.argv.index("--screenshots") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        slicer.app.processEvents()
        slicer.util.forceRenderAllViews()
        assert slicer.util.mainWindow().grab().save(str(folder / f"{name}.png"))
