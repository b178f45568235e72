"""The classical methods that a model has to beat. Each turns a measurement into the shape of the anatomy.

All are centre-aligned over the same field of view, take float32 or integer voxels [k, j, i] and return float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy import ndimage
from skimage import exposure, filters

from MedSRLib.acquisition.interpolation import back_project, interpolate
from MedSRLib.acquisition.operator import FWHM_OVER_SIGMA, AcquisitionModel, along_axis

Restore = Callable[[np.ndarray, Sequence[int], AcquisitionModel], np.ndarray]
"""``restore(y, high_shape, acquisition)``; most methods need nothing of the acquisition."""

IBP_ITERATIONS = 20
_LANCZOS_LOBES = 4


def nearest(y: np.ndarray, high_shape: Sequence[int], acquisition: AcquisitionModel) -> np.ndarray:
    """The measured voxels as they are."""
    return _zoom(y, high_shape, order=0)


def linear(y: np.ndarray, high_shape: Sequence[int], acquisition: AcquisitionModel) -> np.ndarray:
    """Trilinear interpolation; the outer half voxel takes the outer value."""
    return _zoom(y, high_shape, order=1)


def bspline(y: np.ndarray, high_shape: Sequence[int], acquisition: AcquisitionModel) -> np.ndarray:
    """Cubic B-spline interpolation."""
    return interpolate(y.astype(np.float32), high_shape)


def lanczos4(y: np.ndarray, high_shape: Sequence[int], acquisition: AcquisitionModel) -> np.ndarray:
    """Lanczos interpolation with four lobes on each side."""
    x = y.astype(np.float32)
    for axis, size in enumerate(high_shape):
        if x.shape[axis] != size:
            x = along_axis(lanczos_matrix(x.shape[axis], size), x, axis - len(high_shape))
    return x


def bspline_unsharp(y: np.ndarray, high_shape: Sequence[int], acquisition: AcquisitionModel) -> np.ndarray:
    """Cubic B-spline, then an unsharp mask of amount 1 along the axes that were blurred.

    The mask's Gaussian is the point spread itself: a full width at half maximum of the acquisition's width, so
    slices are sharpened one by one in the in-plane tasks.
    """
    widths = (acquisition.slice_thickness, acquisition.in_plane_fwhm, acquisition.in_plane_fwhm)
    factors = np.divide(high_shape, y.shape)
    sigmas = [f * w / FWHM_OVER_SIGMA if f > 1 else 0.0 for f, w in zip(factors, widths, strict=True)]
    x = interpolate(y.astype(np.float32), high_shape)
    return filters.unsharp_mask(x, radius=sigmas, amount=1.0, preserve_range=True).astype(np.float32, copy=False)


def clahe(y: np.ndarray, high_shape: Sequence[int], acquisition: AcquisitionModel) -> np.ndarray:
    """Cubic B-spline, then contrast-limited adaptive histogram equalisation slice by slice.

    For pictures only: it changes the grey levels, so HU and signal mean nothing afterwards and no figure is fair.
    """
    x = interpolate(y.astype(np.float32), high_shape)
    low, high = np.percentile(y, [0.1, 99.9])
    width = max(float(high - low), np.finfo(np.float32).tiny)
    for k, slice_ in enumerate(x):
        x[k] = exposure.equalize_adapthist(np.clip((slice_ - low) / width, 0.0, 1.0)) * width + low
    return x


def bspline_ibp(y: np.ndarray, high_shape: Sequence[int], acquisition: AcquisitionModel) -> np.ndarray:
    """Cubic B-spline and 20 steps of iterative back-projection: the bar a model has to clear."""
    y = y.astype(np.float32)
    return back_project(interpolate(y, high_shape), y, acquisition, IBP_ITERATIONS)


METHODS: dict[str, Restore] = {
    "nearest": nearest,
    "linear": linear,
    "bspline": bspline,
    "lanczos4": lanczos4,
    "bspline-unsharp": bspline_unsharp,
    "clahe": clahe,
    "bspline-ibp": bspline_ibp,
}
"""Every classical method by the name that the command line uses."""

BASELINE = "bspline-ibp"
PICTURE_ONLY = frozenset({"clahe"})
"""Methods that change grey levels on purpose and are not scored unless they are named."""


@lru_cache(maxsize=64)
def lanczos_matrix(n_low: int, n_high: int) -> np.ndarray:
    """Lanczos-4 interpolation of n_low voxels at the centres of n_high, shape [n_high, n_low], float64.

    ``sinc(d) sinc(d / 4)`` for |d| < 4 with the outer voxels repeated outwards. The truncated kernel does not sum to
    one, so rows are divided by their sum (ITK's windowed sinc leaves that ripple in flat regions).
    """
    centres = (np.arange(n_high)[:, None] + 0.5) * n_low / n_high - 0.5
    taps = np.floor(centres).astype(int) + np.arange(1 - _LANCZOS_LOBES, _LANCZOS_LOBES + 1)
    distance = taps - centres
    weights = np.sinc(distance) * np.sinc(distance / _LANCZOS_LOBES)
    matrix = np.zeros((n_high, n_low))
    np.add.at(matrix, (np.arange(n_high)[:, None], np.clip(taps, 0, n_low - 1)), weights)
    matrix /= matrix.sum(axis=1, keepdims=True)
    matrix.setflags(write=False)
    return matrix


def _zoom(y: np.ndarray, high_shape: Sequence[int], order: int) -> np.ndarray:
    """scipy's zoom over voxel extents (``grid_mode``), which keeps the field of view."""
    factors = np.divide(high_shape, y.shape)
    return ndimage.zoom(y.astype(np.float32), factors, order=order, mode="nearest", grid_mode=True)
