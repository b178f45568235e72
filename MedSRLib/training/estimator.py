"""Trains the network that reads off a measurement how it was acquired: drawn measurements, whose truth is known."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from MedSRLib.acquisition.batched import KSPACE
from MedSRLib.enhancement.devices import device_label, device_notes, resolve_device
from MedSRLib.errors import EnhancementCancelled, OutputError, TrainingError, UsageError
from MedSRLib.models.estimator import save_estimator
from MedSRLib.networks.acquisition_estimator import SMALLEST_NOISE, AcquisitionEstimator
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.training.checkpoints import load_checkpoint, save_checkpoint
from MedSRLib.training.data import TrainingData, read_data
from MedSRLib.training.estimator_config import EstimatorConfig
from MedSRLib.training.fidelity_stage import learning_rate
from MedSRLib.training.in_plane import InPlaneSampler
from MedSRLib.training.learner import Learner
from MedSRLib.training.randomness import Random
from MedSRLib.training.schedule import ByClock, ByIterations, Schedule
from MedSRLib.training.training_volume import TrainingVolume

MODEL_FOLDER = "model"
_CHECKPOINT, _HISTORY = "checkpoint.pt", "history.jsonl"
_EXPORT = 0.02
"""Part of a run's minutes that is left for scoring and writing."""
_SCORED = 512
"""Measurements of held-out volumes that the estimator is scored on."""
_NOISY = 0.005
"""Noise, in parts of the range, from which on its error is counted: below it there is little to tell."""
_REHEARSED = 3


@dataclass(frozen=True)
class Drawn:
    """Measurements and the truth about them.

    Args:
        y: normalised, [N, 1, h, w].
        kind: as the network takes it, [N, 2].
        width: of the point spread in voxels, [N].
        truncated: in k-space, 0 or 1, [N].
        sigma: of the noise in parts of the range, [N].
    """

    y: Tensor
    kind: Tensor
    width: Tensor
    truncated: Tensor
    sigma: Tensor

    @classmethod
    def by(cls, sampler: InPlaneSampler, count: int) -> Drawn:
        """As many as asked for."""
        true = sampler.measure(count)
        y = true.y[sampler.inside(1)].contiguous()
        return cls(
            y,
            torch.stack([true.kinds.is_ct, true.kinds.truncates], 1).float(),
            true.width,
            (true.profile == KSPACE).float(),
            true.sigma,
        )


def loss_of(answer: Tensor, drawn: Drawn) -> Tensor:
    """Negative log-likelihood of the truth: of the width, of truncation where it may be, and of the noise; a scalar.

    Args:
        answer: of the network, [N, 5].
        drawn: what it was shown.
    """
    width, width_log_variance, odds, noise, noise_log_variance = answer.unbind(1)
    may = drawn.kind[:, 1]
    of_width = _gaussian(width - drawn.width, width_log_variance)
    of_truncation = functional.binary_cross_entropy_with_logits(odds, drawn.truncated, reduction="none")
    of_noise = _gaussian(noise - torch.log(drawn.sigma + SMALLEST_NOISE), noise_log_variance)
    return _mean(of_width, 1 - drawn.truncated) + _mean(of_truncation, may) + of_noise.mean()


def _gaussian(error: Tensor, log_variance: Tensor) -> Tensor:
    return (error**2 * torch.exp(-log_variance) + log_variance) / 2


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum().clamp_min(1)


class EstimatorTraining:
    """The network, its optimiser and its loop.

    Args:
        config: of the run.
        volumes: to learn from.
        device: a torch device.

    Attributes:
        averaged: the network with the moving average of its weights.
        history: what was logged.
    """

    def __init__(self, config: EstimatorConfig, volumes: Sequence[TrainingVolume], device: torch.device) -> None:
        run, optimiser = config.run, config.optimiser
        torch.manual_seed(run.seed)
        mean, variance = config.widths
        network = AcquisitionEstimator(config.features, round(mean, 4), round(variance, 4)).to(device)
        self.config = config
        self.averaged = deepcopy(network).requires_grad_(False)
        self._random = Random(run.seed, device if device.type == "cuda" else "cpu")
        self._device = device
        self._draws = fitting_draws(config, volumes)
        self._samplers = {draw: sampler_of(config, *draw, volumes, self._random) for draw in sorted(set(self._draws))}
        self._learner = Learner(network, device, betas=optimiser.betas, gradient_clip=optimiser.gradient_clip)
        self.iteration = 0
        self.part = 0.0
        self.history: list[dict[str, float]] = []
        self._taken: list[Tensor] = []
        self._read: list[list[float]] = []

    def step(self, part: float) -> None:
        """One change of the weights.

        Args:
            part: what is done of the run, 0 to 1.
        """
        config = self.config
        draw = self._draws[self.iteration % len(self._draws)]
        drawn = _on(Drawn.by(self._samplers[draw], config.batch_of(draw[1])), self._device)
        self._learner.forget_gradients()
        loss = loss_of(self._learner.trained(drawn.y, drawn.kind), drawn)
        self._learner.backward(loss)
        finite = self._learner.step(learning_rate(config.optimiser, part, self.iteration))
        decay = min(config.optimiser.ema, (1 + self.iteration) / (10 + self.iteration))
        own, averaged = (list(network.parameters()) for network in (self._learner.network, self.averaged))
        get_ema_multi_avg_fn(decay)(averaged, own, self.iteration)
        self.iteration += 1
        self._taken.append(torch.stack([loss.detach(), finite.to(loss.dtype)]))

    def run(
        self, folder: Path, schedule: Schedule, progress: Progress | None = None, cancelled: Cancelled | None = None
    ) -> None:
        """Trains to the end of the schedule; a cancelled run keeps its checkpoint.

        Raises:
            EnhancementCancelled: ``cancelled()`` returned true.
            TrainingError: gradients were not finite ``run.skips`` times in a row.
        """
        run = self.config.run
        schedule.begin(self.iteration, self.part)
        while not schedule.is_over(self.iteration):
            if cancelled is not None and cancelled():
                self.save(folder)
                raise EnhancementCancelled(f"stopped at iteration {self.iteration}: continue it with --resume")
            self.step(schedule.part(self.iteration))
            is_over = schedule.is_over(self.iteration)
            if self._device.type != "cuda" or is_over or self.iteration % run.log_every == 0 or self.iteration <= 10:
                self._fetch()  # waits for the device, so that the clock is read when it is done
                schedule.mark(self.iteration)
            self.part = 1.0 if is_over else schedule.part(self.iteration)
            if is_over or self.iteration % run.log_every == 0:
                self._log(folder)
                if progress is not None:
                    progress(self.part, f"estimator: loss {self.history[-1]['loss']:.4f}")
            if is_over or self.iteration % run.checkpoint_every == 0:
                self.save(folder)

    def _fetch(self) -> None:
        if self._taken:
            self._read += torch.stack(self._taken).tolist()
            self._taken = []

    def _log(self, folder: Path) -> None:
        self._fetch()
        losses, finite = torch.tensor(self._read).unbind(1)
        self._read = []
        kept = losses[finite > 0]
        if len(finite) >= self.config.run.skips and not len(kept):
            raise TrainingError(
                f"no gradient was finite in {len(finite)} iterations before iteration {self.iteration}: lower "
                f"optimiser.learning_rate and continue with --resume"
            )
        entry = {"iteration": self.iteration, "loss": float(kept.mean()), "time": time.time()}
        self.history.append(entry)
        with (folder / _HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def save(self, folder: Path) -> None:
        """Writes the checkpoint, in one step.

        Raises:
            OutputError: it cannot be written.
        """
        self._fetch()
        state = {
            "iteration": self.iteration,
            "part": self.part,
            "network": self._learner.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "learner": self._learner.state(),
            "random": self._random.state(),
            "history": self.history,
            "read": self._read,
        }
        save_checkpoint(state, folder / _CHECKPOINT, self.config.run.checkpoint_size)

    def load(self, folder: Path) -> None:
        """Goes back to the checkpoint; the same weights and numbers follow as if nothing had stopped the run."""
        state = load_checkpoint(folder / _CHECKPOINT, self._device)
        self.iteration, self.part = state["iteration"], state["part"]
        self._learner.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self._learner.restore(state["learner"])
        self._random.restore(state["random"])
        self.history, self._read = state["history"], state["read"]
        lines = (json.dumps(entry) + "\n" for entry in self.history)
        (folder / _HISTORY).write_text("".join(lines), encoding="utf-8")


def _holds(volume: TrainingVolume, factor: int, patch: int) -> bool:
    return InPlaneSampler.largest_patch(volume) >= patch * factor


def fitting_draws(config: EstimatorConfig, volumes: Sequence[TrainingVolume]) -> list[tuple[int, int]]:
    """The configuration's factors and patches without those that no volume holds."""
    return [draw for draw in config.draws if any(_holds(volume, *draw) for volume in volumes)]


def sampler_of(
    config: EstimatorConfig, factor: int, patch: int, volumes: Sequence[TrainingVolume], random: Random
) -> InPlaneSampler:
    """Draws measurements of one factor and side, of the volumes that hold such a patch."""
    fitting = [volume for volume in volumes if _holds(volume, factor, patch)]
    return InPlaneSampler(fitting, config.pairs_of(factor, patch), random)


def _warnings(config: EstimatorConfig, data: TrainingData) -> list[str]:
    """What is said of the device and the data before a run."""
    missing = sorted(set(config.draws) - set(fitting_draws(config, data.train)))
    return [
        *device_notes(config.run.device),
        *data.warnings,
        *(
            f"factor {factor} with patches of {patch} is left out: no volume has slices of {patch * factor} voxels"
            for factor, patch in missing
        ),
    ]


def train_estimator(
    config: EstimatorConfig,
    folder: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    warn: Callable[[str], None] | None = None,
) -> Path:
    """Trains, or goes on training, and writes the estimator's folder.

    Args:
        config: of the run.
        folder: that the configuration's paths are relative to; the run's own folder is ``output/name`` in the current
            folder.
        resume, progress, cancelled, warn: as for ``run.train``.

    Returns:
        The folder ``model`` in the run's, which ``load_estimator`` reads.

    Raises:
        InputError, UsageError: the configuration names data that do not fit.
        OutputError: the run's folder cannot be written to.
        TrainingError: values were not finite for too long.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    began = time.monotonic()
    device = resolve_device(config.run.device)
    run_folder = Path.cwd() / config.output / config.name
    begun = (run_folder / _CHECKPOINT).exists()
    if begun and not resume:
        raise UsageError(f"{run_folder} holds a run already: continue it with --resume or choose another name")
    data = _read(config, folder, cancelled)
    if warn is not None:
        for sentence in _warnings(config, data):
            warn(sentence)
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{run_folder} cannot be made ({error.strerror}): choose another --output") from error
    training = EstimatorTraining(config, data.train, device)
    if begun:
        training.load(run_folder)
    schedule: Schedule = ByIterations(config.optimiser.iterations)
    if config.run.minutes:
        schedule = ByClock(began + 60 * config.run.minutes * (1 - _EXPORT), device)
        if schedule.seconds_left <= 0:
            raise UsageError(f"--minutes {config.run.minutes:g} leaves no time to train: give more")
    training.run(run_folder, schedule, progress, cancelled)
    held_out = [TrainingVolume.of(volume, min(config.patches)) for volume in data.validation.values()]
    manifest = {
        "name": config.name,
        "version": config.version,
        "description": config.description,
        "licence": config.licence,
        "training": {
            "configuration": config.record(),
            "iterations": training.iteration,
            "volumes": data.names,
            "held_out": list(data.validation),
        },
        "scores": score(training.averaged.cpu(), config, held_out),
    }
    return save_estimator(run_folder / MODEL_FOLDER, training.averaged.cpu(), manifest)


def score(network: AcquisitionEstimator, config: EstimatorConfig, volumes: Sequence[TrainingVolume]) -> dict[str, Any]:
    """Errors on measurements of held-out volumes; nothing where there are none.

    Args:
        network: on the CPU.
        config: of its training.
        volumes: that it was not trained on.
    """
    if not volumes:
        return {}
    drawn = Drawn.by(sampler_of(config, *min(config.draws), volumes, Random(config.run.seed)), _SCORED)
    with torch.inference_mode():
        answer = network.eval()(drawn.y, drawn.kind).numpy()
    width, truncated, sigma = (one.numpy() for one in (drawn.width, drawn.truncated > 0, drawn.sigma))
    noisy, may = sigma >= _NOISY, drawn.kind[:, 1].numpy() > 0
    found = np.exp(answer[:, 3]) - SMALLEST_NOISE
    errors = {
        "width_error": np.abs(answer[:, 0] - width)[~truncated],
        "noise_error": (np.abs(found - sigma) / np.maximum(sigma, _NOISY))[noisy],
        "truncation_known": ((answer[:, 2] > 0) == truncated)[may],
    }
    figures = {name: float(np.median(one)) for name, one in errors.items() if len(one) and one.dtype != bool}
    if may.any():
        figures["truncation_known"] = float(errors["truncation_known"].mean())
    return figures


def rehearse_estimator(config: EstimatorConfig, folder: Path) -> list[str]:
    """The dry run: what a run would do and cost, for people; nothing is written.

    Raises:
        InputError, UsageError: as ``train_estimator``.
    """
    device = resolve_device(config.run.device)
    data = _read(config, folder, None)
    training = EstimatorTraining(config, data.train, device)
    training.step(0.0)
    start = time.perf_counter()
    for _ in range(_REHEARSED):
        training.step(0.0)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = (time.perf_counter() - start) / _REHEARSED
    minutes = config.run.minutes or config.optimiser.iterations * seconds / 60
    iterations = round(60 * minutes / seconds) if config.run.minutes else config.optimiser.iterations
    parameters = sum(parameter.numel() for parameter in training.averaged.parameters())
    return [
        *(f"warning    {sentence}" for sentence in _warnings(config, data)),
        f"estimator  {config.name}, {parameters / 1e6:.2f} M parameters, on {device_label(device)}",
        f"trained on {len(data.names)} volumes: {', '.join(data.names)}",
        f"held out   {len(data.validation)} volumes: {', '.join(data.validation) or 'none, it will not be scored'}",
        f"in all     {iterations} iterations of {seconds:.3f} s: {minutes:.0f} min",
    ]


def _read(config: EstimatorConfig, folder: Path, cancelled: Cancelled | None) -> TrainingData:
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    return read_data(config.pairs_of(*min(config.draws)), folder, cancelled, patch_key="patches")


def _on(drawn: Drawn, device: torch.device) -> Drawn:
    if drawn.y.device == device:
        return drawn
    return Drawn(*(getattr(drawn, name).to(device) for name in ("y", "kind", "width", "truncated", "sigma")))
