"""An output says where it comes from, looks like its input, and lies beside it; the input is never touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from scene_fixtures import STRAIGHT, attributes_of, blob, enhance_node, enhanced_of, hierarchy_of, node_ids

from MedSRLib.enhancement.result import UsedModel
from MedSRLib.errors import InputError, UsageError
from MedSRLib.scene.capture import capture
from MedSRLib.scene.difference import difference_node
from MedSRLib.scene.nodes import affine_of, volume_from_node
from MedSRLib.scene.output import create_output, name_suffix_of, place
from MedSRLib.scene.roles import DIFFERENCE_ROLE, SOURCE_ROLE, UNCERTAINTY_ROLE

AddVolume = Callable[..., Any]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_the_output_has_the_inputs_voxel_type(add_volume: AddVolume, dtype: str) -> None:
    output = enhance_node(add_volume((blob() / 4).astype(dtype)))
    voxels = slicer.util.arrayFromVolume(output)
    assert voxels.dtype == dtype
    assert voxels.shape == (12, 60, 52)
    assert output.GetClassName() == "vtkMRMLScalarVolumeNode"


def test_the_output_holds_a_copy_of_the_result(add_volume: AddVolume) -> None:
    job = capture(add_volume(blob()))
    enhanced = enhanced_of(job.volume)
    output = place(job, enhanced)
    before = enhanced.volume.voxels.copy()
    enhanced.volume.voxels[:] = 7
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), before)


def test_the_input_node_is_not_touched(scene: Any, add_volume: AddVolume) -> None:
    node = add_volume(blob())
    voxels, affine, shown = slicer.util.arrayFromVolume(node).copy(), affine_of(node), node.GetDisplayNode()
    changed: list[str] = []
    for watched in (node, node.GetImageData(), shown):
        watched.AddObserver("ModifiedEvent", lambda caller, event: changed.append(caller.GetClassName()))
    enhance_node(node, uncertainty=True)
    assert changed == []
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels)
    np.testing.assert_array_equal(affine_of(node), affine)
    assert attributes_of(node) == {}
    assert node.GetDisplayNode() is shown


def test_the_window_is_the_inputs_even_where_that_was_automatic(add_volume: AddVolume) -> None:
    node = add_volume(blob())
    output = enhance_node(node)
    shown, wanted = output.GetDisplayNode(), node.GetDisplayNode()
    assert wanted.GetAutoWindowLevel()
    assert not shown.GetAutoWindowLevel()
    assert (shown.GetWindow(), shown.GetLevel()) == (wanted.GetWindow(), wanted.GetLevel())
    slicer.util.updateVolumeFromArray(output, blob() * 3)
    assert (shown.GetWindow(), shown.GetLevel()) == (wanted.GetWindow(), wanted.GetLevel())


def test_colour_threshold_interpolation_and_presets_are_the_inputs(scene: Any, add_volume: AddVolume) -> None:
    node = add_volume(blob())
    wanted = node.GetDisplayNode()
    wanted.SetAutoWindowLevel(False)
    wanted.SetWindowLevel(321, 123)
    wanted.SetThreshold(40, 600)
    wanted.SetApplyThreshold(True)
    wanted.SetInterpolate(False)
    wanted.AddWindowLevelPreset(80, 40)
    wanted.SetAndObserveColorNodeID("vtkMRMLColorTableNodeWarm1")
    shown = enhance_node(node).GetDisplayNode()
    assert shown.GetID() != wanted.GetID()
    assert (shown.GetWindow(), shown.GetLevel()) == (321, 123)
    assert (shown.GetLowerThreshold(), shown.GetUpperThreshold(), shown.GetApplyThreshold()) == (40, 600, 1)
    assert shown.GetInterpolate() == 0
    assert shown.GetNumberOfWindowLevelPresets() == 1
    assert shown.GetColorNodeID() == "vtkMRMLColorTableNodeWarm1"


def test_the_display_shows_the_outputs_own_voxels(scene: Any, add_volume: AddVolume) -> None:
    node = add_volume(blob())
    output = enhance_node(node)
    assert output.GetDisplayNode().GetInputImageData() is output.GetImageData()
    again = enhance_node(node, output, factors=(2, 2, 2))
    assert again.GetDisplayNode().GetInputImageData() is again.GetImageData()
    assert node.GetDisplayNode().GetInputImageData() is node.GetImageData()


def test_an_input_without_a_display_gives_slicers_default(scene: Any, add_volume: AddVolume) -> None:
    node = add_volume(blob())
    scene.RemoveNode(node.GetDisplayNode())
    shown = enhance_node(node).GetDisplayNode()
    assert shown.GetAutoWindowLevel()
    assert shown.GetWindow() > 0


def test_quantity_and_units_are_the_inputs_as_entries_of_its_own(add_volume: AddVolume) -> None:
    node = add_volume(blob())
    for setter, text in (
        (node.SetVoxelValueQuantity, ("112031", "DCM", "Attenuation Coefficient")),
        (node.SetVoxelValueUnits, ("[hnsf'U]", "UCUM", "Hounsfield unit")),
    ):
        entry = slicer.vtkCodedEntry()
        entry.SetValueSchemeMeaning(*text)
        setter(entry)
    output = enhance_node(node)
    assert output.GetVoxelValueUnits().GetCodeMeaning() == "Hounsfield unit"
    assert output.GetVoxelValueQuantity().GetCodeValue() == "112031"
    assert output.GetVoxelValueQuantity() is not node.GetVoxelValueQuantity()
    assert volume_from_node(output).modality == "CT"


def test_the_output_is_the_inputs_sibling(scene: Any, add_volume: AddVolume) -> None:
    node = add_volume(blob())
    hierarchy = hierarchy_of(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(patient, "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
    output = enhance_node(node, uncertainty=True)
    spread = output.GetNodeReference(UNCERTAINTY_ROLE)
    for made in (output, spread):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(made)) == study
    elsewhere = add_volume(blob(), STRAIGHT, "mine")
    enhance_node(node, elsewhere)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(elsewhere)) == study


def test_names_say_what_was_done_and_are_unique(add_volume: AddVolume) -> None:
    node = add_volume(blob(), STRAIGHT, "T1")
    assert [enhance_node(node).GetName() for _ in range(3)] == ["T1 MedSR x2", "T1 MedSR x2_1", "T1 MedSR x2_2"]
    assert enhance_node(node, uncertainty=True).GetNodeReference(UNCERTAINTY_ROLE).GetName() == (
        "T1 MedSR x2_3 uncertainty"
    )


def test_names_can_become_file_names(add_volume: AddVolume) -> None:
    node = add_volume(blob(), STRAIGHT, "3: brain/T1 1.5T\\x.nii")
    assert enhance_node(node).GetName() == "3: brain_T1 1_5T_x_nii MedSR x2"
    job = capture(node)
    assert create_output(job, enhanced_of(job.volume), "half.done").GetName() == "3: brain_T1 1_5T_x_nii half_done"


@pytest.mark.parametrize(
    ("factors", "suffix"),
    [
        ((2, 2, 1), "MedSR x2"),
        ((4.0, 4.0, 1.0), "MedSR x4"),
        ((2, 2, 2), "MedSR 3D x2"),
        ((1, 1, 2.47), "MedSR thin slices"),
    ],
)
def test_the_suffix_tells_the_tasks_apart(factors: tuple[float, float, float], suffix: str) -> None:
    assert name_suffix_of(factors) == suffix


def test_provenance_is_complete(add_volume: AddVolume) -> None:
    node = add_volume(blob())
    output = enhance_node(node, seconds=1.5)
    attributes = attributes_of(output)
    report = json.loads(attributes.pop("MedSR.Report"))
    assert attributes == {
        "MedSR.Model": "tiny",
        "MedSR.ModelSHA256": "a" * 64,
        "MedSR.Version": "0.1.0",
        "MedSR.SourceNodeID": node.GetID(),
        "MedSR.SourceSHA256": capture(node).fingerprint,
    }
    assert report["seconds"] == 1.5
    assert output.GetNodeReference(SOURCE_ROLE) is node


def test_the_report_says_what_the_input_was_taken_for_and_that_it_was_a_result(add_volume: AddVolume) -> None:
    node = add_volume(blob())
    first = json.loads(enhance_node(node).GetAttribute("MedSR.Report"))
    assert first["warnings"] == []
    assert "taken for MR" in first["notes"][0]
    again = json.loads(enhance_node(enhance_node(node), warnings=["w"]).GetAttribute("MedSR.Report"))
    assert ["itself a result of MedSR" in warning for warning in again["warnings"]] == [True, False]


def test_export_to_dicom_finds_a_derived_series_of_the_inputs_study(scene: Any, add_volume: AddVolume) -> None:
    node = add_volume(blob(), name="3: T1 MPRAGE of a patient with a very long series description")
    hierarchy = hierarchy_of(scene)
    item = hierarchy.GetItemByDataNode(node)
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient"), "study")
    hierarchy.SetItemParent(item, study)
    said = {"Modality": "MR", "FrameOfReferenceUID": "1.2.9", "SeriesNumber": "3", "SeriesDescription": "T1"}
    for name, value in said.items():
        hierarchy.SetItemAttribute(item, f"DICOM.{name}", value)
    made = hierarchy.GetItemByDataNode(enhance_node(node))
    assert hierarchy.GetItemParent(made) == study
    found = {name: hierarchy.GetItemAttribute(made, f"DICOM.{name}") for name in (*said, "Manufacturer", "Model")}
    assert found["SeriesDescription"].endswith(", not for primary diagnosis")
    assert len(found.pop("SeriesDescription")) <= 64
    assert found == {
        "Modality": "MR",
        "FrameOfReferenceUID": "1.2.9",
        "SeriesNumber": "",
        "Manufacturer": "MedSR",
        "Model": "tiny",
    }


def test_an_output_leaves_the_file_that_it_was_loaded_from(scene: Any, add_volume: AddVolume, tmp_path: Path) -> None:
    node, target = add_volume(blob()), add_volume(blob(), STRAIGHT, "CT of somebody")
    path = tmp_path / "CT of somebody.nrrd"
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    target.SetAndObserveStorageNodeID(storage.GetID())
    assert storage.WriteData(target)
    written = path.read_bytes()
    enhance_node(node, target)
    assert target.GetStorageNode() is None
    assert scene.GetNodeByID(storage.GetID()) is None
    assert target.GetName() == "T1 MedSR x2"
    assert path.read_bytes() == written
    enhance_node(node, target)  # again: the name is right already
    assert target.GetName() == "T1 MedSR x2"
    enhance_node(add_volume(blob(), name="FLAIR"), target)
    assert target.GetName() == "FLAIR MedSR x2"


def test_a_storage_node_that_two_volumes_share_stays(scene: Any, add_volume: AddVolume) -> None:
    node, target, other = add_volume(blob()), add_volume(blob(), name="A"), add_volume(blob(), name="B")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    for one in (target, other):
        one.SetAndObserveStorageNodeID(storage.GetID())
    enhance_node(node, target)
    assert other.GetStorageNode() is storage


def test_added_detail_is_removed_when_its_result_is_written_over(scene: Any, add_volume: AddVolume) -> None:
    node = add_volume(blob())
    result = enhance_node(node)
    added = difference_node(node, result).GetID()
    enhance_node(node, result)
    assert scene.GetNodeByID(added) is None
    assert result.GetNodeReference(DIFFERENCE_ROLE) is None


def test_mixed_weights_are_recorded_with_both_hashes(add_volume: AddVolume) -> None:
    model = UsedModel("tiny", "1", {"fidelity": "a" * 64, "perceptual": "b" * 64}, fidelity=0.5)
    output = enhance_node(add_volume(blob()), model=model)
    assert output.GetAttribute("MedSR.ModelSHA256") == "a" * 64 + " " + "b" * 64


def test_dicom_identity_is_not_inherited(add_volume: AddVolume) -> None:
    node = add_volume(blob())
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    node.SetAttribute("DICOM.instanceNumbers", "1 2")
    assert not [name for name in attributes_of(enhance_node(node)) if name.startswith("DICOM")]


def test_the_uncertainty_map_lies_on_the_outputs_grid(add_volume: AddVolume, add_transform: Callable[..., Any]) -> None:
    node = add_volume(blob())
    node.SetAndObserveTransformNodeID(add_transform("linear").GetID())
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning("112031", "DCM", "Attenuation Coefficient")
    node.SetVoxelValueQuantity(entry)
    output = enhance_node(node, uncertainty=True)
    spread = output.GetNodeReference(UNCERTAINTY_ROLE)
    np.testing.assert_array_equal(affine_of(spread), affine_of(output))
    assert slicer.util.arrayFromVolume(spread).dtype == np.float32
    assert (slicer.util.arrayFromVolume(spread) == 0.5).all()
    assert spread.GetTransformNodeID() == node.GetTransformNodeID()
    assert spread.GetDisplayNode().GetAutoWindowLevel()
    assert spread.GetVoxelValueQuantity() is None  # it is no attenuation: nothing may take it for CT
    assert spread.GetAttribute("MedSR.Model") == "tiny"


def test_the_uncertainty_map_has_colours_and_a_legend(scene: Any, add_volume: AddVolume) -> None:
    spread = enhance_node(add_volume(blob()), uncertainty=True).GetNodeReference(UNCERTAINTY_ROLE)
    display = spread.GetScalarVolumeDisplayNode()
    assert display.GetColorNode() is not None
    assert "Grey" not in display.GetColorNodeID()
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(spread)
    assert legend.GetTitleText() == "uncertainty"
    assert legend.GetPrimaryDisplayNode() is display


def test_writing_into_a_node_is_one_modification_that_keeps_its_name(scene: Any, add_volume: AddVolume) -> None:
    node, target = add_volume(blob()), add_volume(np.zeros((2, 2, 2), np.float32), STRAIGHT, "Mine")
    old = target.GetDisplayNode()
    events: list[tuple[int, ...]] = []
    target.AddObserver("ModifiedEvent", lambda caller, event: events.append(caller.GetImageData().GetDimensions()))
    before = node_ids(scene)
    assert enhance_node(node, target) is target
    assert events == [(52, 60, 12)]
    assert node_ids(scene) == before
    assert target.GetName() == "Mine"
    assert target.GetDisplayNode() is old
    assert slicer.util.arrayFromVolume(target).dtype == np.int16
    assert target.GetAttribute("MedSR.SourceNodeID") == node.GetID()


def test_writing_again_reuses_the_map_and_drops_a_stale_one(scene: Any, add_volume: AddVolume) -> None:
    node = add_volume(blob())
    output = enhance_node(node, uncertainty=True)
    spread = output.GetNodeReference(UNCERTAINTY_ROLE)
    before = node_ids(scene)
    enhance_node(node, output, factors=(2, 2, 2), uncertainty=True)
    assert output.GetNodeReference(UNCERTAINTY_ROLE) is spread
    assert slicer.util.arrayFromVolume(spread).shape == (24, 60, 52)
    assert node_ids(scene) == before
    enhance_node(node, output)
    assert output.GetNodeReference(UNCERTAINTY_ROLE) is None
    assert scene.GetNodeByID(spread.GetID()) is spread


def test_a_written_over_node_loses_what_no_longer_holds(
    add_volume: AddVolume, add_transform: Callable[..., Any]
) -> None:
    node, target = add_volume(blob()), add_volume(blob(), STRAIGHT, "Mine")
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning("1", "UCUM", "no units")
    target.SetVoxelValueUnits(entry)
    target.SetAndObserveTransformNodeID(add_transform("linear").GetID())
    enhance_node(node, target)
    assert target.GetVoxelValueUnits() is None
    assert target.GetTransformNodeID() is None


def test_the_input_is_no_output(add_volume: AddVolume) -> None:
    node = add_volume(blob())
    with pytest.raises(UsageError, match="'T1' is the input, which is never overwritten"):
        capture(node, node)


def test_an_acquired_series_is_no_output(add_volume: AddVolume) -> None:
    other = add_volume(blob(), STRAIGHT, "CT 4")
    other.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    with pytest.raises(UsageError, match="'CT 4' was loaded from DICOM"):
        capture(add_volume(blob()), other)


def test_a_label_map_is_no_output(scene: Any, add_volume: AddVolume) -> None:
    with pytest.raises(UsageError, match="'lesion' is not a grey-level volume"):
        capture(add_volume(blob()), scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "lesion"))


def test_a_node_of_another_scene_is_no_output(add_volume: AddVolume) -> None:
    node = add_volume(blob())
    other = slicer.vtkMRMLScene()
    for _ in range(3):  # so that its ID is not the input's
        stranger = other.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "stranger")
    with pytest.raises(UsageError, match="'stranger' is not in the input's scene"):
        capture(node, stranger)


def test_an_input_outside_a_scene_is_refused() -> None:
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName("loose")
    slicer.util.updateVolumeFromArray(node, blob())
    with pytest.raises(InputError, match="'loose' is in no scene"):
        capture(node)


class TestAChangedScene:
    """The result is placed by what was captured at Apply."""

    def test_a_renamed_moved_and_edited_input(self, add_volume: AddVolume, add_transform: Callable[..., Any]) -> None:
        node = add_volume(blob(), STRAIGHT)
        job = capture(node)
        enhanced = enhanced_of(job.volume)
        node.SetName("other")
        node.SetOrigin(0, 0, 0)
        node.SetAndObserveTransformNodeID(add_transform("linear").GetID())
        output = place(job, enhanced)
        assert output.GetName() == "T1 MedSR x2"
        assert output.GetTransformNodeID() is None
        np.testing.assert_array_equal(affine_of(output), enhanced.volume.affine)

    def test_a_deleted_input(self, scene: Any, add_volume: AddVolume) -> None:
        node = add_volume(blob())
        job = capture(node)
        enhanced = enhanced_of(job.volume)
        scene.RemoveNode(node)
        output = place(job, enhanced)
        assert output.GetName() == "T1 MedSR x2"
        assert output.GetDisplayNode() is not None
        assert output.GetAttribute("MedSR.SourceNodeID") == job.source_id
        assert output.GetNodeReferenceID(SOURCE_ROLE) is None

    def test_a_deleted_output_is_made_anew(self, scene: Any, add_volume: AddVolume) -> None:
        node, target = add_volume(blob()), add_volume(blob(), STRAIGHT, "Mine")
        job = capture(node, target)
        scene.RemoveNode(target)
        assert place(job, enhanced_of(job.volume)).GetName() == "T1 MedSR x2"

    def test_a_deleted_transform(self, scene: Any, add_volume: AddVolume, add_transform: Callable[..., Any]) -> None:
        node, transform = add_volume(blob()), add_transform("linear")
        node.SetAndObserveTransformNodeID(transform.GetID())
        job = capture(node)
        scene.RemoveNode(transform)
        assert place(job, enhanced_of(job.volume)).GetTransformNodeID() is None


def test_a_failing_result_leaves_the_scene_as_it_was(
    scene: Any, add_volume: AddVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, target = add_volume(blob()), add_volume(blob(), STRAIGHT, "Mine")
    jobs = [capture(node), capture(node, target)]
    enhanced = enhanced_of(jobs[0].volume)
    before, voxels = node_ids(scene), slicer.util.arrayFromVolume(target).copy()

    def no_memory(voxels: np.ndarray) -> Any:
        raise MemoryError

    monkeypatch.setattr("MedSRLib.scene.output.image_from_voxels", no_memory)
    for job in jobs:
        with pytest.raises(MemoryError):
            place(job, enhanced)
    assert node_ids(scene) == before
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(target), voxels)
    np.testing.assert_allclose(affine_of(target), STRAIGHT)
    assert attributes_of(target) == {}
