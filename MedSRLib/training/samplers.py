"""Pairs of the tasks that change the slice axis, and which sampler makes the pairs of a task.

Inputs are made by enhancement's own functions, so that the generator meets in training what it will be fed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import torch

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.residual import base_image, neighbourhoods
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.pairs import (
    DRAWS,
    FOREGROUND,
    LEAST_FOREGROUND,
    Measurement,
    Pair,
    PairSampler,
    TrainingVolume,
)

SURROUND = 4
"""Low-resolution voxels acquired around a patch along the axes that A changes, and cut away."""


class ThroughPlaneSampler(PairSampler):
    """Pairs of the task "through-plane": thick slices, interpolated, in a plane that contains the slice axis.

    A volume that is nearly isotropic serves with any axis as its slice axis. One of thick slices serves with an axis
    of its sharp planes, each of which is then seen alone (Zhao et al. 2021, SMORE: self super-resolution).
    """

    def draw(self) -> Pair:
        """One pair; rows are along the slice axis."""
        random, pairs, reach = self._generator, self._config.pairs, self._config.slices // 2
        volume = self._choose()
        patch = pairs.patch
        low_factor, high_factor = (math.log(factor) for factor in self._config.factor_range)
        drawn = math.exp(random.uniform(low_factor, high_factor))
        around = SURROUND * math.ceil(drawn)
        high, cut = self._planes(volume, around), slice(around, around + patch)
        if random.random() < pairs.border_share:  # the first or last slices: nothing was acquired beyond them
            high, cut = (high[around:], slice(patch)) if random.random() < 0.5 else (high[: len(high) - around], cut)
        rows = max(2, round(len(high) / drawn))
        factor = len(high) / rows
        thickness = 1.0
        if random.random() >= pairs.nominal_share:
            thickness = float(random.uniform(*pairs.thickness))
        width, profile = self._draw_width(volume)
        truth = AcquisitionModel((1, 1, factor), slice_thickness=thickness * width, slice_profile=profile)
        assumed = AcquisitionModel((1, 1, factor), slice_thickness=thickness)
        low = self._noisy(truth.apply(high, (rows, *high.shape[1:])), volume).astype(np.float32)
        base = base_image(torch.from_numpy(low), high.shape, assumed, self._config.base_iterations).numpy()
        seen = neighbourhoods(np.moveaxis(base, 1, 0), reach, reach + 1, self._config.slices)[0][:, cut]
        anatomy = np.ascontiguousarray(np.moveaxis(high, 1, 0)[reach : reach + 1, cut], np.float32)
        return Pair(
            np.ascontiguousarray(seen, np.float32),
            np.ascontiguousarray(seen[reach : reach + 1], np.float32),
            anatomy,
            self._measure(anatomy, truth, drawn),
        )

    def _planes(self, volume: TrainingVolume, around: int) -> np.ndarray:
        """A normalised, augmented block [patch + 2 around, slices, patch] with enough foreground."""
        random, patch, reach = self._generator, self._config.pairs.patch, self._config.slices // 2
        isotropic = len(volume.planes) == 3
        orders = list(permutations(range(3))) if isotropic else [(1, 0, 2), (2, 0, 1)]
        array = volume.voxels.transpose(orders[random.integers(len(orders))])
        alone = not isotropic or random.random() < self._config.pairs.neighbour_dropout
        for _ in range(DRAWS):
            k, i = (random.integers(array.shape[axis] - patch + 1) for axis in (0, 2))
            j = random.integers(array.shape[1])
            neighbours = np.full(2 * reach + 1, j) if alone else np.arange(j - reach, j + reach + 1)
            index = [np.arange(k - around, k + patch + around), neighbours, np.arange(i, i + patch)]
            block = array[np.ix_(*(np.clip(n, 0, size - 1) for n, size in zip(index, array.shape, strict=True)))]
            block = volume.scaling.normalise(block)
            if np.mean(block[around : around + patch, reach] > FOREGROUND) >= LEAST_FOREGROUND:
                break
        block = block[:: random.choice((-1, 1)), :: random.choice((-1, 1)), :: random.choice((-1, 1))]
        return np.ascontiguousarray(self._vary(block, volume, along=1, axes=(0, 1, 2)), np.float32)

    def _measure(self, anatomy: np.ndarray, truth: AcquisitionModel, factor: float) -> Measurement:
        """The patch alone, measured without noise: its border does not fall onto the border of a thick slice."""
        rows = max(2, round(anatomy.shape[1] / factor))
        y = truth.apply(anatomy.swapaxes(0, 1), (rows, 1, anatomy.shape[2])).swapaxes(0, 1)
        margin = self._config.pairs.margin
        return Measurement(np.ascontiguousarray(y, np.float32), truth, (slice(None), slice(margin, -margin or None)))


class VolumetricSampler(PairSampler):
    """Pairs of the task "volumetric": blocks that are finer along all three axes."""

    def draw(self) -> Pair:
        """One pair of blocks."""
        volume = self._choose()
        factor, margin = self._config.factors[0], self._config.pairs.margin
        high = self._block(volume)
        width, profile = self._draw_width(volume)
        truth = AcquisitionModel(
            self._config.factors,
            in_plane_fwhm=width,
            slice_thickness=width,
            slice_profile=profile,
            in_plane_profile=profile,
        )
        low = self._noisy(truth.apply(high), volume).astype(np.float32)
        assumed = AcquisitionModel(self._config.factors)
        base = base_image(torch.from_numpy(low), high.shape, assumed, self._config.base_iterations).numpy()
        cut, low_cut = (slice(SURROUND * scale, -SURROUND * scale) for scale in (factor, 1))
        low = np.ascontiguousarray(low[None, low_cut, low_cut, low_cut])
        interior = slice(margin, -margin or None)
        return Pair(
            low,
            np.ascontiguousarray(base[None, cut, cut, cut]),
            np.ascontiguousarray(high[None, cut, cut, cut]),
            Measurement(low, truth, (interior,) * 3),
        )

    def _block(self, volume: TrainingVolume) -> np.ndarray:
        """A normalised, augmented cube of anatomy with its surround and enough foreground."""
        random, factor = self._generator, self._config.factors[0]
        side, around = self._config.pairs.patch * factor, SURROUND * factor
        orders = list(permutations(range(3))) if len(volume.planes) == 3 else [(0, 1, 2), (0, 2, 1)]
        array = volume.voxels.transpose(orders[random.integers(len(orders))])
        for _ in range(DRAWS):
            starts = [random.integers(size - side + 1) for size in array.shape]
            index = [
                np.clip(np.arange(start - around, start + side + around), 0, size - 1)
                for start, size in zip(starts, array.shape, strict=True)
            ]
            block = volume.scaling.normalise(array[np.ix_(*index)])
            if np.mean(block > FOREGROUND) >= LEAST_FOREGROUND:
                break
        block = block[:: random.choice((-1, 1)), :: random.choice((-1, 1)), :: random.choice((-1, 1))]
        return np.ascontiguousarray(self._vary(block, volume, along=0, axes=(0, 1, 2)), np.float32)


SAMPLERS: dict[str, type[PairSampler]] = {
    "inplane": PairSampler,
    "through-plane": ThroughPlaneSampler,
    "volumetric": VolumetricSampler,
}


def make_sampler(
    volumes: Sequence[TrainingVolume], config: TrainingConfig, generator: np.random.Generator
) -> PairSampler:
    """The sampler of the configuration's task.

    Args:
        volumes: to draw from; slices that are no volume are left out where the task needs one.
        config: of the run.
        generator: source of all randomness.

    Raises:
        InputError: there are no volumes.
    """
    if config.task == "volumetric":
        volumes = [volume for volume in volumes if not volume.is_stack]
    return SAMPLERS[config.task](volumes, config, generator)
