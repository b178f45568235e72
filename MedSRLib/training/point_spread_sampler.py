"""Pairs acquired by one point spread along all axes that become finer: what "inplane" and "volumetric" share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
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

    def draw(self, count: int) -> PairBatch:
        """A batch of pairs."""
        pairs, patch = self._config.pairs, self._config.pairs.patch
        blocks = self._blocks(count)
        kinds = self._bank.kinds(blocks.volume)
        x = self._vary(blocks.x, kinds, tuple(4 + axis for axis in self.axes))
        width, profile = self._point_spread(count, kinds)
        rows = torch.full((count,), self._low, device=self._device)
        size = self._low * self._factor
        truth = profile_matrices(size, rows, width, profile, self._low, _PROFILES)
        y, sigma = self._add_noise(along_axes(truth, x, self.axes), kinds)
        told = self._told_width(width)
        assumed = profile_matrices(size, rows, told, profile, self._low, _PROFILES)
        measured, interpolation = self._restored(y), self._interpolation(rows)
        base = back_projected(measured, assumed, interpolation, self._config.base_iterations, self.axes)
        high = self._restored(x)[self._inside(self._factor)].contiguous()
        truncated = (profile == KSPACE).float()
        told_maps = ((1.0 - truncated) * told, truncated, self._told_noise(sigma))
        inner = profile_matrices(patch * self._factor, torch.full_like(rows, patch), width, profile, patch, _PROFILES)
        return PairBatch(
            with_maps(self._shown(y)[self._inside(1)], told_maps),
            base[self._inside(self._factor)].contiguous(),
            high,
            Acquired.of(inner, high, self.axes, pairs.margin),
        )

    def _inside(self, factor: int) -> tuple[Any, ...]:
        """Index of an image without its surround."""
        around = self.surround * factor
        return (..., *(slice(around, -around),) * len(self.axes))

    def _point_spread(self, count: int, kinds: Kinds) -> tuple[Tensor, Tensor]:
        """Width and profile of each image: the nominal one, another width, or k-space truncation of MR."""
        random, pairs = self._random, self._config.pairs
        nominal = random.chance(count, pairs.nominal_share)
        width = torch.where(nominal, 1.0, random.uniform(count, *pairs.fwhm))
        truncated = ~nominal & ~kinds.is_ct & ~kinds.is_speckled & random.chance(count, pairs.kspace_share)
        return width, torch.where(truncated, KSPACE, GAUSSIAN)
