"""Pairs of the task "inplane": slices and their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from MedSRLib.acquisition.batched import along_axes, zoom_matrices
from MedSRLib.training.bank import Blocks
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.point_spread_sampler import PointSpreadSampler
from MedSRLib.training.training_volume import centre_of
from MedSRLib.volumes.volume import Volume

_ZOOM = (1.2, 2.0)


class InPlaneSampler(PointSpreadSampler):
    """Slices that are finer along both of their axes."""

    axes = (-2, -1)
    surround = 8

    @classmethod
    def scored_part(cls, volume: Volume, name: str, config: TrainingConfig) -> Volume:
        """The central slices."""
        return volume.with_voxels(centre_of(volume.voxels, (config.data.validation_slices, *volume.shape[1:])))

    def _blocks(self, count: int) -> Blocks:
        """[N, slices, side, side]; a share is shrunk: finer structure than the volume's own pixels show."""
        pairs, reach, around = self._config.pairs, self._config.slices // 2, self.surround * self._factor
        side, alone = pairs.patch * self._factor, pairs.neighbour_dropout
        shape, beyond = (1, side, side), (reach, around, around)
        zoomed = self._random.how_many(count, pairs.zoom_share)
        if not zoomed:
            return self._bank.draw(count, shape, beyond, self._random, alone=alone)
        whole = side + 2 * around
        larger = (reach, around + whole // 2, around + whole // 2)
        large = self._bank.draw(zoomed, shape, larger, self._random, alone=alone, least=whole)
        zoom = zoom_matrices(whole, whole + 2 * (whole // 2), self._random.uniform(zoomed, *_ZOOM))
        shrunk = along_axes(zoom, large.x, self.axes)
        if zoomed == count:
            return Blocks(shrunk, large.volume)
        others = self._bank.draw(count - zoomed, shape, beyond, self._random, alone=alone)
        # Phantoms take the place of the first ones.
        return Blocks(torch.cat([others.x, shrunk]), torch.cat([others.volume, large.volume]))

    def _shown(self, images: Tensor) -> Tensor:
        return images

    def _restored(self, images: Tensor) -> Tensor:
        middle = self._config.slices // 2
        return images[:, middle : middle + 1]
