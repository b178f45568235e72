"""What to show of a volume: which slice, which way up, which grey levels, which detail. No drawing is done here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from MedSRLib.volumes.volume import Volume

_LUNG_HU = (-950.0, -500.0)
_LUNG_SHARE = 0.1
_CHEST_WINDOW = (-1000.0, 400.0)
_SOFT_TISSUE_WINDOW = (-160.0, 240.0)
_PERCENTILES = (0.5, 99.5)
_ZOOM_SHARE = 0.3


class Window(NamedTuple):
    """Grey levels shown black and white, and why."""

    low: float
    high: float
    text: str


class ZoomBox(NamedTuple):
    """A rectangle of a displayed picture: first row and column, and numbers of rows and columns."""

    row: int
    column: int
    rows: int
    columns: int


@dataclass(frozen=True)
class SlicePlane:
    """How slices of a volume are laid out for a radiologist: patient upright, seen from the feet or from the front.

    Right of the picture is the patient's left (or posterior, in sagittal slices), down is posterior or inferior.

    Args:
        axis: array axis that the slices are taken along: 0 is k, 1 is j.
        transpose: rows and columns change places, before the flips.
        flip_rows: the last row is shown on top.
        flip_columns: the last column is shown left.
        pixel: height and width of a displayed pixel in millimetres.
        letters: anatomical directions at the left edge and at the top, such as ("R", "A").
    """

    axis: int
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    pixel: tuple[float, float]
    letters: tuple[str, str]

    @classmethod
    def of(cls, volume: Volume, axis: int) -> SlicePlane:
        """The layout for slices along an array axis; oblique volumes go by the nearest anatomical direction."""
        rows, columns = (2 - other for other in range(3) if other != axis)  # positions among i, j, k
        cosines = volume.affine[:3, :3] / np.array(volume.spacing)
        vertical, horizontal = max(
            permutations(range(3), 2), key=lambda pair: abs(cosines[pair[0], rows]) + abs(cosines[pair[1], columns])
        )
        transpose = horizontal > vertical  # superior goes before anterior, anterior before right, for "up"
        if transpose:
            rows, columns, vertical, horizontal = columns, rows, horizontal, vertical
        return cls(
            axis,
            transpose,
            bool(cosines[vertical, rows] > 0),
            bool(cosines[horizontal, columns] > 0),
            (volume.spacing[rows], volume.spacing[columns]),
            ("RAS"[horizontal], "RAS"[vertical]),
        )

    def take(self, voxels: np.ndarray, index: int) -> np.ndarray:
        """Slice ``index`` of an array [k, j, i], laid out, as a view."""
        picture = voxels.take(index, axis=self.axis)
        picture = picture.T if self.transpose else picture
        picture = picture[::-1] if self.flip_rows else picture
        return picture[:, ::-1] if self.flip_columns else picture

    def zoom_around(self, shape: Sequence[int], column_index: int, row_index: int, size: int) -> ZoomBox:
        """A physically square box around a voxel.

        Args:
            shape: of the volume, [k, j, i].
            column_index: voxel index along i.
            row_index: voxel index along the slice's other axis: j, or k for slices along j.
            size: side in voxels along i.
        """
        mark = np.zeros([1 if axis == self.axis else n for axis, n in enumerate(shape)], bool)
        other = 0 if self.axis == 1 else 1
        position = [0, 0, column_index]
        position[other] = row_index
        mark[tuple(position)] = True
        picture = self.take(mark, 0)
        row, column = np.argwhere(picture)[0]
        side = size * (self.pixel[0] if self.transpose else self.pixel[1])
        return _box(picture.shape, int(row), int(column), side, self.pixel)

    def detail(self, picture: np.ndarray, window: Window) -> ZoomBox:
        """A square box, three tenths of the shorter side, around the strongest edges within the window.

        Edges count more the nearer they are to the middle: at the rim there is mostly skin.
        """
        height, width = (float(n * mm) for n, mm in zip(picture.shape, self.pixel, strict=True))
        side = _ZOOM_SHARE * min(height, width)
        edges = ndimage.gaussian_gradient_magnitude(np.clip(picture.astype(np.float64), window.low, window.high), 1.0)
        size = [max(1, round(side / mm)) for mm in self.pixel]
        energy: np.ndarray = ndimage.uniform_filter(edges, size, mode="constant")
        for axis, n in enumerate(energy.shape):
            bell = np.sin(np.pi * (np.arange(n) + 0.5) / n)
            energy *= bell[:, None] if axis == 0 else bell
        row, column = np.unravel_index(energy.argmax(), energy.shape)
        return _box(picture.shape, int(row), int(column), side, self.pixel)


def best_axis(factors: Sequence[float]) -> int:
    """The array axis to slice along so that the gain is seen: k, or j where only k becomes finer.

    Args:
        factors: along i, j, k.
    """
    return 1 if factors[2] > max(factors[:2]) else 0


def choose_window(picture: np.ndarray, modality: str) -> Window:
    """One window for every panel, from the picture that the others are compared with.

    CT: -1000..400 HU where lung (-950..-500 HU) is at least a tenth of what is not air, else soft tissue,
    -160..240 HU. Others: the 0.5 and 99.5 percentiles of the picture.

    Args:
        picture: 2D slice in the volume's units.
        modality: of the volume.
    """
    if modality != "CT":
        low, high = (float(value) for value in np.percentile(picture, _PERCENTILES))
        return Window(low, max(high, low + 1e-6), f"window {low:.4g} to {high:.4g} (percentiles 0.5 and 99.5)")
    body = int(np.count_nonzero(picture > _LUNG_HU[0]))
    lung = int(np.count_nonzero((picture > _LUNG_HU[0]) & (picture < _LUNG_HU[1])))
    chest = lung >= _LUNG_SHARE * max(body, 1)
    low, high = _CHEST_WINDOW if chest else _SOFT_TISSUE_WINDOW
    return Window(low, high, f"window {low:g} to {high:g} HU ({'chest' if chest else 'soft tissue'})")


def _box(shape: tuple[int, ...], row: int, column: int, side: float, pixel: tuple[float, float]) -> ZoomBox:
    """A box of ``side`` millimetres around a pixel, moved and cut so that it lies within the picture."""
    rows, columns = (min(n, max(1, round(side / mm))) for n, mm in zip(shape, pixel, strict=True))
    first_row = min(max(row - rows // 2, 0), shape[0] - rows)
    first_column = min(max(column - columns // 2, 0), shape[1] - columns)
    return ZoomBox(first_row, first_column, rows, columns)
