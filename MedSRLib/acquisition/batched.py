"""A, and what belongs to it, for a batch whose every image was acquired in its own way: one matrix an image and axis.

The formulas are those of ``operator.profile_matrix`` and ``interpolation.bspline_matrix``, evaluated on a device for
all images of a batch at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from MedSRLib.acquisition.interpolation import bspline_matrix
from MedSRLib.acquisition.operator import PROFILES, SLR_EDGE

GAUSSIAN, BOX, SLR, KSPACE = range(len(PROFILES))
"""Codes of the profiles in ``profile_matrices``, in the order of ``operator.PROFILES``."""


def profile_matrices(
    n_high: int, n_low: Tensor, width: Tensor, profile: Tensor, rows: int, among: Collection[int] = range(len(PROFILES))
) -> Tensor:
    """``operator.profile_matrix`` for every image of a batch, [N, rows, n_high], float32.

    Args:
        n_high: voxels of the anatomy along the axis.
        n_low: voxels of each measurement along the axis, [N]; rows from there on are zero.
        width: full width at half maximum in low-resolution voxels, [N]; "kspace" has none.
        profile: a code for each image, [N].
        rows: of the matrices, at least the largest of ``n_low``.
        among: codes that occur; the formulas of others are not evaluated.
    """
    count = n_low.to(torch.float64)[:, None, None]
    factor = n_high / count
    row = torch.arange(rows, device=n_low.device, dtype=torch.float64)[:, None]
    column = torch.arange(n_high, device=n_low.device, dtype=torch.float64)
    distance = column - ((row + 0.5) * factor - 0.5)
    half = 0.5 * width.to(torch.float64)[:, None, None] * factor
    formulas = {GAUSSIAN: _gaussian, BOX: _box, SLR: _slr}
    weights = torch.zeros_like(distance)
    for code in among:
        found = _kspace(distance, n_low, n_high) if code == KSPACE else formulas[code](distance, half)
        weights = torch.where((profile == code)[:, None, None], found, weights)
    weights = weights / weights.sum(2, keepdim=True)
    return torch.where(row < count, weights, 0.0).float()


def _gaussian(distance: Tensor, half: Tensor) -> Tensor:
    return torch.exp(-math.log(2.0) * (distance / half) ** 2)


def _box(distance: Tensor, half: Tensor) -> Tensor:
    return (torch.minimum(distance + 0.5, half) - torch.maximum(distance - 0.5, -half)).clamp_min(0.0)


def _slr(distance: Tensor, half: Tensor) -> Tensor:
    edge = 2.0 * math.sqrt(2.0) * SLR_EDGE * half
    return torch.erf((distance + half) / edge) - torch.erf((distance - half) / edge)


def _kspace(distance: Tensor, n_low: Tensor, n_high: int) -> Tensor:
    """The Dirichlet kernel of the n_low lowest frequencies, in closed form; half of the last one for an even number."""
    angle = (math.pi / n_high) * distance
    sine = torch.sin(angle)
    is_centre = sine.abs() < 1e-9
    count = n_low.to(torch.float64)[:, None, None]
    ratio = torch.sin(count * angle) / torch.where(is_centre, 1.0, sine)
    is_even = (n_low.remainder(2) == 0)[:, None, None]
    return torch.where(is_centre, count, ratio * torch.where(is_even, torch.cos(angle), 1.0))


class Interpolation:
    """``interpolation.bspline_matrix`` for every image of a batch.

    Args:
        n_high: voxels of the anatomy along the axis.
        smallest, largest: numbers of voxels that a measurement may have along the axis.
        device: where the matrices are kept.
    """

    def __init__(self, n_high: int, smallest: int, largest: int, device: torch.device) -> None:
        table = torch.zeros(largest - smallest + 1, n_high, largest)
        for n_low in range(smallest, largest + 1):
            table[n_low - smallest, :, :n_low] = torch.tensor(bspline_matrix(n_low, n_high))
        self._table = table.to(device)
        self._smallest = smallest

    def __call__(self, n_low: Tensor) -> Tensor:
        """Matrices [N, n_high, largest]; columns from ``n_low`` on are zero."""
        return self._table[n_low - self._smallest]


def gaussian_matrices(size: int, fwhm: Tensor) -> Tensor:
    """Blur of an axis by a Gaussian of each image's own width, [N, size, size]; a width of 0 changes nothing.

    Args:
        size: voxels along the axis.
        fwhm: full width at half maximum in voxels, [N].
    """
    index = torch.arange(size, device=fwhm.device, dtype=torch.float32)
    distance = index[:, None] - index
    weights = torch.exp(-4.0 * math.log(2.0) * (distance / fwhm.clamp_min(0.05)[:, None, None]) ** 2)
    return weights / weights.sum(2, keepdim=True)


def zoom_matrices(size: int, whole: int, factor: Tensor) -> Tensor:
    """Antialiased shrinking about the centre, [N, size, whole]: a Gaussian of 0.8 of the new spacing.

    Args:
        size: voxels after it.
        whole: voxels before it, at least ``size`` times the largest factor.
        factor: new spacing over the old one, [N].
    """
    f = factor[:, None, None]
    row = torch.arange(size, device=factor.device, dtype=torch.float32)[None, :, None]
    column = torch.arange(whole, device=factor.device, dtype=torch.float32)
    distance = column - ((row + 0.5 - size / 2) * f + whole / 2 - 0.5)
    weights = torch.exp(-4.0 * math.log(2.0) * (distance / (0.8 * f)) ** 2)
    return weights / weights.sum(2, keepdim=True)


def along_axes(matrix: Tensor, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Each image's matrix applied along some of its axes.

    Args:
        matrix: [N, m, n].
        x: [N, ..., n, ...].
        axes: negative numbers of axes of size n, which become m.
    """
    for axis in axes:
        wide = matrix[(slice(None), *(None,) * (x.ndim - 3))]
        if axis == -1:
            x = x @ wide.mT
        elif axis == -2:
            x = wide @ x
        else:
            x = (wide @ x.movedim(axis, -2)).movedim(-2, axis)
    return x


def back_projected(y: Tensor, matrix: Tensor, interpolation: Tensor, iterations: int, axes: Sequence[int]) -> Tensor:
    """interp(y) and back-projections of a batch; see ``interpolation.back_project``.

    Args:
        y: measurements, [N, ..., m, ...].
        matrix: A of each along one axis, [N, m, n].
        interpolation: [N, n, m].
        iterations: back-projections.
        axes: that A acts on.
    """
    if len(axes) == 1:  # then all of it is one matrix an image, and those are smaller than images
        whole, identity = interpolation, torch.eye(matrix.shape[1], device=y.device)
        for _ in range(iterations):
            whole = whole + interpolation @ (identity - matrix @ whole)
        return along_axes(whole, y, axes)
    x = along_axes(interpolation, y, axes)
    for _ in range(iterations):
        x = x + along_axes(interpolation, y - along_axes(matrix, x, axes), axes)
    return x
