"""Which sampler makes the pairs of a task. A new one is a file like those imported here, and one line in this list."""

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
"""By the task's name."""


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
    kind = SAMPLERS[config.task]
    return kind([volume for volume in volumes if kind.takes_stacks or not volume.is_stack], config, generator)
