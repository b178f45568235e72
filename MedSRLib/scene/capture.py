"""What is fixed when a job starts, so that its result can be placed however the scene changes meanwhile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from MedSRLib.errors import InputError, UsageError
from MedSRLib.scene.acquired import INSTANCE_UIDS
from MedSRLib.scene.nodes import SCALAR_VOLUME, volume_from_node
from MedSRLib.scene.region import Box, box_from_roi
from MedSRLib.scene.roles import REPORT
from MedSRLib.volumes.volume import Volume

ENHANCED_AGAIN = ("the input is itself a result of MedSR: what was estimated is now taken for measured",)
"""Warning for a result of a result."""


@dataclass(frozen=True, eq=False)
class Capture:
    """One input as it was at Apply. The nodes are held by ID: any of them may be gone when the result comes.

    Args:
        scene: vtkMRMLScene that the result goes to.
        source_id: of the input node.
        source_name: of the input node.
        volume: the input; its voxels are a view of the node's, so copy them if the node may change.
        region: voxel box (i0, i1, j0, j1, k0, k1) to enhance, or None for the whole volume.
        transform_id: of the input's parent transform, or None.
        quantity: the input's VoxelValueQuantity as vtkCodedEntry writes it, or None.
        units: the input's VoxelValueUnits likewise.
        output_id: of the node to write into, or None for a new one.
        warnings: what the scene adds to the report's.
        fingerprint: of the input's voxels, by which a later look finds them changed.
    """

    scene: Any
    source_id: str
    source_name: str
    volume: Volume
    region: Box | None
    transform_id: str | None
    quantity: str | None
    units: str | None
    output_id: str | None = None
    warnings: tuple[str, ...] = ()
    fingerprint: str = ""


def capture(input_node: Any, output_node: Any = None, *, roi_node: Any = None, modality: str | None = None) -> Capture:
    """Everything that enhancing a node and placing the result needs. The scene is not changed.

    Args:
        input_node: vtkMRMLScalarVolumeNode in a scene.
        output_node: vtkMRMLScalarVolumeNode to write into later, or None for a new one.
        roi_node: vtkMRMLMarkupsROINode, or None for the whole volume.
        modality: one of ``MODALITIES``; None for what the scene says, else a guess, which a note tells.

    Raises:
        InputError: the input is not a grey-level volume, or the region does not touch it.
        UsageError: the output may not be written to.
    """
    volume = volume_from_node(input_node, modality=modality)
    scene = input_node.GetScene()
    if scene is None:
        raise InputError(f"'{input_node.GetName()}' is in no scene: add it to one first")
    if output_node is not None:
        _require_writable(output_node, input_node)
    transform_node = input_node.GetParentTransformNode()
    return Capture(
        scene=scene,
        source_id=input_node.GetID(),
        source_name=input_node.GetName() or input_node.GetID(),
        volume=volume,
        region=None if roi_node is None else box_from_roi(roi_node, volume, transform_node),
        transform_id=input_node.GetTransformNodeID(),
        quantity=entry_text(input_node.GetVoxelValueQuantity()),
        units=entry_text(input_node.GetVoxelValueUnits()),
        output_id=None if output_node is None else output_node.GetID(),
        warnings=ENHANCED_AGAIN if input_node.GetAttribute(REPORT) else (),
        fingerprint=fingerprint(volume),
    )


def fingerprint(volume: Volume) -> str:
    """SHA-256 of a volume's shape and voxels. Where it lies is left out: saving a scene may round that."""
    known = hashlib.sha256(repr(volume.shape).encode())
    known.update(np.ascontiguousarray(volume.voxels).data)
    return known.hexdigest()


def entry_text(entry: Any) -> str | None:
    """A vtkCodedEntry as text that ``SetFromString`` reads; None for None."""
    return None if entry is None else str(entry.GetAsString())


def _require_writable(output_node: Any, input_node: Any) -> None:
    """An output is a plain volume of the same scene, and holds nothing that a scanner acquired.

    Raises:
        UsageError: it is not.
    """
    name = output_node.GetName()
    if output_node.GetClassName() != SCALAR_VOLUME:
        raise UsageError(f"the output '{name}' is not a grey-level volume: choose a new volume")
    if output_node.GetID() == input_node.GetID():
        raise UsageError(f"'{name}' is the input, which is never overwritten: choose another output")
    if output_node.GetScene() is not input_node.GetScene():
        raise UsageError(f"the output '{name}' is not in the input's scene: choose a new volume")
    if output_node.GetAttribute(INSTANCE_UIDS):
        raise UsageError(f"the output '{name}' was loaded from DICOM and is not overwritten: choose a new volume")
