"""What the scripts that click through the panel share."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from steps import wait_until

SLICE_VIEWS = ("Red", "Green", "Yellow")
BOX = (45, 45, 6)
"""Millimetres of a small region."""


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


def show(volume: Any) -> None:
    """A volume in the ordinary slice views, whole."""
    slicer.util.setSliceViewerLayers(background=volume, foreground=None, fit=True)
    slicer.app.processEvents()


def rest(seconds: float) -> None:
    """Lets the event loop run, for whatever Slicer does late."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, "time has passed")


def picture(name: str) -> np.ndarray:
    """The pixels of a slice view, [rows, columns, 3]."""
    window = slicer.app.layoutManager().sliceWidget(name).sliceView().renderWindow()
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height, _ = image.GetDimensions()
    scalars = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return scalars.reshape(height, width, -1)[..., :3]
