"""A volume node becomes a Volume without loss, or is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from scene_fixtures import FRAMES, OBLIQUE, blob

from MedSRLib.errors import InputError
from MedSRLib.scene.nodes import affine_of, image_from_voxels, set_affine, volume_from_node

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
HOUNSFIELD = ("112031", "DCM", "Attenuation Coefficient")
MR_SIGNAL = ("110852", "DCM", "MR signal intensity")


def entry(code: str, scheme: str, meaning: str) -> Any:
    made = slicer.vtkCodedEntry()
    made.SetValueSchemeMeaning(code, scheme, meaning)
    return made


@pytest.mark.parametrize("dtype", DTYPES)
def test_voxels_keep_their_order_and_type(add_volume: Callable[..., Any], dtype: str) -> None:
    voxels = np.arange(2 * 3 * 5).reshape(2, 3, 5).astype(dtype)
    volume = volume_from_node(add_volume(voxels))
    assert volume.voxels.dtype == dtype
    np.testing.assert_array_equal(volume.voxels, voxels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_voxels_written_to_an_image_come_back(dtype: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 127, (3, 4, 5)).astype(dtype)
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetAndObserveImageData(image_from_voxels(voxels[::-1]))
    found = volume_from_node(node).voxels
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, voxels[::-1])


def test_64_bit_integers_become_32_bit_where_that_is_exact(scene: Any) -> None:
    import vtk

    def node_with(value: int) -> Any:
        image = vtk.vtkImageData()
        image.SetDimensions(2, 2, 2)
        image.AllocateScalars(vtk.VTK_LONG_LONG, 1)
        image.GetPointData().GetScalars().Fill(value)
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetAndObserveImageData(image)
        return node

    voxels = volume_from_node(node_with(-70000)).voxels
    assert voxels.dtype == np.int32
    assert (voxels == -70000).all()
    with pytest.raises(InputError, match="beyond 32 bits"):
        volume_from_node(node_with(2**40))


@pytest.mark.parametrize("affine", FRAMES.values(), ids=FRAMES)
def test_the_affine_is_exact_with_shear_and_handedness(add_volume: Callable[..., Any], affine: np.ndarray) -> None:
    np.testing.assert_allclose(volume_from_node(add_volume(blob(), affine)).affine, affine, rtol=0, atol=1e-13)


def test_any_invertible_affine_survives_the_node() -> None:
    random = np.random.default_rng(5)
    node = slicer.vtkMRMLScalarVolumeNode()
    for _ in range(50):
        affine = np.eye(4)
        affine[:3, :3] = random.normal(size=(3, 3)) * random.uniform(0.05, 8, 3)
        affine[:3, 3] = random.normal(size=3) * 500
        set_affine(node, affine)
        np.testing.assert_allclose(affine_of(node), affine, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["linear", "nested", "grid"])
def test_parent_transforms_are_left_out(
    add_volume: Callable[..., Any], add_transform: Callable[[str], Any], kind: str
) -> None:
    node = add_volume(blob())
    node.SetAndObserveTransformNodeID(add_transform(kind).GetID())
    np.testing.assert_allclose(volume_from_node(node).affine, OBLIQUE, rtol=0, atol=1e-13)


def test_the_view_of_the_nodes_memory_cannot_be_written_to(add_volume: Callable[..., Any]) -> None:
    node = add_volume(blob())
    voxels = volume_from_node(node).voxels
    with pytest.raises(ValueError, match="read-only"):
        voxels[0, 0, 0] = 7
    assert np.shares_memory(voxels, slicer.util.arrayFromVolume(node))


def test_a_view_outlives_its_node(scene: Any, add_volume: Callable[..., Any]) -> None:
    node = add_volume(blob())
    voxels = volume_from_node(node).voxels
    scene.RemoveNode(node)
    del node
    np.testing.assert_array_equal(voxels, blob())


@pytest.mark.parametrize(
    ("code", "modality"), [(HOUNSFIELD, "CT"), (MR_SIGNAL, "MR"), (("110800", "DCM", "T1"), "other")]
)
def test_the_voxel_value_quantity_says_the_modality(
    add_volume: Callable[..., Any], code: tuple[str, str, str], modality: str
) -> None:
    node = add_volume(blob())
    node.SetVoxelValueQuantity(entry(*code))
    assert volume_from_node(node).modality == modality


@pytest.mark.parametrize(("said", "modality"), [("MR", "MR"), ("DX", "XR"), ("US", "US"), ("PT", "other")])
def test_dicom_in_the_subject_hierarchy_comes_before_the_quantity(
    scene: Any, add_volume: Callable[..., Any], said: str, modality: str
) -> None:
    node = add_volume(blob())
    node.SetVoxelValueQuantity(entry(*HOUNSFIELD))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality", said)
    assert volume_from_node(node).modality == modality


def test_the_dicom_database_says_modality_and_slice_thickness(
    add_volume: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Database:
        isOpen = True

        def instanceValue(self, uid: str, tag: str) -> str:
            assert self.isOpen, "a closed database logs SQL errors"
            return {("1.2.3", "0008,0060"): "MR", ("1.2.3", "0018,0050"): "3.5 "}.get((uid, tag), "")

    node = add_volume(blob())
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    volume = volume_from_node(node)
    assert (volume.modality, volume.slice_thickness) == ("MR", 3.5)
    assert volume.notes == ()
    Database.isOpen = False
    volume = volume_from_node(node)
    assert volume.slice_thickness is None
    assert any("database is closed" in note for note in volume.notes)
    Database.isOpen = True
    node.SetAttribute("DICOM.instanceUIDs", "9.9")
    volume = volume_from_node(node)
    assert (volume.modality, volume.slice_thickness) == ("MR", None)
    assert not any("closed" in note for note in volume.notes)


@pytest.mark.parametrize(
    ("voxels", "guess"),
    [
        (blob() - np.int16(1000), "CT"),
        (blob(), "MR"),
        (blob() - np.int16(1), "other"),
        (blob().clip(0, 255).astype(np.uint8), "other"),
        (blob((1, 30, 26)), "other"),
    ],
)
def test_without_a_word_about_it_the_voxels_are_judged_and_a_note_says_so(
    add_volume: Callable[..., Any], voxels: np.ndarray, guess: str
) -> None:
    node = add_volume(voxels)
    volume = volume_from_node(node)
    assert volume.modality == guess
    assert [f"taken for {guess}" in note for note in volume.notes] == [True] * (guess != "other")
    chosen = volume_from_node(node, modality="US")
    assert (chosen.modality, chosen.notes) == ("US", ())


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("vtkMRMLLabelMapVolumeNode", "label map"),
        ("vtkMRMLVectorVolumeNode", "colour"),
        ("vtkMRMLDiffusionWeightedVolumeNode", "diffusion-weighted"),
        ("vtkMRMLDiffusionTensorVolumeNode", "tensor"),
        ("vtkMRMLModelNode", "a Model"),
    ],
)
def test_other_nodes_are_refused_by_name_and_kind(scene: Any, kind: str, says: str) -> None:
    node = scene.AddNewNodeByClass(kind, "DTI 1")
    if kind == "vtkMRMLLabelMapVolumeNode":
        slicer.util.updateVolumeFromArray(node, blob())
    with pytest.raises(InputError, match=rf"'DTI 1' is .*{says}.*: choose a grey-level volume$"):
        volume_from_node(node)


def test_no_node_is_refused() -> None:
    with pytest.raises(InputError, match="choose a volume"):
        volume_from_node(None)


def test_a_node_without_voxels_is_refused(scene: Any) -> None:
    import vtk

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(InputError, match="'empty' has no voxels"):
        volume_from_node(node)
    image = vtk.vtkImageData()
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="'empty' has no voxels"):
        volume_from_node(node)


def test_several_numbers_in_a_voxel_are_refused(scene: Any) -> None:
    import vtk

    image = vtk.vtkImageData()
    image.SetDimensions(2, 2, 2)
    image.AllocateScalars(vtk.VTK_SHORT, 3)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "rgb")
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="one number in every voxel"):
        volume_from_node(node)
