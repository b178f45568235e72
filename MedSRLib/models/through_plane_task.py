"""The task "through-plane": slices between thick slices."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from MedSRLib.models.task import Factors, Task

if TYPE_CHECKING:
    from MedSRLib.models.manifest import Manifest


class ThroughPlaneTask(Task):
    """Slices are made between the slices, by any factor of a range; pixels stay as they are."""

    name = "through-plane"
    summary = "isotropic volumes: slices are made between thick ones"
    written = "through-plane:K with K above 1"
    has_factor_range = True
    conditions = ("thickness", "box", "noise")
    blurs_pixels = False
    upsamples = False
    wanted = "factors [1, 1, K], K the factor that is validated"

    def can_train(self, factors: Factors, slices: int) -> bool:
        """Slices become finer and pixels stay."""
        i, j, k = factors
        return i == j == 1 and k > 1

    def objection(self, manifest: Manifest) -> str:
        """It changes i or j, or says no range."""
        fits = manifest.factors[:2] == (1, 1) and manifest.factor_range is not None
        complaint = "the manifest of a through-plane model needs factor 1 along i and j and a factor_range"
        return "" if fits else complaint

    def factors_of(self, text: str) -> Factors | None:
        """Of "through-plane:K" with K above 1."""
        match = re.fullmatch(r"through-plane:(\d+(?:\.\d+)?)", text)
        return (1.0, 1.0, float(match[1])) if match and float(match[1]) > 1 else None

    def undoes(self, manifest: Manifest, factors: Factors) -> bool:
        """The factor along k lies in the model's range."""
        i, j, k = factors
        low, high = manifest.factor_range or (0.0, 0.0)
        return i == j == 1 and low <= k <= high
