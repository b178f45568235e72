"""Pairs of the task "volumetric": blocks that are finer along all three axes."""

from __future__ import annotations

from torch import Tensor

from MedSRLib.training.bank import Blocks
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.point_spread_sampler import PointSpreadSampler
from MedSRLib.training.training_volume import TrainingVolume, centre_of
from MedSRLib.volumes.volume import Volume


class VolumetricSampler(PointSpreadSampler):
    """Cubes; a 3D acquisition has the same point spread along all axes, and truncates k-space along all of them."""

    axes = (-3, -2, -1)
    surround = 4
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

    def _blocks(self, count: int) -> Blocks:
        side, around = self._config.pairs.patch * self._factor, self.surround * self._factor
        return self._bank.draw(count, (side, side, side), (around, around, around), self._random)

    def _shown(self, images: Tensor) -> Tensor:
        return images.unsqueeze(1)

    def _restored(self, images: Tensor) -> Tensor:
        return images.unsqueeze(1)
