"""What the scene knows about how a volume was acquired: its modality and its slice thickness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from MedSRLib.volumes.files import guess_modality, sample_slices
from MedSRLib.volumes.volume import DICOM_MODALITIES

INSTANCE_UIDS = "DICOM.instanceUIDs"
"""Node attribute with the SOP instance UIDs of a volume that Slicer loaded from DICOM."""

_QUANTITIES = {("DCM", "112031"): "CT", ("DCM", "110852"): "MR"}
"""Attenuation coefficient and MR signal intensity, as Slicer's DICOM reader states them."""
_MODALITY_TAG = "0008,0060"
_SLICE_THICKNESS_TAG = "0018,0050"
_FRAME_TAG = "0020,0052"


@dataclass(frozen=True)
class Acquired:
    """What is known of a volume's acquisition.

    Args:
        modality: one of ``MODALITIES``.
        slice_thickness: DICOM's, in millimetres; None where it is not known.
        notes: what was guessed or could not be found out, for the user.
    """

    modality: str
    slice_thickness: float | None
    notes: tuple[str, ...]


def acquired(node: Any, voxels: np.ndarray, modality: str | None = None) -> Acquired:
    """What a person, DICOM and the voxel value quantity say, in this order; else a guess from the voxels, and a note.

    Args:
        node: vtkMRMLScalarVolumeNode.
        voxels: [k, j, i] of the same volume.
        modality: what a person says; None for nothing.
    """
    notes = []
    if modality is None:
        modality = _said_modality(node)
    if modality is None:
        modality = guess_modality(voxels)
        if modality == "other" and node.GetVoxelValueQuantity() is None and _looks_like_mr(voxels):
            modality = "MR"
        if modality != "other":
            notes.append(f"taken for {modality} from its grey levels: choose the modality under Advanced if it is not")
    uids, database = _dicom(node)
    if uids and database is None:
        notes.append("Slicer's DICOM database is closed: the slice thickness is not known, but assumed")
    try:
        thickness = float(_dicom_value(node, _SLICE_THICKNESS_TAG))
    except ValueError:
        thickness = 0.0
    return Acquired(modality, thickness if thickness > 0 else None, tuple(notes))


def _said_modality(node: Any) -> str | None:
    """What the node or its DICOM says."""
    said = _subject_hierarchy_modality(node) or _dicom_value(node, _MODALITY_TAG)
    if said:
        return DICOM_MODALITIES.get(said, "other")
    quantity = node.GetVoxelValueQuantity()
    if quantity is None:
        return None
    return _QUANTITIES.get((quantity.GetCodingSchemeDesignator(), quantity.GetCodeValue()))


def _looks_like_mr(voxels: np.ndarray) -> bool:
    """Whether it is a stack of slices in more than 256 grey levels, none of them negative."""
    return len(voxels) > 1 and voxels.dtype.itemsize > 1 and bool(sample_slices(voxels).min() >= 0)


def frame_of_reference(node: Any) -> str | None:
    """DICOM's UID of the coordinates that a volume lies in; None where nobody says it.

    Args:
        node: vtkMRMLScalarVolumeNode.
    """
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMFrameOfReferenceUIDAttributeName()
    return _subject_hierarchy_value(node, name) or _dicom_value(node, _FRAME_TAG) or None


def _subject_hierarchy_modality(node: Any) -> str:
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return _subject_hierarchy_value(node, name)


def _subject_hierarchy_value(node: Any, name: str) -> str:
    """What Slicer's DICOM readers wrote to the volume's item, "" where there is none."""
    said = ""
    if node.GetScene() is not None:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
        item = hierarchy.GetItemByDataNode(node)
        said = hierarchy.GetItemAttribute(item, name) if item else ""
    return said or node.GetAttribute(name) or ""


def _dicom(node: Any) -> tuple[list[str], Any]:
    """The SOP instance UIDs of a volume, and the database to look them up in, None where it is closed.

    Slicer has a database once its DICOM module is there; slicer-core never has. Asking a closed one logs SQL errors.
    """
    database = getattr(slicer, "dicomDatabase", None)
    opened = database is not None and bool(database.isOpen)
    return (node.GetAttribute(INSTANCE_UIDS) or "").split(), database if opened else None


def _dicom_value(node: Any, tag: str) -> str:
    """A DICOM tag of the volume's first slice, "" where there is no open database or the slice is not in it.

    Args:
        node: vtkMRMLScalarVolumeNode.
        tag: "group,element", both as four hexadecimal digits.
    """
    uids, database = _dicom(node)
    return str(database.instanceValue(uids[0], tag)).strip() if uids and database is not None else ""
