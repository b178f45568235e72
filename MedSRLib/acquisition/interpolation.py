"""interp(y) of the MedSR formula: centre-aligned cubic B-spline interpolation, one matrix per axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from MedSRLib.acquisition.operator import AcquisitionModel, ArrayOrTensor, along_axis

NOISE_WINDOW = 3.0
"""Voxels of the measurement: a window of about a hundred of them knows the noise to 7 %."""
NOISE_REACH = 9


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


def interpolate_consistently(
    y: ArrayOrTensor, high_shape: Sequence[int], acquisition: AcquisitionModel, iterations: int
) -> ArrayOrTensor:
    """``back_project(interpolate(y), y, acquisition, iterations)`` without noise and floor, at a fraction of the cost.

    With B for the interpolation its steps add up to ``B (y + r1 + r2 + ...)``, where ``r = r - A B r`` begins with y.
    So they run on the measurement's grid, A B being one small matrix an axis, and only their sum is interpolated.

    Args:
        y: the measurement, floating point, [..., k, j, i].
        high_shape: [k, j, i].
        acquisition: A.
        iterations: steps.
    """
    total = residual = y
    for _ in range(iterations):
        again = residual
        for axis in acquisition.axes:
            again = along_axis(_there_and_back(acquisition, axis, y.shape[axis], high_shape[axis]), again, axis)
        residual = residual - again
        total = total + residual
    return interpolate(total, high_shape)


@lru_cache(maxsize=64)
def _there_and_back(acquisition: AcquisitionModel, axis: int, n_low: int, n_high: int) -> np.ndarray:
    """A B along one axis, [n_low, n_low], float64."""
    matrix = acquisition.matrix(axis, n_high, n_low)
    matrix = matrix @ bspline_matrix(n_low, n_high) if n_low != n_high else matrix.copy()
    matrix.setflags(write=False)
    return matrix


def back_project(
    x: ArrayOrTensor,
    y: ArrayOrTensor,
    acquisition: AcquisitionModel,
    iterations: int,
    *,
    floor: float | None = None,
    noise: float = 0.0,
) -> ArrayOrTensor:
    """P: iterative back-projection (Irani and Peleg 1991), ``x += interp(y - A x)``, towards A x = y.

    With noise it stops at the images that agree with the measurement within it (the discrepancy principle, Morozov
    1966), place by place: of ``y - A x`` only what exceeds the noise is put back, see ``beyond_noise``.

    With a floor each step also projects onto the images that are nowhere below it (POCS: Youla and Webb 1982), so
    that no step undershoots beside strong edges.

    Args:
        x: estimate of the anatomy, floating point, [..., k, j, i].
        y: the measurement [..., k, j, i].
        acquisition: A.
        iterations: steps; 3 bring most of the gain, 20 are the classical method of the evaluation.
        floor: the smallest value that the anatomy can have; None: there is none.
        noise: standard deviation in the units of y; 0 asks for exact agreement.
    """
    n = min(3, x.ndim)
    for _ in range(iterations):
        residual = y - acquisition.apply(x, y.shape[-n:])
        if noise:
            residual = beyond_noise(residual, noise, acquisition)
        x = x + interpolate(residual, x.shape[-n:])
        if floor is not None:
            x = x.clip(floor)
    return x


def beyond_noise(residual: ArrayOrTensor, noise: float, acquisition: AcquisitionModel) -> ArrayOrTensor:
    """The part of a residual that noise does not explain: ``r (1 - noise / rms r)`` where its RMS is larger, else 0.

    The RMS is taken over a Gaussian window along i and the axes that A changes, so that parts of a volume that can be
    finished by themselves need not know each other.

    Args:
        residual: y - A x, [..., k, j, i].
        noise: standard deviation, in the same units.
        acquisition: A.
    """
    power = residual * residual
    for axis, factor in zip((-1, -2, -3), acquisition.factors, strict=True):
        if axis == -1 or (factor != 1 and residual.ndim >= -axis):
            power = along_axis(window_matrix(power.shape[axis]), power, axis)
    return residual * (1.0 - noise / (power + 1e-24) ** 0.5).clip(0.0)


@lru_cache(maxsize=64)
def window_matrix(size: int) -> np.ndarray:
    """Weighted means along an axis, [size, size]: a Gaussian of ``NOISE_WINDOW`` voxels' standard deviation."""
    distance = np.arange(size)[:, None] - np.arange(size)
    weights = np.exp(-0.5 * (distance / NOISE_WINDOW) ** 2)
    weights[np.abs(distance) > NOISE_REACH] = 0.0
    matrix = weights / weights.sum(axis=1, keepdims=True)
    matrix.setflags(write=False)
    return matrix
