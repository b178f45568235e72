"""A fidelity report of nothing, for the tests of those who hand reports on."""

from __future__ import annotations

from typing import Any

from MedSRLib.enhancement.request import USUAL
from MedSRLib.enhancement.result import FidelityReport, UsedModel


def report_of(factors: tuple[float, float, float] = (2, 2, 1), **changes: Any) -> FidelityReport:
    """A whole report, of which a test says what it looks at."""
    return FidelityReport(
        **{
            "model": UsedModel("tiny", "1", {"fidelity": "a" * 64}),
            "options": USUAL,
            "factors": factors,
            "point_spread": 0.85,
            "point_spread_source": "estimated",
            "point_spread_deviation": 0.06,
            "slice_thickness": 1.0,
            "slice_thickness_source": "header",
            "noise": 0.8,
            "noise_source": "estimated",
            "noise_deviation": 0.1,
            "residual_in_noise": 0.9,
            "missing_detail": 0.02,
            "residual_correlation": 0.05,
            "modality": "MR",
            "roi": None,
            "consistency": True,
            "intensity_range": 100.0,
            "lr_consistency_rmse": 1.5,
            "lr_consistency_percent": 1.5,
            "mean_shift": 0.5,
            "mean_shift_percent": 0.5,
            "edge_sharpness_gain": 1.5,
            "added_detail_rms": 1.5,
            "warnings": (),
            "notes": (),
            "device": "CPU",
            "precision": "float32",
            "tiles": 1,
            "tiles_skipped": 0,
            "seconds": 1.5,
            "notice": 'not for "primary" diagnosis; 100 % <sure>',
            "version": "0.1.0",
            **changes,
        }
    )
