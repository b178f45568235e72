"""Volume nodes become one volume, where they lie in the scene; or the scene stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from fusion_fixtures import AXIAL, CORONAL, SAGITTAL, Blobs, stack, turn
from scene_fixtures import blob, hierarchy_of, node_ids

from MedSRLib.errors import EnhancementCancelled, InputError, UsageError
from MedSRLib.fusion.fuse import fuse
from MedSRLib.fusion.request import FusionOptions
from MedSRLib.fusion.suggest import suggest
from MedSRLib.scene.fusion import fuse_nodes, fusion_request_of, series_of
from MedSRLib.scene.nodes import affine_of
from MedSRLib.scene.roles import SOURCE_ROLE

SIDE = 28.0
QUICK = {"generator": False, "spacing": 2.0, "registration": False}
FRAME = "DICOM.FrameOfReferenceUID"


@pytest.fixture
def nodes(add_volume: Callable[..., Any]) -> list[Any]:
    """T2 in three directions."""
    made = []
    for name, directions in (("T2 axial", AXIAL), ("T2 sagittal", SAGITTAL), ("T2 coronal", CORONAL)):
        volume = stack(Blobs(), directions, side=SIDE, dtype=np.int16)
        made.append(add_volume(volume.voxels, volume.affine, name))
    return made


def set_frame(node: Any, uid: str) -> None:
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMFrameOfReferenceUIDAttributeName()
    node.SetAttribute(name, uid)


def test_the_result_is_what_the_library_makes_of_the_same_volumes(nodes: list[Any]) -> None:
    output = fuse_nodes(nodes, modality="MR", **QUICK)
    volumes = [stack(Blobs(), way, side=SIDE, dtype=np.int16) for way in (AXIAL, SAGITTAL, CORONAL)]
    expected = fuse(volumes, **QUICK).volume
    found = slicer.util.arrayFromVolume(output)
    assert found.shape == expected.shape
    assert np.abs(found.astype(float) - expected.voxels).max() <= 0.01 * expected.voxels.max()
    assert affine_of(output) == pytest.approx(expected.affine)


def test_the_result_names_all_its_sources(nodes: list[Any]) -> None:
    output = fuse_nodes(nodes, **QUICK)
    assert output.GetName() == "T2 axial MedSR fused"
    assert [output.GetNthNodeReference(SOURCE_ROLE, n) for n in range(3)] == nodes
    assert output.GetAttribute("MedSR.SourceNodeID").split() == [node.GetID() for node in nodes]
    assert len(output.GetAttribute("MedSR.SourceSHA256").split()) == 3
    report = json.loads(output.GetAttribute("MedSR.Report"))
    assert [one["name"] for one in report["series"]] == ["T2 axial", "T2 sagittal", "T2 coronal"]
    assert [one["source_id"] for one in report["series"]] == [node.GetID() for node in nodes]
    assert any("taken for MR" in note for note in report["notes"])
    assert output.GetAttribute("MedSR.Model") == "none"


def test_the_result_is_a_sibling_of_the_first_series_and_shown_like_it(nodes: list[Any], scene: Any) -> None:
    hierarchy = hierarchy_of(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(nodes[0]), folder)
    nodes[0].CreateDefaultDisplayNodes()
    nodes[0].GetDisplayNode().SetAutoWindowLevel(False)
    nodes[0].GetDisplayNode().SetWindowLevel(321, 123)
    output = fuse_nodes(nodes, **QUICK)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(output)) == folder
    assert output.GetDisplayNode().GetWindow() == 321


def test_series_under_transforms_of_their_own_are_fused_where_they_are_seen(
    nodes: list[Any], scene: Any, add_transform: Callable[[str], Any]
) -> None:
    """The second series was moved away in its file, and a transform brings it back."""
    import vtk

    away = turn((0, 0, 20), (40, -30, 10))
    nodes[1].SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(away @ affine_of(nodes[1])))
    back = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "back")
    matrix = vtk.vtkMatrix4x4()
    slicer.util.updateVTKMatrixFromArray(matrix, np.linalg.inv(away))
    back.SetMatrixTransformToParent(matrix)
    shared = add_transform("linear")
    back.SetAndObserveTransformNodeID(shared.GetID())
    nodes[1].SetAndObserveTransformNodeID(back.GetID())
    for node in (nodes[0], nodes[2]):
        node.SetAndObserveTransformNodeID(shared.GetID())
    request = fusion_request_of(nodes, None, FusionOptions())
    assert request.volumes[1].affine == pytest.approx(stack(Blobs(), SAGITTAL, side=SIDE).affine, abs=1e-6)
    assert request.volumes[2].affine == pytest.approx(affine_of(nodes[2]))
    output = fuse_nodes(nodes, **QUICK)
    assert output.GetTransformNodeID() == shared.GetID()


def test_a_series_that_is_warped_against_the_first_is_refused(
    nodes: list[Any], add_transform: Callable[[str], Any]
) -> None:
    nodes[1].SetAndObserveTransformNodeID(add_transform("grid").GetID())
    with pytest.raises(InputError, match="harden the transform"):
        fuse_nodes(nodes, **QUICK)


def test_an_output_that_is_there_is_overwritten_with_all_that_belongs_to_it(nodes: list[Any], scene: Any) -> None:
    output = fuse_nodes(nodes[:2], **QUICK)
    count = len(node_ids(scene))
    again = fuse_nodes(nodes, output, **QUICK)
    assert again is output
    assert len(node_ids(scene)) == count
    assert output.GetNumberOfNodeReferences(SOURCE_ROLE) == 3
    assert output.GetName() == "T2 axial MedSR fused"


@pytest.mark.parametrize("case", ["one", "twice", "labels", "output is input", "cancelled"])
def test_what_cannot_be_fused_changes_nothing(nodes: list[Any], scene: Any, case: str) -> None:
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    before = node_ids(scene)
    told: dict[str, Any] = dict(QUICK)
    output, error, words = None, UsageError, ""
    if case == "one":
        nodes, words = nodes[:1], "two or more"
    elif case == "twice":
        nodes, words = [nodes[0], nodes[0]], "twice"
    elif case == "labels":
        nodes, error, words = [nodes[0], labels], InputError, "label map"
    elif case == "output is input":
        output, words = nodes[2], "never overwritten"
    else:
        told["cancelled"], error, words = (lambda: True), EnhancementCancelled, "cancelled"
    with pytest.raises(error, match=words):
        fuse_nodes(nodes, output, **told)
    assert node_ids(scene) == before


def test_series_of_two_frames_of_reference_need_registration(nodes: list[Any]) -> None:
    set_frame(nodes[0], "1.2.3")
    set_frame(nodes[1], "1.2.4")
    with pytest.raises(InputError, match="another frame of reference"):
        fuse_nodes(nodes[:2], **QUICK)


def proposed(nodes: list[Any]) -> list[str]:
    first, *others = nodes
    volumes = [series_of(first, node) for node in others]
    chosen = suggest(series_of(first, first), first.GetName(), volumes, [node.GetName() for node in others])
    return [node.GetName() for node, fits in zip(others, chosen, strict=True) if fits]


def test_series_in_other_directions_of_one_name_and_place_are_proposed(
    nodes: list[Any], add_volume: Callable[..., Any]
) -> None:
    other = add_volume(blob(), affine_of(nodes[1]), "T1 sagittal")
    assert proposed([*nodes, other]) == ["T2 sagittal", "T2 coronal"]


def test_names_as_slicer_gives_them_to_dicom_series_are_understood(nodes: list[Any]) -> None:
    for number, node in enumerate(nodes):
        node.SetName(f"{number + 3}: {node.GetName()}")
    assert proposed(nodes) == ["4: T2 sagittal", "5: T2 coronal"]


def test_no_series_of_another_frame_of_reference_or_place_is_proposed(nodes: list[Any]) -> None:
    set_frame(nodes[0], "1.2.3")
    set_frame(nodes[1], "1.2.4")
    away = affine_of(nodes[2])
    away[0, 3] += 500
    nodes[2].SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(away))
    assert proposed(nodes) == []


def test_parallel_series_alone_are_not_proposed(nodes: list[Any], add_volume: Callable[..., Any]) -> None:
    again = add_volume(slicer.util.arrayFromVolume(nodes[0]).copy(), affine_of(nodes[0]), "T2 axial 2")
    assert proposed([nodes[0], again]) == []
