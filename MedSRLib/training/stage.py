"""What both stages of training have in common: the loop, the history, checkpoints and exact resume."""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from MedSRLib.errors import EnhancementCancelled, MissingPackageError, OutputError, TrainingError, UsageError
from MedSRLib.networks.build import build_generator
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.distributed import any_process, mean_of_processes, of_every_process, rank, world_size
from MedSRLib.training.learner import channels_last
from MedSRLib.training.pairs import Measurement, Pair, TrainingVolume
from MedSRLib.training.samplers import make_sampler
from MedSRLib.volumes.itk import one_line

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Validate = Callable[[nn.Module, str], dict[str, Any]]
"""Called with the averaged generator and a name for pictures, such as "gan_001000"; returns figures."""
_CURVES = ("loss", "psnr", "ssim", "gain", "consistency", "edge_energy", "mean_shift", "discriminator")


@dataclass(frozen=True)
class Batch:
    """Pairs as tensors on the device, [N, C, (D,) H, W]; see ``Pair``."""

    low: Tensor
    base: Tensor
    high: Tensor
    measurements: tuple[Measurement, ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair], device: torch.device) -> Batch:
        """Stacks pairs."""
        low, base, high = (
            torch.from_numpy(np.stack(arrays)).to(device)
            for arrays in zip(*((pair.low, pair.base, pair.high) for pair in pairs), strict=True)
        )
        low = low.contiguous(memory_format=channels_last(low.ndim - 2))
        return cls(low, base, high, tuple(pair.measurement for pair in pairs))


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
    ) -> None:
        torch.manual_seed(seed)
        generator = build_generator(config.architecture, config.generator_arguments())
        begin(generator)
        self.config = config
        self.folder = folder
        self.device = device
        self._validate = validate
        self._random = np.random.default_rng(seed if rank() == 0 else [seed, rank()])
        self._sampler = make_sampler(volumes, config, self._random)
        memory = channels_last(config.spatial_dims)
        self.generator = generator.to(device).to(memory_format=memory)  # type: ignore[call-overload]
        self.averaged = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(ema))
        self.iteration = 0
        self.skipped = 0
        self._skipped_in_a_row = 0
        self.history: list[dict[str, Any]] = []
        self._board = _open_board(folder) if config.run.tensorboard and rank() == 0 else None

    @property
    @abstractmethod
    def iterations(self) -> int:
        """Of the whole stage."""

    @property
    def batch(self) -> int:
        """Pairs that each process draws for a step."""
        return self.config.optimiser.batch

    @abstractmethod
    def step(self, batch: Batch) -> dict[str, float] | None:
        """One change of the weights; returns the losses, or None when a gradient was not finite."""

    def run(
        self,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> None:
        """Trains to the last iteration; a cancelled run keeps its checkpoint.

        Raises:
            EnhancementCancelled: ``cancelled()`` returned true.
            TrainingError: gradients were not finite ``run.skips`` times in a row.
        """
        run = self.config.run
        losses: list[dict[str, float]] = []
        while self.iteration < self.iterations:
            if any_process(cancelled is not None and cancelled(), self.device):
                self._save()
                raise EnhancementCancelled(
                    f"{self.label} stopped at iteration {self.iteration}: continue it with --resume"
                )
            taken = self.step(self.draw())
            self._count(taken is None)
            if taken is not None:
                losses.append(taken)
            self.iteration += 1
            last = self.iteration == self.iterations
            if (self.iteration % run.log_every == 0 or last) and losses:
                entry = self._log(losses)
                losses = []
                if progress is not None:
                    progress(self.iteration / self.iterations, f"{self.label}: loss {entry['loss']:.5f}")
            if self.iteration % run.validate_every == 0 or last:
                self._score()
            if self.iteration % run.checkpoint_every == 0 or last:
                self._save()

    def draw(self) -> Batch:
        """The next batch of this process."""
        return Batch.of([self._sampler.draw() for _ in range(self.batch)], self.device)

    def scored(self) -> tuple[Any, ...]:
        """Index of an image without the border where the network sees padding."""
        edges = [self.config.pairs.margin * factor for factor in self.config.scale]
        return (..., *(slice(edge, -edge or None) for edge in edges))

    def judge(self, figures: dict[str, Any]) -> None:  # noqa: B027 (a stage may have nothing to say)
        """What a stage makes of a validation's figures; it may add to them."""

    def _count(self, skipped: bool) -> None:
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
        self.skipped += skipped
        if self._skipped_in_a_row >= self.config.run.skips:
            raise TrainingError(
                f"{self.label} gave values that are not finite {self._skipped_in_a_row} times in a row at iteration "
                f"{self.iteration}: lower the learning rate and continue with --resume from the last checkpoint"
            )

    def _log(self, losses: list[dict[str, float]]) -> dict[str, Any]:
        means = {
            name: mean_of_processes(float(np.mean([entry[name] for entry in losses])), self.device)
            for name in losses[0]
        }
        entry: dict[str, Any] = {"iteration": self.iteration, **means, "time": time.time()}
        if self.skipped:
            entry["skipped"] = self.skipped
        self._record(entry)
        return entry

    def _score(self) -> None:
        if self._validate is None or rank() != 0:
            return
        figures = self._validate(self.averaged.module, f"{self.label}_{self.iteration:06d}".replace(" ", "_"))
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

    def _save(self) -> None:
        """All processes call it; the first one writes."""
        random, *others = of_every_process(self._random.bit_generator.state)
        if rank() != 0:
            return
        state = {
            "iteration": self.iteration,
            "generator": self.generator.state_dict(),
            "averaged": self.averaged.state_dict(),
            "random": random,
            "other_random": others,
            "torch_random": torch.get_rng_state(),
            "history": self.history,
            "skipped": self.skipped,
            **self._state(),
        }
        beside = self.folder / f"{self.checkpoint}.part"
        try:
            torch.save(state, beside)
            os.replace(beside, self.folder / self.checkpoint)
        except (OSError, RuntimeError) as error:  # torch's writer of archives raises the latter when a disk is full
            beside.unlink(missing_ok=True)
            raise OutputError(
                f"the checkpoint {self.folder / self.checkpoint} could not be written ({one_line(error)}): free some "
                f"space and continue with --resume from the one before"
            ) from error

    def _load(self) -> None:
        state = torch.load(self.folder / self.checkpoint, map_location=self.device, weights_only=True)
        random = [state["random"], *state.get("other_random", [])]
        if len(random) != world_size():
            raise UsageError(
                f"{self.folder} was trained by {len(random)} processes and there are {world_size()} now: "
                f"resume with --nproc-per-node {len(random)}"
            )
        self.iteration = state["iteration"]
        self.generator.load_state_dict(state["generator"])
        self.averaged.load_state_dict(state["averaged"])
        self._random.bit_generator.state = random[rank()]
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
