"""Restores one volume by several methods and draws them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.errors import InputError, UsageError
from MedSRLib.evaluation.classical import METHODS
from MedSRLib.evaluation.metrics import ScoringRule, psnr
from MedSRLib.evaluation.picture import draw_comparison
from MedSRLib.evaluation.slice_display import SlicePlane, best_axis, choose_window
from MedSRLib.volumes.geometry import field_of_view_corners, upsampled_affine
from MedSRLib.volumes.intensity import cast_like
from MedSRLib.volumes.volume import Volume

_DEFAULT_FACTORS = (2, 2, 1)
_INPUT = "nearest"
_FALLBACK = "bspline"

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Column:
    """One column of the picture.

    Args:
        title: what stands above it.
        method: the classical method that fills it; None where ``volume`` does.
        volume: a volume that is already enhanced.
    """

    title: str
    method: str | None = None
    volume: Volume | None = None


def compare(
    low: Volume,
    columns: Sequence[Column],
    path: Path,
    *,
    name: str,
    reference: Volume | None = None,
    index: int | None = None,
    zoom: tuple[int, int, int] | None = None,
) -> None:
    """Draws the input, every column and the reference; only the slice shown is kept of each volume.

    The enlargement is that of the reference, else of the first volume given, else 2 x 2 x 1. Slices are along k,
    or along j where only k is enlarged. Differences are from the reference, else from B-spline interpolation.

    Args:
        low: the input.
        columns: what to show between the input and the reference.
        path: the PNG, replaced when it exists.
        name: of the input, for the caption.
        reference: the truth; with it the columns are scored over its whole foreground.
        index: slice of the enlarged volume; None for the middle.
        zoom: voxel of the enlarged volume along i and along j (k in slices along j), and side; None for the box
            with the strongest edges.

    Raises:
        InputError: volumes do not lie at the same place.
        UsageError: the slice or the zoom lies outside.
        MissingPackageError: matplotlib is not installed.
    """
    made = [volume for volume in (reference, *(column.volume for column in columns)) if volume is not None]
    shape = enlarged_shape(low, made[0]) if made else _enlarged_by_default(low)
    k, j, i = (high / small for high, small in zip(shape, low.shape, strict=True))
    acquisition = AcquisitionModel((i, j, k))
    axis = best_axis(acquisition.factors)
    frame = low.with_voxels(np.empty(shape, np.bool_), upsampled_affine(low.affine, low.shape, shape))
    plane = SlicePlane.of(frame, axis)
    if index is None:
        index = shape[axis] // 2
    _require_inside(shape, axis, index, zoom)
    columns = _completed(columns, reference)
    truth = None if reference is None else _covered(low, reference, shape, "the reference")
    rule = None if truth is None else ScoringRule.of(low.with_voxels(truth))
    panels: list[tuple[str, np.ndarray]] = []
    for column in columns:
        voxels = _restored(column, low, shape, acquisition)
        title = column.title
        if truth is not None and rule is not None:
            title += f"\n{psnr(truth, voxels, rule):.2f} dB"
        panels.append((title, plane.take(voxels, index).copy()))
    against = len(panels)
    if truth is not None:
        panels.append(("reference", plane.take(truth, index)))
    else:
        against = [column.method for column in columns].index(_FALLBACK)
    window = choose_window(panels[against][1], low.modality)
    box = plane.detail(panels[against][1], window) if zoom is None else plane.zoom_around(shape, *zoom)
    notes = [f"{name}: {_size(low.shape)} voxels to {_size(shape)}; {'kj'[axis]} = {index}; {window.text}"]
    if rule is not None:
        notes.append(f"PSNR of the whole volume: {rule.describe()}")
    draw_comparison(
        panels,
        path,
        window=window,
        zoom=box,
        against=against,
        pixel=plane.pixel,
        letters=plane.letters,
        notes=notes,
    )


def enlarged_shape(low: Volume, high: Volume) -> Shape:
    """Shape [k, j, i] of the low-resolution field of view in the voxels of ``high``, which may go on at its ends.

    Raises:
        InputError: the two volumes do not begin at the same place with the same directions, or ``high`` is smaller.
    """
    k, j, i = (
        round(size * wide / narrow)
        for size, wide, narrow in zip(low.shape, low.spacing[::-1], high.spacing[::-1], strict=True)
    )
    gaps = field_of_view_corners(low.affine, low.shape) - field_of_view_corners(high.affine, (k, j, i))
    covered = all(wanted <= there for wanted, there in zip((k, j, i), high.shape, strict=True))
    larger = all(wanted >= there for wanted, there in zip((k, j, i), low.shape, strict=True))
    if not covered or not larger or np.linalg.norm(gaps, axis=1).max() > 0.5 * min(high.spacing):
        raise InputError(
            f"a volume of {_size(high.shape)} voxels is not an enlargement of the low-resolution one "
            f"({_size(low.shape)}): give volumes of the same place"
        )
    return k, j, i


def _enlarged_by_default(low: Volume) -> Shape:
    k, j, i = (size * factor for size, factor in zip(low.shape, reversed(_DEFAULT_FACTORS), strict=True))
    return k, j, i


def _require_inside(shape: Shape, axis: int, index: int, zoom: tuple[int, int, int] | None) -> None:
    if not 0 <= index < shape[axis]:
        raise UsageError(f"the slice must lie within 0..{shape[axis] - 1} along {'kj'[axis]}, not {index}")
    if zoom is not None:
        across, down = shape[2], shape[1 - axis]
        if not (0 <= zoom[0] < across and 0 <= zoom[1] < down and zoom[2] > 0):
            raise UsageError(f"the zoom must lie within 0..{across - 1} and 0..{down - 1} and have a positive size")


def _completed(columns: Sequence[Column], reference: Volume | None) -> list[Column]:
    """The input first, and interpolation where it is needed to subtract it."""
    methods = [column.method for column in columns]
    first = [] if _INPUT in methods else [Column("input", _INPUT)]
    second = [] if reference is not None or _FALLBACK in methods else [Column(_FALLBACK, _FALLBACK)]
    return [*first, *second, *columns]


def _restored(column: Column, low: Volume, shape: Shape, acquisition: AcquisitionModel) -> np.ndarray:
    """Voxels of the enlarged shape, in the dtype a user gets."""
    if column.volume is not None:
        return _covered(low, column.volume, shape, column.title)
    assert column.method is not None
    return cast_like(METHODS[column.method](low.voxels, shape, acquisition), low.voxels.dtype)


def _covered(low: Volume, high: Volume, shape: Shape, name: str) -> np.ndarray:
    """Voxels of ``high`` within the low-resolution field of view.

    Raises:
        InputError: it lies elsewhere or is enlarged by other factors.
    """
    if enlarged_shape(low, high) != shape:
        raise InputError(f"{name} enlarges to {_size(high.shape)} voxels, the others to {_size(shape)}: leave it out")
    k, j, i = shape
    return high.voxels[:k, :j, :i]


def _size(shape: Shape) -> str:
    k, j, i = shape
    return f"{i} x {j} x {k}"
