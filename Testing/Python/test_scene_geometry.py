"""The output lies where the input lies: in any frame, under any transform, whole or cropped, in the views and saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from scene_fixtures import FRAMES, OBLIQUE, STRAIGHT, blob, bounds, enhanced_of, world_of

from MedSRLib.scene.capture import capture
from MedSRLib.scene.nodes import affine_of
from MedSRLib.scene.output import create_output, place
from MedSRLib.volumes.geometry import cropped_affine

TRANSFORMS = ["none", "linear", "nested", "grid"]
FACTORS = [(2, 2, 1), (2, 2, 2), (1, 1, 3)]
frames = pytest.mark.parametrize("affine", FRAMES.values(), ids=FRAMES)
transforms = pytest.mark.parametrize("kind", TRANSFORMS)


@frames
@transforms
@pytest.mark.parametrize("factors", FACTORS)
def test_world_bounds_are_the_inputs_to_a_millionth(
    add_volume: Callable[..., Any],
    add_transform: Callable[[str], Any],
    affine: np.ndarray,
    kind: str,
    factors: tuple[int, int, int],
) -> None:
    node = add_volume(blob(), affine)
    transform = add_transform(kind)
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform.GetID())
    job = capture(node)
    output = place(job, enhanced_of(job.volume, factors))
    extent = np.ptp(bounds(node), axis=0).max()
    assert extent > 20
    np.testing.assert_allclose(bounds(output), bounds(node), rtol=0, atol=1e-6 * extent)


@frames
@transforms
def test_each_group_of_small_voxels_is_centred_on_the_voxel_it_came_from(
    add_volume: Callable[..., Any], add_transform: Callable[[str], Any], affine: np.ndarray, kind: str
) -> None:
    node = add_volume(blob(), affine)
    transform = add_transform(kind)
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform.GetID())
    job = capture(node)
    output = place(job, enhanced_of(job.volume, (2, 2, 2)))
    ijk = np.random.default_rng(0).integers(0, (26, 30, 12), (20, 3)).astype(float)
    # 1e-5 mm: VTK's grid transform works in single precision inside.
    np.testing.assert_allclose(world_of(output, 2 * ijk + 0.5), world_of(node, ijk), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "grid"])
def test_the_transform_node_is_the_inputs_own(
    add_volume: Callable[..., Any], add_transform: Callable[[str], Any], kind: str
) -> None:
    node = add_volume(blob())
    node.SetAndObserveTransformNodeID(add_transform(kind).GetID())
    job = capture(node)
    assert place(job, enhanced_of(job.volume)).GetTransformNodeID() == node.GetTransformNodeID()


@frames
def test_handedness_and_shear_stay(add_volume: Callable[..., Any], affine: np.ndarray) -> None:
    job = capture(add_volume(blob(), affine))
    output = place(job, enhanced_of(job.volume, (2, 2, 1)))
    np.testing.assert_allclose(affine_of(output)[:3, :3], affine[:3, :3] @ np.diag([0.5, 0.5, 1]), rtol=0, atol=1e-13)


@frames
@transforms
def test_a_cropped_output_lies_over_its_part_of_the_input(
    add_volume: Callable[..., Any], add_transform: Callable[[str], Any], affine: np.ndarray, kind: str
) -> None:
    node = add_volume(blob(), affine)
    transform = add_transform(kind)
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform.GetID())
    job = capture(node)
    part = job.volume.with_voxels(job.volume.voxels[3:9, 8:20, 5:15], cropped_affine(job.volume.affine, (5, 8, 3)))
    output = place(job, enhanced_of(part, (2, 2, 1)))
    crop = add_volume(np.array(part.voxels), part.affine, "crop")
    crop.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    np.testing.assert_allclose(bounds(output), bounds(crop), rtol=0, atol=1e-5)
    corner = np.array([[5, 8, 3]]) - [0.5, 0.5, 0.5]
    np.testing.assert_allclose(world_of(output, np.full((1, 3), -0.5)), world_of(node, corner), rtol=0, atol=1e-5)


class View:
    """An axial slice view of 256 x 256 pixels, rendered without a window."""

    def __init__(self, scene: Any) -> None:
        self.application = slicer.vtkMRMLApplicationLogic()  # logics do not keep theirs alive
        self.application.SetMRMLScene(scene)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(self.application)
        self.logic.SetMRMLScene(scene)
        self.slice = self.logic.AddSliceNode("Red")
        self.slice.SetDimensions(256, 256, 1)

    def look_at(self, node: Any) -> None:
        """Fits the view to a volume, its slice through the volume's centre."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(node.GetID())
        self.slice.SetOrientationToAxial()
        self.logic.FitSliceToAll()
        self.slice.SetSliceOffset(bounds(node)[:, 2].mean())

    def grey(self, node: Any) -> np.ndarray:
        """The pixels that a volume shows as, [row, column]."""
        from vtk.util.numpy_support import vtk_to_numpy

        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(node.GetID())
        self.logic.UpdatePipeline()
        self.logic.GetBlend().Update()
        image = self.logic.GetBlend().GetOutput()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(256, 256, -1)
        return pixels[:, :, 0].astype(float)

    def centroid_mm(self, node: Any) -> np.ndarray:
        """Centre of the grey in view millimetres."""
        grey = self.grey(node)
        rows, columns = np.indices(grey.shape)
        pixel = self.slice.GetFieldOfView()[0] / 256
        return pixel * np.array([(columns * grey).sum(), (rows * grey).sum()]) / grey.sum()


@frames
@transforms
def test_the_picture_in_a_slice_view_stays_where_it_is(
    scene: Any, add_volume: Callable[..., Any], add_transform: Callable[[str], Any], affine: np.ndarray, kind: str
) -> None:
    node = add_volume(blob(), affine)
    transform = add_transform(kind)
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform.GetID())
    job = capture(node)
    output = place(job, enhanced_of(job.volume, (2, 2, 2)))
    view = View(scene)
    view.look_at(node)
    assert view.grey(node).max() > 100
    moved = np.abs(view.centroid_mm(output) - view.centroid_mm(node)).max()
    assert moved < 0.02, f"{moved:.3f} mm"


def test_that_view_would_show_a_kept_origin(scene: Any, add_volume: Callable[..., Any]) -> None:
    node = add_volume(blob(), STRAIGHT)
    job = capture(node)
    wrong = job.volume.affine @ np.diag([0.5, 0.5, 1, 1])
    output = create_output(job, enhanced_of(job.volume, (2, 2, 1), affine=wrong))
    view = View(scene)
    view.look_at(node)
    assert np.abs(view.centroid_mm(output) - view.centroid_mm(node)).max() > 0.15


def test_a_transform_changed_later_moves_both(
    add_volume: Callable[..., Any], add_transform: Callable[[str], Any]
) -> None:
    import vtk

    node = add_volume(blob(), OBLIQUE)
    transform = add_transform("linear")
    node.SetAndObserveTransformNodeID(transform.GetID())
    job = capture(node)
    output = place(job, enhanced_of(job.volume))
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 55)
    transform.SetMatrixTransformToParent(matrix)
    np.testing.assert_allclose(bounds(output), bounds(node), rtol=0, atol=1e-6)
