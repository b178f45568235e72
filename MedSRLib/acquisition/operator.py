"""The acquisition operator A of y = A x + n: one matrix per axis, so A is exact, separable and has a true adjoint.

Low-resolution voxel m of an axis with n_high voxels shrunk to n_low covers the high-resolution indices
[m f - 1/2, (m + 1) f - 1/2], f = n_high / n_low, so its centre is at ``(m + 1/2) f - 1/2``. Nothing is resampled:
each row of a matrix holds the profile's weights at the high-resolution voxel centres, divided by their sum.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from MedSRLib.errors import UsageError

FWHM_OVER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian over its standard deviation."""
Profile = Literal["gaussian", "box", "slr", "kspace"]
PROFILES: tuple[Profile, ...] = get_args(Profile)
SLR_EDGE = 0.1045
"""Standard deviation of an SLR pulse's edges in slice thicknesses. A linear-phase pulse of time-bandwidth product 4 and
1 % ripples has a transition D / 4 = 0.486 thicknesses wide (Pauly et al. 1991, equation 20 with table II for a spin
echo's ripples); 1 % to 99 % of a Gaussian edge are 4.65 standard deviations."""
PointSpread = float | Literal["kspace"]
"""What may be known of an in-plane point spread: the FWHM of a Gaussian in low-resolution voxels, or that it is the
truncated k-space of an MR acquisition, which has no width."""
ArrayOrTensor = TypeVar("ArrayOrTensor", bound=Any)


@lru_cache(maxsize=256)
def profile_matrix(n_high: int, n_low: int, width: float, profile: Profile) -> np.ndarray:
    """One axis of A, shape [n_low, n_high], float64, every row summing to one.

    Args:
        n_high: voxels of the anatomy along the axis.
        n_low: voxels of the measurement along the axis.
        width: full width at half maximum (gaussian, slr) or full width (box), in low-resolution voxels; "kspace" has
            none.
        profile: "gaussian"; "box" (mean over the overlap with each voxel); "slr" (a box whose edges are blurred by a
            Gaussian of ``SLR_EDGE``, as those of slices that MR pulses of the Shinnar-Le Roux algorithm select);
            "kspace" (keeps the n_low lowest frequencies of the periodic axis: the Dirichlet kernel of a truncated MR
            acquisition).
    """
    factor = n_high / n_low
    centre = (np.arange(n_low)[:, None] + 0.5) * factor - 0.5
    distance = np.arange(n_high)[None, :] - centre
    if profile == "gaussian":
        weights = np.exp(-4.0 * np.log(2.0) * (distance / (width * factor)) ** 2)
    elif profile == "box":
        half = 0.5 * width * factor
        weights = np.clip(np.minimum(distance + 0.5, half) - np.maximum(distance - 0.5, -half), 0.0, None)
    elif profile == "slr":
        from scipy.special import erf

        half = 0.5 * width * factor
        edge = np.sqrt(2.0) * SLR_EDGE * width * factor
        weights = erf((distance + half) / edge) - erf((distance - half) / edge)
    else:
        # The sum over the frequencies in closed form, of the last one of an even number half: the Dirichlet kernel.
        angle = np.pi / n_high * distance
        sine = np.sin(angle)
        is_centre = np.abs(sine) < 1e-9
        weights = np.sin(n_low * angle) / np.where(is_centre, 1.0, sine)
        weights = np.where(is_centre, n_low, weights * np.cos(angle) if n_low % 2 == 0 else weights)
    matrix = weights / weights.sum(axis=1, keepdims=True)
    matrix.setflags(write=False)
    return matrix


def along_axis(matrix: np.ndarray, x: ArrayOrTensor, axis: int) -> ArrayOrTensor:
    """``matrix`` applied to one axis of a numpy array or torch tensor, in the array's own precision and device.

    Args:
        matrix: [m, n]. One that is read-only is brought to a device once.
        x: [..., n, ...].
        axis: negative; its n voxels become m.
    """
    local: Any = matrix.astype(x.dtype, copy=False) if isinstance(x, np.ndarray) else _on_device(matrix, x)
    if axis == -1:
        return x @ local.T
    rows = x.reshape(*x.shape[: axis + 1], -1)
    return (local @ rows).reshape(*x.shape[:axis], matrix.shape[0], *x.shape[axis + 1 :])


_on_devices: dict[tuple[int, Any, Any], Any] = {}
"""Tensors of read-only matrices by identity, type and device, for as long as the matrix lives."""


def _on_device(matrix: np.ndarray, like: Any) -> Any:
    """A matrix as a tensor of the type and on the device of another."""
    import torch

    key = (id(matrix), like.dtype, like.device)
    if matrix.flags.writeable or key not in _on_devices:
        tensor = torch.tensor(matrix, dtype=like.dtype, device=like.device)
        if matrix.flags.writeable:
            return tensor
        _on_devices[key] = tensor
        weakref.finalize(matrix, _on_devices.pop, key, None).atexit = False
    return _on_devices[key]


@dataclass(frozen=True)
class AcquisitionModel:
    """A: blurs by the in-plane point spread and the slice profile, and samples.

    Arrays and tensors are [..., k, j, i]; leading axes are kept, and an axis of factor 1 is left alone, so a stack
    of slices [..., j, i] works with a factor 1 along k.

    Args:
        factors: low-resolution over high-resolution spacing along i, j, k; each at least 1.
        in_plane_fwhm: full width at half maximum of the point spread along i and j, in low-resolution voxels.
        slice_thickness: full width of the slice profile along k, in low-resolution slice spacings: thickness over
            spacing, above 1 for overlapping slices and below 1 for gaps.
        slice_profile: "gaussian", "box", "slr", or "kspace" (3D MR, truncated along k too).
        in_plane_profile: "gaussian", "box", or "kspace" (MR: truncation, has no width).

    Raises:
        UsageError: a factor below 1 or a width that is not positive.
    """

    factors: tuple[float, float, float]
    in_plane_fwhm: float = 1.0
    slice_thickness: float = 1.0
    slice_profile: Profile = "gaussian"
    in_plane_profile: Profile = "gaussian"

    def __post_init__(self) -> None:
        if len(self.factors) != 3 or min(self.factors) < 1:
            raise UsageError(f"factors must be three numbers of at least 1 (along i, j, k), got {self.factors}")
        if self.in_plane_fwhm <= 0 or self.slice_thickness <= 0:
            raise UsageError("the point-spread width and the slice thickness must be positive")

    @property
    def point_spread(self) -> PointSpread:
        """The in-plane point spread as one value; see ``with_point_spread``."""
        return "kspace" if self.in_plane_profile == "kspace" else self.in_plane_fwhm

    def with_point_spread(self, point_spread: PointSpread) -> AcquisitionModel:
        """The same sampling by another in-plane point spread.

        Raises:
            UsageError: it is neither a positive number nor "kspace".
        """
        if point_spread == "kspace":
            return replace(self, in_plane_profile="kspace")
        if isinstance(point_spread, str) or not 0 < point_spread < float("inf"):
            raise UsageError(f"the point-spread width must be a positive number or 'kspace', not {point_spread!r}")
        return replace(self, in_plane_fwhm=float(point_spread), in_plane_profile="gaussian")

    def low_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the measurement of an anatomy of ``shape`` [k, j, i]."""
        return tuple(max(1, round(n / f)) for n, f in zip(shape, reversed(self.factors), strict=True))

    def high_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the anatomy behind a measurement of ``shape`` [k, j, i]."""
        return tuple(round(n * f) for n, f in zip(shape, reversed(self.factors), strict=True))

    def apply(self, x: ArrayOrTensor, low_shape: Sequence[int] | None = None) -> ArrayOrTensor:
        """A x.

        Args:
            x: floating-point anatomy [..., k, j, i].
            low_shape: numbers of voxels of the measurement along the last axes; None for the rounded quotient.
        """
        for axis in self.axes:
            n_high = x.shape[axis]
            n_low = low_shape[axis] if low_shape is not None else max(1, round(n_high / self.factors[-1 - axis]))
            x = along_axis(self.matrix(axis, n_high, n_low), x, axis)
        return x

    def adjoint(self, y: ArrayOrTensor, high_shape: Sequence[int] | None = None) -> ArrayOrTensor:
        """A' y: the transposed matrices, so that <A x, y> = <x, A' y>.

        Args:
            y: floating-point measurement [..., k, j, i].
            high_shape: numbers of voxels of the anatomy along the last axes; None for the rounded product.
        """
        for axis in self.axes:
            n_low = y.shape[axis]
            n_high = high_shape[axis] if high_shape is not None else round(n_low * self.factors[-1 - axis])
            y = along_axis(self.matrix(axis, n_high, n_low).T, y, axis)
        return y

    @property
    def axes(self) -> list[int]:
        """Axes that A changes, as negative array axes: -1 is i, -2 is j, -3 is k."""
        return [-1 - n for n, factor in enumerate(self.factors) if factor != 1]

    def matrix(self, axis: int, n_high: int, n_low: int) -> np.ndarray:
        """A along one axis, [n_low, n_high].

        Args:
            axis: of ``axes``.
            n_high: voxels of the anatomy along it.
            n_low: voxels of the measurement.
        """
        if axis == -3:
            return profile_matrix(n_high, n_low, self.slice_thickness, self.slice_profile)
        return profile_matrix(n_high, n_low, self.in_plane_fwhm, self.in_plane_profile)
