"""Pairs acquired by one point spread along all axes that become finer: what "inplane" and "volumetric" share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from MedSRLib.acquisition.batched import GAUSSIAN, KSPACE, Interpolation, along_axes, back_projected, profile_matrices
from MedSRLib.training.bank import Blocks
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.noise import Kinds
from MedSRLib.training.pairs import Acquired, PairBatch
from MedSRLib.training.randomness import Random
from MedSRLib.training.sampler import PairSampler, with_maps
from MedSRLib.training.training_volume import TrainingVolume

_PROFILES = (GAUSSIAN, KSPACE)


@dataclass(frozen=True)
class Measured:
    """Measurements with their surround, and the truth about them.

    Args:
        x: normalised anatomy, [N, a, b, c].
        y: its measurement.
        width: of the point spread in low-resolution voxels, [N]; 1 or so for truncated k-space, which has none.
        profile: ``GAUSSIAN`` or ``KSPACE``, [N].
        sigma: standard deviation of the noise in parts of the range, [N].
        kinds: of the images.
    """

    x: Tensor
    y: Tensor
    width: Tensor
    profile: Tensor
    sigma: Tensor
    kinds: Kinds


class PointSpreadSampler(PairSampler):
    """Patches, blurred by a Gaussian or truncated in k-space, and shrunk.

    Attributes:
        axes: that become finer, of the images [N, C, (D,) H, W].
        surround: low-resolution voxels acquired around a patch and cut away, so that a patch's border is not an
            image's.
    """

    axes: ClassVar[tuple[int, ...]]
    surround: ClassVar[int]

    def __init__(self, volumes: Sequence[TrainingVolume], config: TrainingConfig, random: Random) -> None:
        super().__init__(volumes, config, random)
        self._factor = config.factors[0]
        self._low = config.pairs.patch + 2 * self.surround
        self._interpolation = Interpolation(self._low * self._factor, self._low, self._low, self._device)

    @abstractmethod
    def _blocks(self, count: int) -> Blocks:
        """Anatomy with its surround."""

    @abstractmethod
    def _shown(self, images: Tensor) -> Tensor:
        """What a generator is shown of measurements [N, a, b, c], [N, C, (D,) H, W]."""

    @abstractmethod
    def _restored(self, images: Tensor) -> Tensor:
        """The part of images [N, a, b, c] that is to be restored, [N, 1, (D,) H, W]."""

    def measure(self, count: int) -> Measured:
        """Anatomy as a scanner would measure it."""
        blocks = self._blocks(count)
        kinds = self._bank.kinds(blocks.volume)
        x = self._vary(blocks.x, kinds, tuple(4 + axis for axis in self.axes))
        width, profile = self._point_spread(count, kinds)
        y, sigma = self._add_noise(along_axes(self._matrices(width, profile), x, self.axes), kinds)
        return Measured(x, y, width, profile, sigma, kinds)

    def draw(self, count: int) -> PairBatch:
        """A batch of pairs."""
        pairs, patch, true = self._config.pairs, self._config.pairs.patch, self.measure(count)
        told = self._told_width(true.width)
        assumed, rows = self._matrices(told, true.profile), torch.full((count,), self._low, device=self._device)
        measured, interpolation = self._restored(true.y), self._interpolation(rows)
        base = back_projected(measured, assumed, interpolation, self._config.base_iterations, self.axes)
        high = self._restored(true.x)[self.inside(self._factor)].contiguous()
        truncated = (true.profile == KSPACE).float()
        told_maps = ((1.0 - truncated) * told, truncated, self._told_noise(true.sigma))
        inner = profile_matrices(
            patch * self._factor, torch.full_like(rows, patch), true.width, true.profile, patch, _PROFILES
        )
        return PairBatch(
            with_maps(self._shown(true.y)[self.inside(1)], told_maps),
            base[self.inside(self._factor)].contiguous(),
            high,
            Acquired.of(inner, high, self.axes, pairs.margin),
        )

    def inside(self, factor: int) -> tuple[Any, ...]:
        """Index of an image without its surround: of a measurement with a factor of 1, of the anatomy with its own."""
        around = self.surround * factor
        return (..., *(slice(around, -around),) * len(self.axes))

    def _matrices(self, width: Tensor, profile: Tensor) -> Tensor:
        """A of one axis for each image with its surround."""
        rows = torch.full((len(width),), self._low, device=self._device)
        return profile_matrices(self._low * self._factor, rows, width, profile, self._low, _PROFILES)

    def _point_spread(self, count: int, kinds: Kinds) -> tuple[Tensor, Tensor]:
        """Width and profile of each image: the nominal one, another width, or k-space truncation of MR."""
        random, pairs = self._random, self._config.pairs
        nominal = random.chance(count, pairs.nominal_share)
        width = torch.where(nominal, 1.0, random.uniform(count, *pairs.fwhm))
        truncated = ~nominal & kinds.truncates & random.chance(count, pairs.kspace_share)
        return width, torch.where(truncated, KSPACE, GAUSSIAN)
