"""Slice views on real MRML: Slicer's own layout logic makes the views, and a slice logic each what they show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from scene_fixtures import FRAMES, OBLIQUE, blob, bounds, enhanced_of

from MedSRLib.acquisition.interpolation import interpolate
from MedSRLib.errors import InputError, UsageError
from MedSRLib.scene.capture import capture
from MedSRLib.scene.difference import DIFFERENCE_ROLE, difference_node
from MedSRLib.scene.output import place
from MedSRLib.scene.views import capture_views, compare, restore_views, show_instead
from MedSRLib.volumes.geometry import cropped_affine
from MedSRLib.volumes.volume import Volume


@pytest.fixture
def layout(scene: Any) -> Iterator[Any]:
    """vtkMRMLLayoutNode with Slicer's default views; as its layout manager does, every view gets its slice logic."""
    logics = []

    def take_over(caller: Any = None, event: Any = None) -> None:
        known = {logic.GetSliceNode() for logic in logics}
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene):
            if view not in known:
                logic = slicer.vtkMRMLSliceLogic()
                logics.append(logic)
                logic.SetMRMLScene(scene)
                logic.AddSliceNode(view.GetLayoutName())
                view.SetDimensions(400, 300, 1)
                slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
                view.SetOrientation({"Green": "Coronal", "Yellow": "Sagittal"}.get(view.GetLayoutName(), "Axial"))

    layouts = slicer.vtkMRMLLayoutLogic()
    layouts.SetMRMLScene(scene)
    node = layouts.GetLayoutNode()
    node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    take_over()
    tag = node.AddObserver("ModifiedEvent", take_over)
    yield node
    node.RemoveObserver(tag)


@pytest.fixture
def shown(layout: Any, add_volume: Callable[..., Any]) -> tuple[Any, Any]:
    """A volume that all views show, looked at off-centre and near, and a result of it that none shows."""
    source = add_volume(blob())
    for view, composite in views(source.GetScene()).values():
        composite.SetBackgroundVolumeID(source.GetID())
        view.SetFieldOfView(80, 60, 1)
        view.SetXYZOrigin(3, -4, 0)
        view.SetSliceOffset(12.5)
    job = capture(source)
    return source, place(job, enhanced_of(job.volume))


def views(scene: Any) -> dict[str, tuple[Any, Any]]:
    """Slice node and composite node by the view's name."""
    return {
        view.GetLayoutName(): (view, slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(view))
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene)
    }


def looks(view: Any) -> np.ndarray:
    """Where a view looks, as one array; none of these tests turns a view away from its standard orientation."""
    assert view.GetOrientation() in ("Axial", "Coronal", "Sagittal")
    matrix = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
    return np.concatenate([matrix.ravel(), view.GetFieldOfView(), view.GetXYZOrigin()])


def test_the_result_takes_the_inputs_place_and_every_view_keeps_looking_where_it_did(
    shown: tuple[Any, Any], scene: Any
) -> None:
    source, result = shown
    before = {name: looks(view) for name, (view, _) in views(scene).items()}
    views(scene)["Red"][1].SetForegroundVolumeID(source.GetID())
    views(scene)["Green"][1].SetBackgroundVolumeID(None)
    show_instead(result, source)
    red, green, yellow = (views(scene)[name] for name in ("Red", "Green", "Yellow"))
    assert red[1].GetBackgroundVolumeID() == red[1].GetForegroundVolumeID() == result.GetID()
    assert green[1].GetBackgroundVolumeID() is None
    assert yellow[1].GetBackgroundVolumeID() == result.GetID()
    for name, (view, _) in views(scene).items():
        np.testing.assert_allclose(looks(view), before[name], atol=1e-9)
    for one in (source, result):
        display = one.GetDisplayNode()
        assert (display.GetWindow(), display.GetLevel()) == (
            source.GetDisplayNode().GetWindow(),
            source.GetDisplayNode().GetLevel(),
        )


def test_a_second_result_takes_the_place_of_the_first(shown: tuple[Any, Any], scene: Any) -> None:
    source, first = shown
    show_instead(first, source)
    job = capture(source)
    second = place(job, enhanced_of(job.volume))
    show_instead(second, source)
    assert views(scene)["Red"][1].GetBackgroundVolumeID() == second.GetID()


def test_compare_shows_input_result_and_difference_in_linked_views_at_the_same_place(
    shown: tuple[Any, Any], scene: Any, layout: Any
) -> None:
    source, result = shown
    difference = difference_node(source, result)
    red = looks(views(scene)["Red"][0])
    compare(source, result, difference)
    assert layout.GetViewArrangement() > slicer.vtkMRMLLayoutNode.SlicerLayoutUserView
    for name, volume in (("MedSRInput", source), ("MedSROutput", result), ("MedSRAdded", difference)):
        view, composite = views(scene)[name]
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        assert composite.GetLinkedControl()
        assert composite.GetHotLinkedControl()
        np.testing.assert_allclose(looks(view), red, atol=1e-9)
    groups = {name: view.GetViewGroup() for name, (view, _) in views(scene).items()}
    assert groups["MedSRInput"] == groups["MedSROutput"] == groups["MedSRAdded"] != groups["Red"]
    compare(source, result, difference)  # again, from within


def test_the_state_before_comes_back(shown: tuple[Any, Any], scene: Any, layout: Any) -> None:
    source, result = shown
    arrangement = layout.GetViewArrangement()
    red_view, red = views(scene)["Red"]
    red.SetLabelOpacity(0.3)
    before, places = capture_views(scene), {name: looks(view) for name, (view, _) in views(scene).items()}
    show_instead(result, source)
    compare(source, result, difference_node(source, result))
    red_view.SetFieldOfView(10, 10, 1)
    red_view.SetSliceOffset(0)
    red.SetLinkedControl(True)
    red.SetLabelOpacity(1.0)
    restore_views(scene, before)
    assert layout.GetViewArrangement() == arrangement
    assert red.GetBackgroundVolumeID() == source.GetID()
    assert not red.GetLinkedControl()
    assert red.GetLabelOpacity() == 0.3
    for name, wanted in places.items():
        np.testing.assert_allclose(looks(views(scene)[name][0]), wanted, atol=1e-9)


def test_restoring_leaves_a_removed_volume_out(shown: tuple[Any, Any], scene: Any) -> None:
    source, _ = shown
    before = capture_views(scene)
    scene.RemoveNode(source)
    restore_views(scene, before)
    assert views(scene)["Red"][1].GetBackgroundVolumeID() is None


def test_without_views_nothing_happens_and_compare_says_why(scene: Any, add_volume: Callable[..., Any]) -> None:
    source = add_volume(blob())
    job = capture(source)
    result = place(job, enhanced_of(job.volume))
    show_instead(result, source)
    restore_views(scene, capture_views(scene))
    with pytest.raises(UsageError, match="no slice views"):
        compare(source, result, difference_node(source, result))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("factors", [(2, 2, 1), (1, 1, 3), (2, 2, 2)])
def test_the_difference_is_the_result_minus_the_interpolated_input(
    add_volume: Callable[..., Any], frame: str, factors: tuple[int, int, int]
) -> None:
    source = add_volume(blob(), FRAMES[frame])
    job = capture(source)
    enhanced = enhanced_of(job.volume, factors)
    result = place(job, enhanced)
    node = difference_node(source, result)
    voxels = enhanced.volume.voxels
    wanted = voxels - interpolate(job.volume.voxels.astype(np.float32), voxels.shape)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(node), wanted, atol=0.01)
    np.testing.assert_allclose(bounds(node), bounds(result), atol=1e-6)
    assert node.GetDisplayNode().GetLevel() == 0
    assert node.GetDisplayNode().GetWindow() > 0
    assert difference_node(source, result) is node
    assert result.GetNodeReference(DIFFERENCE_ROLE) is node


def test_the_difference_of_a_region_is_that_part_of_the_whole(add_volume: Callable[..., Any]) -> None:
    source = add_volume(blob())
    job = capture(source)
    whole = enhanced_of(job.volume)
    result = place(job, whole)
    box = (slice(2, 9), slice(8, 31), slice(5, 40))
    start = [s.start for s in reversed(box)]
    cut = Volume(whole.volume.voxels[box], cropped_affine(whole.volume.affine, start))
    part = place(job, type(whole)(cut, whole.report))
    np.testing.assert_allclose(
        slicer.util.arrayFromVolume(difference_node(source, part)),
        slicer.util.arrayFromVolume(difference_node(source, result))[box],
        atol=1e-3,
    )


def test_a_volume_that_is_no_result_of_the_input_is_refused(add_volume: Callable[..., Any]) -> None:
    turned = OBLIQUE @ np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    source = add_volume(blob())
    for affine in (turned, OBLIQUE @ np.diag([0.5, 0.5, 1, 1]) + np.eye(4, k=3) * 500):
        with pytest.raises(InputError):
            difference_node(source, add_volume(blob(), affine))
