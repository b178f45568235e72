"""Learning from a generator's images: from a larger model's, and from one's own without the grid that is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from MedSRLib.acquisition.batched import along_axes, gaussian_matrices
from MedSRLib.errors import UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.fidelity_stage import cosine
from MedSRLib.training.gan import for_detail
from MedSRLib.training.learner import Learner, mixed_precision
from MedSRLib.training.pairs import PairBatch
from MedSRLib.training.schedule import Schedule
from MedSRLib.training.stage import Stage, Step, Validate, filled_with
from MedSRLib.training.training_volume import TrainingVolume

_SMOOTH = 8.0
"""Full width at half maximum, in voxels of the input, of the smoothed images that a grid is seen best in."""
_BINS = 1.5
"""Half width, in steps of a patch's frequencies, of what counts as a grid's frequency."""
_GAIN = 1000.0
"""Brings the squared error to the size of a usual loss; gradients are clipped."""
_CLIP = 0.5


def load_teacher(config: TrainingConfig, model: Model) -> nn.Module:
    """The generator that the fidelity stage learns from, with its fidelity weights.

    Args:
        config: of the run.
        model: of ``distil.teacher``.

    Raises:
        UsageError: it is fed something else than the configuration's generator, or its output means something else.
        ModelError: its weights are damaged.
    """
    theirs = model.manifest
    ours: dict[str, Any] = {
        "task": config.task,
        "factors": config.factors,
        "slices": config.slices,
        "conditions": config.conditions,
        "base_iterations": config.base_iterations,
        "predicts": "residual",
    }
    for name, value in ours.items():
        if getattr(theirs, name) != value:
            raise UsageError(
                f"distil.teacher {theirs.name} has {name} {getattr(theirs, name)!r} and the configuration {value!r}: "
                "take a teacher that is fed the same"
            )
    return model.load_generator().requires_grad_(False)


def grid_periods(generator: nn.Module) -> list[int]:
    """Periods, in voxels of the result, of the grid that a generator may draw along each axis, in tensor order."""
    factors: Sequence[int] = getattr(generator, "factors", ())
    unshuffle: Sequence[int] = getattr(generator, "unshuffle", (1,) * len(factors))
    return [factor * block for factor, block in zip(factors, unshuffle, strict=True)]


def grid_part(x: Tensor, periods: Sequence[int]) -> Tensor:
    """What of images lies at the frequencies of a grid: multiples of 1 / period along any axis, but not 0.

    Args:
        x: [N, C, (D,) H, W].
        periods: of each spatial axis, in voxels.
    """
    axes = list(range(-len(periods), 0))
    kept = torch.ones((), device=x.device)
    for axis, period in zip(axes, periods, strict=True):
        n = x.shape[axis]
        frequency = torch.fft.fftfreq(n, device=x.device).abs()
        grid = torch.arange(1, period // 2 + 1, device=x.device) / period
        away = ((frequency[:, None] - grid).abs() > _BINS / n).all(1)
        kept = kept * away.float().view(-1, *(1,) * (-axis - 1))
    return torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * (1.0 - kept), dim=axes).real


class DegridStage(Stage):
    """Takes the grid out of the perceptual weights.

    Args:
        config: of the run, with a ``degrid`` table.
        volumes: to learn from.
        folder: of the run; made when missing.
        start: the perceptual weights, a state dict of the generator.
        device: a torch device.
        validate: None: no validation.
        schedule: None: ``degrid.iterations``.
        resume: go on from the last checkpoint, if there is one.

    Raises:
        UsageError: the folder holds such a stage already.
    """

    checkpoint = "degrid_checkpoint.pt"
    history_file = "degrid_history.jsonl"
    label = "degrid"

    def __init__(
        self,
        config: TrainingConfig,
        volumes: Sequence[TrainingVolume],
        folder: Path,
        *,
        start: Mapping[str, Tensor],
        device: torch.device,
        validate: Validate | None = None,
        schedule: Schedule | None = None,
        resume: bool = False,
    ) -> None:
        config = for_detail(config)

        super().__init__(
            config,
            volumes,
            folder,
            begin=filled_with(start),
            device=device,
            seed=config.run.seed + 2,
            ema=0.99,
            validate=validate,
            schedule=schedule,
        )
        self._learner = Learner(self.generator, device, betas=config.optimiser.betas, gradient_clip=_CLIP)
        self._teacher = deepcopy(self.generator).requires_grad_(False)
        self._periods = grid_periods(self.generator)
        self._open(resume=resume)

    @property
    def iterations(self) -> int:
        """Of the whole stage, where they are not decided by the clock."""
        return self.config.degrid.iterations

    @property
    def batch(self) -> int:
        """Pairs that each process draws for a step."""
        return self.config.degrid.batch or super().batch

    @property
    def learner(self) -> Learner:
        """That trains the generator."""
        return self._learner

    def step(self, batch: PairBatch) -> Step:
        """One change of the weights."""
        low, settings = self._with_smooth(batch.low), self.config.degrid
        self._learner.forget_gradients()
        with mixed_precision(self.device):
            with torch.no_grad():
                taught = self._teacher(low).float()
            drawn = self._learner.trained(low).float()
        wanted = taught - grid_part(taught, self._periods)
        error = drawn - wanted
        terms = {
            "pixel": _GAIN * error[self.scored()].square().mean(),
            "grid": _GAIN * settings.weight * grid_part(error, self._periods).square().mean(),
        }
        loss = torch.stack(list(terms.values())).sum()
        self._learner.backward(loss)
        finite = self._learner.step(settings.learning_rate * cosine(self.schedule.part(self.iteration)))
        self._average()
        return Step({"loss": loss, **terms}, finite)

    def _with_smooth(self, low: Tensor) -> Tensor:
        """The input, and after it the same smoothed; what is told of it stays."""
        images, told = low[:, : self.config.slices], low[:, self.config.slices :]
        width = torch.full((len(low),), _SMOOTH, device=low.device)
        for axis in range(2 - low.ndim, 0):
            images = along_axes(gaussian_matrices(low.shape[axis], width), images, (axis,))
        return torch.cat([low, torch.cat([images, told], 1)])

    def _state(self) -> dict[str, Any]:
        return self._learner.state()

    def _restore(self, state: dict[str, Any]) -> None:
        self._learner.restore(state)
