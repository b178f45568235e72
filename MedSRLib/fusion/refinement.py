"""Where a series, or each of its slices, lies against an estimate of the anatomy: Gauss-Newton through A_s T_s itself.

The estimate is acquired as the series would measure it at a trial motion, and compared with what it did measure. Both
have the same thick slices, so nothing is biased by their blur, as it is where thick stacks are compared directly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import optimize

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.fusion.rigid import rigid
from MedSRLib.fusion.series import Series, SeriesOperator
from MedSRLib.fusion.spline import SplineGrid
from MedSRLib.volumes.geometry import upsampled_affine

_DELTA = 0.1
"""Degrees and millimetres of the finite differences: small against a pixel, large against float32 rounding."""
_EVALUATIONS = 6
_GAIN = 1e-4
"""Part of the misfit that a step must gain for another one to be worth its time."""
_OUTLIER = 0.05
"""Misfit, in parts of the intensity range, above which a voxel's pull grows no faster than linearly."""
_TRUSTED = 0.9
_LEAST_SHARE = 0.2
"""A slice is looked for where at least this part of it lies in the anatomy's box."""


@dataclass(frozen=True)
class Match:
    """How well a series fits an estimate of the anatomy.

    Args:
        gain: grey levels of the series for one of the anatomy.
        offset: grey level of the series where the anatomy is 0.
        correlation: between what was measured and what the estimate gives; 0 where either is constant.
        misfit: root mean square of what is left after gain and offset, in grey levels of the anatomy.
    """

    gain: float
    offset: float
    correlation: float
    misfit: float


def match(measured: torch.Tensor, simulated: torch.Tensor, weight: torch.Tensor) -> Match:
    """Regression of a measurement on its simulation.

    Args:
        measured, simulated: y and A x.
        weight: of each voxel, 0 where it does not count.
    """
    w = weight.double()
    total = float(w.sum())
    if total == 0:
        return Match(1.0, 0.0, 0.0, 0.0)
    y, a = measured.double(), simulated.double()
    mean_y, mean_a = float((w * y).sum()) / total, float((w * a).sum()) / total
    yy, aa = float((w * (y - mean_y) ** 2).sum()), float((w * (a - mean_a) ** 2).sum())
    ya = float((w * (y - mean_y) * (a - mean_a)).sum())
    if yy <= 0 or aa <= 0:
        return Match(1.0, 0.0, 0.0, 0.0)
    gain = ya / aa
    misfit = np.sqrt(max(0.0, yy - ya * gain) / total)
    return Match(gain, mean_y - gain * mean_a, ya / np.sqrt(yy * aa), misfit / max(abs(gain), 1e-6))


def reduced(series: Series, voxel: float) -> Series:
    """The series with pixels about as large as an anatomy's voxels: the mean of those that one covers."""
    volume = series.volume
    factors = [max(1.0, voxel / pixel) for pixel in volume.spacing[:2]]
    if max(factors) < 1.25:
        return series
    acquisition = AcquisitionModel((factors[0], factors[1], 1.0), in_plane_profile="box")
    shape = acquisition.low_shape(volume.shape)
    affine = upsampled_affine(volume.affine, volume.shape, shape)
    return replace(
        series, volume=replace(volume, voxels=acquisition.apply(volume.voxels, shape), affine=affine, forms=None)
    )


def refine_motion(
    series: Series,
    c: torch.Tensor,
    affine: np.ndarray,
    grid: SplineGrid,
    *,
    slices: Sequence[int] | None = None,
    trusted: torch.Tensor | None = None,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """T of a series, or of some of its slices, that fits an estimate of the anatomy best.

    Args:
        series: its voxels in grey levels of the anatomy; starts from its own motion.
        c: coefficients of the estimate.
        affine: of the estimate's grid.
        grid: of the estimate.
        slices: that are moved together; None for all.
        trusted: coefficients of where the estimate rests on measurements (1) and where not (0); None: everywhere.
        check: called before every evaluation; raises to cancel.

    Returns:
        4x4 motion; the one it started from where too little of it lies in the anatomy's box.
    """
    chosen = range(series.volume.shape[0]) if slices is None else slices
    start = series.motion if series.motion.ndim == 2 else series.motion[chosen[len(chosen) // 2]]
    middle = [(n - 1) / 2 for n in series.volume.shape[:0:-1]] + [float(np.mean(chosen)), 1.0]
    centre = (start @ series.volume.affine @ middle)[:3]
    measured = torch.from_numpy(series.volume.voxels[list(chosen)]).to(grid.device)
    first = SeriesOperator(replace(series, motion=start), affine, grid, chosen)
    weight = first.weight
    if trusted is not None:
        weight = weight * (first.apply(trusted) > _TRUSTED)
    if float(weight.mean()) < _LEAST_SHARE:
        return start

    def misfit(parameters: np.ndarray) -> np.ndarray:
        check()
        moved = replace(series, motion=rigid(parameters, centre) @ start)
        operator = SeriesOperator(moved, affine, grid, chosen)
        simulated = operator.apply(c)
        # The same voxels count at every trial, or motion out of the box would look like a better fit.
        counted = weight * operator.weight
        fit = match(measured, simulated, counted)
        residual = counted * (measured - fit.gain * simulated - fit.offset)
        return residual.cpu().numpy().ravel().astype(np.float64)

    def slopes(parameters: np.ndarray) -> np.ndarray:
        here = misfit(parameters)
        return np.stack([(misfit(parameters + step) - here) / _DELTA for step in _DELTA * np.eye(6)], axis=1)

    found = optimize.least_squares(
        misfit, np.zeros(6), slopes, loss="soft_l1", f_scale=_OUTLIER, max_nfev=_EVALUATIONS, ftol=_GAIN
    )
    return rigid(found.x, centre) @ start
