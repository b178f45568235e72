"""What the samplers of all tasks have in common: anatomy that varies, and what the generator is told of it.

Pairs are made on the device, a batch at a time; everything random comes from one ``Random``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from MedSRLib.acquisition.batched import along_axes, gaussian_matrices
from MedSRLib.acquisition.conditions import NOISE_GAIN
from MedSRLib.training.bank import AnatomyBank
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.noise import Kinds, add_noise, draw_sigma
from MedSRLib.training.pairs import PairBatch
from MedSRLib.training.randomness import Random
from MedSRLib.training.synthetic import draw_bone, draw_shapes
from MedSRLib.training.training_volume import TrainingVolume
from MedSRLib.volumes.intensity import CT_RANGE
from MedSRLib.volumes.volume import Volume

_TOLD_WIDTH = 0.04
_TOLD_SIGMA = (0.8, 1.25)
"""How far from the truth the generator is told: an estimate is never exact."""
_FAR_SHARE = 0.1
"""Of images that are told further from it: sometimes an estimate fails."""
_GAIN = (0.7, 1.3)
"""Brightness of what is no CT."""
_DENSE = 0.55
"""Normalised HU above which CT may be made denser: bone and contrast agent."""


class PairSampler(ABC):
    """Draws batches of one task.

    Args:
        volumes: to draw from.
        config: of the run.
        random: source of all randomness; its device is where pairs are made.

    Attributes:
        takes_stacks: slices that are no volume serve, too.
        sliced: see ``AnatomyBank``.

    Raises:
        InputError: there are no volumes, or they are more than the device holds.
    """

    takes_stacks: ClassVar[bool] = True
    sliced: ClassVar[bool] = True

    def __init__(self, volumes: Sequence[TrainingVolume], config: TrainingConfig, random: Random) -> None:
        self._config = config
        self._random = random
        self._device = random.device
        self._bank = AnatomyBank(volumes, self._device, sliced=self.sliced)

    @abstractmethod
    def draw(self, count: int) -> PairBatch:
        """A batch of pairs."""

    @classmethod
    @abstractmethod
    def scored_part(cls, volume: Volume, name: str, config: TrainingConfig) -> Volume:
        """The middle of a held-out volume that is scored.

        Args:
            volume: held out.
            name: of the volume, for messages.
            config: of the run.

        Raises:
            InputError: the task cannot be scored on it.
        """

    @classmethod
    def fewest_slices(cls, side: int) -> int:
        """Slices that a volume needs for patches of ``side`` voxels."""
        return 1

    @classmethod
    def largest_patch(cls, volume: TrainingVolume) -> int:
        """Side of the largest patch of a volume, in its voxels; 0 when the task takes none of it."""
        if volume.is_stack and not cls.takes_stacks:
            return 0
        return int(min(volume.voxels.shape[0 if volume.is_isotropic else 1 :]))

    def _vary(self, x: Tensor, kinds: Kinds, axes: tuple[int, ...]) -> Tensor:
        """What other patients and scanners might show: phantoms, other grey levels, a smoother anatomy.

        Args:
            x: normalised anatomy, [N, a, b, c].
            kinds: of the images.
            axes: of ``x`` that softening blurs; a phantom does not change along the others.
        """
        random, pairs, count = self._random, self._config.pairs, len(x)
        phantoms = random.how_many(count, pairs.phantom_share)
        if phantoms:
            x = torch.cat([self._draw_phantoms(phantoms, x.shape, axes), x[phantoms:]])
        wide = (slice(None), None, None, None)
        # HU have a meaning; a scanner that is off, and other agents and implants, are met too.
        free = ~kinds.is_ct | random.chance(count, 0.15)
        gamma = torch.where(free, random.uniform(count, *pairs.gamma), 1.0)[wide]
        gain = torch.where(free, random.uniform(count, *_GAIN), 1.0)[wide]
        x = torch.copysign(x.abs().pow(gamma), x) * gain
        denser = (kinds.is_ct & random.chance(count, 0.3)) * random.uniform(count, 0.0, 2.0)
        x = x + denser[wide] * (x - _DENSE).clamp_min(0.0)
        return self._soften(x, phantoms, axes)

    def _draw_phantoms(self, count: int, shape: torch.Size, axes: tuple[int, ...]) -> Tensor:
        first, second = axes[-2:]
        side = max(shape[first], shape[second])
        shapes = self._random.how_many(count, 1 / 3)
        kinds = [(draw_shapes, shapes), (draw_bone, count - shapes)]
        drawn = torch.cat([draw(number, side, self._random) for draw, number in kinds if number])
        constant = ({1, 2, 3} - {first, second}).pop()
        return drawn[:, : shape[first], : shape[second]].unsqueeze(constant).expand(count, *shape[1:])

    def _soften(self, x: Tensor, phantoms: int, axes: tuple[int, ...]) -> Tensor:
        """Blurs most phantoms, which come first, and a share of the others."""
        random, pairs, count = self._random, self._config.pairs, len(x)
        others = random.how_many(count - phantoms, pairs.softening_share)
        soft = torch.cat(
            [
                random.some(phantoms, random.how_many(phantoms, 0.8)),
                phantoms + random.some(count - phantoms, others),
            ]
        )
        if not len(soft):
            return x
        fwhm = random.uniform(len(soft), *pairs.softening)
        blurred = x[soft]
        for axis in axes:
            blurred = along_axes(gaussian_matrices(x.shape[axis], fwhm), blurred, (axis - x.ndim,))
        return x.index_copy(0, soft, blurred)

    def _add_noise(self, clean: Tensor, kinds: Kinds, *, axes: int = 2) -> tuple[Tensor, Tensor]:
        """The measurement [N, slices, h, w] with noise in a share of the images, and its sigma [N]."""
        random, pairs, count = self._random, self._config.pairs, len(clean)
        sigma = torch.zeros(count, device=self._device)
        if noisy := random.how_many(count, pairs.noise_share):
            which = random.some(count, noisy)
            some = kinds.of(which)
            drawn = draw_sigma(noisy, pairs.noise, random)
            clean = clean.index_copy(0, which, add_noise(clean[which], drawn, some, random, axes=axes))
            sigma = sigma.index_copy(0, which, drawn)
        return self._round(clean, kinds), sigma

    def _round(self, y: Tensor, kinds: Kinds) -> Tensor:
        """Grey levels of the file: whole HU, and 8 bit for some of the others."""
        coarse = kinds.is_ct | self._random.chance(len(y), 0.15)
        steps = torch.where(kinds.is_ct, CT_RANGE, 255.0)[:, None, None, None]
        return torch.where(coarse[:, None, None, None], torch.round(y * steps) / steps, y)

    def _told_width(self, width: Tensor) -> Tensor:
        """What is said of a width: mostly near the truth, sometimes far."""
        count = len(width)
        spread = torch.where(self._random.chance(count, _FAR_SHARE), 3.0 * _TOLD_WIDTH, _TOLD_WIDTH)
        return (width + spread * self._random.normal((count,))).clamp_min(0.3)

    def _told_noise(self, sigma: Tensor) -> Tensor:
        """The condition "noise": what is said of sigma, mostly near the truth, sometimes far."""
        count = len(sigma)
        near = self._random.uniform(count, *_TOLD_SIGMA)
        far = self._random.uniform(count, 0.5, 1.6)
        said = sigma * torch.where(self._random.chance(count, _FAR_SHARE), far, near)
        # A clean scan's own texture is taken for a little noise.
        texture = torch.where(self._random.chance(count, 0.3), self._random.uniform(count, 0.0, 0.003), 0.0)
        return NOISE_GAIN * (said + texture)


def with_maps(images: Tensor, conditions: Sequence[Tensor]) -> Tensor:
    """What a generator is fed: images and, after them, its conditions as constant maps, as convolutions like it best.

    Args:
        images: [N, slices, (D,) h, w].
        conditions: [N] each, in the order of the task's.
    """
    told = torch.stack(list(conditions), 1)
    maps = told[(..., *(None,) * (images.ndim - 2))].expand(-1, -1, *images.shape[2:])
    memory = torch.channels_last if images.ndim == 4 else torch.channels_last_3d
    return torch.cat([images, maps], 1).contiguous(memory_format=memory)
