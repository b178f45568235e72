"""What a model does to a volume, in words and rules; what enhancement and training make of it is theirs to say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from MedSRLib.models.manifest import Manifest

Factors = tuple[float, float, float]
"""Along i, j, k."""


class Task(ABC):
    """One task.

    Attributes:
        name: in manifests and configurations.
        summary: for people, in one line.
        written: how ``medsr evaluate`` is asked for it, for people.
        fixed: what may be written so, with its factors.
        has_factor_range: its models take a range of factors along k, of which ``Options.factor`` chooses one.
        conditions: what its generators are told, in the order of their maps: names in ``acquisition.conditions``.
        blurs_pixels: its acquisition blurs along i and j, so that truncated k-space has a meaning.
        spatial_dims: of its networks.
        upsamples: its networks make voxels finer; else they see what was interpolated already.
        wanted: what the factors of a training configuration have to be, for people.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    written: ClassVar[str]
    fixed: ClassVar[Mapping[str, Factors]] = {}
    has_factor_range: ClassVar[bool] = False
    conditions: ClassVar[tuple[str, ...]] = ("width", "kspace", "noise")
    blurs_pixels: ClassVar[bool] = True
    spatial_dims: ClassVar[int] = 2
    upsamples: ClassVar[bool] = True
    wanted: ClassVar[str]

    @abstractmethod
    def objection(self, manifest: Manifest) -> str:
        """What the manifest of a model of this task may not be, "" where it is right."""

    @abstractmethod
    def can_train(self, factors: Factors, slices: int) -> bool:
        """Whether a network can be trained for these factors, seeing so many neighbouring slices; see ``wanted``."""

    def factors_of(self, text: str) -> Factors | None:
        """The factors that a text such as "inplane-x2" asks for; None where it asks for another task."""
        return self.fixed.get(text)

    def undoes(self, manifest: Manifest, factors: Factors) -> bool:
        """Whether a model of this task undoes an acquisition's factors."""
        return tuple(manifest.factors) == tuple(factors)
