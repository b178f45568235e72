"""Slice views on real MRML: Slicer's own layout logic makes the views, and a slice logic each what they show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import fake_qt
import slicer
from fake_layout import LayoutManager
from scene_fixtures import FRAMES, OBLIQUE, blob, bounds, enhance_node, enhanced_of, hierarchy_of, save_and_reload

from MedSRLib.acquisition.interpolation import interpolate
from MedSRLib.errors import InputError, UsageError
from MedSRLib.scene.capture import capture
from MedSRLib.scene.comparison import compare
from MedSRLib.scene.difference import difference_node
from MedSRLib.scene.output import place
from MedSRLib.scene.roles import DIFFERENCE_ROLE
from MedSRLib.scene.views import capture_views, is_comparing, restore_views, show_everywhere, show_instead
from MedSRLib.volumes.geometry import cropped_affine
from MedSRLib.volumes.volume import Volume


@pytest.fixture
def manager(scene: Any) -> Iterator[LayoutManager]:
    """Slicer's layout manager with its default views; new ones are laid out when the event loop runs."""
    manager = LayoutManager(scene)
    yield manager
    manager.close()


@pytest.fixture
def layout(manager: LayoutManager) -> Any:
    """The vtkMRMLLayoutNode."""
    return manager.node


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
    """Where a view looks, as one array."""
    matrix = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
    return np.concatenate([matrix.ravel(), view.GetFieldOfView(), view.GetXYZOrigin()])


def test_the_result_takes_the_inputs_place_and_every_view_keeps_looking_where_it_did(
    shown: tuple[Any, Any], scene: Any
) -> None:
    source, result = shown
    before = {name: looks(view) for name, (view, _) in views(scene).items()}
    views(scene)["Red"][1].SetForegroundVolumeID(source.GetID())
    views(scene)["Green"][1].SetBackgroundVolumeID(None)
    assert show_instead(result, source) == ["Red", "Yellow"]
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
    names = compare(source, result, difference, settle=fake_qt.pump)
    assert names == ["MedSRInput", "MedSROutput", "MedSRAdded"]
    fake_qt.pump()
    assert is_comparing(scene)
    for name, volume in zip(names, (source, result, difference), strict=True):
        view, composite = views(scene)[name]
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        assert composite.GetLinkedControl()
        assert composite.GetHotLinkedControl()
        assert not composite.GetDoPropagateVolumeSelection()
        assert len(view.GetLayoutLabel()) == 1
        np.testing.assert_allclose(looks(view), red, atol=1e-6)
    groups = {name: view.GetViewGroup() for name, (view, _) in views(scene).items()}
    assert groups["MedSRInput"] == groups["MedSROutput"] == groups["MedSRAdded"] != groups["Red"]
    views(scene)["Red"][0].SetSliceOffset(20)
    compare(source, result, difference, settle=fake_qt.pump)  # again, from within, at another place
    assert views(scene)["MedSRAdded"][0].GetSliceOffset() == pytest.approx(20)


def test_new_views_are_told_where_to_look_after_slicer_has_laid_them_out(shown: tuple[Any, Any], scene: Any) -> None:
    source, result = shown
    compare(source, result, difference_node(source, result))  # without a turn of the event loop, as it was once done
    assert views(scene)["MedSRInput"][0].GetSliceOffset() == pytest.approx(12.5)
    fake_qt.pump()
    assert views(scene)["MedSRInput"][0].GetSliceOffset() == 0


def test_narrow_views_of_an_oblique_plane_show_all_that_was_seen(
    shown: tuple[Any, Any], scene: Any, manager: LayoutManager
) -> None:
    source, result = shown
    manager.sizes.update(dict.fromkeys(("MedSRInput", "MedSROutput", "MedSRAdded"), (120, 500)))
    red = views(scene)["Red"][0]
    red.RotateToVolumePlane(source)
    red.JumpSliceByOffsetting(-38, 25, 20)
    red.SetFieldOfView(80, 60, 1)
    wanted = slicer.util.arrayFromVTKMatrix(red.GetSliceToRAS())
    for name in compare(source, result, difference_node(source, result), settle=fake_qt.pump):
        fake_qt.pump()
        view = views(scene)[name][0]
        np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()), wanted, atol=1e-6)
        across, up, _ = view.GetFieldOfView()
        assert across == pytest.approx(80)
        assert up / across == pytest.approx(500 / 120)


def test_an_uncertainty_map_is_the_fourth_of_two_rows(shown: tuple[Any, Any], scene: Any, layout: Any) -> None:
    source, result = shown
    plain = compare(source, result, difference_node(source, result), settle=fake_qt.pump)
    spread = enhance_node(source, uncertainty=True).GetNodeReference("MedSR.Uncertainty")
    names = compare(source, result, difference_node(source, result), spread, settle=fake_qt.pump)
    assert names == [*plain, "MedSRUncertainty"]
    assert views(scene)["MedSRUncertainty"][1].GetBackgroundVolumeID() == spread.GetID()
    assert layout.GetCurrentLayoutDescription().count("<layout") == 3


def test_views_to_compare_in_keep_what_they_show_when_the_next_result_comes(
    shown: tuple[Any, Any], scene: Any, layout: Any
) -> None:
    source, result = shown
    before = layout.GetViewArrangement()
    compare(source, result, difference_node(source, result), settle=fake_qt.pump)
    assert show_instead(enhance_node(source), source) == []  # no view of the present layout
    assert views(scene)["MedSRInput"][1].GetBackgroundVolumeID() == source.GetID()
    assert {one.name for one in capture_views(scene).views} == {"Red", "Green", "Yellow"}
    assert capture_views(scene).arrangement not in (before, layout.GetViewArrangement())


def test_a_result_of_a_result_gives_way_to_the_next_result_of_the_first_input(
    shown: tuple[Any, Any], scene: Any
) -> None:
    source, first = shown
    show_instead(first, source)
    second = enhance_node(first, uncertainty=True)
    assert show_instead(second, first) == ["Red", "Green", "Yellow"]
    views(scene)["Red"][1].SetForegroundVolumeID(second.GetNodeReferenceID("MedSR.Uncertainty"))
    third = enhance_node(source)
    assert show_instead(third, source) == ["Red", "Green", "Yellow"]
    assert views(scene)["Red"][1].GetForegroundVolumeID() == second.GetNodeReferenceID("MedSR.Uncertainty")


def test_a_result_whose_input_no_view_shows_can_be_shown_in_all_views_of_the_layout(
    shown: tuple[Any, Any], scene: Any, layout: Any, add_volume: Callable[..., Any]
) -> None:
    source, result = shown
    other = add_volume(blob(), name="other")
    for _, composite in views(scene).values():
        composite.SetBackgroundVolumeID(other.GetID())
    assert show_instead(result, source) == show_instead(result, None) == []
    layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert show_everywhere(result) == ["Red"]
    assert views(scene)["Green"][1].GetBackgroundVolumeID() == other.GetID()


def test_the_state_before_comes_back(shown: tuple[Any, Any], scene: Any, layout: Any) -> None:
    source, result = shown
    arrangement = layout.GetViewArrangement()
    red_view, red = views(scene)["Red"]
    red.SetLabelOpacity(0.3)
    before, places = capture_views(scene), {name: looks(view) for name, (view, _) in views(scene).items()}
    show_instead(result, source)
    compare(source, result, difference_node(source, result), settle=fake_qt.pump)
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
    hierarchy = hierarchy_of(result.GetScene())
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == hierarchy.GetItemByDataNode(result)


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


@pytest.mark.parametrize("saved", [False, True])
def test_an_input_that_was_changed_since_has_no_added_detail(
    add_volume: Callable[..., Any], scene: Any, saved: bool, tmp_path: Any
) -> None:
    result = enhance_node(add_volume(blob()))
    if saved:
        save_and_reload(scene, tmp_path / "scene.mrb")
        result = scene.GetFirstNodeByName("T1 MedSR x2")
    source = result.GetNodeReference("MedSR.Source")
    assert difference_node(source, result) is not None
    voxels = slicer.util.arrayFromVolume(source)
    kept = int(voxels[3, 4, 5])
    voxels[3, 4, 5] += 1
    with pytest.raises(InputError, match="was changed since 'T1 MedSR x2' was made"):
        difference_node(source, result)
    voxels[3, 4, 5] = kept  # as a cine comes back to the frame
    assert difference_node(source, result) is not None


def test_a_volume_that_is_no_result_of_the_input_is_refused(add_volume: Callable[..., Any]) -> None:
    turned = OBLIQUE @ np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    source = add_volume(blob())
    for affine in (turned, OBLIQUE @ np.diag([0.5, 0.5, 1, 1]) + np.eye(4, k=3) * 500):
        with pytest.raises(InputError):
            difference_node(source, add_volume(blob(), affine))
