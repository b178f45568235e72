"""How good a generator is on held-out volumes: the evaluation protocol's figures, and pictures to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.enhancer import run_generator
from MedSRLib.errors import MissingPackageError
from MedSRLib.evaluation import metrics
from MedSRLib.evaluation.classical import bspline, bspline_ibp
from MedSRLib.evaluation.metrics import ScoringRule
from MedSRLib.evaluation.picture import draw_comparison
from MedSRLib.evaluation.protocol import acquire_low, crop_to_multiple
from MedSRLib.evaluation.slice_display import SlicePlane, best_axis, choose_window
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.intensity import cast_like
from MedSRLib.volumes.volume import Volume

CLASSICAL = "B-spline + IBP"


def score_generator(
    generator: torch.nn.Module,
    manifest: Manifest,
    volumes: dict[str, Volume],
    device: str,
    *,
    pictures: Path | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Scores a generator, told, on held-out volumes acquired by the nominal A, by the evaluation protocol.

    Args:
        generator: to be scored.
        manifest: of the model it will be.
        volumes: references by name.
        device: where to run it.
        pictures: folder for one comparison picture a volume; None, or no matplotlib: no pictures.
        name: of the pictures.

    Returns:
        Means over the volumes of "psnr" (dB), "gain" (dB over B-spline + back-projection), "ssim", "consistency"
        (RMS of A x - y), "edge_energy" (RMS gradient over the reference's) and "mean_shift" (largest of all
        volumes); consistency and shift as parts of the range; and "volumes", the same for each. The shift is that of
        whole volumes: in a foreground that was cut out of the reference, every blur looks like one.
    """
    acquisition = AcquisitionModel(manifest.factors)
    figures: dict[str, dict[str, float]] = {}
    for title, volume in volumes.items():
        reference = crop_to_multiple(volume, acquisition)
        low = acquire_low(reference, acquisition)
        rule = ScoringRule.of(reference)
        classical = cast_like(bspline_ibp(low.voxels, reference.shape, acquisition), low.voxels.dtype)
        width = acquisition.in_plane_fwhm
        known: dict[str, Any] = {"point_spread": width, **({"noise": 0.0} if "noise" in manifest.conditions else {})}
        enhanced = run_generator(low, manifest, generator, device=device, **known)  # type: ignore[arg-type]
        restored = enhanced.volume.voxels
        achieved = metrics.psnr(reference.voxels, restored, rule)
        figures[title] = {
            "psnr": achieved,
            "gain": achieved - metrics.psnr(reference.voxels, classical, rule),
            "ssim": metrics.ssim(reference.voxels, restored, rule).whole,
            "consistency": metrics.consistency_rmse(restored, low.voxels, acquisition) / rule.range,
            "edge_energy": metrics.sharpness(reference.voxels, restored),
            "mean_shift": metrics.volume_shift(reference.voxels, restored, rule),
        }
        if pictures is not None:
            plain = cast_like(bspline(low.voxels, reference.shape, acquisition), low.voxels.dtype)
            panels = [("B-spline", plain), (CLASSICAL, classical), (manifest.name, restored)]
            file = f"{name}_{title.split('.')[0].replace('/', '_')}.png"
            _draw(reference, panels, best_axis(manifest.factors), pictures / file)
    means = {key: float(np.mean([one[key] for one in figures.values()])) for key in next(iter(figures.values()))}
    means["mean_shift"] = max((one["mean_shift"] for one in figures.values()), key=abs)
    return {**means, "volumes": figures}


def draw_history(history: list[dict[str, Any]], path: Path) -> None:
    """A picture of the loss and of the validation's gain over the iterations; skipped without matplotlib.

    Args:
        history: entries of a stage, as in its history file.
        path: of the PNG.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    loss_axes, gain_axes = figure.subplots(1, 2)
    losses = [(entry["iteration"], entry["loss"]) for entry in history if "loss" in entry]
    gains = [(entry["iteration"], entry["psnr"], entry["gain"]) for entry in history if "psnr" in entry]
    loss_axes.plot(*zip(*losses, strict=True), linewidth=0.8)
    are_positive = all(loss > 0 for _, loss in losses)
    loss_axes.set(xlabel="iteration", ylabel="loss", yscale="log" if are_positive else "linear")
    if gains:
        iterations, levels, improvements = zip(*gains, strict=True)
        gain_axes.plot(iterations, levels, marker="o", label="PSNR")
        for x, level, improvement in zip(iterations, levels, improvements, strict=True):
            gain_axes.annotate(f"{improvement:+.2f}", (x, level), textcoords="offset points", xytext=(0, 6), fontsize=7)
    gain_axes.set(xlabel="iteration", ylabel="PSNR dB on held-out volumes (gain over B-spline + IBP)")
    figure.savefig(path, dpi=110)


def _draw(reference: Volume, panels: list[tuple[str, np.ndarray]], axis: int, path: Path) -> None:
    plane = SlicePlane.of(reference, axis)
    middle = reference.shape[axis] // 2
    titled = [*panels, ("reference", reference.voxels)]
    pictures = [(title, plane.take(voxels, middle)) for title, voxels in titled]
    truth = pictures[-1][1]
    window = choose_window(truth, reference.modality)
    try:
        draw_comparison(
            pictures,
            path,
            window=window,
            zoom=plane.detail(truth, window),
            pixel=plane.pixel,
            letters=plane.letters,
            notes=(window.text,),
        )
    except MissingPackageError:
        return
