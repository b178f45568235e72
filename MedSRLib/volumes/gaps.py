"""Voxels that hold no measurement: padding around a CT, NaN outside a mask.

The network and the projection would draw a bright ring where tissue meets -2000, and NaN would spread. So gaps are
filled with what was measured nearest to them, and are put back at the new grid when the volume is done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MedSRLib.volumes.intensity import CT_PADDING
from MedSRLib.volumes.volume import Volume

_SURELY_NO_HU = -1100.0
"""Noise in air reaches below -1024 HU; a value that many voxels share down here is padding."""
_LEAST_SHARE = 1e-3
_STRAY_SHARE = 0.1
_APART = 0.05
_HALF_WAY = 1e-6


@dataclass(frozen=True, eq=False)
class Gaps:
    """A volume with gaps, and the same volume with the gaps filled.

    Args:
        source: as it was read.
        mask: bool [k, j, i], true where nothing was measured.
        filled: what may be enhanced.
    """

    source: Volume
    mask: np.ndarray
    filled: Volume

    def put_back(self, result: Volume, *, keep_values: bool = True) -> Volume:
        """The result with the source's own values in its gaps: each voxel takes those of the voxel it lies in.

        Args:
            result: on a grid whose axes are the source's.
            keep_values: False writes 0, for maps that are no grey levels of the source (the uncertainty).
        """
        inner = [_nearest(self.source, result, axis) for axis in (1, 2)]
        voxels = result.voxels.copy()
        for target, k in zip(voxels, _nearest(self.source, result, 0), strict=True):
            there = self.mask[k][np.ix_(*inner)]
            if there.any():
                target[there] = self.source.voxels[k][np.ix_(*inner)][there] if keep_values else 0
        return result.with_voxels(voxels)

    @property
    def note(self) -> str:
        """A sentence for the report."""
        count = int(np.count_nonzero(self.mask))
        values = self.source.voxels[self.mask]
        what = "NaN or infinite" if not np.isfinite(values).all() else f"padding ({values.min():g})"
        share = 100 * count / self.mask.size
        return f"{count} voxels ({share:.1f} %) are {what}: filled for the work and put back as they were"


def find_gaps(volume: Volume, *, fill_nan: bool = False) -> Gaps | None:
    """The gaps of a volume, filled; None where there are none, or nothing else.

    Padding is what the file names so, where it lies apart from all other values; in CT also the lowest value below
    -1100 HU where many voxels share it.

    Args:
        volume: the input.
        fill_nan: whether voxels that are not finite are gaps.
    """
    mask = _padding(volume)
    if fill_nan and volume.voxels.dtype.kind == "f":
        wrong = ~np.isfinite(volume.voxels)
        mask = wrong if mask is None else mask | wrong
    if mask is None or not mask.any() or mask.all():
        return None
    return Gaps(volume, mask, volume.with_voxels(_filled(volume.voxels, mask)))


def _padding(volume: Volume) -> np.ndarray | None:
    voxels = volume.voxels
    if volume.padding is not None:
        low, high = volume.padding
        mask = (voxels >= low) & (voxels <= high)
        others = voxels[~mask & np.isfinite(voxels)] if voxels.dtype.kind == "f" else voxels[~mask]
        if mask.any() and others.size:
            least, most = float(others.min()), float(others.max())
            apart = _APART * (most - least)
            if high < CT_PADDING if volume.modality == "CT" else (high < least - apart or low > most + apart):
                return mask
    if volume.modality != "CT" or not voxels.size:
        return None
    lowest = np.nanmin(voxels)
    if not lowest < _SURELY_NO_HU:
        return None
    mask = voxels == lowest
    count = np.count_nonzero(mask)
    stray = np.count_nonzero(voxels < _SURELY_NO_HU) - count
    return mask if count >= _LEAST_SHARE * voxels.size and stray <= _STRAY_SHARE * count else None


def _filled(voxels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each gap takes the nearest measured value of its slice; a slice without any is that of the nearest slice."""
    from scipy.ndimage import distance_transform_edt

    filled = voxels.copy()
    measured = np.flatnonzero(~mask.all(axis=(1, 2)))
    for k in measured:
        if mask[k].any():
            nearest = distance_transform_edt(mask[k], return_distances=False, return_indices=True)
            filled[k] = voxels[k][tuple(nearest)]
    for k in np.flatnonzero(mask.all(axis=(1, 2))):
        filled[k] = filled[measured[np.argmin(np.abs(measured - k))]]
    return filled


def _nearest(source: Volume, result: Volume, axis: int) -> np.ndarray:
    """For each index of the result along an array axis, the index of the source's voxel that its centre lies in."""
    step = np.linalg.solve(source.affine, result.affine)
    column = 2 - axis
    places = step[column, column] * np.arange(result.shape[axis]) + step[column, 3]
    return np.clip(np.floor(places + 0.5 + _HALF_WAY).astype(int), 0, source.shape[axis] - 1)
