"""A volume that patches are cut from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MedSRLib.volumes.intensity import IntensityScaling
from MedSRLib.volumes.volume import Volume

ISOTROPIC = 1.35
"""Longest over shortest side of voxels that count as nearly isotropic."""


@dataclass(frozen=True)
class TrainingVolume:
    """One volume to cut patches from.

    Args:
        voxels: [k, j, i] in the source's dtype.
        scaling: of the whole volume, as enhancement fits it.
        modality: as in ``Volume``.
        spacing: along i, j, k in millimetres.
        planes: transpositions of (k, j, i) whose first axis may serve as the slice axis.
        is_stack: slices are unrelated images.
    """

    voxels: np.ndarray
    scaling: IntensityScaling
    modality: str
    spacing: tuple[float, float, float]
    planes: tuple[tuple[int, int, int], ...]
    is_stack: bool

    @classmethod
    def of(cls, volume: Volume, side: int, *, is_stack: bool = False) -> TrainingVolume:
        """Prepares a volume; a nearly isotropic one that is thick enough is also cut along the other two planes.

        Args:
            volume: to learn from.
            side: of a patch, in voxels of this volume.
            is_stack: slices are unrelated images.
        """
        planes: tuple[tuple[int, int, int], ...] = ((0, 1, 2),)
        if is_nearly_isotropic(volume.spacing) and volume.shape[0] >= side and not is_stack:
            planes = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
        scaling = IntensityScaling.fit(volume.voxels, volume.modality)
        return cls(volume.voxels, scaling, volume.modality, volume.spacing, planes, is_stack)

    @property
    def is_ct(self) -> bool:
        """Voxels are HU; otherwise they are magnitudes."""
        return self.modality == "CT"

    @property
    def is_isotropic(self) -> bool:
        """Nearly, and thick enough: any axis may serve as the slice axis."""
        return len(self.planes) == 3


def is_nearly_isotropic(spacing: Sequence[float]) -> bool:
    """Whether any axis may serve as the slice axis, as far as voxel sizes decide it."""
    return max(spacing) <= ISOTROPIC * min(spacing)


def centre_of(voxels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The middle of an array, of this shape or as much of it as there is; a copy."""
    starts = [max(0, (n - wanted) // 2) for n, wanted in zip(voxels.shape, shape, strict=True)]
    box = tuple(slice(start, start + wanted) for start, wanted in zip(starts, shape, strict=True))
    return np.ascontiguousarray(voxels[box])
