"""Which tiles of a volume a slice view shows, and the temporary volume that shows what became of them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

from fake_layout import LayoutManager
from scene_fixtures import FRAMES, STRAIGHT, attributes_of, blob, enhance_node, node_ids, world_of

from MedSRLib.errors import UsageError
from MedSRLib.scene.nodes import affine_of, volume_from_node
from MedSRLib.scene.preview_layer import PreviewLayer
from MedSRLib.scene.slice_tiles import TileGrid, tiles_seen, view_along_slices
from MedSRLib.volumes.geometry import cropped_affine, upsampled_affine

SIZES = st.tuples(*[st.integers(1, 700)] * 3)


@pytest.fixture
def manager(scene: Any) -> Iterator[LayoutManager]:
    manager = LayoutManager(scene)
    yield manager
    manager.close()


def along(manager: LayoutManager, volume: Any, ijk: Any, name: str = "Red", *, height: float = 15.0) -> Any:
    """Turns a view into the volume's plane, with a voxel in its middle."""
    view = manager.sliceWidget(name).mrmlSliceNode()
    view.RotateToVolumePlane(volume)
    view.JumpSliceByCentering(*world_of(volume, np.array([ijk], float))[0])
    width, high, _ = view.GetDimensions()
    view.SetFieldOfView(height * width / high, height, 1)
    manager.sliceWidget(name).mrmlSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    return view


@given(size=SIZES, axis=st.integers(0, 2))
def test_tiles_partition_the_volume_one_slice_thick_and_evenly(size: tuple[int, int, int], axis: int) -> None:
    grid = TileGrid(size, axis)
    for n in range(3):
        widths = np.diff(grid.edges(n))
        assert (grid.edges(n)[0], grid.edges(n)[-1]) == (0, size[n])
        assert widths.max() <= (1 if n == axis else 256)
        assert widths.max() - widths.min() <= 1


@given(size=SIZES, axis=st.integers(0, 2), seed=st.integers(0, 999))
def test_a_place_lies_in_its_tile(size: tuple[int, int, int], axis: int, seed: int) -> None:
    voxel = np.random.default_rng(seed).integers(0, size)
    (box,) = TileGrid(size, axis).at(voxel[None].astype(float))
    assert all(box[2 * n] <= voxel[n] < box[2 * n + 1] for n in range(3))
    assert TileGrid(size, axis).within(box) == [box]
    whole = [0, size[0], 0, size[1], 0, size[2]]
    whole[2 * axis : 2 * axis + 2] = box[2 * axis : 2 * axis + 2]
    assert box in TileGrid(size, axis).within(tuple(whole))


def test_between_two_slices_both_are_seen_and_outside_none() -> None:
    grid = TileGrid((20, 20, 9), 2)
    assert [box[4] for box in grid.at(np.array([[5, 5, 3.5]]))] == [3, 4]
    assert [box[4] for box in grid.at(np.array([[5, 5, 3.02]]))] == [3]
    assert [box[4] for box in grid.at(np.array([[5, 5, 8.4]]))] == [8]
    assert grid.at(np.array([[5, 5, 8.7], [-0.6, 3, 3], [3, 21, 3]])) == []


@pytest.mark.parametrize("frame", [name for name in FRAMES if name != "sheared"])
def test_a_view_in_the_volumes_plane_sees_one_slice_middle_first(
    manager: LayoutManager, add_volume: Callable[..., Any], frame: str
) -> None:
    volume = add_volume(np.zeros((9, 600, 520), np.int16), FRAMES[frame])
    view = along(manager, volume, (100, 500, 4), height=400)
    grid = TileGrid((520, 600, 9), 2)
    boxes = tiles_seen(volume, view, grid)
    assert boxes[0] == (0, 173, 400, 600, 4, 5)
    assert {box[4] for box in boxes} == {4}
    assert (173, 346, 400, 600, 4, 5) in boxes


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("transform", ["none", "linear", "nested", "grid"])
def test_what_is_in_the_middle_of_a_view_comes_first(
    manager: LayoutManager, add_volume: Callable[..., Any], add_transform: Any, frame: str, transform: str
) -> None:
    volume = add_volume(np.zeros((9, 60, 52), np.int16), FRAMES[frame])
    node = add_transform(transform)
    if node is not None:
        volume.SetAndObserveTransformNodeID(node.GetID())
    view = manager.sliceWidget("Red").mrmlSliceNode()
    view.JumpSliceByCentering(*world_of(volume, np.array([[20.0, 40.0, 4.0]]))[0])
    view.SetFieldOfView(8, 6, 1)
    first = tiles_seen(volume, view, TileGrid((52, 60, 9), 2))[0]
    assert first[4] in (3, 4)


def test_a_view_across_the_slices_is_refused_with_the_way(
    manager: LayoutManager, add_volume: Callable[..., Any]
) -> None:
    volume = add_volume(np.zeros((40, 60, 52), np.int16), STRAIGHT)
    view = manager.sliceWidget("Green").mrmlSliceNode()
    view.JumpSliceByCentering(*world_of(volume, np.array([[20.0, 40.0, 20.0]]))[0])
    view.SetFieldOfView(200, 150, 1)
    with pytest.raises(UsageError, match=r"cuts through 40 slices.*rotate the view to the volume plane"):
        tiles_seen(volume, view, TileGrid((52, 60, 40), 2))


def test_the_view_is_the_one_along_the_slices_that_shows_the_volume(
    manager: LayoutManager, add_volume: Callable[..., Any]
) -> None:
    import slicer

    sagittal = np.array([[0, 0, 2.5, -30], [-0.8, 0, 0, 40], [0, 0.8, 0, 5], [0, 0, 0, 1]], np.float64)
    volume = add_volume(blob(), sagittal)
    assert view_along_slices(volume, 2)[0].GetName() == "Yellow"  # no view shows it
    manager.sliceWidget("Green").mrmlSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    assert view_along_slices(volume, 2)[0].GetName() == "Green"
    for name in ("Red", "Yellow"):
        manager.sliceWidget(name).mrmlSliceCompositeNode().SetBackgroundVolumeID(enhance_node(volume).GetID())
    assert view_along_slices(volume, 2)[0].GetName() == "Yellow"
    manager.node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView)
    with pytest.raises(UsageError, match="no slice view is open"):
        view_along_slices(volume, 2)


def layer_of(manager: LayoutManager, volume: Any, name: str = "Red") -> PreviewLayer:
    widget = manager.sliceWidget(name)
    views = widget.mrmlSliceNode(), widget.mrmlSliceCompositeNode()
    return PreviewLayer(volume, volume_from_node(volume), (2, 2, 1), *views)


@pytest.mark.parametrize("frame", FRAMES)
def test_tiles_lie_where_the_full_result_lies(
    manager: LayoutManager, add_volume: Callable[..., Any], frame: str
) -> None:
    import slicer

    volume = add_volume(blob(), FRAMES[frame])
    layer = layer_of(manager, volume)
    box, other = (4, 12, 6, 20, 3, 4), (12, 20, 6, 20, 3, 4)
    layer.show([box, other], {box: np.full((1, 28, 16), 77, np.int16)})
    fine = upsampled_affine(affine_of(volume), (12, 30, 26), (12, 60, 52))
    assert np.allclose(affine_of(layer.node), cropped_affine(fine, (8, 12, 3)))
    shown = slicer.util.arrayFromVolume(layer.node)
    assert shown.shape == (1, 28, 32)
    assert (shown[:, :, :16] == 77).all()
    # What is not there yet looks like the input, interpolated.
    low = blob()[3, 6:20, 12:20].astype(float)
    assert np.abs(shown[0, :, 16:].reshape(14, 2, 8, 2).mean(axis=(1, 3)) - low).max() < 0.1 * low.max() + 1
    layer.put(other, np.full((1, 28, 16), 55, np.int16))
    assert (slicer.util.arrayFromVolume(layer.node)[:, :, 16:] == 55).all()
    layer.put((0, 4, 0, 6, 9, 10), np.zeros((1, 12, 8), np.int16))  # scrolled away: not shown
    layer.remove()


def rendered(manager: LayoutManager) -> np.ndarray:
    """The pixels of the red view, by Slicer's own slice logic, [rows, columns, 4]."""
    from vtk.util import numpy_support

    logic = manager.sliceWidget("Red").sliceLogic()
    logic.UpdatePipeline()
    port = logic.GetImageDataConnection()
    port.GetProducer().Update(port.GetIndex())
    image = port.GetProducer().GetOutputDataObject(port.GetIndex())
    pixels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return np.array(pixels, int).reshape(image.GetDimensions()[1], image.GetDimensions()[0], -1)


@pytest.mark.parametrize("plane", ["a slice", "between two slices", "across some slices"])
@pytest.mark.parametrize("frame", ["straight", "oblique", "left-handed"])
def test_a_view_shows_the_same_pixels_as_with_the_full_result(
    manager: LayoutManager, add_volume: Callable[..., Any], frame: str, plane: str
) -> None:
    import slicer
    import vtk

    volume = add_volume(blob(), FRAMES[frame])
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(900, 450)
    view = along(manager, volume, (12, 14, 4 if plane == "a slice" else 4.4), height=12)
    if plane == "across some slices":
        turn = vtk.vtkTransform()
        turn.SetMatrix(view.GetSliceToRAS())
        turn.RotateX(25)
        view.GetSliceToRAS().DeepCopy(turn.GetMatrix())
        view.UpdateMatrices()
    result = enhance_node(volume)
    fine = slicer.util.arrayFromVolume(result)
    fine[:] = (fine * 0.5 + 200).astype(fine.dtype)  # nobody could take it for the input
    slicer.util.arrayFromVolumeModified(result)
    composite = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    composite.SetBackgroundVolumeID(result.GetID())
    full = rendered(manager)
    composite.SetBackgroundVolumeID(volume.GetID())
    plain = rendered(manager)
    boxes = tiles_seen(volume, view, TileGrid((26, 30, 12), 2))
    assert len(boxes) == 1 if plane == "a slice" else len(boxes) > 1
    layer = layer_of(manager, volume)
    layer.show(boxes, {b: fine[b[4] : b[5], 2 * b[2] : 2 * b[3], 2 * b[0] : 2 * b[1]] for b in boxes})
    inner = (slice(20, -20), slice(20, -20))
    assert np.abs(full - plain)[inner].max() > 50
    assert np.abs(rendered(manager) - full)[inner].max() <= 1
    layer.fade(0.0)
    assert np.abs(rendered(manager) - plain).max() <= 1
    layer.remove()
    assert np.array_equal(rendered(manager), plain)


def test_it_is_in_no_list_and_no_hierarchy_and_leaves_nothing(
    scene: Any, manager: LayoutManager, add_volume: Callable[..., Any]
) -> None:
    import slicer

    volume, under = add_volume(blob()), add_volume(blob(), name="under")
    composite = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    composite.SetBackgroundVolumeID(under.GetID())
    composite.SetForegroundVolumeID(under.GetID())
    composite.SetForegroundOpacity(0.0)
    nodes, told = node_ids(scene), attributes_of(volume)
    layer = layer_of(manager, volume)
    layer.show([(4, 12, 6, 20, 3, 4)], {})
    assert layer.is_in_place
    for node in (layer.node, layer.node.GetDisplayNode()):
        assert node.GetHideFromEditors()
        assert not node.GetSaveWithScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert hierarchy.GetItemByDataNode(layer.node) == 0
    layer.fade(0.25)
    assert composite.GetForegroundOpacity() == 0.25
    layer.remove()
    assert node_ids(scene) == nodes
    assert attributes_of(volume) == told
    assert composite.GetBackgroundVolumeID() == under.GetID()
    assert composite.GetForegroundVolumeID() == under.GetID()
    assert composite.GetForegroundOpacity() == 0.0
    layer.remove()  # twice is no error


def test_a_scene_saved_in_mid_preview_holds_nothing_of_it(
    scene: Any, manager: LayoutManager, add_volume: Callable[..., Any], tmp_path: Any
) -> None:
    import slicer

    layer = layer_of(manager, add_volume(blob()))
    layer.show([(4, 12, 6, 20, 3, 4)], {})
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    with zipfile.ZipFile(tmp_path / "scene.mrb") as saved:
        assert not [name for name in saved.namelist() if "preview" in name]
        saved.extractall(tmp_path / "unpacked")
    read = slicer.vtkMRMLScene()
    read.SetURL(str(next((tmp_path / "unpacked").rglob("*.mrml"))))
    assert read.Import()
    assert read.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    assert read.GetFirstNodeByName("T1") is not None
    count = read.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    assert count
    for n in range(count):
        one = read.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode")
        assert read.GetNodeByID(one.GetForegroundVolumeID() or "") is None
    layer.remove()


def test_what_the_user_chose_meanwhile_stays(manager: LayoutManager, add_volume: Callable[..., Any]) -> None:
    volume, other = add_volume(blob()), add_volume(blob(), name="other")
    composite = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    layer = layer_of(manager, volume)
    composite.SetForegroundVolumeID(other.GetID())
    composite.SetForegroundOpacity(0.6)
    assert not layer.is_in_place
    layer.remove()
    assert composite.GetForegroundVolumeID() == other.GetID()
    assert composite.GetForegroundOpacity() == 0.6


def test_what_lies_over_the_input_is_not_covered(
    scene: Any, manager: LayoutManager, add_volume: Callable[..., Any]
) -> None:
    volume, pet = add_volume(blob()), add_volume(blob(), name="PET")
    composite = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    composite.SetBackgroundVolumeID(volume.GetID())
    composite.SetForegroundVolumeID(pet.GetID())
    composite.SetForegroundOpacity(0.5)
    nodes = node_ids(scene)
    with pytest.raises(UsageError, match="'PET' lies over the volume"):
        layer_of(manager, volume)
    assert node_ids(scene) == nodes
    assert composite.GetForegroundVolumeID() == pet.GetID()
