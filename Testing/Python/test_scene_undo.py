"""Undo takes out of the scene all that a run made, and gives back what it wrote over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from scene_fixtures import STRAIGHT, attributes_of, blob, enhance_node, enhanced_of, hierarchy_of, node_ids

from MedSRLib.scene.difference import difference_node
from MedSRLib.scene.nodes import affine_of
from MedSRLib.scene.roles import UNCERTAINTY_ROLE
from MedSRLib.scene.sequences import capture_sequence, place_sequence
from MedSRLib.scene.undo import Undo


def items(scene: Any) -> int:
    return hierarchy_of(scene).GetNumberOfItems()


def test_a_new_result_goes_with_its_maps_displays_and_legend(scene: Any, add_volume: Callable[..., Any]) -> None:
    source = add_volume(blob())
    before, count = node_ids(scene), items(scene)
    undo = Undo()
    result = enhance_node(source, uncertainty=True)
    undo.made(result)
    difference_node(source, result)
    assert len(node_ids(scene) - before) > 5
    assert undo.is_possible
    assert undo.take_back() == "T1 MedSR x2"
    assert node_ids(scene) - before <= {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLColorNode", scene)}
    assert items(scene) == count
    assert not undo.is_possible


def described(node: Any) -> dict[str, Any]:
    """All of a volume that a run changes."""
    hierarchy = hierarchy_of(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    display = node.GetDisplayNode()
    storage = node.GetStorageNode()
    return {
        "name": node.GetName(),
        "voxels": slicer.util.arrayFromVolume(node).tolist(),
        "affine": affine_of(node).tolist(),
        "attributes": attributes_of(node) if node.GetAttributeNames() else {},
        "transform": node.GetTransformNodeID(),
        "file": None if storage is None else storage.GetFileName(),
        "window": (display.GetWindow(), display.GetLevel(), display.GetColorNodeID(), display.GetAutoWindowLevel()),
        "references": [node.GetNodeReferenceID(role) for role in ("MedSR.Source", UNCERTAINTY_ROLE)],
        "units": None if node.GetVoxelValueUnits() is None else node.GetVoxelValueUnits().GetAsString(),
        "item": {name: hierarchy.GetItemAttribute(item, name) for name in hierarchy.GetItemAttributeNames(item)},
        "parent": hierarchy.GetItemParent(item),
    }


def test_a_volume_that_was_written_over_is_what_it_was(
    scene: Any, add_volume: Callable[..., Any], add_transform: Callable[[str], Any], tmp_path: Any
) -> None:
    source = add_volume(blob())
    target = add_volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), STRAIGHT, "somebody's")
    hierarchy = hierarchy_of(scene)
    hierarchy.SetItemParent(
        hierarchy.GetItemByDataNode(target), hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "folder")
    )
    target.CreateDefaultDisplayNodes()
    target.GetDisplayNode().SetAutoWindowLevel(False)
    target.GetDisplayNode().SetWindowLevel(123, 45)
    target.SetAndObserveTransformNodeID(add_transform("linear").GetID())
    target.SetAttribute("mine", "yes")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / "somebody.nrrd"))
    target.SetAndObserveStorageNodeID(storage.GetID())
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    target.SetVoxelValueUnits(units)
    before, nodes, count = described(target), node_ids(scene), items(scene)
    undo = Undo(target)
    undo.made(enhance_node(source, target, uncertainty=True))
    assert described(target) != before
    undo.take_back()
    assert described(target) == before
    assert nodes <= node_ids(scene)
    assert items(scene) == count


def test_an_earlier_result_and_its_map_come_back(scene: Any, add_volume: Callable[..., Any]) -> None:
    first, second = add_volume(blob()), add_volume(blob() + np.int16(7), name="T2")
    result = enhance_node(first, uncertainty=True)
    spread = result.GetNodeReference(UNCERTAINTY_ROLE)
    before, of_map = described(result), described(spread)
    undo = Undo(result)
    undo.made(enhance_node(second, result, uncertainty=True))
    assert result.GetName() == "T2 MedSR x2"
    undo.take_back()
    assert described(result) == before
    assert described(spread) == of_map


def test_all_frames_go_with_their_browsers_part(scene: Any, add_volume: Callable[..., Any]) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    for n in range(2):
        frame = add_volume(blob() + n, name=f"frame {n}")
        sequence.SetDataNodeAtValue(frame, str(n))
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    logic.UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    before = node_ids(scene)
    undo = Undo()
    job = capture_sequence(sequence)
    undo.made(place_sequence(job, [enhanced_of(frame.volume) for _, frame in job.frames]))
    assert browser.GetNumberOfSynchronizedSequenceNodes(True) == 2
    undo.take_back()
    assert node_ids(scene) == before
    assert browser.GetNumberOfSynchronizedSequenceNodes(True) == 1
    assert browser.GetProxyNode(sequence) is proxy


def test_a_result_that_the_user_removed_cannot_be_taken_back(scene: Any, add_volume: Callable[..., Any]) -> None:
    undo = Undo()
    assert not undo.is_possible
    result = enhance_node(add_volume(blob()))
    undo.made(result)
    scene.RemoveNode(result)
    assert not undo.is_possible
