"""Volumes whose slices lie along i or j: turned so that they lie along k, as every model has it, and turned back.

A coronal or sagittal scan that a program has stored in the order right, anterior, superior is of this kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.result import Enhanced

K = 2
"""The axis that slices lie along, of i, j, k, in what models are given."""
_THICK = 1.5
"""Times as far apart as voxels along both other axes: slices. Less is a pixel that is no square."""


def slice_axis(volume: Volume) -> int:
    """Which of the axes i, j, k the slices lie along: k, unless voxels are far longer along another one.

    A file that says how thick its slices are (DICOM) has them along k; ultrasound has no slices.
    """
    if volume.slice_thickness is not None or volume.modality == "US" or min(volume.shape) < 2:
        return K
    spacing = volume.spacing
    axis = int(np.argmax(spacing))
    others = max(one for number, one in enumerate(spacing) if number != axis)
    return axis if spacing[axis] >= _THICK * others else K


def turned(volume: Volume, axis: int) -> Volume:
    """The volume with ``axis`` as its k; the other axes follow in their order, so that handedness stays."""
    return _reordered(volume, [(axis + 1) % 3, (axis + 2) % 3, axis])


def turned_roi(roi: Sequence[int] | None, axis: int) -> tuple[int, ...] | None:
    """A voxel box (i0, i1, j0, j1, k0, k1) in the turned volume."""
    if roi is None:
        return None
    pairs = [tuple(roi[2 * one : 2 * one + 2]) for one in range(3)]
    return (*pairs[(axis + 1) % 3], *pairs[(axis + 2) % 3], *pairs[axis])


def shape_turned_back(shape: Sequence[int], axis: int) -> tuple[int, int, int]:
    """The shape [k, j, i] of a result of a turned volume on the axes of the volume as it was."""
    i, j, k = (shape[2 - one] for one in _order_back(axis))
    return k, j, i


def turned_back(enhanced: Enhanced, axis: int, roi: Sequence[int] | None) -> Enhanced:
    """A result of a turned volume on the axes of the volume as it was, with a note.

    Args:
        enhanced: of ``turned``.
        axis: that the slices lie along.
        roi: that was asked for.
    """
    order = _order_back(axis)

    def back(volume: Volume) -> Volume:
        volume = _reordered(volume, order)
        return volume.with_voxels(np.ascontiguousarray(volume.voxels))

    report = enhanced.report
    note = f"voxels are longest along {'ijk'[axis]}: the slices are taken to lie along that axis"
    report = replace(
        report,
        factors=(report.factors[order[0]], report.factors[order[1]], report.factors[order[2]]),
        roi=None if roi is None else tuple(roi),
        notes=(note, *report.notes),
    )
    spread = enhanced.uncertainty
    return replace(
        enhanced,
        volume=back(enhanced.volume),
        report=report,
        uncertainty=None if spread is None else back(spread),
    )


def _order_back(axis: int) -> list[int]:
    """Which axes of a turned volume are i, j, k of the volume as it was."""
    return [(K - axis) % 3, (K - axis + 1) % 3, (K - axis + 2) % 3]


def _reordered(volume: Volume, order: list[int]) -> Volume:
    """The volume with its axes ``order[0]``, ``order[1]``, ``order[2]`` of i, j, k as i, j, k."""
    step = np.zeros((4, 4))
    step[order, range(3)] = 1
    step[3, 3] = 1
    voxels = volume.voxels.transpose([2 - order[2], 2 - order[1], 2 - order[0]])
    return volume.with_voxels(voxels, volume.affine @ step)
