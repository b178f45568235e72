"""Every frame of a 4D image, one after another, told about as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from MedSRLib.acquisition.operator import PointSpread
from MedSRLib.enhancement.report import estimated_point_spread
from MedSRLib.volumes.sequence import VolumeSequence
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.enhancer import Enhanced, Progress

_WORST = (
    "lr_consistency_rmse",
    "lr_consistency_percent",
    "mean_shift",
    "mean_shift_percent",
    "uncertain_share_percent",
)
_SUMMED = ("seconds", "tiles", "tiles_skipped")
_JOINED = ("warnings", "notes")

EnhanceOne = Callable[[Volume, PointSpread | None, "Progress | None"], "Enhanced"]


@dataclass(frozen=True)
class EnhancedSequence:
    """What ``enhance`` returns, of every frame.

    Args:
        sequence: the sharper frames.
        report: the first frame's fidelity report, with the worst figure of all frames, the sums of their seconds and
            tiles, and, where there are several, ``frames``: the figures of each.
        uncertainty: of every frame; None unless asked for.
    """

    sequence: VolumeSequence
    report: dict[str, Any]
    uncertainty: VolumeSequence | None


def enhance_frames(
    sequence: VolumeSequence, enhance_one: EnhanceOne, *, progress: Progress | None = None
) -> EnhancedSequence:
    """Enhances the frames in order.

    One scanner measured them all, so that the others are told the first one's point spread where it was estimated: an
    estimate of each would make them flicker.

    Args:
        sequence: frames of one kind.
        enhance_one: ``enhance`` with its options; gets a frame, the point spread to take where one was estimated, and
            what to tell of progress.
        progress: called with the fraction of all frames.
    """
    count = len(sequence)
    results: list[Enhanced] = []
    spread: PointSpread | None = None
    for number, volume in enumerate(sequence.volumes):
        told = None if progress is None else _told(progress, number, count)
        results.append(enhance_one(volume, spread, told))
        spread = spread or estimated_point_spread(results[0].report)
    spreads = [one.uncertainty for one in results if one.uncertainty is not None]
    return EnhancedSequence(
        replace(sequence, volumes=tuple(one.volume for one in results)),
        _joined([one.report for one in results], sequence.names),
        replace(sequence, volumes=tuple(spreads)) if spreads else None,
    )


def _told(progress: Progress, number: int, count: int) -> Progress:
    """Progress of one frame as progress of all."""
    if count == 1:
        return progress
    return lambda fraction, message: progress((number + fraction) / count, f"frame {number + 1} of {count}: {message}")


def _joined(reports: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """One report of all frames."""
    whole = dict(reports[0])
    if len(reports) == 1:
        return whole
    for name in _WORST:
        if name in whole:
            whole[name] = max((report[name] for report in reports), key=abs)
    for name in _SUMMED:
        whole[name] = sum(report[name] for report in reports)
    for name in _JOINED:
        whole[name] = list(dict.fromkeys(sentence for report in reports for sentence in report[name]))
    figures = (*_WORST, "edge_sharpness_gain", "added_detail_rms", "intensity_range")
    whole["frames"] = [
        {"name": name, **{figure: report[figure] for figure in figures if figure in report}}
        for name, report in zip(names, reports, strict=True)
    ]
    return whole
