"""One enhancement as it is captured when the user clicks, and who is told how it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from MedSRLib.enhancement.request import USUAL, Input, Options

if TYPE_CHECKING:
    from MedSRLib.enhancement.result import Enhanced


@dataclass(frozen=True)
class Job:
    """Everything that ``enhance_all`` needs, captured when the user clicks.

    Args:
        inputs: one volume, or the frames of a sequence.
        model: name in the catalogue, model folder, or "auto".
        options: for all inputs.
    """

    inputs: tuple[Input, ...]
    model: str | Path = "auto"
    options: Options = USUAL


@dataclass(frozen=True)
class Callbacks:
    """What the caller of a job is told; exactly one of the last three ends it, and the runner is idle by then.

    Args:
        on_progress: fraction 0..1, message, seconds left or None.
        on_done: one result an input, as ``enhance_all`` gives them. Their voxels are read-only and lie in files that
            are removed when the callback returns: copy what is to stay.
        on_error: one sentence that says what to do, and the end of the worker's log.
        on_cancelled: nothing was made.
    """

    on_progress: Callable[[float, str, float | None], None]
    on_done: Callable[[list[Enhanced]], None]
    on_error: Callable[[str, str], None]
    on_cancelled: Callable[[], None]
