"""What a generator is told about an acquisition, as constant input maps (after SRMD, Zhang et al. 2018).

A generator that is told need not guess: one model serves sharp and blurred, clean and noisy scans. The maps follow the
image channels of its input, in the order of the manifest's ``conditions``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from MedSRLib.acquisition.operator import AcquisitionModel

NOISE_GAIN = 20.0
"""Brings the standard deviation of the noise, a few hundredths of the range, to the size of the other maps."""


def _width(acquisition: AcquisitionModel, noise: float) -> float:
    return 0.0 if acquisition.in_plane_profile == "kspace" else acquisition.in_plane_fwhm


CONDITIONS: dict[str, Callable[[AcquisitionModel, float], float]] = {
    "width": _width,
    "kspace": lambda acquisition, noise: float(acquisition.in_plane_profile == "kspace"),
    "thickness": lambda acquisition, noise: acquisition.slice_thickness,
    "box": lambda acquisition, noise: float(acquisition.slice_profile != "gaussian"),
    "noise": lambda acquisition, noise: NOISE_GAIN * noise,
}
"""What can be told.

The Gaussian's full width at half maximum in low-resolution voxels (0 for truncated k-space), whether k-space was
truncated, the slice thickness over the slices' spacing, whether the slice profile is box-like, and ``NOISE_GAIN`` times
the standard deviation of the noise in parts of the intensity range.
"""


def told(names: Sequence[str], acquisition: AcquisitionModel, noise: float) -> tuple[float, ...]:
    """The values of the maps.

    Args:
        names: keys of ``CONDITIONS``, as they stand in a manifest.
        acquisition: A, as it is known or assumed.
        noise: standard deviation in parts of the intensity range.
    """
    return tuple(CONDITIONS[name](acquisition, noise) for name in names)
