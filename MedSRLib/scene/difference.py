"""What a result shows that its input, interpolated, does not: the detail that was added."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from MedSRLib.acquisition.interpolation import bspline_matrix
from MedSRLib.acquisition.operator import along_axis
from MedSRLib.errors import InputError
from MedSRLib.scene.capture import fingerprint
from MedSRLib.scene.hierarchy import put_below
from MedSRLib.scene.nodes import SCALAR_VOLUME, image_from_voxels, set_affine, volume_from_node
from MedSRLib.scene.output import FINGERPRINT, usable_name
from MedSRLib.scene.roles import DIFFERENCE_ROLE
from MedSRLib.volumes.volume import Volume

_SHOWN_PERCENTILE = 99.9
"""Of the absolute difference: half of the window."""
_AXES_AGREE = 1e-6
"""Voxels by which a result's grid may stray from its input's, over the whole result."""


def difference_node(source: Any, output: Any) -> Any:
    """The volume of what was added, made or brought up to date: grey is nothing, bright more and dark less.

    Args:
        source: vtkMRMLScalarVolumeNode, the input.
        output: its result, in the same scene; it refers to the difference as ``DIFFERENCE_ROLE``.

    Returns:
        vtkMRMLScalarVolumeNode.

    Raises:
        InputError: the result is not one of this input, or the input was changed since.
    """
    low, high = volume_from_node(source), volume_from_node(output)
    if output.GetAttribute(FINGERPRINT) not in (None, "", fingerprint(low)):
        raise InputError(
            f"'{source.GetName()}' was changed since '{output.GetName()}' was made of it (its voxels were edited, or "
            "it shows another frame of a sequence): show what it was made of, or enhance it again"
        )
    added = added_detail(low, high)
    image = image_from_voxels(added)
    node = output.GetNodeReference(DIFFERENCE_ROLE)
    if node is None:
        scene = output.GetScene()
        name = scene.GenerateUniqueName(usable_name(f"{output.GetName()} added detail"))
        node = scene.AddNewNodeByClass(SCALAR_VOLUME, name)
    with slicer.util.NodeModify(node):
        set_affine(node, high.affine)
        node.SetAndObserveTransformNodeID(output.GetTransformNodeID())
        node.SetAndObserveImageData(image)
    if node.GetScalarVolumeDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetScalarVolumeDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(2 * max(float(np.percentile(np.abs(added), _SHOWN_PERCENTILE)), 1e-6), 0.0)
    put_below(node, output)
    output.SetNodeReferenceID(DIFFERENCE_ROLE, node.GetID())
    return node


def added_detail(low: Volume, high: Volume) -> np.ndarray:
    """``high`` minus the cubic B-spline interpolation of ``low`` at the same places, float32, shape of ``high``.

    Args:
        low: the input.
        high: a result of it, of the whole input or of a region.

    Raises:
        InputError: ``high`` is not on a refined grid of ``low``.
    """
    relative = np.linalg.inv(low.affine) @ high.affine
    steps, starts = np.diag(relative)[:3], relative[:3, 3]
    sheared = relative[:3, :3] - np.diag(steps)
    size = np.array(high.shape[::-1])
    if (np.abs(sheared) * size).max() > _AXES_AGREE or not (steps > 0).all():
        raise InputError("the result does not lie on its input's grid: choose the volume that it was made of")
    base = low.voxels.astype(np.float32)
    for axis, (n_low, n, step, start) in enumerate(zip(low.shape, high.shape, steps[::-1], starts[::-1], strict=True)):
        n_high = round(n_low / step)
        first = round((start + 0.5) / step - 0.5)
        if not 0 <= first <= first + n <= n_high:
            raise InputError("the result reaches beyond its input: choose the volume that it was made of")
        if n_high != n_low or n != n_low:
            base = along_axis(bspline_matrix(n_low, n_high)[first : first + n], base, axis - 3)
    difference: Any = high.voxels.astype(np.float32) - base
    return np.asarray(difference, np.float32)
