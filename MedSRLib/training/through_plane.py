"""Pairs of the task "through-plane": thick slices, interpolated, and the anatomy between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from MedSRLib.acquisition.batched import BOX, GAUSSIAN, KSPACE, SLR, Interpolation, back_projected, profile_matrices
from MedSRLib.errors import InputError
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.noise import Kinds
from MedSRLib.training.pairs import Acquired, PairBatch
from MedSRLib.training.randomness import Random
from MedSRLib.training.sampler import PairSampler, with_maps
from MedSRLib.training.training_volume import ISOTROPIC, TrainingVolume, centre_of
from MedSRLib.volumes.volume import Volume

AROUND = 32
"""Voxels acquired before and after a patch along the slice axis, and cut away but at the first and last slice."""
_OVERLAPPING = (0.2, (1.2, 2.2))
"""Share of pairs whose slices overlap, and their thickness in slice spacings."""
_GAUSSIAN_SHARE, _BOX_SHARE = 0.55, 0.1
"""Of slice profiles; the others are box-like, as a scanner's are that selects slices: "slr" of MR, "box" of CT."""
_SAID_SHARE = 0.7
"""Of box-like profiles that the generator is told of: often nobody knows."""
_KSPACE_WIDTH = 0.8
"""The Gaussian that k-space truncation along the slices is taken for."""


class ThroughPlaneSampler(PairSampler):
    """Thick slices, interpolated, in a plane that contains the slice axis: rows lie along it.

    A nearly isotropic volume serves with any axis as its slice axis. One of thick slices serves with an axis of its
    sharp planes, each of which is then seen alone (Zhao et al. 2021, SMORE: self super-resolution).
    """

    sliced = False
    takes_stacks = False

    @classmethod
    def scored_part(cls, volume: Volume, name: str, config: TrainingConfig) -> Volume:
        """The central cube of a nearly isotropic volume."""
        if max(volume.spacing) > ISOTROPIC * min(volume.spacing):
            raise InputError(
                f"{name} in data.validation has voxels of {' x '.join(f'{size:.2f}' for size in volume.spacing)} mm: "
                f"through-plane models are validated on nearly isotropic volumes, choose another"
            )
        cube = centre_of(volume.voxels, (config.data.validation_side,) * 3)
        # Enhancement makes slices as far apart as the pixels: an isotropic affine is the reference's own grid then.
        return volume.with_voxels(cube, np.diag([*[volume.spacing[0]] * 3, 1.0]))

    def __init__(self, volumes: Sequence[TrainingVolume], config: TrainingConfig, random: Random) -> None:
        super().__init__(volumes, config, random)
        self._size = config.pairs.patch + 2 * AROUND
        low, high = config.factor_range
        self._most = round(self._size / low)
        self._interpolation = Interpolation(self._size, round(self._size / high), self._most, self._device)

    def draw(self, count: int) -> PairBatch:
        """A batch of pairs."""
        random, config, pairs, most = self._random, self._config, self._config.pairs, self._most
        patch, reach = pairs.patch, config.slices // 2
        alone = pairs.neighbour_dropout
        blocks = self._bank.draw(count, (patch, 1, patch), (AROUND, reach, 0), random, alone=alone)
        kinds = self._bank.kinds(blocks.volume)
        x = self._vary(blocks.x, kinds, (1, 3))
        factor = torch.exp(random.uniform(count, *(math.log(factor) for factor in config.factor_range)))
        rows = torch.round(self._size / factor).long().clamp(max=most)
        thickness, profile, told, is_box = self._slice_profile(count, kinds)
        # Slices and columns, [N, rows, neighbours x columns]: A and interpolation are one product each.
        truth = profile_matrices(self._size, rows, thickness, profile, most)
        clean = (truth @ x.flatten(2)).unflatten(2, x.shape[2:])
        # Slices are measured one after the other: noise is correlated along their columns alone.
        noisy, sigma = self._add_noise(clean.movedim(2, 1), kinds, axes=1)
        is_measured = torch.arange(most, device=self._device) < rows[:, None]
        y = torch.where(is_measured[..., None], noisy.movedim(1, 2).flatten(2), 0.0)
        assumed = profile_matrices(self._size, rows, told, torch.where(is_box, BOX, GAUSSIAN), most, (GAUSSIAN, BOX))
        base = back_projected(y, assumed, self._interpolation(rows), config.base_iterations, (-2,))
        start = self._starts(count)
        seen = self._rows(base.unflatten(2, x.shape[2:]), start).movedim(2, 1)
        high = self._rows(x, start)[:, :, reach].unsqueeze(1)
        inner = profile_matrices(
            patch,
            torch.round(patch / factor).long().clamp_min(2),
            thickness,
            profile,
            round(patch / config.factor_range[0]) + 1,
        )
        return PairBatch(
            with_maps(seen, (told, is_box.float(), self._told_noise(sigma))),
            seen[:, reach : reach + 1].contiguous(),
            high.contiguous(),
            Acquired.of(inner, high, (-2,), pairs.margin),
        )

    def _starts(self, count: int) -> Tensor:
        """First row of each patch; some lie at the first or last slice, beyond which nothing was acquired."""
        border = self._random.chance(count, self._config.pairs.border_share)
        first = self._random.chance(count, 0.5)
        return torch.where(border, torch.where(first, 0, 2 * AROUND), AROUND)

    def _rows(self, x: Tensor, start: Tensor) -> Tensor:
        """The patch out of [N, rows, neighbours, columns]."""
        index = start[:, None] + torch.arange(self._config.pairs.patch, device=self._device)
        return x.gather(1, index[..., None, None].expand(-1, -1, *x.shape[2:]))

    def _slice_profile(self, count: int, kinds: Kinds) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Thickness over spacing and profile of each image, the thickness that is told, and whether a box is."""
        random, pairs = self._random, self._config.pairs
        nominal = random.chance(count, pairs.nominal_share)
        overlapping = random.chance(count, _OVERLAPPING[0])
        other = torch.where(
            overlapping, random.uniform(count, *_OVERLAPPING[1]), random.uniform(count, *pairs.thickness)
        )
        thickness = torch.where(nominal, 1.0, other)
        kind = random.uniform(count)
        selective = torch.where(kinds.is_ct, BOX, SLR)
        profile = torch.where(kind < 1.0 - _BOX_SHARE, selective, BOX)
        profile = torch.where(kind < _GAUSSIAN_SHARE, GAUSSIAN, profile)
        truncated = ~nominal & ~overlapping & ~kinds.is_ct & random.chance(count, pairs.kspace_share)
        is_box = (profile != GAUSSIAN) & ~truncated & random.chance(count, _SAID_SHARE)
        told = self._told_width(torch.where(truncated, _KSPACE_WIDTH, thickness))
        return thickness, torch.where(truncated, KSPACE, profile), told, is_box
