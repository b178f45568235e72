"""Pairs of the task "inplane": slices that are finer along both of their axes."""

from __future__ import annotations

import numpy as np

from MedSRLib.acquisition.interpolation import back_project, interpolate
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.pairs import Measurement, Pair, PairSampler, TrainingVolume, centre_of
from MedSRLib.volumes.volume import Volume

SURROUND = 8
"""Low-resolution voxels acquired around a patch and cut away, so that a patch's border is not an image border."""


class InPlaneSampler(PairSampler):
    """Pairs of the task "inplane": a slice, with its neighbours as the generator sees them."""

    @classmethod
    def scored_part(cls, volume: Volume, name: str, config: TrainingConfig) -> Volume:
        """The central slices."""
        return volume.with_voxels(centre_of(volume.voxels, (config.data.validation_slices, *volume.shape[1:])))

    def draw(self) -> Pair:
        """One pair."""
        volume = self._choose()
        high = self._anatomy(volume)
        low, acquisition = self._acquire(high, volume)
        base = self._base(low)
        surround = SURROUND * self._config.factors[0]
        cut, low_cut = slice(surround, -surround), slice(SURROUND, -SURROUND)
        centre = self._config.slices // 2
        low = np.ascontiguousarray(low[:, low_cut, low_cut], np.float32)
        margin = self._config.pairs.margin
        interior = slice(margin, -margin or None)
        return Pair(
            low,
            np.ascontiguousarray(base[None, cut, cut], np.float32),
            np.ascontiguousarray(high[centre : centre + 1, cut, cut], np.float32),
            Measurement(low[centre : centre + 1], acquisition, (interior, interior)),
        )

    def _anatomy(self, volume: TrainingVolume) -> np.ndarray:
        """A normalised, augmented block [slices, P + 2 surround, P + 2 surround] with enough foreground."""
        random, pairs = self._generator, self._config.pairs
        array = volume.voxels.transpose(volume.planes[random.integers(len(volume.planes))])
        factor = self._config.factors[0]
        side, surround = pairs.patch * factor, SURROUND * factor
        reach = self._config.slices // 2

        def cut() -> np.ndarray:
            k = random.integers(array.shape[0])
            j, i = (random.integers(max(1, n - side + 1)) for n in array.shape[1:])
            neighbours = np.full(2 * reach + 1, k) if volume.is_stack else np.arange(k - reach, k + reach + 1)
            index = [neighbours, *(np.arange(start - surround, start + side + surround) for start in (j, i))]
            block = array[np.ix_(*(np.clip(n, 0, size - 1) for n, size in zip(index, array.shape, strict=True)))]
            return volume.scaling.normalise(block)

        block = self._draw_foreground(cut, lambda block: block[reach])
        if random.random() < pairs.neighbour_dropout:
            block = np.repeat(block[reach : reach + 1], len(block), axis=0)
        elif random.random() < 0.5:
            block = block[::-1]
        if random.random() < 0.5:
            block = block.swapaxes(1, 2)
        block = block[:, :: random.choice((-1, 1)), :: random.choice((-1, 1))]
        return self._vary(block, volume, along=0, axes=(1, 2))

    def _acquire(self, high: np.ndarray, volume: TrainingVolume) -> tuple[np.ndarray, AcquisitionModel]:
        fwhm, profile = self._draw_width(volume)
        acquisition = AcquisitionModel(self._config.factors, in_plane_fwhm=fwhm, in_plane_profile=profile)
        return self._noisy(acquisition.apply(np.ascontiguousarray(high)), volume), acquisition

    def _base(self, low: np.ndarray) -> np.ndarray:
        """What enhancement will add the residual to: it knows the nominal A only, not the one that was drawn."""
        nominal = AcquisitionModel(self._config.factors)
        centre = low[self._config.slices // 2]
        start = interpolate(centre, nominal.high_shape((1, *centre.shape))[1:])
        return back_project(start, centre, nominal, self._config.base_iterations)
