"""Affines: where voxel centres lie before and after resampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns LPS millimetres (SimpleITK, DICOM) into RAS millimetres (3D Slicer, NIfTI) and back: it is its own inverse."""


def upsampled_affine(affine: np.ndarray, shape: Sequence[int], new_shape: Sequence[int]) -> np.ndarray:
    """Affine of a volume resampled to ``new_shape`` voxels over the same field of view.

    Voxel index u covers [u - 1/2, u + 1/2] and the affine maps voxel centres, so new index v lies at
    ``u = (v + 1/2) / s - 1/2`` with s = new/old per axis: ``affine @ [diag(1/s) | 0.5/s - 0.5]``.
    Columns are scaled, so oblique, sheared and left-handed frames stay as they are.

    Args:
        affine: 4x4, IJK to RAS millimetres, voxel centres.
        shape: old numbers of voxels in array order [k, j, i], as ``voxels.shape``.
        new_shape: new numbers of voxels in the same order.
    """
    scale = np.asarray(new_shape, np.float64)[::-1] / np.asarray(shape, np.float64)[::-1]
    step = np.eye(4)
    step[:3, :3] = np.diag(1.0 / scale)
    step[:3, 3] = 0.5 / scale - 0.5
    return np.asarray(affine, np.float64) @ step


def cropped_affine(affine: np.ndarray, start: Sequence[int]) -> np.ndarray:
    """Affine of a box whose first voxel was at index ``start`` (i, j, k) of the whole volume."""
    moved = np.array(affine, np.float64)
    moved[:3, 3] = moved[:3, :3] @ np.asarray(start, np.float64) + moved[:3, 3]
    return moved


def field_of_view_corners(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The eight outer corners (voxel edges, not centres) in RAS millimetres, shape [8, 3].

    Args:
        affine: 4x4, IJK to RAS millimetres, voxel centres.
        shape: numbers of voxels in array order [k, j, i].
    """
    i, j, k = np.asarray(shape)[::-1] - 0.5
    grid = np.stack(np.meshgrid([-0.5, i], [-0.5, j], [-0.5, k], indexing="ij"), axis=-1).reshape(-1, 3)
    return grid @ np.asarray(affine)[:3, :3].T + np.asarray(affine)[:3, 3]
