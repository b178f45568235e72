"""The rows of a study: one score a method and volume, and their means, ready for tables and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from MedSRLib.evaluation.metrics import ScoringRule, ssim_step

_AVERAGED = (
    "psnr",
    "ssim",
    "ssim_foreground",
    "nrmse",
    "hfen",
    "edge_energy",
    "consistency_share",
    "mean_shift_share",
    "volume_shift_share",
    "seconds",
)


@dataclass(frozen=True)
class Score:
    """One method or model on one volume, or the mean over volumes.

    Args:
        name: of the classical method or model.
        psnr: dB over the foreground.
        ssim: mean over whole slices.
        ssim_foreground: mean over the foreground pixels.
        nrmse: RMS error over the foreground, parts of the range.
        hfen: high-frequency error norm, 0 is perfect.
        edge_energy: RMS gradient over the reference's: below 1 blurred, above 1 too sharp.
        consistency: RMS of A x - y, in the volume's units; None in a mean, whose volumes have different units.
        consistency_share: the same in parts of the range.
        mean_shift: mean error over the foreground, in the volume's units; None in a mean.
        mean_shift_share: the same in parts of the range.
        volume_shift_share: mean error over the whole volume in parts of the range: in a foreground that was cut out
            of the reference every blur looks like a shift.
        seconds: wall time of the restoration.
        model_sha256: of each set of a model's weights that was used; None for a classical method.
    """

    name: str
    psnr: float
    ssim: float
    ssim_foreground: float
    nrmse: float
    hfen: float
    edge_energy: float
    consistency: float | None
    consistency_share: float
    mean_shift: float | None
    mean_shift_share: float
    volume_shift_share: float
    seconds: float
    model_sha256: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON holds them: an infinite PSNR (no error at all) becomes null."""
        return {key: None if value in (math.inf, -math.inf) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class VolumeScores:
    """Every score on one volume and what they were computed with.

    Args:
        rule: range and foreground.
        factors: low-resolution over high-resolution spacing along i, j, k, as sampled.
        shape: of the cropped reference, [k, j, i].
        low_shape: of the measurement, [k, j, i].
        scores: one a method or model, in the order asked for.
    """

    rule: ScoringRule
    factors: tuple[float, float, float]
    shape: tuple[int, int, int]
    low_shape: tuple[int, int, int]
    scores: list[Score]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "range": self.rule.range,
            "foreground_above": self.rule.threshold,
            "rule": self.rule.describe(),
            "modality": self.rule.modality,
            "ssim_step": ssim_step(self.shape[0]),
            "factors": list(self.factors),
            "shape": list(self.shape),
            "low_shape": list(self.low_shape),
            "scores": [score.to_json() for score in self.scores],
        }


def mean_scores(volumes: Sequence[VolumeScores]) -> list[Score]:
    """The mean over volumes, one row a method or model.

    Args:
        volumes: studies with the same methods in the same order; none gives no rows.
    """
    return [_mean(rows) for rows in zip(*(volume.scores for volume in volumes), strict=True)]


def _mean(rows: Sequence[Score]) -> Score:
    means: dict[str, Any] = {field: float(np.mean([getattr(row, field) for row in rows])) for field in _AVERAGED}
    return replace(rows[0], consistency=None, mean_shift=None, **means)
