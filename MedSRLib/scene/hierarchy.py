"""The place of a volume in the subject hierarchy, and what its item says to *Export to DICOM*."""

from __future__ import annotations

from typing import Any

import slicer

from MedSRLib.scene.capture import Capture
from MedSRLib.volumes.mark import MANUFACTURER, NOTICE

_DESCRIPTION_LENGTH = 64 - len(NOTICE) - 2
"""What the notice leaves of DICOM's 64 characters."""


def put_beside(node: Any, source: Any) -> None:
    """Makes a node a sibling of ``source`` in the subject hierarchy, if that is in it."""
    hierarchy, beside = item_of(source)
    if beside:
        _put_into(node, hierarchy.GetItemParent(beside))


def put_below(node: Any, parent: Any) -> None:
    """Makes a node a child of ``parent`` in the subject hierarchy, if that is in it: it is moved along with it."""
    _, item = item_of(parent)
    if item:
        _put_into(node, item)


def item_of(node: Any) -> tuple[Any, int]:
    """The subject hierarchy of a node's scene and the node's item, 0 where it has none; None and 0 for None."""
    if node is None:
        return None, 0
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    return hierarchy, hierarchy.GetItemByDataNode(node)


def _put_into(node: Any, parent: int) -> None:
    hierarchy, item = item_of(node)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:
        hierarchy.CreateItem(parent, node)


def describe_series(node: Any, source: Any, captured: Capture, model: str) -> None:
    """What *Export to DICOM* reads from a volume's item, so that it offers a derived series of the input's study.

    Patient and study are above the item; modality and frame of reference are the input's, and the rest says whose
    image it is. What is not known is left to the exporter and the person before it.
    """
    names = slicer.vtkMRMLSubjectHierarchyConstants
    prefix = names.GetDICOMAttributePrefix()
    modality, frame = names.GetDICOMSeriesModalityAttributeName(), names.GetDICOMFrameOfReferenceUIDAttributeName()
    hierarchy, item = item_of(node)
    if not item:
        return
    _, source_item = item_of(source)
    known = {name: hierarchy.GetItemAttribute(source_item, name) if source_item else "" for name in (modality, frame)}
    if not known[modality] and captured.volume.modality in ("CT", "MR", "US"):
        known[modality] = captured.volume.modality
    known[f"{prefix}SeriesDescription"] = f"{node.GetName()[:_DESCRIPTION_LENGTH]}, {NOTICE}"
    known[f"{prefix}Manufacturer"], known[f"{prefix}Model"] = MANUFACTURER, model
    for name, value in known.items():
        if value:
            hierarchy.SetItemAttribute(item, name, value)
