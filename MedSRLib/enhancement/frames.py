"""The results of a 4D image's frames as one result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from MedSRLib.enhancement.result import Enhanced, FidelityReport
from MedSRLib.volumes.sequence import VolumeSequence

_WORST = (
    "lr_consistency_rmse",
    "lr_consistency_percent",
    "mean_shift",
    "mean_shift_percent",
    "uncertain_share_percent",
    "residual_in_noise",
    "missing_detail",
)
_SUMMED = ("seconds", "tiles", "tiles_skipped")
_JOINED = ("warnings", "notes")


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
    report: FidelityReport
    uncertainty: VolumeSequence | None


def join_frames(sequence: VolumeSequence, results: Iterable[Enhanced]) -> EnhancedSequence:
    """One result of all frames.

    Args:
        sequence: the input.
        results: of its volumes, in order, as ``enhance_all`` gives them.
    """
    made = list(results)
    spreads = tuple(one.uncertainty for one in made if one.uncertainty is not None)
    return EnhancedSequence(
        replace(sequence, volumes=tuple(one.volume for one in made)),
        join_reports([one.report for one in made], sequence.names),
        replace(sequence, volumes=spreads) if spreads else None,
    )


def join_reports(reports: Sequence[FidelityReport], names: Sequence[str]) -> FidelityReport:
    """One report of all frames, as ``EnhancedSequence`` holds it.

    Args:
        reports: one a frame, in order.
        names: of the frames.
    """
    if len(reports) == 1:
        return reports[0]
    each = [report.to_json() for report in reports]
    figures = (*_WORST, "edge_sharpness_gain", "added_detail_rms", "intensity_range")
    whole: dict[str, Any] = {}
    for name in _WORST:
        if known := [one[name] for one in each if one.get(name) is not None]:
            whole[name] = max(known, key=abs)
    whole.update((name, sum(one[name] for one in each)) for name in _SUMMED)
    whole.update((name, tuple(dict.fromkeys(text for one in each for text in one[name]))) for name in _JOINED)
    whole["frames"] = tuple(
        {"name": name, **{figure: one[figure] for figure in figures if one.get(figure) is not None}}
        for name, one in zip(names, each, strict=True)
    )
    return replace(reports[0], **whole)
