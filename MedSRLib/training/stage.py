"""What both stages of training have in common: the loop, the history, checkpoints and exact resume."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from MedSRLib.errors import EnhancementCancelled, MissingPackageError, OutputError, TrainingError, UsageError
from MedSRLib.networks.build import build_generator
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.training.checkpoints import load_checkpoint, save_checkpoint
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.distributed import (
    any_process,
    is_distributed,
    mean_of_processes,
    of_every_process,
    rank,
    world_size,
)
from MedSRLib.training.learner import Learner, channels_last
from MedSRLib.training.pairs import PairBatch
from MedSRLib.training.randomness import Random
from MedSRLib.training.samplers import make_sampler
from MedSRLib.training.schedule import ByClock, ByIterations, Schedule
from MedSRLib.training.training_volume import TrainingVolume

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Validate = Callable[[nn.Module, str], dict[str, Any]]
"""Called with the averaged generator and a name for pictures, such as "gan_001000"; returns figures."""
_CURVES = ("loss", "psnr", "ssim", "gain", "consistency", "edge_energy", "mean_shift", "discriminator")


_SEEDS = 1_000_003
"""Between the seeds of two processes."""
_WARM_UP = 10
"""Iterations whose losses are read at once: a run that fails fails early, and the clock learns its pace."""
_COMPILED_ITERATIONS, _COMPILED_SECONDS = 2000, 300.0
"""What a stage on a GPU has before it at least, to be worth the minute or so that compiling takes."""


@dataclass(frozen=True)
class Step:
    """What one change of the weights came to; scalars that lie on the device, for reading them waits for it.

    Args:
        losses: by name.
        finite: whether all gradients were; the weights have changed only then.
    """

    losses: dict[str, Tensor]
    finite: Tensor

    def __post_init__(self) -> None:
        detached = {name: value.detach() for name, value in self.losses.items()}
        object.__setattr__(self, "losses", detached)  # a graph that is kept keeps its images


def filled_with(weights: Mapping[str, Tensor]) -> Callable[[nn.Module], None]:
    """Fills a generator with weights that fit it, a state dict: what a later stage begins with."""

    def begin(generator: nn.Module) -> None:
        generator.load_state_dict(dict(weights))

    return begin


class Stage(ABC):
    """One stage: trains a generator and keeps its checkpoint and history in the run's folder.

    Args:
        config: of the run.
        volumes: to learn from.
        folder: of the run; made when missing.
        begin: fills the generator, which is built from the configuration, with the weights that the stage starts from.
        device: a torch device.
        seed: of initialisation and sampling; each process draws its own pairs.
        ema: decay of the averaged weights.
        validate: None: no validation.
        schedule: None: a number of iterations.

    Attributes:
        averaged: the generator with the moving average of its weights.
        done: part of the stage that was done before this process.
    """

    checkpoint: ClassVar[str]
    history_file: ClassVar[str]
    label: ClassVar[str]

    def __init__(
        self,
        config: TrainingConfig,
        volumes: Sequence[TrainingVolume],
        folder: Path,
        *,
        begin: Callable[[nn.Module], None],
        device: torch.device,
        seed: int,
        ema: float,
        validate: Validate | None,
        schedule: Schedule | None,
    ) -> None:
        torch.manual_seed(seed)
        generator = build_generator(config.architecture, config.generator_arguments())
        begin(generator)
        self.config = config
        self.folder = folder
        self.device = device
        self._validate = validate
        self.schedule = schedule or ByIterations(self.iterations)
        self._random = Random(seed + _SEEDS * rank(), device if device.type == "cuda" else "cpu")
        self._sampler = make_sampler(volumes, config, self._random)
        memory = channels_last(config.spatial_dims)
        self.generator = generator.to(device).to(memory_format=memory)  # type: ignore[call-overload]
        self.averaged = deepcopy(self.generator).requires_grad_(False)
        self._ema = ema
        self.iteration = 0
        self.done = 0.0
        self.skipped = 0
        self._skipped_in_a_row = 0
        self._taken: list[Step] = []
        self._losses: list[dict[str, float]] = []
        self.history: list[dict[str, Any]] = []
        self._board = _open_board(folder) if config.run.tensorboard and rank() == 0 else None

    @property
    @abstractmethod
    def iterations(self) -> int:
        """Of the whole stage, where they are not decided by the clock."""

    @property
    def batch(self) -> int:
        """Pairs that each process draws for a step."""
        return self.config.optimiser.batch

    @property
    @abstractmethod
    def learner(self) -> Learner:
        """That trains the generator."""

    @abstractmethod
    def step(self, batch: PairBatch) -> Step:
        """One change of the weights."""

    def compile(self) -> str:
        """Compiles the generator where that is asked for, or pays.

        Returns:
            Why it is trained without, where it should have been; else "".
        """
        wanted = self.config.run.compile
        schedule = self.schedule
        if isinstance(schedule, ByClock):
            is_long = schedule.seconds_left >= _COMPILED_SECONDS
        else:
            is_long = self.iterations - self.iteration >= _COMPILED_ITERATIONS
        if wanted == "never" or (wanted == "auto" and not (is_long and self.device.type == "cuda")):
            return ""
        channels = self.config.generator_arguments()["in_channels"]
        side = [self.config.pairs.patch] * self.config.spatial_dims
        x = torch.zeros(self.batch, channels, *side, device=self.device)
        return self.learner.compile(x.contiguous(memory_format=channels_last(self.config.spatial_dims)))

    def run(
        self,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> None:
        """Trains to the end of the schedule; a cancelled run keeps its checkpoint.

        Raises:
            EnhancementCancelled: ``cancelled()`` returned true.
            TrainingError: gradients were not finite ``run.skips`` times in a row.
        """
        run = self.config.run
        self.schedule.begin(self.iteration, self.done)
        has_read = True
        is_over = self.schedule.is_over(self.iteration)
        while not is_over:
            # Several processes ask each other, and wait for that, where they wait anyway.
            if (has_read or not is_distributed()) and any_process(cancelled is not None and cancelled(), self.device):
                self._read()
                self._save(self.schedule.part(self.iteration))
                raise EnhancementCancelled(
                    f"{self.label} stopped at iteration {self.iteration}: continue it with --resume"
                )
            self._taken.append(self.step(self.draw()))
            self.iteration += 1
            if has_read := self._is_read():
                self._read()
                self.schedule.mark(self.iteration)
            if is_over := self.schedule.is_over(self.iteration):
                self._read()
            part = 1.0 if is_over else self.schedule.part(self.iteration)
            if (self.iteration % run.log_every == 0 or is_over) and self._losses:
                entry = self._log()
                if progress is not None:
                    progress(part, f"{self.label}: loss {entry['loss']:.5f}")
            if self.iteration % run.validate_every == 0 or is_over:
                self._score()
            if self.iteration % run.checkpoint_every == 0 or is_over:
                self._save(part)

    def draw(self) -> PairBatch:
        """The next batch of this process."""
        return self._sampler.draw(self.batch).to(self.device)

    def _is_read(self) -> bool:
        """Whether losses are read after this iteration: on a GPU only now and then, for it would be waited for."""
        run, n = self.config.run, self.iteration
        regular = (run.log_every, run.validate_every, run.checkpoint_every, run.skips)
        return self.device.type != "cuda" or n <= _WARM_UP or any(n % every == 0 for every in regular)

    def _read(self) -> None:
        """Fetches the losses of the iterations since the last time.

        Raises:
            TrainingError: gradients were not finite ``run.skips`` times in a row.
        """
        if not self._taken:
            return
        names = list(self._taken[0].losses)
        rows = [torch.stack([*step.losses.values(), step.finite.float()]) for step in self._taken]
        first = self.iteration - len(rows)
        self._taken = []
        for iteration, (*losses, finite) in enumerate(torch.stack(rows).tolist(), first):
            self._count(not finite, iteration)
            if finite:
                self._losses.append(dict(zip(names, losses, strict=True)))

    def _average(self) -> None:
        """Takes the weights into their moving average, whose first ones count less."""
        decay = min(self._ema, (1 + self.iteration) / (10 + self.iteration))
        own, averaged = (list(network.parameters()) for network in (self.generator, self.averaged))
        get_ema_multi_avg_fn(decay)(averaged, own, self.iteration)

    def scored(self) -> tuple[Any, ...]:
        """Index of an image without the border where the network sees padding."""
        edges = [self.config.pairs.margin * factor for factor in self.config.scale]
        return (..., *(slice(edge, -edge or None) for edge in edges))

    def judge(self, figures: dict[str, Any]) -> None:  # noqa: B027 (a stage may have nothing to say)
        """What a stage makes of a validation's figures; it may add to them."""

    def _count(self, skipped: bool, iteration: int) -> None:
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
        self.skipped += skipped
        if self._skipped_in_a_row >= self.config.run.skips:
            raise TrainingError(
                f"{self.label} gave values that are not finite {self._skipped_in_a_row} times in a row at iteration "
                f"{iteration}: lower the learning rate and continue with --resume from the last checkpoint"
            )

    def _log(self) -> dict[str, Any]:
        means = {
            name: mean_of_processes(float(np.mean([entry[name] for entry in self._losses])), self.device)
            for name in self._losses[0]
        }
        self._losses = []
        entry: dict[str, Any] = {"iteration": self.iteration, **means, "time": time.time()}
        if self.skipped:
            entry["skipped"] = self.skipped
        self._record(entry)
        return entry

    def _score(self) -> None:
        if self._validate is None or rank() != 0:
            return
        figures = self._validate(self.averaged, f"{self.label}_{self.iteration:06d}".replace(" ", "_"))
        self.judge(figures)
        self._record({"iteration": self.iteration, **figures})

    def _record(self, entry: dict[str, Any]) -> None:
        if rank() != 0:
            return
        self.history.append(entry)
        with (self.folder / self.history_file).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self._board is not None:
            for name in set(_CURVES) & set(entry):
                self._board.add_scalar(f"{self.label}/{name}", entry[name], entry["iteration"])
            self._board.flush()

    def _open(self, *, resume: bool) -> None:
        """Starts from nothing or from the checkpoint; last in a stage's constructor.

        Raises:
            OutputError: the folder cannot be made.
            UsageError: the folder holds a run and ``resume`` was not asked for, or other processes began it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be made ({error.strerror}): choose another --output") from error
        if not resume:
            self.require_new(self.folder)
        elif (self.folder / self.checkpoint).exists():
            self._load()

    @classmethod
    def require_new(cls, folder: Path) -> None:
        """Raises UsageError where a folder holds a run of this stage."""
        if (folder / cls.checkpoint).exists():
            raise UsageError(f"{folder} holds a run already: continue it with --resume or choose another name")

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What the checkpoint holds besides the loop's own."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """The inverse of ``_state``."""

    def _save(self, part: float) -> None:
        """All processes call it; the first one writes.

        Args:
            part: what is done of the stage.
        """
        processes = of_every_process({"random": self._random.state(), "losses": self._losses})
        if rank() != 0:
            return
        state = {
            "iteration": self.iteration,
            "part": part,
            "generator": self.generator.state_dict(),
            "averaged": self.averaged.state_dict(),
            "processes": processes,
            "torch_random": torch.get_rng_state(),
            "history": self.history,
            "skipped": self.skipped,
            **self._state(),
        }
        save_checkpoint(state, self.folder / self.checkpoint, self.config.run.checkpoint_size)

    def _load(self) -> None:
        state = load_checkpoint(self.folder / self.checkpoint, self.device)
        if "processes" not in state:
            raise UsageError(
                f"{self.folder} was begun by an older version of MedSR, whose pairs are not drawn any more: finish it "
                f"with that version, or start anew under another name"
            )
        processes = state["processes"]
        if len(processes) != world_size():
            raise UsageError(
                f"{self.folder} was trained by {len(processes)} processes and there are {world_size()} now: "
                f"resume with --nproc-per-node {len(processes)}"
            )
        self.iteration = state["iteration"]
        self.generator.load_state_dict(state["generator"])
        self.averaged.load_state_dict(state["averaged"])
        self.done = state["part"]
        self._random.restore(processes[rank()]["random"])
        self._losses = processes[rank()]["losses"]
        torch.set_rng_state(state["torch_random"].cpu())
        self.history = state["history"]
        self.skipped = state["skipped"]
        self._restore(state)
        if rank() == 0:
            lines = (json.dumps(entry) + "\n" for entry in self.history)
            (self.folder / self.history_file).write_text("".join(lines), encoding="utf-8")


def _open_board(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        remedy = "install it with pip install 'medsr[training]', or set run.tensorboard=false"
        raise MissingPackageError(f"run.tensorboard needs the package tensorboard: {remedy}") from error
    return SummaryWriter(str(folder))
