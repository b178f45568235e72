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
from MedSRLib.training.losses import pixel_loss
from MedSRLib.training.pairs import PairBatch
from MedSRLib.training.schedule import Schedule
from MedSRLib.training.stage import Stage, Step, Validate
from MedSRLib.training.training_volume import TrainingVolume


def cosine(part: float) -> float:
    """From 1 to 0 along half a cosine; ``part`` is what is done of the stage, 0 to 1."""
    return 0.5 * (1.0 + math.cos(math.pi * part))


def learning_rate(settings: OptimiserConfig, part: float, iteration: int) -> float:
    """Half a cosine from the first to the final learning rate, after a linear rise over the first iterations.

    Args:
        settings: the table.
        part: what is done of the stage, 0 to 1.
        iteration: how many were made.
    """
    rate = settings.final_learning_rate + cosine(part) * (settings.learning_rate - settings.final_learning_rate)
    return rate * min(1.0, (iteration + 1) / max(1, settings.warm_up))


def take_over(generator: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copies another generator's weights, from the first layer up to the first that does not fit.

    What comes after that layer stays as it was initialised: its inputs mean something else. A first layer with fewer
    inputs is filled up with zeros: maps that the other generator was not told of change nothing at first.

    Args:
        generator: that is filled.
        weights: state dict of the other generator.

    Raises:
        UsageError: the first layer already does not fit.
    """
    ours = generator.state_dict()
    fitting: dict[str, Tensor] = {}
    for name, value in ours.items():
        theirs = weights.get(name)
        if theirs is not None and not fitting:
            theirs = _with_more_inputs(theirs, value)
        if theirs is None or theirs.shape != value.shape:
            break
        fitting[name] = theirs
    if not fitting:
        raise UsageError(
            "the first layer of the model in start does not fit the configuration: make slices and "
            "[generator] those of its manifest, or leave start out"
        )
    generator.load_state_dict({**ours, **fitting})


def _with_more_inputs(weight: Tensor, wanted: Tensor) -> Tensor:
    """A convolution [out, in, ...] with zeros for the inputs that another one has beyond its own."""
    more = wanted.shape[1] - weight.shape[1] if weight.ndim == wanted.ndim else 0
    if more <= 0:
        return weight
    return torch.cat([weight, weight.new_zeros(len(weight), more, *weight.shape[2:])], 1)


class FidelityStage(Stage):
    """Trains the fidelity weights.

    Args:
        config: of the run.
        volumes: to learn from.
        folder: of the run; made when missing.
        device: a torch device.
        validate: called with the averaged generator; its figures go into the history. None: no validation.
        start: weights that the generator starts from, see ``take_over``; None: it starts from nothing.
        teacher: a generator whose images are learnt from too, see ``distil``; None: only the anatomy is.
        schedule: None: ``optimiser.iterations``.
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
        teacher: nn.Module | None = None,
        validate: Validate | None = None,
        schedule: Schedule | None = None,
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
            schedule=schedule,
        )
        self._learner = Learner(self.generator, device, betas=settings.betas, gradient_clip=settings.gradient_clip)
        self._teacher = None if teacher is None else teacher.to(device).eval()
        self._open(resume=resume)

    @property
    def iterations(self) -> int:
        """Of the whole stage, where they are not decided by the clock."""
        return self.config.optimiser.iterations

    @property
    def learner(self) -> Learner:
        """That trains the generator."""
        return self._learner

    def step(self, batch: PairBatch) -> Step:
        """One change of the weights."""
        losses, scored = self.config.losses, self.scored()
        self._learner.forget_gradients()
        with mixed_precision(self.device):
            estimate = batch.image(self._learner.trained(batch.low))
            loss = pixel_loss(estimate[scored], batch.high[scored], losses.pixel, batch.base[scored])
            if self._teacher is not None:
                with torch.no_grad():
                    taught = batch.image(self._teacher(batch.low))
                of_teacher = pixel_loss(estimate[scored], taught[scored], losses.pixel, batch.base[scored])
                loss = torch.lerp(loss, of_teacher, self.config.distil.share)
        if losses.consistency:
            loss = loss + losses.consistency * batch.measurements.misfit(estimate)
        self._learner.backward(loss)
        part = self.schedule.part(self.iteration)
        finite = self._learner.step(learning_rate(self.config.optimiser, part, self.iteration))
        self._average()
        return Step({"loss": loss.detach()}, finite)

    def _state(self) -> dict[str, Any]:
        return self._learner.state()

    def _restore(self, state: dict[str, Any]) -> None:
        self._learner.restore(state)
