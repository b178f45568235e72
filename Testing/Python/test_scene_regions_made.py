"""Boxes that are made for the user lie where the user looks, within the volume, and around a whole volume exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

from fake_layout import LayoutManager
from scene_fixtures import FRAMES, OBLIQUE, STRAIGHT, blob, enhance_node

from MedSRLib.scene.new_region import fit_region, is_shown, outline_region, region_in_view, show_region
from MedSRLib.scene.nodes import volume_from_node
from MedSRLib.scene.region import box_from_roi


@pytest.fixture
def manager(scene: Any) -> Iterator[LayoutManager]:
    manager = LayoutManager(scene)
    yield manager
    manager.close()


def box_of(region: Any, volume: Any) -> tuple[int, ...]:
    return box_from_roi(region, volume_from_node(volume), volume.GetParentTransformNode())


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("transform", ["none", "linear", "nested", "grid"])
def test_a_box_around_the_volume_holds_all_of_it(
    scene: Any, add_volume: Callable[..., Any], add_transform: Callable[[str], Any], frame: str, transform: str
) -> None:
    volume, node = add_volume(blob(), FRAMES[frame]), add_transform(transform)
    volume.SetAndObserveTransformNodeID(None if node is None else node.GetID())
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    fit_region(region, volume)
    assert box_of(region, volume) == (0, 26, 0, 30, 0, 12)


def test_around_a_straight_or_turned_volume_the_box_is_no_larger(scene: Any, add_volume: Callable[..., Any]) -> None:
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    turned = OBLIQUE.copy()
    turned[:3, :3] = np.linalg.qr(OBLIQUE[:3, :3])[0] * [0.7, 0.8, 2.5]
    for affine, spacing in ((STRAIGHT, (0.8, 0.8, 2.5)), (turned, (0.7, 0.8, 2.5))):
        fit_region(region, add_volume(blob(), affine))
        np.testing.assert_allclose(region.GetSize(), np.array(spacing) * (26, 30, 12), rtol=1e-6)


def test_a_new_box_lies_in_the_middle_of_the_view_and_within_the_volume(
    manager: LayoutManager, add_volume: Callable[..., Any]
) -> None:
    volume = add_volume(blob(), STRAIGHT)
    red = manager.sliceWidget("Red")
    red.mrmlSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    view = red.mrmlSliceNode()
    middle = (STRAIGHT @ [13, 15, 6, 1])[:3]
    view.JumpSliceByCentering(*middle)
    view.SetFieldOfView(16, 12, 1)
    region = region_in_view(volume)
    centre = [0.0, 0.0, 0.0]
    region.GetCenterWorld(centre)
    np.testing.assert_allclose(centre, middle, atol=1e-6)
    np.testing.assert_allclose(region.GetSize(), (8, 6, 6), atol=1e-6)
    view.SetFieldOfView(4000, 3000, 1)
    assert box_of(region_in_view(volume), volume) == (0, 26, 0, 30, 0, 12)
    view.JumpSliceByCentering(900, 900, 900)
    assert box_of(region_in_view(volume), volume) == (0, 26, 0, 30, 0, 12)


def test_a_view_that_shows_the_result_is_a_view_of_the_volume(
    manager: LayoutManager, add_volume: Callable[..., Any]
) -> None:
    volume = add_volume(blob(), STRAIGHT)
    green = manager.sliceWidget("Green")
    green.mrmlSliceCompositeNode().SetBackgroundVolumeID(enhance_node(volume).GetID())
    green.mrmlSliceNode().JumpSliceByCentering(*(STRAIGHT @ [13, 15, 6, 1])[:3])
    green.mrmlSliceNode().SetFieldOfView(16, 12, 1)
    i0, i1, j0, j1, k0, k1 = box_of(region_in_view(volume), volume)
    assert 0 < i0 < i1 < 26
    assert 0 < j0 < j1 < 30
    assert 0 < k0 < k1 < 12


def test_without_a_view_the_box_is_the_volume(add_volume: Callable[..., Any]) -> None:
    volume = add_volume(blob())
    region = region_in_view(volume)
    assert box_of(region, volume) == (0, 26, 0, 30, 0, 12)
    assert is_shown(region)
    show_region(region, False)
    assert not is_shown(region)
    outline_region(region)
    assert not region.GetDisplayNode().GetFillVisibility()
