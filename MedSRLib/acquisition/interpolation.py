"""interp(y) of the MedSR formula: centre-aligned cubic B-spline interpolation, one matrix per axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from MedSRLib.acquisition.operator import AcquisitionModel, ArrayOrTensor, along_axis


@lru_cache(maxsize=128)
def bspline_matrix(n_low: int, n_high: int) -> np.ndarray:
    """Cubic B-spline interpolation of n_low voxels at the centres of n_high, shape [n_high, n_low], float64.

    New centre v lies at ``(v + 1/2) n_low / n_high - 1/2``. The signal is mirrored about the outer voxel centres, and
    the outer half voxel takes the value at the outer centre: a spline says nothing beyond its last sample.
    Interpolation is linear, so scipy's answers for the unit vectors are the whole operator.
    """
    from scipy import ndimage

    centres = np.clip((np.arange(n_high) + 0.5) * n_low / n_high - 0.5, 0, n_low - 1)
    columns = [ndimage.map_coordinates(unit, [centres], order=3, mode="mirror") for unit in np.eye(n_low)]
    matrix = np.stack(columns, axis=1)
    matrix.setflags(write=False)
    return matrix


def interpolate(y: ArrayOrTensor, high_shape: Sequence[int]) -> ArrayOrTensor:
    """Cubic B-spline interpolation to ``high_shape`` over the same field of view.

    Args:
        y: floating-point array or tensor [..., k, j, i]; leading axes are kept.
        high_shape: new numbers of voxels along the last ``len(high_shape)`` axes.
    """
    for axis in range(-len(high_shape), 0):
        if y.shape[axis] != high_shape[axis]:
            y = along_axis(bspline_matrix(y.shape[axis], high_shape[axis]), y, axis)
    return y


def back_project(
    x: ArrayOrTensor,
    y: ArrayOrTensor,
    acquisition: AcquisitionModel,
    iterations: int,
    *,
    floor: float | None = None,
) -> ArrayOrTensor:
    """P: iterative back-projection (Irani and Peleg 1991), ``x += interp(y - A x)``, towards A x = y.

    With a floor each step also projects onto the images that are nowhere below it (POCS: Youla and Webb 1982), so
    that no step undershoots beside strong edges.

    Args:
        x: estimate of the anatomy, floating point, [..., k, j, i].
        y: the measurement [..., k, j, i].
        acquisition: A.
        iterations: steps; 3 bring most of the gain, 20 are the classical method of the evaluation.
        floor: the smallest value that the anatomy can have; None: there is none.
    """
    n = min(3, x.ndim)
    for _ in range(iterations):
        x = x + interpolate(y - acquisition.apply(x, y.shape[-n:]), x.shape[-n:])
        if floor is not None:
            x = x.clip(floor)
    return x
