"""Pairs of the task "through-plane": thick slices, interpolated, and the anatomy between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from MedSRLib.acquisition.batched import BOX, GAUSSIAN, KSPACE, SLR, Interpolation, back_projected, profile_matrices
from MedSRLib.errors import InputError
from MedSRLib.training.bank import Blocks
from MedSRLib.training.config import PairsConfig, TrainingConfig
from MedSRLib.training.noise import Kinds
from MedSRLib.training.pairs import Acquired, PairBatch
from MedSRLib.training.randomness import Random
from MedSRLib.training.sampler import PairSampler, with_maps
from MedSRLib.training.training_volume import TrainingVolume, centre_of, is_nearly_isotropic
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
_CROSSED_SHARE = 0.5
"""Of batches whose planes cross, where volumes allow it; the others are of the other volumes."""


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
        if not is_nearly_isotropic(volume.spacing):
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
        crosses = [bool(config.pairs.crossing) and _may_cross(volume, _side_of(config.pairs)) for volume in volumes]
        self._some_cross = any(crosses)
        self._crosses = torch.tensor(crosses, device=self._device)
        self._others = None if all(crosses) else ~self._crosses
        self._interpolation = Interpolation(self._size, round(self._size / high), self._most, self._device)

    def draw(self, count: int) -> PairBatch:
        """A batch of pairs: planes each on its own, or where ``pairs.crossing`` says so those of both kinds.

        Enhancement takes the mean of both. Each of them, trained alone, answers what it can tell on its own; their mean
        says too little of what one sees and the other does not.
        """
        if self._some_cross and self._random.how_many(1, _CROSSED_SHARE):
            return self._draw_crossed(max(1, count // (2 * self._config.pairs.crossing)))
        return self._draw_planes(count)

    def _draw_planes(self, count: int) -> PairBatch:
        pairs, reach = self._config.pairs, self._config.slices // 2
        blocks = self._bank.draw(
            count,
            (pairs.patch, 1, pairs.patch),
            (AROUND, reach, 0),
            self._random,
            alone=pairs.neighbour_dropout,
            among=self._others,
        )
        # Slices are measured one after the other: noise is correlated along their columns alone.
        base, x, told, inner = self._acquire(blocks, (1, 3), noise_axes=1)
        seen, high = base.movedim(2, 1), x[:, :, reach].unsqueeze(1)
        return PairBatch(
            with_maps(seen, told),
            seen[:, reach : reach + 1].contiguous(),
            high.contiguous(),
            Acquired.of(inner, high, (-2,), pairs.margin),
        )

    def _draw_crossed(self, count: int) -> PairBatch:
        """Blocks, and the planes of both kinds that cross in their middle."""
        pairs, slices = self._config.pairs, self._config.slices
        side = _side_of(pairs)
        first = (side - pairs.crossing) // 2
        shape = (pairs.patch, side, side)
        blocks = self._bank.draw(count, shape, (AROUND, 0, 0), self._random, among=self._crosses)
        base, x, told, inner = self._acquire(blocks, (2, 1, 3), noise_axes=2)
        alone = self._random.chance(count, pairs.neighbour_dropout)[(slice(None), *(None,) * 4)]
        kinds = []
        for axis in (2, 3):
            around = base.narrow(axis, first - slices // 2, pairs.crossing + slices - 1)
            seen = around.unfold(axis, slices, 1).movedim((axis, 4), (1, 2))  # [N, planes, neighbours, rows, columns]
            kinds.append(torch.where(alone, seen[:, :, slices // 2, None], seen))
        middle = slice(first, first + pairs.crossing)
        planes = 2 * pairs.crossing
        high = x[:, :, middle, middle].flatten(2).unsqueeze(1).contiguous()
        return PairBatch(
            with_maps(torch.cat(kinds, 1).flatten(0, 1), [value.repeat_interleave(planes) for value in told]),
            base[:, :, middle, middle].flatten(2).unsqueeze(1).contiguous(),
            high,
            Acquired.of(inner, high, (-2,), pairs.margin),
            pairs.crossing,
        )

    def _acquire(
        self, blocks: Blocks, axes: tuple[int, ...], *, noise_axes: int
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...], Tensor]:
        """The base image and the anatomy, [N, rows, b, c], what is told of it, [N] each, and A of the patch's rows.

        Args:
            blocks: anatomy, with what is around it.
            axes: see ``_vary``.
            noise_axes: of a slice that noise is correlated along.
        """
        random, config, most = self._random, self._config, self._most
        patch, count = config.pairs.patch, len(blocks.x)
        kinds = self._bank.kinds(blocks.volume)
        x = self._vary(blocks.x, kinds, axes)
        factor = torch.exp(random.uniform(count, *(math.log(factor) for factor in config.factor_range)))
        rows = torch.round(self._size / factor).long().clamp(max=most)
        thickness, profile, told, is_box = self._slice_profile(count, kinds)
        # Slices and columns, [N, rows, b x c]: A and interpolation are one product each.
        truth = profile_matrices(self._size, rows, thickness, profile, most)
        clean = (truth @ x.flatten(2)).unflatten(2, x.shape[2:])
        if noise_axes == 1:
            noisy, sigma = self._add_noise(clean.movedim(2, 1), kinds, axes=1)
            noisy = noisy.movedim(1, 2)
        else:
            noisy, sigma = self._add_noise(clean, kinds)
        is_measured = torch.arange(most, device=self._device) < rows[:, None]
        y = torch.where(is_measured[..., None], noisy.flatten(2), 0.0)
        assumed = profile_matrices(self._size, rows, told, torch.where(is_box, BOX, GAUSSIAN), most, (GAUSSIAN, BOX))
        base = back_projected(y, assumed, self._interpolation(rows), config.base_iterations, (-2,))
        start = self._starts(count)
        inner = profile_matrices(
            patch,
            torch.round(patch / factor).long().clamp_min(2),
            thickness,
            profile,
            round(patch / config.factor_range[0]) + 1,
        )
        shown = self._rows(base.unflatten(2, x.shape[2:]), start), self._rows(x, start)
        return *shown, (told, is_box.float(), self._told_noise(sigma)), inner

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


def _side_of(pairs: PairsConfig) -> int:
    """Of a block whose planes cross in its middle: half a patch more than the middle, in whole fours."""
    return 4 * math.ceil((pairs.patch // 2 + pairs.crossing) / 4)


def _may_cross(volume: TrainingVolume, side: int) -> bool:
    """Whether it is nearly isotropic, and thick enough for planes of both kinds."""
    return is_nearly_isotropic(volume.spacing) and not volume.is_stack and min(volume.voxels.shape) >= side
