"""Which sampler makes the pairs of a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.in_plane import InPlaneSampler
from MedSRLib.training.pairs import PairSampler, TrainingVolume
from MedSRLib.training.through_plane import ThroughPlaneSampler
from MedSRLib.training.volumetric import VolumetricSampler

SAMPLERS: dict[str, type[PairSampler]] = {
    "inplane": InPlaneSampler,
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
