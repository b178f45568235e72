"""One enhancement as it is captured when the user clicks, and who is told how it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.errors import UsageError
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.enhancer import Enhanced

OPTIONS = ("device", "precision", "fidelity", "consistency", "uncertainty", "roi", "psf_fwhm", "factor", "force")
"""Keyword arguments of ``enhance`` that a job may set."""


@dataclass(frozen=True)
class Job:
    """Everything one enhancement needs, captured when the user clicks.

    Args:
        volume: the input.
        model: name in the catalogue, model folder, or "auto".
        options: of ``OPTIONS``.

    Raises:
        UsageError: an option is unknown.
    """

    volume: Volume
    model: str | Path = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.options) - set(OPTIONS))
        if unknown:
            raise UsageError(f"unknown option {', '.join(unknown)}: choose from {', '.join(OPTIONS)}")


@dataclass(frozen=True)
class Callbacks:
    """What the caller of a job is told; exactly one of the last three ends it, and the runner is idle by then.

    Args:
        on_progress: fraction 0..1, message, seconds left or None.
        on_done: the result, as ``enhance`` returns it. Its voxels are read-only and lie in a file that is removed
            when the callback returns: copy what is to stay.
        on_error: one sentence that says what to do, and the end of the worker's log.
        on_cancelled: nothing was made.
    """

    on_progress: Callable[[float, str, float | None], None]
    on_done: Callable[[Enhanced], None]
    on_error: Callable[[str, str], None]
    on_cancelled: Callable[[], None]
