"""A_s T_s: how one series of slices, moved and turned, measures an anatomy that lies on a grid of its own.

Voxel (i, j, k) of the series lies at ``p = M (i, j, k)`` millimetres where the scanner says, and at ``T_k p`` in the
anatomy, T_k rigid, of the whole series or of slice k. It measures the anatomy's spline, weighted along the slice's
normal by the slice profile and in-plane by the pixel's point spread. Both are sums over sampling planes parallel to
the slice, no farther apart than the anatomy's voxels, so the transpose is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from MedSRLib.acquisition.slice_profiles import SliceProfile, profile_reach, profile_weights
from MedSRLib.fusion.spline import SplineGrid
from MedSRLib.volumes.geometry import upsampled_affine
from MedSRLib.volumes.volume import Volume

_COARSE_PIXEL = 1.25
"""Pixels so many times the anatomy's voxels average more than one sample along their side."""
_LOBES = 3
"""Half width in pixels of the windowed sinc that stands for truncated k-space."""
_LEAST_INSIDE = 0.5
"""A voxel of the series counts where at least this part of its point spread lies in the anatomy's box."""


@dataclass(frozen=True, eq=False)
class Series:
    """One series as it is measured.

    Args:
        volume: its voxels (float32, grey levels of the fusion) and where the scanner says they lie.
        profile: of its slices.
        motion: T, 4x4 or one for each slice [k, 4, 4], millimetres of the scanner to millimetres of the anatomy.
    """

    volume: Volume
    profile: SliceProfile
    motion: np.ndarray

    @property
    def thickness(self) -> float:
        """Of the slices, millimetres: their spacing where nobody says it."""
        return self.volume.slice_thickness or self.volume.spacing[2]

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slices where the scanner says they lie, RAS."""
        i, j = self.volume.affine[:3, 0], self.volume.affine[:3, 1]
        cross = np.cross(i, j)
        return cross / np.linalg.norm(cross)


class SeriesOperator:
    """A_s T_s between an anatomy's spline coefficients and the voxels of one series.

    Where part of a voxel's point spread lies outside the anatomy's box, the rest of it counts as the whole; where
    most of it does, the voxel is not measured: its ``weight`` is 0.

    Args:
        series: its geometry, profile and motion; its voxels do not matter.
        affine: of the anatomy's grid, IJK to RAS millimetres.
        grid: of the anatomy.
        slices: of the series that are measured; None for all.

    Attributes:
        shape: of what is measured, [k, j, i].
        weight: 1 where a voxel is measured, else 0, float32 [k, j, i].
    """

    def __init__(
        self, series: Series, affine: np.ndarray, grid: SplineGrid, slices: Sequence[int] | None = None
    ) -> None:
        count, rows, columns = series.volume.shape
        measured = range(count) if slices is None else slices
        self.shape = (len(measured), rows, columns)
        self._grid = grid
        voxel = float(np.linalg.norm(affine[:3, :3], axis=0).min())
        spacing = series.volume.spacing
        in_plane = [_pixel_matrix(n, pixel / voxel) for n, pixel in ((rows, spacing[1]), (columns, spacing[0]))]
        self._in_plane = [
            None if m is None else torch.tensor(m, dtype=torch.float32, device=grid.device) for m in in_plane
        ]
        self._size = tuple(n if m is None else m.shape[1] for n, m in zip((rows, columns), in_plane, strict=True))
        fine = upsampled_affine(series.volume.affine, series.volume.shape, (count, *self._size))
        planes = list(_planes(series, measured, voxel))
        self._weights = torch.tensor(
            np.stack([plane.weights for plane in planes], 1), dtype=torch.float32, device=grid.device
        )
        to_index = np.linalg.inv(affine)
        frames = [to_index @ plane.motion @ fine @ _along_k(plane.place) for plane in planes]
        self._frames = torch.tensor(np.stack(frames), dtype=torch.float32, device=grid.device)
        whole = self._measure(lambda points: torch.ones_like(points[0]))
        self.weight = (whole >= _LEAST_INSIDE).to(torch.float32)
        self._scale = self.weight / whole.clamp_min(_LEAST_INSIDE)

    def apply(self, c: torch.Tensor) -> torch.Tensor:
        """A_s T_s x of x's coefficients c: [k, j, i], 0 where nothing is measured."""
        return self._scale * self._measure(lambda points: self._grid.sample(c, points))

    def adjoint(self, y: torch.Tensor, c: torch.Tensor) -> None:
        """The transpose of ``apply``, added to c."""
        y = self._scale * y
        for group in self._groups():
            rows = self._rows(group)
            low = torch.einsum("kp,kji->pji", self._weights[rows][:, group], y[rows])
            if self._in_plane[0] is not None:
                low = self._in_plane[0].T @ low
            if self._in_plane[1] is not None:
                low = low @ self._in_plane[1]
            points, inside = self._points(group)
            self._grid.scatter(low.reshape(-1)[inside], points, c)

    def _measure(self, function: Callable[[list[torch.Tensor]], torch.Tensor]) -> torch.Tensor:
        """The weighted sums of a function of the places where it is sampled, 0 outside the anatomy's box."""
        y = torch.zeros(self.shape, device=self._grid.device)
        for group in self._groups():
            points, inside = self._points(group)
            fine = torch.zeros(len(group) * self._size[0] * self._size[1], device=self._grid.device)
            fine[inside] = function(points)
            low = fine.reshape(len(group), *self._size)
            if self._in_plane[0] is not None:
                low = self._in_plane[0] @ low
            if self._in_plane[1] is not None:
                low = low @ self._in_plane[1].T
            rows = self._rows(group)
            y[rows] += torch.einsum("kp,pji->kji", self._weights[rows][:, group], low)
        return y

    def _groups(self) -> Iterator[torch.Tensor]:
        """Planes that are worked on together."""
        together = max(1, self._grid.chunk // (self._size[0] * self._size[1]))
        yield from torch.arange(len(self._frames), device=self._grid.device).split(together)

    def _rows(self, group: torch.Tensor) -> torch.Tensor:
        """Slices that a group of planes belongs to."""
        return self._weights[:, group].any(dim=1).nonzero()[:, 0]

    def _points(self, group: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Voxel indices of the anatomy, i, j, k, at the samples inside its box, and which samples those are."""
        row = torch.arange(self._size[0], device=self._grid.device, dtype=torch.float32)[:, None]
        column = torch.arange(self._size[1], device=self._grid.device, dtype=torch.float32)
        frames = self._frames[group]
        points = []
        for axis in range(3):
            along_i, along_j, _, origin = frames[:, axis, :, None, None].unbind(1)
            points.append((origin + along_i * column + along_j * row).reshape(-1))
        inside = self._grid.inside(points).nonzero()[:, 0]
        return [place[inside] for place in points], inside


@dataclass(frozen=True)
class _Plane:
    """A plane on which slices are sampled.

    Args:
        place: along k, in slices.
        motion: T there.
        weights: what each measured slice takes of it.
    """

    place: float
    motion: np.ndarray
    weights: np.ndarray


def _planes(series: Series, measured: Sequence[int], voxel: float) -> Iterator[_Plane]:
    """Planes no farther apart than the anatomy's voxels; slices that do not move apart share theirs."""
    spacing = series.volume.spacing[2]
    divisions = max(2, int(np.ceil(spacing / voxel - 1e-6)))
    reach = int(np.ceil(profile_reach(series.profile, series.thickness) / spacing * divisions))
    # An even number of planes for each slice lies symmetrically about its middle.
    offsets = (np.arange(-reach, reach) + 0.5) / divisions

    def weights(places: np.ndarray, k: int) -> np.ndarray:
        return profile_weights((places - k) * spacing, spacing / divisions, series.profile, series.thickness)

    if series.motion.ndim == 3:
        for row, k in enumerate(measured):
            own = weights(k + offsets, k)
            for place, weight in zip(k + offsets, own / own.sum(), strict=True):
                yield _Plane(place, series.motion[k], weight * (np.arange(len(measured)) == row))
        return
    first, last = min(measured), max(measured)
    places = (np.arange(first * divisions - reach, last * divisions + reach) + 0.5) / divisions
    table = np.stack([weights(places, k) for k in measured])
    table /= table.sum(axis=1, keepdims=True)
    for place, column in zip(places, table.T, strict=True):
        if column.any():
            yield _Plane(place, series.motion, column)


def _along_k(place: float) -> np.ndarray:
    moved = np.eye(4)
    moved[2, 3] = place
    return moved


def _pixel_matrix(pixels: int, size: float) -> np.ndarray | None:
    """What each pixel of an axis takes of samples as fine as the anatomy; None where pixels are as fine themselves.

    Pixels are samples of an anatomy without anything finer than they are, as truncated k-space gives them: a sinc,
    here windowed (Lanczos). Pixels as fine as the anatomy's voxels are then left alone, as through-plane models do.

    Args:
        pixels: along the axis.
        size: of a pixel in the anatomy's voxels.
    """
    if size <= _COARSE_PIXEL:
        return None
    samples = int(np.ceil(size))
    distance = (np.arange(pixels * samples)[None, :] + 0.5) / samples - (np.arange(pixels)[:, None] + 0.5)
    weights = np.where(np.abs(distance) < _LOBES, np.sinc(distance) * np.sinc(distance / _LOBES), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)
