"""How far a long command is, on stderr: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from MedSRLib.jobs.time_left import TimeLeft
from MedSRLib.progress import Progress

_QUIET_SECONDS = 10.0
"""Between lines of a log, and before the first, so that short jobs say nothing."""
_QUIET_SHARE = 0.05
"""Of the time taken so far: lines of a job of hours come further apart."""


@contextmanager
def progress_bar(name: str) -> Iterator[Progress]:
    """Yields ``progress(fraction, message)``, shown with the time left.

    The bar of a terminal is gone when the work is done; a line of a log stays.

    Args:
        name: what is worked on, shown before the message.
    """
    if not sys.stderr.isatty():
        yield log_lines(name)
        return
    from tqdm import tqdm

    layout = "{desc} {percentage:3.0f}% |{bar}| {remaining} left"
    with tqdm(total=1.0, desc=name, bar_format=layout, leave=False, file=sys.stderr) as bar:
        shown = ""

        def report(fraction: float, message: str) -> None:
            nonlocal shown
            # Another piece of work is shown at once: it may take long before the fraction moves.
            bar.set_description_str(f"{name} {message}", refresh=message != shown)
            shown = message
            bar.update(fraction - bar.n)

        yield report


def log_lines(name: str, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Progress as lines on stderr, at least ten seconds apart.

    Args:
        name: what is worked on.
        clock: seconds that never go back.
    """
    started = said = clock()
    time_left = TimeLeft(clock)

    def report(fraction: float, message: str) -> None:
        nonlocal said
        now, left = clock(), time_left.update(fraction)
        if now - said < max(_QUIET_SECONDS, _QUIET_SHARE * (now - started)):
            return
        said = now
        ending = "" if left is None else f", about {_duration(left)} left"
        print(f"{name}: {message}, {fraction:.0%}{ending}", file=sys.stderr, flush=True)

    return report


def _duration(seconds: float) -> str:
    from tqdm import tqdm

    return str(tqdm.format_interval(round(seconds)))
