"""Training configuration: one TOML file, one dataclass a table, every value checked before anything is loaded."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from MedSRLib.errors import UsageError
from MedSRLib.training.gan_config import GanConfig, LossesConfig
from MedSRLib.training.toml_tables import build_settings, override_setting
from MedSRLib.volumes.volume import MODALITIES


@dataclass(frozen=True)
class DataConfig:
    """Which volumes to learn from.

    Args:
        train: NIfTI, NRRD or MetaImage files or folders of one DICOM series each, or glob patterns of them, relative
            to the configuration's folder.
        validation: held-out volumes; taken out of ``train`` when a pattern there names them too.
        stacks: patterns of those among ``train`` whose slices are unrelated images, not a volume: they get no
            neighbouring slices and are never cut along other planes.
        validation_slices: central slices scored in each validation volume of the task "inplane".
        validation_side: side in voxels of the central cube scored in them for the other tasks.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()
    validation_slices: int = 8
    validation_side: int = 64


@dataclass(frozen=True)
class PairsConfig:
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
        noise_share: share of pairs with added noise (quantum for CT, Rician otherwise).
        noise: largest standard deviation of that noise, in parts of the intensity range.
        gamma: range of the exponent applied to MR intensities, so that contrasts vary.
        neighbour_dropout: share of pairs whose neighbouring slices are replaced by the slice itself.
        phantom_share: share of pairs of a procedural phantom instead of a patient: plain shapes without noise. Neither
            phantoms nor softened patients are in the GAN stage.
        softening_share: share of the other pairs whose anatomy is blurred before it is acquired, as a soft
            reconstruction kernel or a scanner's filter does; phantoms always are. The generator learns that an image
            may be smooth because there is no more detail, not only because of the point spread.
        softening: range of that blur's full width at half maximum, in voxels of the anatomy.
    """

    patch: int = 48
    margin: int = 4
    nominal_share: float = 0.5
    kspace_share: float = 0.1
    fwhm: tuple[float, float] = (0.6, 1.2)
    thickness: tuple[float, float] = (0.7, 1.3)
    border_share: float = 0.25
    noise_share: float = 0.3
    noise: float = 0.01
    gamma: tuple[float, float] = (0.7, 1.4)
    neighbour_dropout: float = 0.1
    phantom_share: float = 0.0
    softening_share: float = 0.0
    softening: tuple[float, float] = (0.8, 2.5)

    def __post_init__(self) -> None:
        for name in ("phantom_share", "softening_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"pairs.{name} = {getattr(self, name)} must be a share between 0 and 1")
        if not 0 < self.softening[0] <= self.softening[1]:
            raise UsageError(f"pairs.softening = {list(self.softening)} must be [smallest, largest] width above 0")


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam with a cosine schedule and an exponential moving average of the weights.

    Args:
        iterations: optimiser steps in all.
        batch: pairs a step.
        learning_rate: at the start; falls to ``final_learning_rate`` along half a cosine.
        final_learning_rate: at the end.
        betas: Adam's.
        ema: decay of the moving average; the averaged weights are what is validated and shipped.
        gradient_clip: largest gradient norm.
    """

    iterations: int = 10000
    batch: int = 8
    learning_rate: float = 4e-4
    final_learning_rate: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.99)
    ema: float = 0.999
    gradient_clip: float = 1.0


@dataclass(frozen=True)
class RunConfig:
    """How the run itself behaves.

    Args:
        seed: of sampling and initialisation.
        threads: torch's CPU threads; 0 leaves torch's own choice.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        log_every: iterations between log lines.
        validate_every: iterations between validations.
        checkpoint_every: iterations between checkpoints.
        tensorboard: also write TensorBoard event files.
        skips: iterations in a row whose gradient is not finite, after which the run is given up; each is left out.
    """

    seed: int = 1
    threads: int = 0
    device: str = "auto"
    log_every: int = 50
    validate_every: int = 1000
    checkpoint_every: int = 250
    tensorboard: bool = False
    skips: int = 25


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides what a training run does.

    Args:
        name: of the model and of its run folder.
        output: folder of runs, relative to the configuration's folder.
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
        start: folder of a model whose fidelity weights the first stage starts from, relative to the configuration's
            folder: fine-tuning, or x4 from x2 (Lim et al. 2017, section 3.3). Layers are taken over from the first
            one up to the first that does not fit. "" starts from nothing.
        architecture: name in ``MedSRLib.networks.build.ARCHITECTURES``.
        generator: keyword arguments of that architecture besides channels and factors.
        half: store the weights as float16, in half the space.
        data, pairs, optimiser, run: the tables above.
        losses, gan: the tables of ``gan_config``; without ``gan.iterations`` training ends with the fidelity weights.
    """

    name: str
    factors: tuple[int, int, int] = (2, 2, 1)
    task: str = "inplane"
    factor_range: tuple[float, float] = (1.5, 8.0)
    output: str = "runs"
    description: str = "A generator trained with medsr train."
    licence: str = "Apache-2.0"
    modalities: tuple[str, ...] = ()
    slices: int = 1
    base_iterations: int = 0
    assumed_fwhm: float = 0.8
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

    def __post_init__(self) -> None:
        self._check_task()
        if self.slices % 2 != 1 or self.slices < 1:
            raise UsageError(f"slices = {self.slices} must be an odd number: the slice and its neighbours")
        if self.pairs.patch <= 2 * self.pairs.margin:
            raise UsageError("pairs.patch must be larger than twice pairs.margin")
        if unknown := set(self.modalities) - set(MODALITIES):
            raise UsageError(f"modalities {sorted(unknown)} are not among {', '.join(MODALITIES)}")
        if not self.data.train:
            raise UsageError("data.train names no volumes: give files or patterns such as 'volumes/*.nii.gz'")

    @property
    def spatial_dims(self) -> int:
        """Of the generator."""
        return 3 if self.task == "volumetric" else 2

    @property
    def scale(self) -> tuple[int, ...]:
        """The generator's own upsampling per spatial axis, in tensor order."""
        if self.task == "through-plane":
            return 1, 1
        return tuple(reversed(self.factors))[-self.spatial_dims :]

    def generator_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the architecture, complete."""
        return {
            "spatial_dims": self.spatial_dims,
            "in_channels": self.slices,
            "out_channels": 1,
            "factors": list(self.scale),
            "predicts_residual": True,
            **self.generator,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in the manifest and the checkpoint."""
        return asdict(self)

    def _check_task(self) -> None:
        i, j, k = self.factors
        if self.task == "inplane":
            fits, wanted = i == j > 1 and k == 1, "equal factors along i and j and 1 along k, such as [2, 2, 1]"
        elif self.task == "through-plane":
            fits, wanted = i == j == 1 and k > 1, "factors [1, 1, K], K the factor that is validated"
        elif self.task == "volumetric":
            fits, wanted = i == j == k > 1 and self.slices == 1, "three equal factors and slices = 1"
        else:
            raise UsageError(f"task {self.task!r} is not one of inplane, through-plane, volumetric")
        if not fits:
            raise UsageError(f"task {self.task!r} does not fit factors {list(self.factors)}: it takes {wanted}")
        low, high = self.factor_range
        if self.task == "through-plane" and not 1 < low <= k <= high:
            raise UsageError(f"factor_range [{low:g}, {high:g}] must begin above 1 and hold the factor {k} along k")


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Reads a TOML configuration.

    Args:
        path: the file.
        overrides: ``key=value`` with dotted keys and TOML values, as ``--set`` gives them.

    Raises:
        UsageError: the file is missing, is no TOML, or a key or value does not fit.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no configuration {path}: Resources/Training holds examples") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    for override in overrides:
        override_setting(table, override)
    return build_settings(TrainingConfig, table)
