"""How far a piece of work is, and whether it is still wanted: told and asked by everything that takes a while."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the fraction done, 0..1, and what is done now."""
Cancelled = Callable[[], bool]
"""Asked often; true gives the work up."""


def part_of(progress: Progress | None, index: int, count: int, name: str = "") -> Progress:
    """Progress of one part of several as progress of the whole.

    Args:
        progress: told of the whole; None for nobody.
        index: of the part, from 0.
        count: of the parts, which count alike.
        name: put before the part's own messages; "" for nothing.
    """
    return share_of(progress, index / count, 1 / count, name)


def share_of(progress: Progress | None, before: float, share: float, name: str = "") -> Progress:
    """Progress of one part, of any share, as progress of the whole.

    Args:
        progress: told of the whole; None for nobody.
        before: fraction of the whole that was done before the part.
        share: of the whole that the part is.
        name: put before the part's own messages; "" for nothing.
    """

    def report(fraction: float, message: str) -> None:
        if progress is not None:
            progress(before + fraction * share, ": ".join(text for text in (name, message) if text))

    return report
