"""What enhancing a node would give and take, or why it cannot be: for the panel, before anything runs."""

from __future__ import annotations

from typing import Any

import slicer

from MedSRLib.enhancement.estimate import Estimate, estimate
from MedSRLib.enhancement.request import Options
from MedSRLib.errors import UsageError
from MedSRLib.models.manifest import Manifest
from MedSRLib.scene.nodes import affine_of, require_scalar_volume
from MedSRLib.scene.region import box_from_roi
from MedSRLib.volumes.volume import Volume


def expect(
    input_node: Any, output_node: Any, roi_node: Any, manifest: Manifest, device_label: str, options: Options
) -> Estimate:
    """The estimate for a node; voxels are not looked at.

    Args:
        input_node: vtkMRMLScalarVolumeNode, or None.
        output_node: vtkMRMLScalarVolumeNode to write into, or None for a new one.
        roi_node: vtkMRMLMarkupsROINode, or None for the whole volume.
        manifest: of the model.
        device_label: as in a report; "CPU" for the processor.
        options: of the enhancement.

    Raises:
        InputError: the input is no grey-level volume, does not fit the model, or the region does not touch it.
        UsageError: the output is the input.
    """
    require_scalar_volume(input_node)
    if output_node is input_node:
        raise UsageError("the input is never overwritten: choose another output")
    volume = Volume(slicer.util.arrayFromVolume(input_node), affine_of(input_node))
    roi = None if roi_node is None else box_from_roi(roi_node, volume, input_node.GetParentTransformNode())
    return estimate(
        volume.shape,
        volume.voxels.dtype,
        manifest,
        device_label,
        options,
        spacing=volume.spacing,
        roi=roi,
    )
