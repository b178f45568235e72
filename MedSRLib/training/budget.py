"""How a run that was given minutes divides them: between its stages, and what comes before and after them."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import torch

from MedSRLib.errors import UsageError
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.distributed import mean_of_processes, rank, world_size
from MedSRLib.training.schedule import ByClock

_EXPORT = 0.03
"""Part of the minutes that is left for measuring the halo and writing the model."""


class Budget:
    """The minutes of a run, which began when this was made.

    Args:
        config: of the run, with ``run.minutes`` above 0.
        device: of the run.
    """

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self._minutes = config.run.minutes
        self._end = monotonic() + 60 * config.run.minutes * (1 - _EXPORT)
        has_gan = bool(config.gan.iterations)
        self._gan_share = config.gan.share if has_gan else 0.0
        self._degrid_share = config.degrid.share if has_gan and config.degrid.iterations else 0.0
        self._device = device
        self._validation = 0.0

    def time_validation(self, validate: Callable[[], object]) -> None:
        """Validates once, so that time is left for those at the end."""
        start = monotonic()
        if rank() == 0:
            validate()
        own = monotonic() - start
        self._validation = mean_of_processes(own, self._device) * world_size()  # only the first process validates

    def fidelity(self, done: float, validations: int) -> ByClock:
        """The schedule of the fidelity stage.

        Args:
            done: part of it that earlier processes did.
            validations: that follow it, in all stages.

        Raises:
            UsageError: the minutes do not suffice.
        """
        later = self._gan_share + self._degrid_share
        left = (1 - later) * (1 - done)
        available = self._available(validations)
        return ByClock(monotonic() + available * left / max(left + later, 1e-9), self._device)

    def gan(self, validations: int, done: float = 0.0) -> ByClock:
        """The schedule of the GAN stage: what is left, but for the stage after it.

        Raises:
            UsageError: the minutes do not suffice.
        """
        left = self._gan_share * (1 - done)
        available = self._available(validations)
        return ByClock(monotonic() + available * left / max(left + self._degrid_share, 1e-9), self._device)

    def degrid(self, validations: int) -> ByClock:
        """The schedule of the last stage: what is left.

        Raises:
            UsageError: the minutes do not suffice.
        """
        return ByClock(monotonic() + self._available(validations), self._device)

    def _available(self, validations: int) -> float:
        """Seconds for training itself."""
        available = self._end - monotonic() - validations * self._validation
        if available <= 0:
            raise UsageError(
                f"--minutes {self._minutes:g} (run.minutes) leaves no time to train: reading the volumes and "
                f"{validations} validations of {self._validation:.0f} s take it; give more, or validate on less"
            )
        return available
