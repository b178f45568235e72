"""The task "volumetric": finer voxels in all directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from MedSRLib.models.task import Factors, Task

if TYPE_CHECKING:
    from MedSRLib.models.manifest import Manifest


class VolumetricTask(Task):
    """Voxels become finer along i, j and k, by a network that sees in 3D."""

    name = "volumetric"
    summary = "finer voxels along all three axes"
    written = "volumetric-x2"
    fixed: ClassVar[Mapping[str, Factors]] = {"volumetric-x2": (2.0, 2.0, 2.0)}

    spatial_dims = 3
    wanted = "three equal factors and slices = 1"

    def can_train(self, factors: Factors, slices: int) -> bool:
        """Voxels become finer alike along all axes; a network in 3D has no slices as channels."""
        i, j, k = factors
        return i == j == k > 1 and slices == 1

    def objection(self, manifest: Manifest) -> str:
        """Its network is not in 3D."""
        return "" if manifest.spatial_dims == 3 else "the manifest of a volumetric model needs spatial_dims 3"
