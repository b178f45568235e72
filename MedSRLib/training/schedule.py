"""How far a stage has come, which its learning rates follow: by its iterations, or by the clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import monotonic

import torch

from MedSRLib.training.distributed import mean_of_processes


class Schedule(ABC):
    """Of one stage. All processes of a run have the same answers."""

    @abstractmethod
    def part(self, iteration: int) -> float:
        """What is done of the stage before this iteration, 0 to 1."""

    @abstractmethod
    def is_over(self, iteration: int) -> bool:
        """Whether the stage ends before this iteration."""

    def begin(self, iteration: int, part: float) -> None:  # noqa: B027 (iterations need no beginning)
        """Before the first iteration of this process, with what was done before it."""

    def mark(self, iteration: int) -> None:  # noqa: B027 (iterations need no clock)
        """The device has just finished an iteration."""


class ByIterations(Schedule):
    """A fixed number of iterations.

    A resumed stage that was given more or fewer goes on along the new curve.

    Args:
        iterations: of the whole stage.
    """

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def part(self, iteration: int) -> float:
        """Of the iterations."""
        return min(1.0, iteration / self.iterations)

    def is_over(self, iteration: int) -> bool:
        """All are done."""
        return iteration >= self.iterations


class ByClock(Schedule):
    """As many iterations as there is time for. What was left of a resumed stage is spread over the time it has now.

    The clock is read only when ``mark`` is called, for a device must not be waited for; in between time goes by the
    iteration.

    Args:
        deadline: end of the stage, of ``time.monotonic()``.
        device: of the stage.
    """

    def __init__(self, deadline: float, device: torch.device) -> None:
        self.deadline = deadline
        self._device = device
        self._began = self._seconds = self._passed = self._pace = 0.0
        self._before, self._marked = 0.0, 0

    @property
    def seconds_left(self) -> float:
        """Until the deadline."""
        return max(0.0, self.deadline - monotonic())

    def begin(self, iteration: int, part: float) -> None:
        """The clock starts."""
        self._before, self._marked = part, iteration
        self._began = monotonic()
        self._seconds = mean_of_processes(self.seconds_left, self._device)
        self._passed = self._pace = 0.0

    def part(self, iteration: int) -> float:
        """Of the time."""
        passed = self._passed + (iteration - self._marked) * self._pace
        share = min(1.0, passed / self._seconds) if self._seconds > 0 else 1.0
        return self._before + (1.0 - self._before) * share

    def is_over(self, iteration: int) -> bool:
        """The next iteration would end too late; of a stage that has just begun one is made."""
        return self._before >= 1.0 or (iteration > 0 and self.part(iteration + 1) >= 1.0)

    def mark(self, iteration: int) -> None:
        """Reads the clock."""
        passed = mean_of_processes(monotonic() - self._began, self._device)
        if iteration > self._marked:
            self._pace = (passed - self._passed) / (iteration - self._marked)
        self._passed, self._marked = passed, iteration
