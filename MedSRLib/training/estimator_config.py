"""The configuration of the acquisition estimator's training: what it shares with a model's, and what is its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

from MedSRLib.errors import UsageError
from MedSRLib.training.config import DataConfig, OptimiserConfig, PairsConfig, RunConfig, TrainingConfig
from MedSRLib.training.rules import Count, Counts, Modalities, Name, Settings, Text

TASK = "acquisition"
"""The ``task`` that tells such a configuration from a model's."""


@dataclass(frozen=True)
class EstimatorConfig(Settings):
    """Everything that decides how the estimator of point spread and noise is trained.

    Args:
        name: of the estimator and of its run folder.
        version: another one for other weights.
        task: "acquisition".
        output: folder of runs, relative to the current folder.
        description: one line.
        licence: of the weights.
        modalities: of the training volumes, as for a model.
        factors: in-plane factors of the pairs whose measurements are looked at, in turn: the anatomy behind a
            measurement is finer than it, by more or by less.
        patches: sides of the measurements in turn with the factors, in voxels; larger ones come in smaller batches.
            ``pairs.patch`` is not used.
        features: of the first convolutions.
        data, pairs, optimiser, run: tables as of a model, of the task "inplane".
    """

    table: ClassVar[str] = ""

    name: Name
    version: Text = "1.0.0"
    task: Literal["acquisition"] = "acquisition"
    output: Text = "runs"
    description: Text = "An estimator of point spread and noise trained with medsr train."
    licence: Text = "Apache-2.0"
    modalities: Modalities = ()
    factors: Counts = (2, 2, 2, 4)
    patches: Counts = (48, 64, 96, 48)
    features: Count = 32
    data: DataConfig = field(default_factory=DataConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.factors) < 2:
            raise UsageError(f"factors = {list(self.factors)} must be 2 or more: a measurement is coarser than anatomy")
        if len(self.patches) != len(self.factors):
            raise UsageError(f"patches names {len(self.patches)} sides and factors {len(self.factors)}: give as many")
        for draw in self.draws:
            self.pairs_of(*draw)

    @property
    def draws(self) -> list[tuple[int, int]]:
        """Factor and patch of each batch, in turn."""
        return list(zip(self.factors, self.patches, strict=True))

    def batch_of(self, patch: int) -> int:
        """Measurements of a batch: as many voxels as ``optimiser.batch`` of the smallest patches."""
        return max(1, round(self.optimiser.batch * (min(self.patches) / patch) ** 2))

    def pairs_of(self, factor: int, patch: int) -> TrainingConfig:
        """How measurements of one factor and side are made: as those of a model that sees one slice."""
        return TrainingConfig(
            name=self.name,
            factors=(factor, factor, 1),
            modalities=self.modalities,
            data=self.data,
            pairs=replace(self.pairs, patch=patch),
            run=self.run,
        )

    @property
    def widths(self) -> tuple[float, float]:
        """Mean and variance of the point-spread widths that are drawn: what an answer leans to that knows nothing."""
        (low, high), nominal = self.pairs.fwhm, self.pairs.nominal_share
        centre = (low + high) / 2
        mean = nominal + (1 - nominal) * centre
        spread = nominal * (1 - mean) ** 2 + (1 - nominal) * ((high - low) ** 2 / 12 + (centre - mean) ** 2)
        return mean, spread

    def record(self) -> dict[str, Any]:
        """Plain values for the manifest, without the places of files on this machine."""
        values = asdict(self)
        del values["output"]
        for key in ("train", "validation", "stacks"):
            del values["data"][key]
        return values
