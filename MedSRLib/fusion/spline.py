"""Cubic B-splines at any place of a grid, in torch, with the exact transpose.

The anatomy between voxel centres is ``x(u) = sum_n c_n B3(u - n)`` (Unser 1999, equation 4), c the coefficients that
make it equal x at the centres. Finding c is linear and separable: one matrix per axis. The outer half voxel takes the
value at the outer centre, as in ``acquisition.interpolation``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage

from MedSRLib.acquisition.operator import along_axis

_TAPS = 4
_POINTS = {"cpu": 2**15, "cuda": 2**21, "mps": 2**20}
"""Points sampled at a time: what the CPU's cache holds, and enough to keep a GPU busy."""


@lru_cache(maxsize=32)
def coefficient_matrix(n: int) -> np.ndarray:
    """B-spline coefficients of n samples mirrored about the outer ones, at indices -1 .. n + 1: [n + 3, n]."""
    inverse = ndimage.spline_filter1d(np.eye(n), order=3, axis=0, mode="mirror") if n > 1 else np.ones((1, 1))
    period = max(1, 2 * (n - 1))
    index = np.abs((np.arange(-1, n + 2) + (n - 1)) % period - (n - 1)) if n > 1 else np.zeros(n + 3, int)
    matrix = inverse[index]
    matrix.setflags(write=False)
    return matrix


class SplineGrid:
    """The grid of an anatomy x and how its spline is sampled.

    Args:
        shape: of x, [k, j, i].
        device: of all tensors.
    """

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.device = device
        self.padded = tuple(n + 3 for n in self.shape)
        _, rows, columns = self.padded
        self._offsets = [
            [(dk * rows + dj) * columns + di for di in range(_TAPS)] for dk in range(_TAPS) for dj in range(_TAPS)
        ]
        self.chunk = _POINTS[device.type]

    def coefficients(self, x: torch.Tensor) -> torch.Tensor:
        """c of x, with the mirrored border that sampling needs, as one row."""
        for axis in (-3, -2, -1):
            x = along_axis(coefficient_matrix(self.shape[axis]), x, axis)
        return x.reshape(-1)

    def coefficients_adjoint(self, c: torch.Tensor) -> torch.Tensor:
        """The transpose of ``coefficients``."""
        x = c.reshape(self.padded)
        for axis in (-3, -2, -1):
            x = along_axis(coefficient_matrix(self.shape[axis]).T, x, axis)
        return x

    def inside(self, points: Sequence[torch.Tensor]) -> torch.Tensor:
        """Which points lie in the box of the grid's voxels, outer halves included.

        Args:
            points: voxel indices i, j, k, three float tensors of one shape.
        """
        i, j, k = points
        depth, rows, columns = self.shape
        within = (i >= -0.5) & (i <= columns - 0.5) & (j >= -0.5) & (j <= rows - 0.5)
        return within & (k >= -0.5) & (k <= depth - 0.5)

    def sample(self, c: torch.Tensor, points: Sequence[torch.Tensor]) -> torch.Tensor:
        """The spline's values.

        Args:
            c: ``coefficients``.
            points: voxel indices i, j, k inside the box, float tensors [n].
        """
        values = []
        for part in zip(*(p.split(self.chunk) for p in points), strict=True):
            base, wi, wj, wk = self._taps(part)
            total = torch.zeros_like(part[0])
            for row, offsets in enumerate(self._offsets):
                line = torch.zeros_like(total)
                for offset, weight in zip(offsets, wi, strict=True):
                    line.addcmul_(c[offset:].index_select(0, base), weight)
                total.addcmul_(line, wk[row // _TAPS] * wj[row % _TAPS])
            values.append(total)
        return torch.cat(values) if values else c.new_zeros(0)

    def scatter(self, values: torch.Tensor, points: Sequence[torch.Tensor], c: torch.Tensor) -> None:
        """The transpose of ``sample``, added to c.

        Args:
            values: [n].
            points: as for ``sample``.
            c: changed in place.
        """
        for value, *part in zip(*(p.split(self.chunk) for p in (values, *points)), strict=True):
            base, wi, wj, wk = self._taps(part)
            for row, offsets in enumerate(self._offsets):
                line = value * (wk[row // _TAPS] * wj[row % _TAPS])
                for offset, weight in zip(offsets, wi, strict=True):
                    c[offset:].index_add_(0, base, line * weight)

    def _taps(
        self, points: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """The first coefficient that each point needs, and its four weights along i, j, k."""
        base = torch.zeros_like(points[0], dtype=torch.int64)
        weights = []
        for place, size, stride in zip(points, reversed(self.shape), self._strides(), strict=True):
            clipped = place.clamp(0, size - 1)
            first = clipped.floor()
            weights.append(_weights(clipped - first))
            base += first.long() * stride
        return base, weights[0], weights[1], weights[2]

    def _strides(self) -> tuple[int, int, int]:
        _, rows, columns = self.padded
        return 1, columns, rows * columns


def resample(
    x: torch.Tensor, to_index: np.ndarray, shape: Sequence[int], check: Callable[[], None] = lambda: None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A volume on another grid.

    Args:
        x: its voxels [k, j, i], float32.
        to_index: 4x4, voxel indices (i, j, k) of the new grid to those of x.
        shape: of the new grid, [k, j, i].
        check: called before every slice; raises to cancel.

    Returns:
        The values, 0 outside the box of x; and how deep each voxel lies in that box: voxels of x to its nearest face,
        0 outside.
    """
    grid = SplineGrid(x.shape, x.device)
    c = grid.coefficients(x)
    values = torch.zeros(tuple(shape), device=x.device)
    depths = torch.zeros(tuple(shape), device=x.device)
    matrix = torch.tensor(to_index, dtype=torch.float32, device=x.device)
    row = torch.arange(shape[1], device=x.device, dtype=torch.float32)[:, None]
    column = torch.arange(shape[2], device=x.device, dtype=torch.float32)
    for k in range(shape[0]):
        check()
        places = [(line[0] * column + line[1] * row + (line[2] * k + line[3])).reshape(-1) for line in matrix[:3]]
        depth = torch.stack(
            [torch.minimum(p + 0.5, n - 0.5 - p) for p, n in zip(places, reversed(x.shape), strict=True)]
        ).amin(dim=0)
        inside = (depth >= 0).nonzero()[:, 0]
        values[k].view(-1)[inside] = grid.sample(c, [p[inside] for p in places])
        depths[k] = depth.clamp_min(0).reshape(depths[k].shape)
    return values, depths


def _weights(t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """B3 at the four centres around a point that lies t beyond the second of them."""
    s = 1 - t
    return s**3 / 6, 2 / 3 - t * t * (2 - t) / 2, 2 / 3 - s * s * (2 - s) / 2, t**3 / 6
