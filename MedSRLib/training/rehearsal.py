"""The dry run: what a run would do, and what it costs, from a few real iterations that leave nothing behind."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from MedSRLib.enhancement.devices import device_label, device_notes, resolve_device
from MedSRLib.networks.build import build_generator
from MedSRLib.networks.vgg import VGGTrunk
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.data import read_data
from MedSRLib.training.distillation import DegridStage, load_teacher
from MedSRLib.training.fidelity_stage import FidelityStage
from MedSRLib.training.gan import GanStage
from MedSRLib.training.losses import PerceptualLoss
from MedSRLib.training.network_rules import NO_TRUNK, needs_trunk, require_fitting_networks
from MedSRLib.training.run import find_start, load_perceptual
from MedSRLib.training.stage import Stage

_ITERATIONS = 3


@dataclass(frozen=True)
class StagePlan:
    """One stage.

    Args:
        name: "fidelity", "gan" or "degrid".
        iterations: of the stage; about as many where the clock decides.
        seconds: an iteration, measured.
    """

    name: str
    iterations: int
    seconds: float

    @property
    def hours(self) -> float:
        """Of the whole stage, validation not counted."""
        return self.iterations * self.seconds / 3600


@dataclass(frozen=True)
class RunPlan:
    """What a run would do.

    Args:
        name: of the model.
        device: for people.
        parameters: of the generator.
        trained_on: files.
        held_out: files.
        stages: with their measured cost.
        memory: largest memory so far in bytes: of the GPU, else of this process; None where it cannot be known.
        warnings: sentences about the data.
    """

    name: str
    device: str
    parameters: int
    trained_on: list[str]
    held_out: list[str]
    stages: list[StagePlan]
    memory: int | None
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """The plan for people."""
        lines = [
            f"model      {self.name}, {self.parameters / 1e6:.2f} M parameters, on {self.device}",
            f"trained on {len(self.trained_on)} volumes: {', '.join(self.trained_on)}",
            f"held out   {len(self.held_out)} volumes: {', '.join(self.held_out) or 'none, it will not be validated'}",
        ]
        for stage in self.stages:
            lines.append(
                f"{stage.name:<10} {stage.iterations} iterations of {stage.seconds:.3f} s: {_duration(stage.hours)}"
            )
        if self.memory is not None:
            lines.append(f"memory     {self.memory / 2**30:.1f} GB")
        lines.append(f"in all     {_duration(sum(stage.hours for stage in self.stages))}, validation not counted")
        return lines


def rehearse(config: TrainingConfig, folder: Path) -> RunPlan:
    """Reads the data, checks everything a run checks, and measures a few iterations of each stage.

    Args:
        config: of the run.
        folder: that the configuration's paths are relative to; nothing is written there.

    Raises:
        InputError, UsageError, ModelError: as ``train``.
    """
    require_fitting_networks(config)
    device = resolve_device(config.run.device)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    warnings: list[str] = []
    perceptual = _perceptual(config, folder, warnings)
    data = read_data(config, folder)
    teacher = load_teacher(config, find_start(config.distil.teacher, folder)) if config.distil.teacher else None
    generator = build_generator(config.architecture, config.generator_arguments())
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    stages = []
    with tempfile.TemporaryDirectory(prefix="medsr-dry-run-") as run:
        if not config.gan.start:
            first = FidelityStage(config, data.train, Path(run), device=device, teacher=teacher)
            later = config.gan.share + (config.degrid.share if config.degrid.iterations else 0.0)
            stages.append(_plan(first, 1.0 - (later if config.gan.iterations else 0.0)))
            del first
        if config.gan.iterations:
            start = generator.state_dict()
            second = GanStage(config, data.train, Path(run), start=start, device=device, perceptual=perceptual)
            stages.append(_plan(second, 1.0 if config.gan.start else config.gan.share))
            del second
        if config.gan.iterations and config.degrid.iterations:
            third = DegridStage(config, data.train, Path(run), start=generator.state_dict(), device=device)
            stages.append(_plan(third, config.degrid.share))
    return RunPlan(
        config.name,
        device_label(device),
        parameters,
        data.names,
        list(data.validation),
        stages,
        _peak_memory(device),
        (*device_notes(config.run.device), *data.warnings, *warnings),
    )


def _perceptual(config: TrainingConfig, folder: Path, warnings: list[str]) -> PerceptualLoss | None:
    """The perceptual loss; where its weights are not named an untrained one, which costs the same, and a warning."""
    settings = config.losses.perceptual
    if settings.weights or not needs_trunk(config):
        return load_perceptual(config, folder)
    warnings.append(f"{NO_TRUNK}; here its time is measured with an untrained one")
    trunk = VGGTrunk(settings.trunk, settings.layers, before_relu=settings.before_relu, convention=settings.convention)
    return PerceptualLoss(trunk, settings.layer_weights, norm=settings.norm, slices=settings.slices)


def _plan(stage: Stage, share: float) -> StagePlan:
    """Of a stage that has a share of the run's minutes, where there are any."""
    seconds, minutes = _measure(stage), stage.config.run.minutes
    iterations = max(1, round(60 * minutes * share / seconds)) if minutes else stage.iterations
    return StagePlan(stage.label, iterations, seconds)


def _measure(stage: Stage) -> float:
    """Seconds an iteration; the first one, which warms caches up, is not counted."""
    times = []
    for _ in range(_ITERATIONS + 1):
        start = time.perf_counter()
        stage.step(stage.draw())
        if stage.device.type == "cuda":
            torch.cuda.synchronize(stage.device)
        times.append(time.perf_counter() - start)
    return sum(times[1:]) / _ITERATIONS


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has no such module
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _duration(hours: float) -> str:
    minutes = math.ceil(60 * hours)
    return f"{minutes} min" if minutes < 120 else f"{hours:.1f} h"
