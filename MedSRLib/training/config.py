"""Training configuration: one TOML file, one dataclass a table, every value checked before anything is loaded."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from MedSRLib.errors import UsageError
from MedSRLib.models.task import Task as TaskKind
from MedSRLib.models.tasks import TASKS
from MedSRLib.training.distil_config import DegridConfig, DistilConfig
from MedSRLib.training.gan_config import GanConfig, LossesConfig
from MedSRLib.training.rules import (
    Betas,
    Count,
    Decay,
    Factors,
    FactorSpan,
    Modalities,
    Name,
    OddCount,
    Patterns,
    Positive,
    Settings,
    Share,
    Span,
    Task,
    Text,
    Weight,
    Whole,
)
from MedSRLib.training.toml_tables import build_settings, change_setting, parse_override


@dataclass(frozen=True)
class DataConfig(Settings):
    """Which volumes to learn from.

    Args:
        train: NIfTI, NRRD or MetaImage files or folders of one DICOM series each, folders of such, or glob patterns,
            relative to the configuration's folder.
        validation: held-out volumes; taken out of ``train`` when a pattern there names them too.
        stacks: patterns of those among ``train`` whose slices are unrelated images, not a volume: they get no
            neighbouring slices and are never cut along other planes.
        validation_slices: central slices scored in each validation volume of the task "inplane".
        validation_side: side in voxels of the central cube scored in them for the other tasks.
    """

    table: ClassVar[str] = "data"

    train: Patterns = ()
    validation: Patterns = ()
    stacks: Patterns = ()
    validation_slices: Count = 8
    validation_side: Count = 64


@dataclass(frozen=True)
class PairsConfig(Settings):
    """How a patch of anatomy becomes a training pair.

    Args:
        patch: side of the patch that the generator sees, in voxels.
        margin: voxels at that patch's border that are not scored: the network sees padding there.
        nominal_share: share of pairs acquired with a point spread of exactly 1 low-resolution voxel.
        kspace_share: share of MR pairs acquired by k-space truncation.
        fwhm: range of the point-spread width of the other pairs, in low-resolution voxels; for the task
            "through-plane" in parts of the slice thickness.
        thickness: range of the slice thickness in slice spacings, known to the base image; "through-plane" only.
        border_share: share of pairs at the first or last slice, "through-plane" only; with a margin of 0 the network
            learns what to do there.
        noise_share: share of pairs with added noise, see ``noise.add_noise``; the generator is told of it.
        noise: largest standard deviation of that noise, in parts of the intensity range.
        gamma: range of the exponent applied to intensities that have no fixed meaning, so that contrasts vary.
        neighbour_dropout: share of pairs whose neighbouring slices are replaced by the slice itself.
        phantom_share: share of pairs of a procedural phantom instead of a patient: plain shapes without noise. Neither
            phantoms nor softened patients are in the GAN stage.
        softening_share: share of the other pairs whose anatomy is blurred before it is acquired, as a soft
            reconstruction kernel or a scanner's filter does; phantoms always are. The generator learns that an image
            may be smooth because there is no more detail, not only because of the point spread.
        softening: range of that blur's full width at half maximum, in voxels of the anatomy.
        crossing: planes of either kind that cross in a block and whose mean is scored, as enhancement takes it;
            "through-plane" only, and in nearly isotropic volumes. A block counts as twice as many pairs. 0: each plane
            alone, as in the GAN stage, which needs whole planes.
        zoom_share: share of pairs whose anatomy is shrunk by 1.2 to 2 first: finer structure than the volume's own
            pixels show; "inplane" only.
    """

    table: ClassVar[str] = "pairs"

    patch: Count = 48
    margin: Whole = 4
    nominal_share: Share = 0.5
    kspace_share: Share = 0.1
    fwhm: Span = (0.6, 1.2)
    thickness: Span = (0.7, 1.3)
    border_share: Share = 0.25
    noise_share: Share = 0.3
    noise: Share = 0.01
    gamma: Span = (0.7, 1.4)
    neighbour_dropout: Share = 0.1
    phantom_share: Share = 0.0
    softening_share: Share = 0.0
    softening: Span = (0.8, 2.5)
    crossing: Whole = 0
    zoom_share: Share = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch <= 2 * self.margin:
            raise UsageError(f"pairs.patch = {self.patch} must be larger than twice pairs.margin = {self.margin}")
        if self.crossing and self.margin:
            raise UsageError(f"pairs.crossing = {self.crossing} scores the middle of blocks: make pairs.margin 0")


@dataclass(frozen=True)
class OptimiserConfig(Settings):
    """Adam with a cosine schedule and an exponential moving average of the weights.

    Args:
        iterations: optimiser steps in all.
        batch: pairs a step.
        warm_up: first iterations, over which the learning rate rises from nothing.
        learning_rate: at the start; falls to ``final_learning_rate`` along half a cosine.
        final_learning_rate: at the end.
        betas: Adam's.
        ema: decay of the moving average; the averaged weights are what is validated and shipped.
        gradient_clip: largest gradient norm.
    """

    table: ClassVar[str] = "optimiser"

    iterations: Count = 10000
    batch: Count = 8
    warm_up: Whole = 0
    learning_rate: Weight = 4e-4
    final_learning_rate: Weight = 1e-6
    betas: Betas = (0.9, 0.99)
    ema: Decay = 0.999
    gradient_clip: Positive = 1.0


@dataclass(frozen=True)
class RunConfig(Settings):
    """How the run itself behaves.

    Args:
        seed: of sampling and initialisation.
        threads: torch's CPU threads; 0 leaves torch's own choice.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        log_every: iterations between log lines.
        validate_every: iterations between validations.
        checkpoint_every: iterations between checkpoints.
        checkpoint_size: largest file of a checkpoint in megabytes, to carry it elsewhere: a larger one is cut into
            parts. 0: one file.
        tensorboard: also write TensorBoard event files.
        skips: iterations in a row whose gradient is not finite, after which the run is given up; each is left out.
        minutes: that the run may take in all, reading, validating and exporting included: there are as many iterations
            as fit, and the learning rates follow the time that passed. 0: ``iterations`` decide. A resumed run spreads
            what was left over the minutes that it is given.
        compile: "auto" compiles the generator for a GPU where a stage is long enough to repay it, "always", "never".
    """

    table: ClassVar[str] = "run"

    seed: Whole = 1
    threads: Whole = 0
    device: str = "auto"
    log_every: Count = 50
    validate_every: Count = 1000
    checkpoint_every: Count = 250
    checkpoint_size: Weight = 0.0
    tensorboard: bool = False
    skips: Count = 25
    minutes: Weight = 0.0
    compile: Literal["auto", "always", "never"] = "auto"


@dataclass(frozen=True)
class TrainingConfig(Settings):
    """Everything that decides what a training run does.

    Args:
        name: of the model and of its run folder.
        version: of the model: another one for other weights.
        output: folder of runs, relative to the current folder.
        description: one line for the manifest.
        licence: of the weights.
        modalities: of the training volumes ("CT", "MR", ...): the domain that enhancement compares its input with.
        task: "inplane", "through-plane" or "volumetric".
        factors: along i, j, k; for "through-plane" (1, 1, the factor that is validated).
        factor_range: factors along k that are trained, "through-plane" only.
        slices: odd number of neighbouring slices the generator sees as channels.
        base_iterations: back-projection steps of the base image that the generator's residual is added to.
        assumed_fwhm: point-spread width in low-resolution voxels that enhancement assumes of an unknown scanner, where
            it does not estimate it (it does for the task "inplane").
        start: a model whose fidelity weights the first stage starts from, its folder, relative to the configuration's,
            or its name: fine-tuning, or x4 from x2 (Lim et al. 2017, section 3.3). Layers are taken over from the
            first one up to the first that does not fit. "" starts from nothing.
        architecture: name in ``MedSRLib.networks.build.ARCHITECTURES``.
        generator: keyword arguments of that architecture besides channels and factors.
        half: store the weights as float16, in half the space.
        data, pairs, optimiser, run: the tables above.
        losses, gan: the tables of ``gan_config``; without ``gan.iterations`` training ends with the fidelity weights.
        distil, degrid: the tables of ``distil_config``.
    """

    name: Name
    version: Text = "1.0.0"
    factors: Factors = (2, 2, 1)
    task: Task = "inplane"
    factor_range: FactorSpan = (1.5, 8.0)
    output: Text = "runs"
    description: Text = "A generator trained with medsr train."
    licence: Text = "Apache-2.0"
    modalities: Modalities = ()
    slices: OddCount = 1
    base_iterations: Whole = 0
    assumed_fwhm: Positive = 0.8
    start: str = ""
    architecture: str = "RRDBGenerator"
    generator: dict[str, Any] = field(default_factory=dict)
    half: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    run: RunConfig = field(default_factory=RunConfig)
    losses: LossesConfig = field(default_factory=LossesConfig)
    gan: GanConfig = field(default_factory=GanConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    degrid: DegridConfig = field(default_factory=DegridConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_task()
        if not self.data.train:
            raise UsageError(
                "no volumes to train on are named: give --data VOLUMES/, or data.train in the configuration"
            )

    @property
    def spatial_dims(self) -> int:
        """Of the generator."""
        return self.kind.spatial_dims

    @property
    def kind(self) -> TaskKind:
        """What its task is."""
        return TASKS[self.task]

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the generator is told, in the order of its maps, which follow the slices."""
        return self.kind.conditions

    @property
    def scale(self) -> tuple[int, ...]:
        """The generator's own upsampling per spatial axis, in tensor order."""
        if not self.kind.upsamples:
            return (1,) * self.spatial_dims
        return tuple(reversed(self.factors))[-self.spatial_dims :]

    def generator_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the architecture, complete."""
        return {
            "spatial_dims": self.spatial_dims,
            "in_channels": self.slices + len(self.conditions),
            "out_channels": 1,
            "factors": list(self.scale),
            "predicts_residual": True,
            **self.generator,
        }

    def record(self) -> dict[str, Any]:
        """Plain values for the manifest: what the model came from, without the places of files on this machine."""
        values = asdict(self)
        del values["output"]
        for key in ("train", "validation", "stacks"):  # the manifest names the volumes themselves
            del values["data"][key]
        places = ((values, "start"), (values["gan"], "start"), (values["distil"], "teacher"))
        for table, key in (*places, (values["losses"]["perceptual"], "weights")):
            table[key] = Path(table[key]).name
        return values

    def _check_task(self) -> None:
        if not self.kind.can_train(self.factors, self.slices):
            raise UsageError(
                f"task {self.task!r} does not fit factors {list(self.factors)}: it takes {self.kind.wanted}"
            )
        (low, high), k = self.factor_range, self.factors[2]
        if self.kind.has_factor_range and not low <= k <= high:
            raise UsageError(f"factor_range = [{low:g}, {high:g}] must hold the factor along k, factors[2] = {k}")


def read_table(path: Path, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The table of a TOML configuration, with what is changed in it.

    Args:
        path: the file.
        overrides: ``key=value`` with dotted keys and TOML values, as ``--set`` gives them.
        changes: other settings by their dotted keys.

    Raises:
        UsageError: the file is missing, is no TOML, or a key leads nowhere.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the configuration {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    for key, value in (*map(parse_override, overrides), *(changes or {}).items()):
        change_setting(table, key, value)
    return table


def load_config(path: Path, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None) -> TrainingConfig:
    """Reads a TOML configuration of a model.

    Args:
        path, overrides, changes: as for ``read_table``.

    Raises:
        UsageError: the file is missing, is no TOML, or a key or value does not fit.
    """
    config: TrainingConfig = build_settings(TrainingConfig, read_table(path, overrides, changes))
    return config
