"""Regions of interest that are made for a user: in the middle of a slice view, or around a whole volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from MedSRLib.scene.nodes import affine_of
from MedSRLib.scene.roles import SOURCE_ROLE
from MedSRLib.scene.views import ordinary_views

_ROI = "vtkMRMLMarkupsROINode"
_PART = 0.5
"""Of what a view shows, along each side: the handles of the box are well inside."""


def region_in_view(volume: Any) -> Any:
    """A new box in the middle of the slice view that shows a volume, along the view's axes, within the volume.

    It is as deep as the shorter of its sides in the view. Where no view shows the volume it is put around the whole.

    Args:
        volume: vtkMRMLScalarVolumeNode in a scene.

    Returns:
        vtkMRMLMarkupsROINode.
    """
    scene = volume.GetScene()
    name = scene.GenerateUniqueName(f"{volume.GetName()} region".replace(".", "_"))
    region = scene.AddNewNodeByClass(_ROI, name)
    region.CreateDefaultDisplayNodes()
    view = _view_of(volume)
    if view is None:
        fit_region(region, volume)
        return region
    plane = np.array(slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()))
    across, up, _ = view.GetFieldOfView()
    x, y, _ = view.GetXYZOrigin()
    sides = np.array([across, up, min(across, up)]) * _PART
    middle = np.array([x, y, 0.0])
    low, high = _extent(volume, np.linalg.inv(plane))
    start, stop = np.maximum(middle - sides / 2, low), np.minimum(middle + sides / 2, high)
    if (stop > start).all():
        _place(region, plane, start, stop)
    else:  # the view looks beside the volume
        fit_region(region, volume)
    return region


def fit_region(region: Any, volume: Any) -> None:
    """Puts a box around a volume, along its axes; along the world's where the volume is sheared or warped.

    Args:
        region: vtkMRMLMarkupsROINode.
        volume: vtkMRMLScalarVolumeNode of the same scene.
    """
    frame = np.eye(4)
    transform = volume.GetParentTransformNode()
    if transform is None or transform.IsTransformToWorldLinear():
        to_world = vtk.vtkMatrix4x4()
        slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(transform, None, to_world)
        axes = (slicer.util.arrayFromVTKMatrix(to_world) @ affine_of(volume))[:3, :3]
        axes = axes / np.linalg.norm(axes, axis=0)
        if np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
            frame[:3, :3] = axes
    _place(region, frame, *_extent(volume, np.linalg.inv(frame)))


def show_region(region: Any, visible: bool) -> None:
    """Shows or hides a box."""
    display = region.GetDisplayNode()
    if display is not None:
        display.SetVisibility(visible)


def outline_region(region: Any) -> None:
    """Leaves a box's edges: its fill lies over what has just been made sharper."""
    display = region.GetDisplayNode()
    if display is not None:
        display.SetFillVisibility(False)


def is_shown(region: Any) -> bool:
    """Whether a box is visible."""
    display = region.GetDisplayNode()
    return display is not None and bool(display.GetVisibility())


def _view_of(volume: Any) -> Any:
    """The first slice view of the layout that shows a volume, or a result of it."""
    scene = volume.GetScene()
    for view, composite in ordinary_views(scene):
        shown = scene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
        if shown is None or not view.IsMappedInLayout():
            continue
        if shown is volume or shown.GetNodeReference(SOURCE_ROLE) is volume:
            return view
    return None


def _extent(volume: Any, to_frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest places of a volume's corners in the world, in another frame, [3] each."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * volume.GetImageData().GetDimensions() - 0.5
    places = corners @ affine_of(volume)[:3, :3].T + affine_of(volume)[:3, 3]
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume.GetParentTransformNode(), None, to_world)
    places = np.array([to_world.TransformDoublePoint(place) for place in places.tolist()])
    places = places @ to_frame[:3, :3].T + to_frame[:3, 3]
    return places.min(axis=0), places.max(axis=0)


def _place(region: Any, frame: np.ndarray, start: np.ndarray, stop: np.ndarray) -> None:
    """A box from ``start`` to ``stop`` along the axes of a frame, millimetres; it is under no transform then."""
    matrix = np.array(frame)
    matrix[:3, 3] = frame[:3, :3] @ ((start + stop) / 2) + frame[:3, 3]
    with slicer.util.NodeModify(region):
        region.SetAndObserveTransformNodeID(None)
        region.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
        region.SetSize((stop - start).tolist())
