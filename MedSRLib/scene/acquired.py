"""What the scene knows about how a volume was acquired: its modality and its slice thickness."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from MedSRLib.volumes.files import guess_modality
from MedSRLib.volumes.volume import DICOM_MODALITIES

INSTANCE_UIDS = "DICOM.instanceUIDs"
"""Node attribute with the SOP instance UIDs of a volume that Slicer loaded from DICOM."""

_QUANTITIES = {("DCM", "112031"): "CT", ("DCM", "110852"): "MR"}
"""Attenuation coefficient and MR signal intensity, as Slicer's DICOM reader states them."""
_MODALITY_TAG = "0008,0060"
_SLICE_THICKNESS_TAG = "0018,0050"


def modality_of(node: Any, voxels: np.ndarray) -> str:
    """One of ``MODALITIES``: what DICOM says, else what the voxel value quantity says, else a guess from the voxels.

    Args:
        node: vtkMRMLScalarVolumeNode.
        voxels: [k, j, i] of the same volume.
    """
    said = _subject_hierarchy_modality(node) or _dicom_value(node, _MODALITY_TAG)
    if said:
        return DICOM_MODALITIES.get(said, "other")
    quantity = node.GetVoxelValueQuantity()
    if quantity is not None:
        code = (quantity.GetCodingSchemeDesignator(), quantity.GetCodeValue())
        if code in _QUANTITIES:
            return _QUANTITIES[code]
    return guess_modality(voxels)


def slice_thickness_of(node: Any) -> float | None:
    """DICOM's SliceThickness in millimetres; None where it is not known (files, and studies not in the database).

    Args:
        node: vtkMRMLScalarVolumeNode.
    """
    try:
        thickness = float(_dicom_value(node, _SLICE_THICKNESS_TAG))
    except ValueError:
        return None
    return thickness if thickness > 0 else None


def _subject_hierarchy_modality(node: Any) -> str:
    """What Slicer's DICOM readers wrote to the volume's item, "" where there is none."""
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    said = ""
    if node.GetScene() is not None:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
        item = hierarchy.GetItemByDataNode(node)
        said = hierarchy.GetItemAttribute(item, name) if item else ""
    return said or node.GetAttribute(name) or ""


def _dicom_value(node: Any, tag: str) -> str:
    """A DICOM tag of the volume's first slice, "" where Slicer has no database or the slice is not in it.

    Args:
        node: vtkMRMLScalarVolumeNode.
        tag: "group,element", both as four hexadecimal digits.
    """
    uids = (node.GetAttribute(INSTANCE_UIDS) or "").split()
    database = getattr(slicer, "dicomDatabase", None)  # there once Slicer's DICOM module is, never in slicer-core
    return str(database.instanceValue(uids[0], tag)).strip() if uids and database is not None else ""
