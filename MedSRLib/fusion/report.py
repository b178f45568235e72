"""What a fusion reports: where the series lay, how well the result agrees with each, what was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from MedSRLib import __version__
from MedSRLib.enhancement.result import NOTICE
from MedSRLib.fusion.coverage import coverage_figures
from MedSRLib.fusion.generator import Believed
from MedSRLib.fusion.grid import FusionPlan
from MedSRLib.fusion.prepare import Source
from MedSRLib.fusion.rigid import mean_motion, motion_between, rigid_parameters
from MedSRLib.fusion.solver import JointOperator
from MedSRLib.volumes.mark import Mark

if TYPE_CHECKING:
    from MedSRLib.volumes.source import Source as SourceFiles

_NAMED_SLICES = 8


def fusion_report(
    sources: Sequence[Source],
    plan: FusionPlan,
    x: torch.Tensor,
    joint: JointOperator,
    weights: Sequence[torch.Tensor],
    coverage: np.ndarray,
    *,
    believed: Believed | None,
    warnings: Sequence[str],
    **given: Any,
) -> dict[str, Any]:
    """Plain values that ``json`` can write.

    Args:
        sources: as the fusion left them.
        plan: the grid.
        x: the result as it is written, in grey levels of the sources.
        joint: the operators on the grid.
        weights: of the measurements; voxels of weight 0 are not compared.
        coverage: number of series for each voxel.
        believed: what the generator said; None where there was none.
        warnings: sentences for the user.
        given: what the caller knows, taken over as it is.
    """
    series = []
    outliers = []
    for source, simulated, weight in zip(sources, joint.apply(x), weights, strict=True):
        entry = _describe(source, sources[0], simulated, weight)
        series.append(entry)
        if entry["outlier_slices"]:
            listed = ", ".join(map(str, entry["outlier_slices"][:_NAMED_SLICES]))
            more = " and others" if len(entry["outlier_slices"]) > _NAMED_SLICES else ""
            outliers.append(f"slices of {source.name} that fit nothing count less: {listed}{more}")
    figures = coverage_figures(coverage)
    first = sources[0].series.volume
    warnings = [*warnings, *outliers]
    alone = figures["percent"].get("1", 0.0)
    if alone > 0:
        warnings.append(f"{alone:.0f} % of the result rest on one series alone")
    model = None
    if believed is not None and believed.report is not None:
        model = asdict(believed.report.model)
        warnings += believed.report.warnings
    return {
        "notice": NOTICE,
        "version": __version__,
        "series": series,
        "lr_consistency_percent": max(entry["consistency_percent"] for entry in series),
        "shape": list(reversed(plan.shape)),
        "spacing_mm": list(plan.spacing),
        "factors": [n / m for n, m in zip(reversed(plan.shape), reversed(first.shape), strict=True)],
        "coverage": figures,
        "model": model,
        "intensity_range": sources[0].gain,
        "memory_bytes": plan.memory,
        **given,
        "warnings": warnings,
        "notes": [] if believed is None or believed.report is None else list(believed.report.notes),
    }


def with_inputs(
    report: Mapping[str, Any],
    inputs: Sequence[object],
    sources: Sequence[SourceFiles],
    described: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The report of ``fuse`` with what only who read the series' files knows.

    Args:
        report: from ``fuse``.
        inputs: what each series is called by.
        sources: their files.
        described: what ``Source.described`` said of each before the fusion.
    """
    entries = [
        {**entry, "input": str(name), "input_sha256": known["input_sha256"]}
        for entry, name, known in zip(report["series"], inputs, described, strict=True)
    ]
    warnings = [*dict.fromkeys(s for source in sources for s in source.warnings()), *report["warnings"]]
    return {"time": described[0]["time"], **report, "series": entries, "warnings": warnings}


def mark_of(report: Mapping[str, Any]) -> Mark:
    """What the file of a fusion says about itself; without a generator the fusion alone is named.

    Args:
        report: from ``with_inputs``.
    """
    model = report["model"] or {"name": "fusion", "version": report["version"], "sha256": {}}
    hashes = " ".join(entry["input_sha256"] for entry in report["series"])
    return Mark.of({**report, "model": model, "input_sha256": hashes})


def _describe(source: Source, first: Source, simulated: torch.Tensor, weight: torch.Tensor) -> dict[str, Any]:
    volume, motion = source.series.volume, source.series.motion
    centre = (volume.affine @ [*[(n - 1) / 2 for n in reversed(volume.shape)], 1.0])[:3]
    mean = mean_motion(motion)
    parameters = rigid_parameters(mean, centre)
    counted = weight > 0
    measured = torch.from_numpy(volume.voxels).to(simulated.device)
    squares = ((measured - simulated)[counted] ** 2).double()
    misfit = float(squares.mean().sqrt()) if squares.numel() else 0.0
    entry: dict[str, Any] = {
        "name": source.name,
        "shape": list(reversed(volume.shape)),
        "spacing_mm": list(volume.spacing),
        "slice_thickness_mm": source.series.thickness,
        "gain": source.gain / first.gain,
        "offset": source.offset - source.gain / first.gain * first.offset,
        "motion": {
            "rotation_deg": parameters[:3].tolist(),
            "translation_mm": parameters[3:].tolist(),
            "turn_deg": float(np.linalg.norm(parameters[:3])),
            "shift_mm": float(np.linalg.norm(parameters[3:])),
        },
        "correlation": source.fit.correlation,
        "noise_percent": 100 * source.noise,
        "consistency_rmse": misfit * source.gain,
        "consistency_percent": 100 * misfit,
        "outlier_slices": np.flatnonzero(source.slice_weights < 1).tolist(),
    }
    if motion.ndim == 3:
        between = [motion_between(mean, one, centre) for one in motion]
        entry["slice_motion"] = {
            "turn_deg": [round(turn, 3) for turn, _ in between],
            "shift_mm": [round(shift, 3) for _, shift in between],
        }
    return entry
