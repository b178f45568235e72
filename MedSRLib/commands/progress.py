"""The progress bar of long commands: on stderr, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from MedSRLib.progress import Progress


@contextmanager
def progress_bar(name: str) -> Iterator[Progress]:
    """A bar with the time left; yields ``progress(fraction, message)``. It is gone when the work is done.

    Args:
        name: what is worked on, shown before the bar.
    """
    from tqdm import tqdm

    layout = "{desc} {percentage:3.0f}% |{bar}| {remaining} left"
    with tqdm(total=1.0, desc=name, bar_format=layout, leave=False, disable=None, file=sys.stderr) as bar:

        def report(fraction: float, message: str) -> None:
            bar.set_description_str(f"{name} {message}", refresh=False)
            bar.update(fraction - bar.n)

        yield report
