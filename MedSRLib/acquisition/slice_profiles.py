"""Slice profiles as functions of the distance from the slice's middle, for slices that lie anywhere in the anatomy.

``operator.py`` holds the profiles of one axis that is sampled evenly; these here are for slices whose positions are
free, where a series was moved or turned against the anatomy's grid.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.special import erf

from MedSRLib.acquisition.operator import SLR_EDGE
from MedSRLib.errors import UsageError

SliceProfile = Literal["gaussian", "box", "slr"]
PROFILES: tuple[SliceProfile, ...] = get_args(SliceProfile)

_REACH = {"gaussian": 1.15, "box": 0.5, "slr": 0.5 + 3 * SLR_EDGE}
"""Thicknesses from the middle beyond which a profile holds less than 1 % of its integral."""


def profile_reach(profile: SliceProfile, thickness: float) -> float:
    """Millimetres from the slice's middle to where the profile ends.

    Raises:
        UsageError: there is no such profile.
    """
    if profile not in PROFILES:
        raise UsageError(f"there is no slice profile {profile!r}: choose {', '.join(PROFILES)}")
    return _REACH[profile] * thickness


def profile_weights(distance: np.ndarray, step: float, profile: SliceProfile, thickness: float) -> np.ndarray:
    """The profile's integral over steps around given distances, float64; not normalised.

    Args:
        distance: millimetres from the slice's middle, of the middle of each step.
        step: millimetres that each sample stands for.
        profile: "gaussian" (full width at half maximum = thickness), "box", or "slr" (a box with the soft edges of a
            Shinnar-Le Roux pulse, half height at the thickness: 2D spin echo).
        thickness: of the slice, millimetres.
    """
    low, high = distance - step / 2, distance + step / 2
    if profile == "box":
        half = thickness / 2
        return np.clip(np.minimum(high, half) - np.maximum(low, -half), 0.0, None)
    if profile == "gaussian":
        sigma = thickness / np.sqrt(8 * np.log(2))
        return erf(high / (np.sqrt(2) * sigma)) - erf(low / (np.sqrt(2) * sigma))
    edge = np.sqrt(2) * SLR_EDGE * thickness
    return (erf((distance + thickness / 2) / edge) - erf((distance - thickness / 2) / edge)) * step
