"""From a configuration to a model folder: finds and reads the volumes, trains, validates, exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MedSRLib.acquisition.interpolation import back_project, interpolate
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.devices import resolve_device
from MedSRLib.enhancement.enhancer import run_generator
from MedSRLib.errors import InputError
from MedSRLib.evaluation.metrics import ScoringRule, psnr
from MedSRLib.evaluation.study import acquire_low, crop_to_multiple
from MedSRLib.models.catalogue import Model, save_model
from MedSRLib.models.manifest import Manifest
from MedSRLib.networks.build import build_generator
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.pairs import TrainingVolume, find_volumes
from MedSRLib.training.trainer import Trainer
from MedSRLib.volumes.files import read_volume
from MedSRLib.volumes.intensity import cast_like
from MedSRLib.volumes.volume import Volume

MODEL_VERSION = "1.0.0"
MODEL_FOLDER = "model"
_CLASSICAL_ITERATIONS = 20


@dataclass(frozen=True)
class TrainingData:
    """The volumes of a run.

    Args:
        train: ready to be sampled.
        validation: held-out volumes by name, cut to the slices that are scored.
        spacing_mm: smallest and largest pixel of the low-resolution training images.
        names: files that were trained on.
    """

    train: list[TrainingVolume]
    validation: dict[str, Volume]
    spacing_mm: tuple[float, float]
    names: list[str]


def read_data(config: TrainingConfig, folder: Path) -> TrainingData:
    """Finds and reads the volumes a configuration names; no volume is in both sets.

    Args:
        config: of the run.
        folder: that the configuration's paths are relative to.

    Raises:
        InputError: a pattern matches nothing, a file cannot be read, or a volume is smaller than a patch.
    """
    held_out = find_volumes(config.data.validation, folder)
    stacks = find_volumes(config.data.stacks, folder)
    paths = [path for path in find_volumes(config.data.train, folder) if path not in held_out]
    side = config.pairs.patch * config.factors[0]
    train, pixels = [], []
    for path in paths:
        volume = read_volume(path)
        if min(volume.shape[1:]) < side:
            raise InputError(
                f"{path.name} has slices of {volume.shape[2]} x {volume.shape[1]} voxels and a patch takes "
                f"{side} x {side}: leave it out or make pairs.patch smaller"
            )
        train.append(TrainingVolume.of(volume, side, is_stack=path in stacks))
        pixels += [size * config.factors[0] for size in volume.spacing[:2]]
    if not train:
        raise InputError("data.validation takes every volume of data.train: leave some to train on")
    validation = {path.name: _central_slices(read_volume(path), config.data.validation_slices) for path in held_out}
    return TrainingData(train, validation, (min(pixels), max(pixels)), [path.name for path in paths])


def train(
    config: TrainingConfig,
    folder: Path,
    *,
    resume: bool = False,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Model:
    """Trains, or goes on training, and exports the model.

    Args:
        config: of the run.
        folder: that the configuration's paths are relative to; the run's own folder is ``output/name`` in it.
        resume: go on from the run's last checkpoint.
        progress: called with a fraction and a message.
        cancelled: asked before every iteration; a cancelled run keeps a checkpoint.

    Returns:
        The model in the run's folder ``model``.

    Raises:
        InputError, UsageError: as ``read_data``, ``Trainer``.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    data = read_data(config, folder)
    run_folder = folder / config.output / config.name
    device = resolve_device(config.run.device)
    manifest = describe_model(config, data)

    def validate(generator: torch.nn.Module) -> dict[str, Any]:
        return score_generator(generator, manifest, data.validation, str(device))

    trainer = Trainer(
        config,
        data.train,
        run_folder,
        device=device,
        validate=validate if data.validation else None,
        resume=resume,
    )
    trainer.run(progress, cancelled)
    scores: dict[str, Any] = next((entry for entry in reversed(trainer.history) if "psnr" in entry), {})
    complete = describe_model(config, data, scores)
    model = save_model(run_folder / MODEL_FOLDER, complete, trainer.averaged.module.state_dict())
    draw_history(trainer.history, run_folder / "history.png")
    return model


def describe_model(config: TrainingConfig, data: TrainingData, scores: dict[str, Any] | None = None) -> Manifest:
    """The manifest of the model that a run makes; its halo is the full receptive radius, so tiling is exact."""
    generator = build_generator(config.architecture, config.generator_arguments())
    return Manifest(
        name=config.name,
        version=MODEL_VERSION,
        task=config.task,
        factors=config.factors,
        spatial_dims=2,
        slices=config.slices,
        predicts="residual",
        architecture=config.architecture,
        arguments=config.generator_arguments(),
        halo=generator.receptive_radius(),
        domain={"modalities": list(config.modalities), "spacing_mm": [round(size, 3) for size in data.spacing_mm]},
        licence=config.licence,
        description=config.description,
        base_iterations=config.base_iterations,
        training={"configuration": config.to_dict(), "volumes": data.names, "held_out": list(data.validation)},
        scores=scores or {},
    )


def score_generator(
    generator: torch.nn.Module, manifest: Manifest, volumes: dict[str, Volume], device: str
) -> dict[str, Any]:
    """PSNR of a generator on held-out volumes acquired by the nominal A, and its gain over B-spline with
    back-projection, by the evaluation protocol.

    Args:
        generator: to be scored.
        manifest: of the model it will be.
        volumes: references by name.
        device: where to run it.
    """
    acquisition = AcquisitionModel(manifest.factors)
    figures = {}
    for name, volume in volumes.items():
        reference = crop_to_multiple(volume, acquisition)
        low = acquire_low(reference, acquisition)
        rule = ScoringRule.of(reference)
        y = low.voxels.astype(np.float32)
        classical = back_project(interpolate(y, reference.shape), y, acquisition, _CLASSICAL_ITERATIONS)
        restored = run_generator(low, manifest, generator, device=device).volume.voxels  # type: ignore[arg-type]
        achieved = psnr(reference.voxels, restored, rule)
        bar = psnr(reference.voxels, cast_like(classical, low.voxels.dtype), rule)
        figures[name] = {"psnr": achieved, "gain": achieved - bar}
    return {
        "psnr": float(np.mean([figure["psnr"] for figure in figures.values()])),
        "gain": float(np.mean([figure["gain"] for figure in figures.values()])),
        "volumes": figures,
    }


def draw_history(history: list[dict[str, Any]], path: Path) -> None:
    """A picture of the loss and of the validation's gain over the iterations; skipped without matplotlib.

    Args:
        history: entries of the run, as in ``history.jsonl``.
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
    loss_axes.set(xlabel="iteration", ylabel="L1 loss (parts of the range)", yscale="log")
    if gains:
        iterations, levels, improvements = zip(*gains, strict=True)
        gain_axes.plot(iterations, levels, marker="o", label="PSNR")
        for x, level, improvement in zip(iterations, levels, improvements, strict=True):
            gain_axes.annotate(f"{improvement:+.2f}", (x, level), textcoords="offset points", xytext=(0, 6), fontsize=7)
    gain_axes.set(xlabel="iteration", ylabel="PSNR dB on held-out volumes (gain over B-spline + IBP)")
    figure.savefig(path, dpi=110)


def _central_slices(volume: Volume, count: int) -> Volume:
    start = max(0, (volume.shape[0] - count) // 2)
    return volume.with_voxels(np.ascontiguousarray(volume.voxels[start : start + count]))
