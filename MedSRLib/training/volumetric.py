"""Pairs of the task "volumetric": blocks that are finer along all three axes."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.slabs import base_image
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.pairs import Measurement, Pair, PairSampler, TrainingVolume, centre_of
from MedSRLib.volumes.volume import Volume

SURROUND = 4
"""Low-resolution voxels acquired around a block and cut away."""


class VolumetricSampler(PairSampler):
    """Pairs of the task "volumetric": blocks that are finer along all three axes."""

    takes_stacks = False

    @classmethod
    def scored_part(cls, volume: Volume, name: str, config: TrainingConfig) -> Volume:
        """The central cube."""
        return volume.with_voxels(centre_of(volume.voxels, (config.data.validation_side,) * 3))

    @classmethod
    def fewest_slices(cls, side: int) -> int:
        """As many as a block is deep."""
        return side

    @classmethod
    def largest_patch(cls, volume: TrainingVolume) -> int:
        """A cube; none of a stack."""
        return 0 if volume.is_stack else int(min(volume.voxels.shape))

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

        def cut() -> np.ndarray:
            starts = [random.integers(size - side + 1) for size in array.shape]
            index = [
                np.clip(np.arange(start - around, start + side + around), 0, size - 1)
                for start, size in zip(starts, array.shape, strict=True)
            ]
            return volume.scaling.normalise(array[np.ix_(*index)])

        block = self._draw_foreground(cut, lambda block: block)
        block = block[:: random.choice((-1, 1)), :: random.choice((-1, 1)), :: random.choice((-1, 1))]
        return np.ascontiguousarray(self._vary(block, volume, along=0, axes=(0, 1, 2)), np.float32)
