"""A markups ROI to the voxel box of a volume that it touches."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from MedSRLib.errors import InputError
from MedSRLib.volumes.volume import Volume

Box = tuple[int, int, int, int, int, int]

_ROI = "vtkMRMLMarkupsROINode"
_SAMPLES = 11
"""Points along each edge of the box: its corners are enough, unless the volume lies under a warping transform."""
_ON_THE_EDGE = 1e-4
"""Parts of a voxel by which rounding may carry a box over a voxel's edge without touching the next voxel."""


def box_from_roi(roi_node: Any, volume: Volume, transform_node: Any) -> Box:
    """Voxels that the box seen in the views touches: its bounding box along i, j and k where it lies at an angle.

    Slicer shows a ROI as a rectangular box in the world, under any transform of its own; that box is carried back
    through the volume's transform, which may be warped.

    Args:
        roi_node: vtkMRMLMarkupsROINode.
        volume: the volume, in its local frame.
        transform_node: parent transform of the volume's node, or None.

    Returns:
        (i0, i1, j0, j1, k0, k1), first voxel and one past the last, within the volume.

    Raises:
        InputError: this is no ROI, it has no size, or it lies beside the volume.
    """
    name = roi_node.GetName()
    if roi_node.GetClassName() != _ROI:
        raise InputError(f"'{name}' is not a region: draw a ROI with the Markups module and choose that")
    size = np.array(roi_node.GetSize())
    if not size.min() > 0:
        raise InputError(f"the region '{name}' has no size: draw it over the part of the volume that is wanted")
    world = slicer.util.arrayFromVTKMatrix(roi_node.GetObjectToWorldMatrix())
    local = world_to_local(_grid(size) @ world[:3, :3].T + world[:3, 3], transform_node)
    to_ijk = np.linalg.inv(volume.affine)
    ijk = local @ to_ijk[:3, :3].T + to_ijk[:3, 3]
    if not np.isfinite(ijk).all():
        raise InputError(f"the region '{name}' cannot be carried through the volume's transform: harden that first")
    # Voxel n covers [n - 1/2, n + 1/2].
    shape = np.array(volume.shape[::-1])
    start = np.clip(np.floor(ijk.min(axis=0) + 0.5 + _ON_THE_EDGE), 0, shape).astype(int)
    stop = np.clip(np.ceil(ijk.max(axis=0) + 0.5 - _ON_THE_EDGE), 0, shape).astype(int)
    if (start >= stop).any():
        raise InputError(f"the region '{name}' lies beside the volume: move it onto the part that is wanted")
    (i0, j0, k0), (i1, j1, k1) = start.tolist(), stop.tolist()
    return i0, i1, j0, j1, k0, k1


def _grid(size: np.ndarray) -> np.ndarray:
    """Points of the box in its own frame, corners included, shape [n, 3]."""
    steps = np.linspace(-0.5, 0.5, _SAMPLES)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) * size


def world_to_local(points: np.ndarray, transform_node: Any) -> np.ndarray:
    """World RAS millimetres, [n, 3], to those under a transform node; None is the world itself."""
    if transform_node is None:
        return points
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transform_node, transform)
    return np.array([transform.TransformDoublePoint(point) for point in points.tolist()])
