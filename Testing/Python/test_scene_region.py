"""A ROI as it is seen in the views becomes the voxel box that it touches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
import vtk
from scene_fixtures import FRAMES, OBLIQUE, STRAIGHT, blob

from MedSRLib.errors import InputError
from MedSRLib.scene.capture import capture

SHAPE = (12, 30, 26)
BOX = (5, 15, 8, 20, 3, 9)
frames = pytest.mark.parametrize("affine", FRAMES.values(), ids=FRAMES)
transforms = pytest.mark.parametrize("kind", ["none", "linear", "nested"])


@pytest.fixture
def add_roi(scene: Any) -> Callable[..., Any]:
    """Adds a ROI: its centre and sizes in millimetres of its own frame, and that frame (4x4, to RAS)."""

    def add(centre: Any, size: Any, frame: np.ndarray | None = None) -> Any:
        roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
        object_to_node = np.eye(4) if frame is None else frame.copy()
        object_to_node[:3, 3] += object_to_node[:3, :3] @ np.asarray(centre, float)
        roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(object_to_node))
        roi.SetSize(*np.asarray(size, float))
        return roi

    return add


def roi_over(add_roi: Callable[..., Any], affine: np.ndarray, box: tuple[int, ...], margin: float = 0.0) -> Any:
    """A ROI along the volume's axes whose faces lie on the outer edges of a voxel box; not for sheared frames."""
    start, stop = np.array(box[::2]), np.array(box[1::2])
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    frame = np.eye(4)
    frame[:3, :3] = affine[:3, :3] / spacing
    if np.linalg.det(frame[:3, :3]) < 0:
        frame[:3, 2] *= -1
    centre = affine[:3, :3] @ ((start + stop - 1) / 2) + affine[:3, 3]
    frame[:3, 3] = centre
    return add_roi((0, 0, 0), (stop - start) * spacing + 2 * margin, frame)


def region(node: Any, roi: Any) -> tuple[int, ...]:
    found = capture(node, roi_node=roi).region
    assert found is not None
    return found


@pytest.fixture
def rigid() -> np.ndarray:
    """An oblique frame with right angles."""
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(33, 1, -2, 0.5)
    affine = slicer.util.arrayFromVTKMatrix(transform.GetMatrix()) @ np.diag([0.8, 0.9, 2.5, 1])
    affine[:3, 3] = (-12, 30, 4)
    return affine


def test_faces_on_voxel_edges_give_exactly_those_voxels(
    add_volume: Callable[..., Any], add_roi: Callable[..., Any], rigid: np.ndarray
) -> None:
    for affine in (STRAIGHT, rigid, rigid @ np.diag([1, 1, -1, 1])):
        node = add_volume(blob(), affine)
        assert region(node, roi_over(add_roi, affine, BOX)) == BOX
        assert region(node, roi_over(add_roi, affine, (0, 26, 0, 30, 0, 12))) == (0, 26, 0, 30, 0, 12)


def test_a_touched_voxel_belongs_to_the_region(
    add_volume: Callable[..., Any], add_roi: Callable[..., Any], rigid: np.ndarray
) -> None:
    node = add_volume(blob(), rigid)
    assert region(node, roi_over(add_roi, rigid, BOX, margin=0.01)) == (4, 16, 7, 21, 2, 10)
    assert region(node, roi_over(add_roi, rigid, BOX, margin=-0.01)) == BOX


@frames
@transforms
def test_the_box_is_the_bounding_box_of_the_roi_in_voxels(
    add_volume: Callable[..., Any],
    add_transform: Callable[[str], Any],
    add_roi: Callable[..., Any],
    affine: np.ndarray,
    kind: str,
) -> None:
    """Against Slicer's own point-in-ROI test at every voxel's centre."""
    node = add_volume(blob(), affine)
    transform = add_transform(kind)
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform.GetID())
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    turn = vtk.vtkTransform()
    turn.RotateWXYZ(20, 0.3, 1, 0.2)
    frame = slicer.util.arrayFromVTKMatrix(turn.GetMatrix())
    frame[:3, 3] = np.reshape(bounds, (3, 2)).mean(axis=1)
    roi = add_roi((1, -2, 3), (13, 11, 9), frame)
    i0, i1, j0, j1, k0, k1 = region(node, roi)

    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    inside = []
    for k, j, i in np.ndindex(*SHAPE):
        world = to_world.TransformDoublePoint((affine @ [i, j, k, 1])[:3])
        if roi.IsPointInROIWorld(world):
            inside.append((i, j, k))
    low, high = np.min(inside, axis=0), np.max(inside, axis=0)
    assert len(inside) > 50
    # Every voxel whose centre is inside belongs to the box, which is at most a voxel or two (corners) wider.
    assert (low >= (i0, j0, k0)).all()
    assert (high < (i1, j1, k1)).all()
    assert (low - (i0, j0, k0) <= 3).all()
    assert ((i1, j1, k1) - high <= 4).all()


def test_a_roi_under_its_own_transform_counts_where_it_is_seen(
    add_volume: Callable[..., Any], add_transform: Callable[[str], Any], add_roi: Callable[..., Any], rigid: np.ndarray
) -> None:
    node = add_volume(blob(), rigid)
    roi = roi_over(add_roi, rigid, BOX)
    shift = add_transform("linear")
    matrix = vtk.vtkMatrix4x4()
    for row in range(3):
        matrix.SetElement(row, 3, float(2 * rigid[row, 0] - 3 * rigid[row, 1]))
    shift.SetMatrixTransformToParent(matrix)
    roi.SetAndObserveTransformNodeID(shift.GetID())
    assert region(node, roi) == (7, 17, 5, 17, 3, 9)
    node.SetAndObserveTransformNodeID(shift.GetID())
    assert region(node, roi) == BOX


def test_a_warped_volume_is_followed(
    add_volume: Callable[..., Any], add_transform: Callable[[str], Any], add_roi: Callable[..., Any]
) -> None:
    node = add_volume(blob(), STRAIGHT)
    warp = add_transform("grid")
    node.SetAndObserveTransformNodeID(warp.GetID())
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    centre = np.reshape(bounds, (3, 2)).mean(axis=1)
    roi = add_roi(centre, (8, 7, 9))
    i0, i1, j0, j1, k0, k1 = region(node, roi)
    to_world = vtk.vtkGeneralTransform()
    warp.GetTransformToWorld(to_world)
    low, high = np.full(3, 99), np.full(3, -1)
    for k, j, i in np.ndindex(*SHAPE):
        if roi.IsPointInROIWorld(to_world.TransformDoublePoint((STRAIGHT @ [i, j, k, 1])[:3])):
            low, high = np.minimum(low, (i, j, k)), np.maximum(high, (i, j, k))
    assert (low <= high).all()
    assert (np.abs(low - (i0, j0, k0)) <= 1).all()
    assert (np.abs(high + 1 - (i1, j1, k1)) <= 1).all()
    node.SetAndObserveTransformNodeID(None)
    assert region(node, roi) != (i0, i1, j0, j1, k0, k1)


def test_a_roi_that_sticks_out_is_cut_at_the_volume(
    add_volume: Callable[..., Any], add_roi: Callable[..., Any], rigid: np.ndarray
) -> None:
    node = add_volume(blob(), rigid)
    assert region(node, roi_over(add_roi, rigid, (-7, 5, 8, 70, 3, 9))) == (0, 5, 8, 30, 3, 9)


def test_a_roi_beside_the_volume_is_refused(
    add_volume: Callable[..., Any], add_roi: Callable[..., Any], rigid: np.ndarray
) -> None:
    node = add_volume(blob(), rigid)
    for box in ((26, 30, 0, 30, 0, 12), (-9, 0, 0, 30, 0, 12), (0, 26, 0, 30, 40, 50)):
        with pytest.raises(InputError, match="'R' lies beside the volume"):
            region(node, roi_over(add_roi, rigid, box))


def test_a_roi_that_was_never_drawn_is_refused(scene: Any, add_volume: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="'R' has no size"):
        region(add_volume(blob()), scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R"))


def test_something_else_is_no_roi(scene: Any, add_volume: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="'F' is not a region"):
        capture(add_volume(blob(), OBLIQUE), roi_node=scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F"))
