"""The task "inplane": sharper slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from MedSRLib.models.task import Factors, Task

if TYPE_CHECKING:
    from MedSRLib.models.manifest import Manifest


class InPlaneTask(Task):
    """Pixels become finer along i and j; slices stay where they are."""

    name = "inplane"
    summary = "sharper slices: the in-plane resolution is raised, slices stay where they are"
    written = "inplane-x2, inplane-x4"
    fixed: ClassVar[Mapping[str, Factors]] = {"inplane-x2": (2.0, 2.0, 1.0), "inplane-x4": (4.0, 4.0, 1.0)}

    wanted = "equal factors along i and j and 1 along k, such as [2, 2, 1]"

    def can_train(self, factors: Factors, slices: int) -> bool:
        """Pixels become finer alike along i and j."""
        i, j, k = factors
        return i == j > 1 and k == 1

    def objection(self, manifest: Manifest) -> str:
        """It changes k, or its network is not in 2D."""
        fits = manifest.factors[2] == 1 and manifest.spatial_dims == 2
        return "" if fits else "the manifest of an in-plane model needs factor 1 along k and spatial_dims 2"
