"""Grey levels: one invertible affine map per volume, and the way back to the input's dtype without wrapping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CT_AIR = -1000.0
CT_RANGE = 2000.0
CT_PADDING = -1024.0
_FAR_OFF = 64.0
"""Grey levels that far from 0, in widths of their range, leave float32 fewer than 2**17 steps for the range."""
_LARGEST_PERCENTILE_SAMPLE = 2**24
_TISSUE, _DENSE_BONE = -300, 700
"""HU from which on a voxel is no air or lung, and from which on it is cortical bone, teeth or metal."""


@dataclass(frozen=True)
class IntensityScaling:
    """``normalised = (value - offset) / width``; fitted once per volume, never per tile.

    For 8 bit this is the paper's x / 255 (equation 4) and its inverse (equation 5); other volumes get the range that
    suits them. The map does not clip, so values outside the fitted range survive the round trip.

    Args:
        offset: value that becomes 0.
        width: range of values that becomes 0..1; positive.
    """

    offset: float
    width: float

    @classmethod
    def fit(cls, voxels: np.ndarray, modality: str) -> IntensityScaling:
        """CT: -1000..1000 HU; 8 bit: 0..255; everything else: the 0.1 and 99.9 percentiles.

        Args:
            voxels: array of any shape; volumes above 2**24 voxels are sampled at a regular stride.
            modality: one of ``MedSRLib.volumes.volume.MODALITIES``.
        """
        if modality == "CT":
            return cls(CT_AIR, CT_RANGE)
        if voxels.dtype == np.uint8:
            return cls(0.0, 255.0)
        flat = voxels.reshape(-1)
        low, high = np.percentile(flat[:: -(-flat.size // _LARGEST_PERCENTILE_SAMPLE)], [0.1, 99.9])
        if high <= low:
            low, high = float(flat.min()), float(flat.max())
        width = float(high) - float(low)
        return cls(float(low), width if width >= np.finfo(np.float32).tiny else 1.0)

    def normalise(self, voxels: np.ndarray) -> np.ndarray:
        """Values to float32, 0..1 over the fitted range: equation 4 of the paper MedSR starts from."""
        return (voxels.astype(np.float32) - np.float32(self.offset)) / np.float32(self.width)

    def restore(self, normalised: np.ndarray) -> np.ndarray:
        """The inverse of ``normalise``, in float32: equation 5."""
        return np.asarray(normalised, np.float32) * np.float32(self.width) + np.float32(self.offset)


def smallest_possible(voxels: np.ndarray, modality: str) -> float | None:
    """The smallest value the anatomy behind a measurement can have, where physics says one.

    Args:
        voxels: the measurement, finite.
        modality: one of ``MedSRLib.volumes.volume.MODALITIES``.

    Returns:
        CT: -1024 HU, or the padding below it; else 0 for magnitudes, which are nowhere negative; else None.
    """
    smallest = float(voxels.min())
    if modality == "CT":
        return min(CT_PADDING, smallest)
    return 0.0 if smallest >= 0 else None


def large_offset(voxels: np.ndarray) -> float:
    """What to take off before grey levels become float32, so that their differences survive; 0 where they do anyway.

    float32 holds 24 bits: of levels near 2**30, or of a frequency near 127.74 MHz, it keeps steps of 64 and 8 only.

    Args:
        voxels: finite.

    Returns:
        The middle of their range, where that is far from 0 compared with the range; a whole number for integers.
    """
    if voxels.dtype.itemsize <= 2 or voxels.size == 0:
        return 0.0
    low, high = float(voxels.min()), float(voxels.max())
    if max(abs(low), abs(high)) <= _FAR_OFF * (high - low):
        return 0.0
    middle = low + (high - low) / 2
    return float(np.rint(middle)) if voxels.dtype.kind in "iu" else middle


def cast_like(values: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Values in another dtype: rounded and clipped to its range, never wrapped; floats are only cast."""
    dtype = np.dtype(dtype)
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    rounded = np.rint(values, dtype=np.result_type(values, np.float32))
    return np.clip(rounded, *integer_limits(dtype, rounded.dtype)).astype(dtype)


def integer_limits(dtype: np.dtype | type, kind: np.dtype | type = np.float32) -> tuple[float, float]:
    """The smallest and largest value of a floating-point kind that an integer dtype can hold."""
    limits, kind = np.iinfo(np.dtype(dtype)), np.dtype(kind).type
    low, high = kind(limits.min), kind(limits.max)
    if int(high) > limits.max:
        # 2**31 - 1 is no float32: the next float32 above it would wrap, so clip to the next one below.
        high = np.nextafter(high, kind(0))
    return float(low), float(high)


def dense_bone_share(voxels: np.ndarray) -> float:
    """Share of dense bone (above 700 HU) in tissue (above -300 HU); 0 where there is only air.

    Args:
        voxels: HU [k, j, i]; of a large volume some slices are enough.
    """
    tissue = np.count_nonzero(voxels > _TISSUE)
    return np.count_nonzero(voxels > _DENSE_BONE) / tissue if tissue else 0.0
