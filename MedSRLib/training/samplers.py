"""Which sampler makes the pairs of a task. A new one is a file like those imported here, and one line in this list."""

from __future__ import annotations

from collections.abc import Sequence

from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.in_plane import InPlaneSampler
from MedSRLib.training.randomness import Random
from MedSRLib.training.sampler import PairSampler
from MedSRLib.training.through_plane import ThroughPlaneSampler
from MedSRLib.training.training_volume import TrainingVolume
from MedSRLib.training.volumetric import VolumetricSampler

SAMPLERS: dict[str, type[PairSampler]] = {
    "inplane": InPlaneSampler,
    "through-plane": ThroughPlaneSampler,
    "volumetric": VolumetricSampler,
}
"""By the task's name."""


def make_sampler(volumes: Sequence[TrainingVolume], config: TrainingConfig, random: Random) -> PairSampler:
    """The sampler of the configuration's task.

    Args:
        volumes: to draw from; slices that are no volume are left out where the task needs one.
        config: of the run.
        random: source of all randomness; its device is where pairs are made.

    Raises:
        InputError: there are no volumes, or they are more than the device holds.
    """
    kind = SAMPLERS[config.task]
    return kind([volume for volume in volumes if kind.takes_stacks or not volume.is_stack], config, random)
