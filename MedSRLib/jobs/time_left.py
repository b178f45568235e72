"""How long a job will still take, from how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST_SECONDS = 1.0
_WEIGHT = 0.3
"""Of the newest extrapolation: the rest is the last answer counted down, so that the figure does not jump."""


class TimeLeft:
    """The time since the first fraction, extrapolated. Loading before it does not count.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None

    def update(self, fraction: float) -> float | None:
        """Seconds left when ``fraction`` 0..1 is done; None until there is something to judge by."""
        now = self._clock()
        if self._start is None:
            self._start = now, fraction
        elapsed, done = now - self._start[0], fraction - self._start[1]
        if elapsed < _FIRST_SECONDS or done <= 0:
            return None
        left = elapsed * (1 - fraction) / done
        if self._last is not None:
            at, said = self._last
            left = _WEIGHT * left + (1 - _WEIGHT) * max(0.0, said - (now - at))
        self._last = now, left
        return left
