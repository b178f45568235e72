"""The isotropic grid that series are fused onto, and what that takes, worked out before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from MedSRLib.errors import InputError, UsageError
from MedSRLib.volumes.geometry import field_of_view_corners
from MedSRLib.volumes.volume import Volume

Field = Literal["first", "union", "intersection"]
FIELDS: tuple[Field, ...] = get_args(Field)

_BYTES_PER_VOXEL = 72
"""Of the result: x, the vectors of conjugate gradients, the prior's weights and what A makes of them, all float32."""
_BYTES_PER_MEASUREMENT = 28
"""Of the series: voxels, weights, residuals and the operator's own tables."""
_MOST_VOXELS = 2**31
_ROUNDING = 1e-3


@dataclass(frozen=True)
class FusionPlan:
    """What one fusion will make.

    Args:
        shape: of the result, [k, j, i].
        affine: of the result, IJK to RAS millimetres.
        memory: bytes that the fusion needs at most, beside the generator's tiles.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    memory: int

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Of the result along i, j, k in millimetres."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    def describe(self) -> str:
        """One line for people: size, spacing, memory."""
        k, j, i = self.shape
        mm = " x ".join(f"{s:.3g}" for s in self.spacing)
        return f"{i} x {j} x {k} voxels of {mm} mm, about {self.memory / 1e9:.1f} GB of memory"


def plan_fusion(
    volumes: Sequence[Volume],
    *,
    spacing: float | None = None,
    like: Volume | None = None,
    field: Field = "first",
) -> FusionPlan:
    """The grid of the result: the axes of the first series, voxels of one size, centred on the field of view.

    The field is covered whole: the box is up to one voxel larger than the field along each axis.

    Args:
        volumes: the series where the scanner says they lie.
        spacing: of the result in millimetres; None for the finest pixels of all series.
        like: a volume whose grid is taken as it is.
        field: "first" (the first series' box), "union" or "intersection" of all boxes, along the first one's axes.

    Raises:
        UsageError: ``like`` and ``spacing`` are both given, or a value is not one of those allowed.
        InputError: the boxes do not intersect, or the result would be too large.
    """
    if like is not None and spacing is not None:
        raise UsageError("the grid of a volume has a spacing already: give the spacing or the volume, not both")
    if field not in FIELDS:
        raise UsageError(f"there is no field {field!r}: choose {', '.join(FIELDS)}")
    if spacing is not None and not 0 < spacing < float("inf"):
        raise UsageError(f"the spacing must be a positive number of millimetres, not {spacing:g}")
    if like is not None:
        shape, affine = like.shape, like.affine
    else:
        step = spacing or min(min(volume.spacing[:2]) for volume in volumes)
        axes = _axes(volumes[0].affine)
        low, high = _box(volumes, axes, field)
        size = np.maximum(1, np.ceil((high - low) / step - _ROUNDING)).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = axes * step
        affine[:3, 3] = axes @ ((low + high) / 2 - step * (size - 1) / 2)
        shape = (int(size[2]), int(size[1]), int(size[0]))
    if np.prod(shape, dtype=float) > _MOST_VOXELS:
        listed = " x ".join(str(n) for n in reversed(shape))
        raise InputError(f"the result would have {listed} voxels, too many: choose a larger spacing or a smaller field")
    if min(shape) < 2:
        raise InputError("the result would be thinner than two voxels: choose a smaller spacing or another field")
    measured = sum(volume.voxels.size for volume in volumes)
    memory = _BYTES_PER_VOXEL * int(np.prod(shape)) + _BYTES_PER_MEASUREMENT * measured
    return FusionPlan(shape, affine, memory)


def _axes(affine: np.ndarray) -> np.ndarray:
    """Unit vectors along i, j, k as columns, at right angles also where the series' own axes are sheared."""
    i = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    j = affine[:3, 1] - i * (i @ affine[:3, 1])
    j /= np.linalg.norm(j)
    k = np.cross(i, j)
    return np.column_stack([i, j, k * np.sign(k @ affine[:3, 2])])


def _box(volumes: Sequence[Volume], axes: np.ndarray, field: Field) -> tuple[np.ndarray, np.ndarray]:
    """The field's lowest and highest corner along the axes, millimetres."""
    corners = [field_of_view_corners(volume.affine, volume.shape) @ axes for volume in volumes]
    lows, highs = np.array([c.min(axis=0) for c in corners]), np.array([c.max(axis=0) for c in corners])
    if field == "first":
        return lows[0], highs[0]
    if field == "union":
        return lows.min(axis=0), highs.max(axis=0)
    low, high = lows.max(axis=0), highs.min(axis=0)
    if (low >= high).any():
        raise InputError("the series have no field of view in common: choose series of one place in the body")
    return low, high
