"""A scene saved with an output and read back holds the same, in the same place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from scene_fixtures import (
    FRAMES,
    STRAIGHT,
    attributes_of,
    blob,
    bounds,
    enhance_node,
    hierarchy_of,
    save_and_reload,
    world_of,
)

from MedSRLib.scene.roles import SOURCE_ROLE, UNCERTAINTY_ROLE

AddVolume = Callable[..., Any]


def test_a_reloaded_scene_keeps_everything_said_about_an_output(
    scene: Any, add_volume: AddVolume, tmp_path: Path
) -> None:
    node = add_volume(blob())
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(321, 123)
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(entry)
    output = enhance_node(node, uncertainty=True, notes=('grüße; 50 % <ß> "quoted" a:b',))
    attributes = attributes_of(output)

    save_and_reload(scene, tmp_path / "saved.mrb")

    loaded = scene.GetFirstNodeByName("T1 MedSR x2")
    assert attributes_of(loaded) == attributes
    assert json.loads(loaded.GetAttribute("MedSR.Report"))["notes"][-1].startswith("grüße; 50 %")
    assert (loaded.GetDisplayNode().GetWindow(), loaded.GetDisplayNode().GetLevel()) == (321, 123)
    assert loaded.GetVoxelValueUnits().GetCodeMeaning() == "Hounsfield unit"
    assert loaded.GetNodeReference(SOURCE_ROLE).GetName() == "T1"
    assert loaded.GetNodeReference(UNCERTAINTY_ROLE).GetName() == "T1 MedSR x2 uncertainty"
    hierarchy = hierarchy_of(scene)
    items = [hierarchy.GetItemByDataNode(one) for one in (loaded, loaded.GetNodeReference(SOURCE_ROLE))]
    assert items[0]
    assert hierarchy.GetItemParent(items[0]) == hierarchy.GetItemParent(items[1])


def test_imported_into_a_scene_with_other_volumes_the_way_back_stays_right(
    scene: Any, add_volume: AddVolume, tmp_path: Path
) -> None:
    enhance_node(add_volume(blob(), STRAIGHT, "patient"))
    assert scene.WriteToMRB(str(tmp_path / "saved.mrb"), None)
    scene.Clear(1)
    add_volume(blob(), STRAIGHT, "somebody else")
    assert scene.ReadFromMRB(str(tmp_path / "saved.mrb"), False, None)
    loaded = scene.GetFirstNodeByName("patient MedSR x2")
    assert loaded.GetNodeReference(SOURCE_ROLE).GetName() == "patient"


@pytest.mark.parametrize("affine", FRAMES.values(), ids=FRAMES)
def test_a_saved_and_reloaded_scene_has_the_output_in_the_same_place(
    scene: Any, add_volume: Callable[..., Any], add_transform: Callable[[str], Any], tmp_path: Path, affine: np.ndarray
) -> None:
    node = add_volume(blob(), affine)
    node.SetAndObserveTransformNodeID(add_transform("linear").GetID())
    output = enhance_node(node)
    voxels = slicer.util.arrayFromVolume(output).copy()
    peak = np.array(np.unravel_index(voxels.argmax(), voxels.shape), float)[None, ::-1]
    world, before, name = world_of(output, peak), bounds(output), output.GetName()

    save_and_reload(scene, tmp_path / "saved.mrb")

    loaded = scene.GetFirstNodeByName(name)
    # A left-handed volume comes back with its slices in the opposite order, in the same place.
    found = slicer.util.arrayFromVolume(loaded)
    assert found.dtype == voxels.dtype
    np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(voxels, axis=None))
    there = np.array(np.unravel_index(found.argmax(), found.shape), float)[None, ::-1]
    np.testing.assert_allclose(world_of(loaded, there), world, rtol=0, atol=1e-4)
    np.testing.assert_allclose(bounds(loaded), before, rtol=0, atol=1e-4)
    assert loaded.GetParentTransformNode().GetName() == "turn"
