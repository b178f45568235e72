"""Grey levels as DICOM stores them: integers of 8 or 16 bits, with one slope and intercept for a whole series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MedSRLib.errors import OutputError

_SIGNED, _UNSIGNED, _BYTES = np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.uint8)


@dataclass(frozen=True)
class Storage:
    """How a series is stored: value = stored * slope + intercept (PS3.3 C.11.1.1.2).

    Args:
        dtype: of the stored integers.
        slope, intercept: exactly as their decimal texts in the file say.
    """

    dtype: np.dtype
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether integers come back as they were."""
        return self.slope == 1 and float(self.intercept).is_integer()

    def store(self, voxels: np.ndarray) -> np.ndarray:
        """The integers to be stored, little endian; what lies beyond their range is clipped."""
        limits = np.iinfo(self.dtype)
        stored = np.rint((voxels.astype(np.float64) - self.intercept) / self.slope)
        return np.clip(stored, limits.min, limits.max).astype(self.dtype.newbyteorder("<"))

    def find(self, value: float) -> int | None:
        """The stored integer that means exactly this value, or None where there is none."""
        stored = (value - self.intercept) / self.slope
        limits = np.iinfo(self.dtype)
        whole = round(stored)
        return whole if abs(stored - whole) < 1e-6 and limits.min <= whole <= limits.max else None


def choose_storage(
    voxels: np.ndarray, *, signed: bool, intercept: float, bytes_only: bool, through_zero: bool
) -> Storage:
    """The storage that keeps integers exactly where 16 bits can, and else has the finest step for all values.

    Args:
        voxels: the whole volume.
        signed, intercept: how the source was stored, which is taken where the values fit.
        bytes_only: where the class of image holds 8 bits only, such as ultrasound.
        through_zero: where the class of image allows no intercept, as PET.

    Raises:
        OutputError: the values are not finite.
    """
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite([low, high]).all():
        raise OutputError("DICOM cannot store NaN or infinite values: choose NIfTI, NRRD or MetaImage")
    kinds = [_BYTES] if bytes_only else [_SIGNED, _UNSIGNED] if signed else [_UNSIGNED, _SIGNED]
    if voxels.dtype.kind in "iu":
        intercepts = [0.0] if through_zero else [intercept, 0.0, low, low + 2**15]
        for offset in intercepts:
            for kind in kinds:
                limits = np.iinfo(kind)
                if offset.is_integer() and limits.min <= low - offset and high - offset <= limits.max:
                    return Storage(kind, 1.0, offset)
    # Zero stays zero, and costs no precision but for values far from it.
    if through_zero or min(abs(low), abs(high)) < (high - low) or low == high == 0:
        if low >= 0:
            kind = kinds[0] if bytes_only else _UNSIGNED
            return Storage(kind, _decimal(high / np.iinfo(kind).max))
        return Storage(_SIGNED, _decimal(max(high / (2**15 - 1), -low / 2**15)))
    kind = kinds[0] if bytes_only else _UNSIGNED
    return Storage(kind, _decimal((high - low) / np.iinfo(kind).max), float(ds(low)))


def ds(number: float) -> Any:
    """A number as DICOM's Decimal String, of 16 characters at most."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(number) + 0.0, auto_format=True)


def _decimal(slope: float) -> float:
    """A slope as its Decimal String says it; 1 for none."""
    return float(str(ds(slope))) if slope > 0 else 1.0
