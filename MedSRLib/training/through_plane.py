"""Pairs of the task "through-plane": thick slices, interpolated, and the anatomy between them.

Inputs are made by enhancement's own functions, so that the generator meets in training what it will be fed.
"""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import torch

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.slabs import base_image, neighbourhoods
from MedSRLib.errors import InputError
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.pairs import ISOTROPIC, Measurement, Pair, PairSampler, TrainingVolume, centre_of
from MedSRLib.volumes.volume import Volume

SURROUND = 4
"""Low-resolution voxels acquired around a patch along the axes that A changes, and cut away."""


class ThroughPlaneSampler(PairSampler):
    """Pairs of the task "through-plane": thick slices, interpolated, in a plane that contains the slice axis.

    A volume that is nearly isotropic serves with any axis as its slice axis. One of thick slices serves with an axis
    of its sharp planes, each of which is then seen alone (Zhao et al. 2021, SMORE: self super-resolution).
    """

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

        def cut() -> np.ndarray:
            k, i = (random.integers(array.shape[axis] - patch + 1) for axis in (0, 2))
            j = random.integers(array.shape[1])
            neighbours = np.full(2 * reach + 1, j) if alone else np.arange(j - reach, j + reach + 1)
            index = [np.arange(k - around, k + patch + around), neighbours, np.arange(i, i + patch)]
            block = array[np.ix_(*(np.clip(n, 0, size - 1) for n, size in zip(index, array.shape, strict=True)))]
            return volume.scaling.normalise(block)

        block = self._draw_foreground(cut, lambda block: block[around : around + patch, reach])
        block = block[:: random.choice((-1, 1)), :: random.choice((-1, 1)), :: random.choice((-1, 1))]
        return np.ascontiguousarray(self._vary(block, volume, along=1, axes=(0, 1, 2)), np.float32)

    def _measure(self, anatomy: np.ndarray, truth: AcquisitionModel, factor: float) -> Measurement:
        """The patch alone, measured without noise: its border does not fall onto the border of a thick slice."""
        rows = max(2, round(anatomy.shape[1] / factor))
        y = truth.apply(anatomy.swapaxes(0, 1), (rows, 1, anatomy.shape[2])).swapaxes(0, 1)
        margin = self._config.pairs.margin
        return Measurement(np.ascontiguousarray(y, np.float32), truth, (slice(None), slice(margin, -margin or None)))
