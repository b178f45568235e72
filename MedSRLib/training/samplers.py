"""Which sampler makes the pairs of a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.pairs import PairSampler, TrainingVolume


def make_sampler(
    volumes: Sequence[TrainingVolume], config: TrainingConfig, generator: np.random.Generator
) -> PairSampler:
    """The sampler of the configuration's task.

    Args:
        volumes: to draw from.
        config: of the run.
        generator: source of all randomness.

    Raises:
        InputError: there are no volumes.
    """
    return PairSampler(volumes, config, generator)
