"""Stage 1 of ESRGAN's recipe: the generator learns the residual of the formula by L1, with EMA and exact resume."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from MedSRLib.errors import EnhancementCancelled, MissingPackageError, UsageError
from MedSRLib.networks.build import build_generator
from MedSRLib.training.config import OptimiserConfig, TrainingConfig
from MedSRLib.training.pairs import PairSampler, TrainingVolume

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CHECKPOINT = "checkpoint.pt"
HISTORY = "history.jsonl"


def learning_rate(settings: OptimiserConfig, iteration: int) -> float:
    """Half a cosine from the first to the final learning rate. A function of the iteration alone: a resumed run that
    was given more or fewer iterations goes on along the new curve."""
    remaining = 0.5 * (1.0 + math.cos(math.pi * iteration / settings.iterations))
    return settings.final_learning_rate + remaining * (settings.learning_rate - settings.final_learning_rate)


def _open_board(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        remedy = "install it with pip install 'medsr[training]', or set run.tensorboard=false"
        raise MissingPackageError(f"run.tensorboard needs the package tensorboard: {remedy}") from error
    return SummaryWriter(str(folder))


class Trainer:
    """Trains one generator and keeps its run folder: checkpoint, history.

    Args:
        config: of the run.
        volumes: to learn from.
        folder: of the run; made when missing.
        device: a torch device.
        validate: called with the averaged generator; its figures go into the history. None: no validation.

    Raises:
        UsageError: ``folder`` holds a run and ``resume`` was not asked for.
    """

    def __init__(
        self,
        config: TrainingConfig,
        volumes: Sequence[TrainingVolume],
        folder: Path,
        *,
        device: torch.device,
        validate: Callable[[torch.nn.Module], dict[str, Any]] | None = None,
        resume: bool = False,
    ) -> None:
        self.config = config
        self.folder = folder
        self.device = device
        self._validate = validate
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        torch.manual_seed(config.run.seed)
        self._random = np.random.default_rng(config.run.seed)
        self._sampler = PairSampler(volumes, config, self._random)
        generator = build_generator(config.architecture, config.generator_arguments())
        self.generator = generator.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(config.optimiser.ema))
        settings = config.optimiser
        self._optimiser = torch.optim.Adam(generator.parameters(), settings.learning_rate, betas=settings.betas)
        self._board = _open_board(folder) if config.run.tensorboard else None
        self.iteration = 0
        self.history: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            if not resume:
                raise UsageError(f"{folder} holds a run already: continue it with --resume or choose another name")
            self._load()

    def run(
        self,
        progress: Callable[[float, str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Trains to the last iteration; a cancelled run keeps its checkpoint.

        Raises:
            EnhancementCancelled: ``cancelled()`` returned true.
        """
        settings, run = self.config.optimiser, self.config.run
        losses: list[float] = []
        while self.iteration < settings.iterations:
            if cancelled is not None and cancelled():
                self._save()
                raise EnhancementCancelled(f"training stopped at iteration {self.iteration}: continue it with --resume")
            losses.append(self._step())
            self.iteration += 1
            last = self.iteration == settings.iterations
            if self.iteration % run.log_every == 0 or last:
                entry = {"iteration": self.iteration, "loss": float(np.mean(losses)), "time": time.time()}
                self._record(entry)
                losses = []
                if progress is not None:
                    progress(self.iteration / settings.iterations, f"loss {entry['loss']:.5f}")
            if self._validate is not None and (self.iteration % run.validate_every == 0 or last):
                self._record({"iteration": self.iteration, **self._validate(self.averaged.module)})
            if self.iteration % run.checkpoint_every == 0 or last:
                self._save()

    def _step(self) -> float:
        pairs = [self._sampler.draw() for _ in range(self.config.optimiser.batch)]
        low, base, high = (
            torch.from_numpy(np.stack(arrays)).to(self.device)
            for arrays in zip(*((pair.low, pair.base, pair.high) for pair in pairs), strict=True)
        )
        residual = self.generator(low.contiguous(memory_format=torch.channels_last))
        edge = self.config.pairs.margin * self.config.factors[0]
        scored = (..., slice(edge, -edge or None), slice(edge, -edge or None))
        loss = torch.nn.functional.l1_loss((base + residual)[scored], high[scored])
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.config.optimiser, self.iteration)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.optimiser.gradient_clip)
        self._optimiser.step()
        self.averaged.update_parameters(self.generator)
        return loss.item()

    def _record(self, entry: dict[str, Any]) -> None:
        self.history.append(entry)
        with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self._board is not None:
            for name, value in entry.items():
                if name in ("loss", "psnr", "gain"):
                    self._board.add_scalar(name, value, entry["iteration"])
            self._board.flush()

    def _save(self) -> None:
        state = {
            "iteration": self.iteration,
            "generator": self.generator.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "random": self._random.bit_generator.state,
            "torch_random": torch.get_rng_state(),
            "history": self.history,
        }
        beside = self.folder / f"{CHECKPOINT}.part"
        torch.save(state, beside)
        os.replace(beside, self.folder / CHECKPOINT)

    def _load(self) -> None:
        state = torch.load(self.folder / CHECKPOINT, map_location=self.device, weights_only=True)
        self.iteration = state["iteration"]
        self.generator.load_state_dict(state["generator"])
        self.averaged.load_state_dict(state["averaged"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._random.bit_generator.state = state["random"]
        torch.set_rng_state(state["torch_random"].cpu())
        self.history = state["history"]
        lines = (json.dumps(entry) + "\n" for entry in self.history)
        (self.folder / HISTORY).write_text("".join(lines), encoding="utf-8")
