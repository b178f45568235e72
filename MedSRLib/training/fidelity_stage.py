"""Stage 1 of ESRGAN's recipe: the generator learns the residual of the formula pixel by pixel, with EMA."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from MedSRLib.errors import UsageError
from MedSRLib.training.config import OptimiserConfig, TrainingConfig
from MedSRLib.training.learner import Learner, mixed_precision
from MedSRLib.training.losses import consistency_loss, pixel_loss
from MedSRLib.training.pairs import TrainingVolume
from MedSRLib.training.stage import Batch, Stage, Validate


def learning_rate(settings: OptimiserConfig, iteration: int) -> float:
    """Half a cosine from the first to the final learning rate.

    A function of the iteration alone: a resumed run that was given more or fewer iterations goes on along the new
    curve.
    """
    remaining = 0.5 * (1.0 + math.cos(math.pi * iteration / settings.iterations))
    return settings.final_learning_rate + remaining * (settings.learning_rate - settings.final_learning_rate)


def take_over(generator: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copies another generator's weights, from the first layer up to the first that does not fit.

    What comes after that layer stays as it was initialised: its inputs mean something else.

    Args:
        generator: that is filled.
        weights: state dict of the other generator.

    Raises:
        UsageError: the first layer already does not fit.
    """
    ours = generator.state_dict()
    fitting: dict[str, Tensor] = {}
    for name, value in ours.items():
        if name not in weights or weights[name].shape != value.shape:
            break
        fitting[name] = weights[name]
    if not fitting:
        raise UsageError(
            "the first layer of the model in start does not fit the configuration: make slices and "
            "[generator] those of its manifest, or leave start out"
        )
    generator.load_state_dict({**ours, **fitting})


class FidelityStage(Stage):
    """Trains the fidelity weights.

    Args:
        config: of the run.
        volumes: to learn from.
        folder: of the run; made when missing.
        device: a torch device.
        validate: called with the averaged generator; its figures go into the history. None: no validation.
        start: weights that the generator starts from, see ``take_over``; None: it starts from nothing.
        resume: go on from the last checkpoint, if there is one.

    Raises:
        UsageError: nothing of ``start`` fits, or ``folder`` holds a run and ``resume`` was not asked for.
    """

    checkpoint = "checkpoint.pt"
    history_file = "history.jsonl"
    label = "fidelity"

    def __init__(
        self,
        config: TrainingConfig,
        volumes: Sequence[TrainingVolume],
        folder: Path,
        *,
        device: torch.device,
        start: Mapping[str, Tensor] | None = None,
        validate: Validate | None = None,
        resume: bool = False,
    ) -> None:
        settings = config.optimiser

        def begin(generator: nn.Module) -> None:
            if start is not None:
                take_over(generator, start)

        super().__init__(
            config,
            volumes,
            folder,
            begin=begin,
            device=device,
            seed=config.run.seed,
            ema=settings.ema,
            validate=validate,
        )
        self._learner = Learner(self.generator, device, betas=settings.betas, gradient_clip=settings.gradient_clip)
        self._open(resume=resume)

    @property
    def iterations(self) -> int:
        """Of the whole stage."""
        return self.config.optimiser.iterations

    def step(self, batch: Batch) -> dict[str, float] | None:
        """One change of the weights; returns the loss, or None when a gradient was not finite."""
        losses, scored = self.config.losses, self.scored()
        self._learner.forget_gradients()
        with mixed_precision(self.device):
            estimate = batch.base + self._learner.trained(batch.low)
            loss = pixel_loss(estimate[scored], batch.high[scored], losses.pixel)
        if losses.consistency:
            loss = loss + losses.consistency * consistency_loss(estimate, batch.measurements)
        self._learner.backward(loss)
        if not self._learner.step(learning_rate(self.config.optimiser, self.iteration)):
            return None
        self.averaged.update_parameters(self.generator)
        return {"loss": loss.item()}

    def _state(self) -> dict[str, Any]:
        return self._learner.state()

    def _restore(self, state: dict[str, Any]) -> None:
        self._learner.restore(state)
