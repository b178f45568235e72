"""Figures of merit of a restored volume against its reference: the evaluation protocol's range, mask and metrics.

Every figure is a sum over slices in float64, so no float64 copy of a volume is made. Arrays are [k, j, i] in the
units of the volume (HU for CT).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.errors import InputError
from MedSRLib.volumes.volume import Volume

SMALLEST_SLICE = 11
"""Voxels along i and j that the SSIM window of sigma 1.5 needs."""

_CT_RANGE = 2000.0
_CT_FOREGROUND = -950.0
_FOREGROUND_SHARE = 0.05
_LEAST_EDGES = 1e-12
_SSIM_SLICES = 12


@dataclass(frozen=True)
class ScoringRule:
    """The grey-level range and the foreground in which a volume is scored; printed with every table.

    Args:
        range: grey levels that count as the full range, in the units of the volume.
        threshold: voxels of the reference above it are foreground.
        modality: "CT" takes the fixed rule; every other one the percentiles.
    """

    range: float
    threshold: float
    modality: str

    @classmethod
    def of(cls, reference: Volume) -> ScoringRule:
        """CT: 2000 HU, foreground above -950 HU. Others: p99.9 - p0.1, foreground above p0.1 + 5 % of the range.

        Raises:
            InputError: the reference is constant or has no foreground.
        """
        if reference.modality == "CT":
            rule = cls(_CT_RANGE, _CT_FOREGROUND, "CT")
        else:
            low, high = (float(value) for value in np.percentile(reference.voxels, [0.1, 99.9]))
            rule = cls(high - low, low + _FOREGROUND_SHARE * (high - low), reference.modality)
        if rule.range <= 0 or not np.any(rule.foreground(reference.voxels)):
            raise InputError("the reference is empty or constant, nothing can be scored: choose a volume with anatomy")
        return rule

    def foreground(self, reference: np.ndarray) -> np.ndarray:
        """Mask of the voxels that are scored, of the reference's shape."""
        return reference > self.threshold

    def describe(self) -> str:
        """One line for people: range and foreground, and where they come from."""
        if self.modality == "CT":
            return f"range {self.range:g} HU, foreground above {self.threshold:g} HU"
        return f"range {self.range:g} (p99.9 - p0.1), foreground above {self.threshold:g} (p0.1 + 5 % of the range)"


class Similarity(NamedTuple):
    """SSIM over whole slices (air included) and over the foreground only."""

    whole: float
    foreground: float


def psnr(reference: np.ndarray, estimate: np.ndarray, rule: ScoringRule) -> float:
    """Peak signal-to-noise ratio over the 3D foreground in dB: 20 log10(range / RMS error); infinite without error."""
    error = _root_mean_square(reference, estimate, rule)
    return float("inf") if error == 0 else float(20.0 * np.log10(rule.range / error))


def nrmse(reference: np.ndarray, estimate: np.ndarray, rule: ScoringRule) -> float:
    """RMS error over the 3D foreground as a share of the range."""
    return _root_mean_square(reference, estimate, rule) / rule.range


def ssim(reference: np.ndarray, estimate: np.ndarray, rule: ScoringRule) -> Similarity:
    """Structural similarity (Wang et al. 2004) per slice along k: Gaussian window of sigma 1.5, the rule's range.

    Every ``ssim_step``-th slice counts, from the first on. ``whole`` is the mean of the slices' SSIM, air
    included: it reproduces the published reference values. Air is alike in all methods and lifts it, so
    ``foreground``, the mean over the foreground pixels of the same slices, stands beside it.
    """
    whole, total, count = [], 0.0, 0
    for k in range(0, len(reference), ssim_step(len(reference))):
        mean, pixels = structural_similarity(
            reference[k].astype(np.float64),
            estimate[k].astype(np.float64),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=rule.range,
            full=True,
        )
        inside = pixels[rule.foreground(reference[k])]
        whole.append(mean)
        total += float(inside.sum())
        count += inside.size
    return Similarity(float(np.mean(whole)), total / count if count else float("nan"))


def ssim_step(slices: int) -> int:
    """Distance between the slices that SSIM looks at: at least twelve of them, or all there are."""
    return max(1, slices // _SSIM_SLICES)


def hfen(reference: np.ndarray, estimate: np.ndarray, rule: ScoringRule) -> float:
    """High-frequency error norm over the foreground (Ravishankar and Bresler 2011).

    ``|LoG(estimate - reference)| / |LoG(reference)|`` with a Laplacian of Gaussian of sigma 1.5 and 15 x 15 pixels,
    slice by slice. 0 is perfect, 1 is as bad as no edges at all.
    """
    error, edges = 0.0, 0.0
    for truth, guess in zip(reference, estimate, strict=True):
        inside = rule.foreground(truth)
        truth = truth.astype(np.float64)
        error += float(np.sum(_laplacian_of_gaussian(guess - truth)[inside] ** 2))
        edges += float(np.sum(_laplacian_of_gaussian(truth)[inside] ** 2))
    return float(np.sqrt(error / edges)) if edges else float("nan")


def edge_energy(voxels: np.ndarray) -> float:
    """Root mean square of the differences between neighbours, over all axes longer than one voxel."""
    squares = [
        float(np.mean(np.diff(voxels.astype(np.float32), axis=axis) ** 2, dtype=np.float64))
        for axis in range(voxels.ndim)
        if voxels.shape[axis] > 1
    ]
    return float(np.sqrt(sum(squares)))


def sharpness(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Edge energy over the reference's: below 1 blurred, 1 as sharp, above 1 too sharp; PSNR cannot tell these."""
    return edge_energy(estimate) / max(edge_energy(reference), _LEAST_EDGES)


def volume_shift(reference: np.ndarray, estimate: np.ndarray, rule: ScoringRule) -> float:
    """Mean of estimate - reference over the whole volume, in parts of the range.

    In a foreground that was cut out of the reference, as ``mean_shift`` takes it, every blur looks like a shift.
    """
    return float(estimate.mean(dtype=np.float64) - reference.mean(dtype=np.float64)) / rule.range


def mean_shift(reference: np.ndarray, estimate: np.ndarray, rule: ScoringRule) -> float:
    """Mean of estimate - reference over the foreground, in the units of the volume."""
    total, count = 0.0, 0
    for error in _foreground_errors(reference, estimate, rule):
        total += float(error.sum())
        count += error.size
    return total / count


def consistency_rmse(estimate: np.ndarray, measurement: np.ndarray, acquisition: AcquisitionModel) -> float:
    """RMS of A x - y over the whole measurement, in the units of the volume: disagreement with what was measured.

    Args:
        estimate: x, [k, j, i] high resolution.
        measurement: y, [k, j, i] low resolution.
        acquisition: A.
    """
    residual = acquisition.apply(estimate.astype(np.float32), measurement.shape) - measurement
    return float(np.sqrt(np.mean(residual.astype(np.float64) ** 2)))


def _foreground_errors(reference: np.ndarray, estimate: np.ndarray, rule: ScoringRule) -> Iterator[np.ndarray]:
    """estimate - reference in the foreground of each slice, 1D float64."""
    for truth, guess in zip(reference, estimate, strict=True):
        inside = rule.foreground(truth)
        yield guess[inside].astype(np.float64) - truth[inside]


def _root_mean_square(reference: np.ndarray, estimate: np.ndarray, rule: ScoringRule) -> float:
    total, count = 0.0, 0
    for error in _foreground_errors(reference, estimate, rule):
        total += float(error @ error)
        count += error.size
    return float(np.sqrt(total / count))


def _laplacian_of_gaussian(slice_: np.ndarray) -> np.ndarray:
    """Sigma 1.5 in a 15 x 15 kernel: scipy's radius is ``int(truncate * sigma + 1/2)`` = 7."""
    return ndimage.gaussian_laplace(slice_, 1.5, mode="nearest", truncate=7 / 1.5)
