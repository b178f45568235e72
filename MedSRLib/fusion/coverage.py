"""How many series measured each voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from MedSRLib.fusion.grid import FusionPlan
from MedSRLib.fusion.prepare import Source
from MedSRLib.fusion.rigid import mean_motion


def coverage_map(sources: Sequence[Source], plan: FusionPlan) -> np.ndarray:
    """How many series measured each voxel of a grid: how many boxes its centre lies in, uint8 [k, j, i]."""
    count = np.zeros(plan.shape, np.uint8)
    k, j, i = (np.arange(n, dtype=np.float32) for n in plan.shape)
    for source in sources:
        volume = source.series.volume
        to_index = np.linalg.inv(mean_motion(source.series.motion) @ volume.affine) @ plan.affine
        inside = np.ones(plan.shape, bool)
        for line, n in zip(to_index[:3], reversed(volume.shape), strict=True):
            place = line[0] * i + (line[1] * j + line[3])[:, None] + (line[2] * k)[:, None, None]
            inside &= (place >= -0.5) & (place <= n - 0.5)
        count += inside
    return count


def coverage_figures(coverage: np.ndarray) -> dict[str, Any]:
    """The coverage map in figures: percent of all voxels by number of series, and the mean number in each slice."""
    counts = np.bincount(coverage.ravel(), minlength=1)
    return {
        "percent": {str(n): 100 * int(count) / coverage.size for n, count in enumerate(counts)},
        "mean_of_slices": [round(float(one.mean()), 2) for one in coverage],
    }
