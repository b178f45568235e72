"""Stage 2 of ESRGAN's recipe: from the fidelity weights on, with a perceptual and a relativistic adversarial loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from MedSRLib.networks.discriminator import build_discriminator
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.distributed import rank
from MedSRLib.training.gan_config import GanConfig
from MedSRLib.training.learner import Learner, mixed_precision
from MedSRLib.training.losses import PerceptualLoss, RelativisticAverageLoss, pixel_loss
from MedSRLib.training.pairs import PairBatch
from MedSRLib.training.schedule import Schedule
from MedSRLib.training.stage import Stage, Step, Validate, filled_with
from MedSRLib.training.training_volume import TrainingVolume

_DETAIL_GAIN = 10.0
"""Brings the detail, a few hundredths of the range, to about the spread that the discriminator's layers expect."""


def refusal(figures: Mapping[str, Any], fidelity: Mapping[str, Any], settings: GanConfig) -> str:
    """Why a validated checkpoint may not be shipped; "" when it may.

    Args:
        figures: of the checkpoint, as ``score_generator`` gives them.
        fidelity: of the fidelity weights.
        settings: the thresholds.
    """
    growth = figures["consistency"] / max(fidelity["consistency"], 1e-9)
    if not all(math.isfinite(figures[key]) for key in ("psnr", "consistency", "mean_shift", "edge_energy")):
        return "its figures are not finite"
    if growth > settings.largest_consistency:
        return f"its LR-consistency error is {growth:.2f} times that of the fidelity weights"
    if abs(figures["mean_shift"]) > settings.largest_shift:
        return f"it shifts the mean intensity by {100 * figures['mean_shift']:.2f} % of the range"
    if fidelity["psnr"] - figures["psnr"] > settings.largest_loss:
        return f"it loses {fidelity['psnr'] - figures['psnr']:.2f} dB against the fidelity weights"
    return ""


def edge_distance(figures: Mapping[str, Any]) -> float:
    """How far the edges are from as sharp as the reference's: the mean over volumes of |log energy ratio|.

    The smallest is the best checkpoint; blur and false edges count alike.
    """
    ratios = [one["edge_energy"] for one in figures["volumes"].values()]
    return sum(abs(math.log(max(ratio, 1e-6))) for ratio in ratios) / len(ratios)


def for_detail(config: TrainingConfig) -> TrainingConfig:
    """What detail looks like is learnt from whole planes of patients at their own sharpness.

    Smooth anatomy would teach to blur, and where planes cross there is too little of each for a discriminator.
    """
    return replace(config, pairs=replace(config.pairs, phantom_share=0.0, softening_share=0.0, crossing=0))


def untrained_discriminator(config: TrainingConfig) -> nn.Module:
    """The discriminator of a configuration.

    Raises:
        UsageError: the patches are too small for it.
    """
    patch = min((config.pairs.patch - 2 * config.pairs.margin) * factor for factor in config.scale)
    return build_discriminator(config.gan.discriminator, config.spatial_dims, features=config.gan.features, patch=patch)


class GanStage(Stage):
    """Trains the perceptual weights.

    Args:
        config: of the run, with a ``gan`` table.
        volumes: to learn from.
        folder: of the run; made when missing.
        start: the fidelity weights, a state dict of the generator.
        device: a torch device.
        perceptual: needed when ``gan.perceptual`` is above 0.
        validate: None: no validation, and the last averaged weights are the best.
        schedule: None: ``gan.iterations``.
        resume: go on from the last checkpoint, if there is one.

    Attributes:
        best: ``{"weights", "figures"}`` of the best checkpoint that was not refused; None when there is none (yet).

    Raises:
        UsageError: the folder holds such a stage already, or the discriminator does not fit the patches.
    """

    checkpoint = "gan_checkpoint.pt"
    history_file = "gan_history.jsonl"
    label = "gan"

    def __init__(
        self,
        config: TrainingConfig,
        volumes: Sequence[TrainingVolume],
        folder: Path,
        *,
        start: Mapping[str, Tensor],
        device: torch.device,
        perceptual: PerceptualLoss | None = None,
        validate: Validate | None = None,
        schedule: Schedule | None = None,
        resume: bool = False,
    ) -> None:
        config = for_detail(config)
        settings = config.gan

        super().__init__(
            config,
            volumes,
            folder,
            begin=filled_with(start),
            device=device,
            seed=config.run.seed + 1,
            ema=settings.ema,
            validate=validate,
            schedule=schedule,
        )
        self._generator, self._discriminator = (
            Learner(network, device, betas=settings.betas, gradient_clip=settings.gradient_clip)
            for network in (self.generator, untrained_discriminator(config).to(device))
        )
        self._perceptual = None if perceptual is None else perceptual.to(device)
        self._adversarial = RelativisticAverageLoss()
        self.fidelity: dict[str, Any] = {}
        self.best: dict[str, Any] | None = None
        self._open(resume=resume)
        if self._validate is not None and rank() == 0 and not self.fidelity:
            self.fidelity = self._validate(self.generator, "fidelity")

    @property
    def iterations(self) -> int:
        """Of the whole stage, where they are not decided by the clock."""
        return self.config.gan.iterations

    @property
    def batch(self) -> int:
        """Pairs that each process draws for a step."""
        return self.config.gan.batch or super().batch

    @property
    def learner(self) -> Learner:
        """That trains the generator."""
        return self._generator

    def step(self, batch: PairBatch) -> Step:
        """One change of the generator and one of the discriminator."""
        scored = self.scored()
        rate, discriminator_rate = self.config.gan.rates(self.schedule.part(self.iteration))
        reference, base = batch.high[scored], batch.base[scored]
        self._generator.forget_gradients()
        self._discriminator.network.requires_grad_(False)
        with mixed_precision(self.device):
            whole = batch.image(self._generator.trained(batch.low))
            estimate = whole[scored]
            terms = self._generator_losses(whole, estimate, reference, batch)
        loss = torch.stack(list(terms.values())).sum()
        self._generator.backward(loss)
        changed = self._generator.step(rate)
        self._discriminator.network.requires_grad_(True)
        judged = self._teach(self._shown(reference, base), self._shown(estimate.detach(), base), discriminator_rate)
        self._average()
        return Step({"loss": loss, **terms, **judged.losses}, changed & judged.finite)

    def _generator_losses(
        self, whole: Tensor, estimate: Tensor, reference: Tensor, batch: PairBatch
    ) -> dict[str, Tensor]:
        """The generator's losses by name, weighted."""
        settings = self.config.gan
        terms = {"pixel": settings.pixel * pixel_loss(estimate, reference, "l1")}
        if self._perceptual is not None and settings.perceptual:
            terms["perceptual"] = settings.perceptual * self._perceptual(estimate, reference)
        if settings.adversarial:
            base = batch.base[self.scored()]
            with torch.no_grad():
                real = self._discriminator.network(self._shown(reference, base)).float()
            fake = self._discriminator.network(self._shown(estimate, base)).float()
            terms["adversarial"] = settings.adversarial * self._adversarial.of_generator(real, fake)
        if settings.consistency:
            terms["consistency_loss"] = settings.consistency * batch.measurements.misfit(whole)
        return terms

    def _shown(self, image: Tensor, base: Tensor) -> Tensor:
        """What the discriminator sees of an image."""
        return _DETAIL_GAIN * (image - base) if self.config.gan.sees == "detail" else image

    def _teach(self, reference: Tensor, estimate: Tensor, rate: float) -> Step:
        """One change of the discriminator, a backward pass each for real and fake."""
        learner = self._discriminator
        learner.forget_gradients()
        with mixed_precision(self.device):
            with torch.no_grad():
                fake = learner.network(estimate).float()
            real = learner.trained(reference).float()
            of_real = self._adversarial.of_real(real, fake)
        learner.backward(of_real)
        with mixed_precision(self.device):
            fake = learner.trained(estimate).float()
            of_fake = self._adversarial.of_fake(real, fake)
        learner.backward(of_fake)
        finite = learner.step(rate)
        return Step({"discriminator": of_real + of_fake, "margin": real.mean() - fake.mean()}, finite)

    def judge(self, figures: dict[str, Any]) -> None:
        """Refuses a checkpoint that drifted, keeps the best of the others."""
        figures["refused"] = refusal(figures, self.fidelity, self.config.gan)
        figures["edge_distance"] = edge_distance(figures)
        if figures["refused"]:
            return
        if self.best is None or figures["edge_distance"] < self.best["figures"]["edge_distance"]:
            weights = {name: value.detach().cpu().clone() for name, value in self.averaged.state_dict().items()}
            self.best = {"weights": weights, "figures": {"iteration": self.iteration, **figures}}

    def result(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Perceptual weights and their figures; None when every checkpoint was refused."""
        if self._validate is None:
            return dict(self.averaged.state_dict()), {}
        return None if self.best is None else (self.best["weights"], self.best["figures"])

    def _state(self) -> dict[str, Any]:
        return {
            "generator_learner": self._generator.state(),
            "discriminator": self._discriminator.network.state_dict(),
            "discriminator_learner": self._discriminator.state(),
            "fidelity": self.fidelity,
            "best": self.best,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._generator.restore(state["generator_learner"])
        self._discriminator.network.load_state_dict(state["discriminator"])
        self._discriminator.restore(state["discriminator_learner"])
        self.fidelity = state["fidelity"]
        self.best = state["best"]
