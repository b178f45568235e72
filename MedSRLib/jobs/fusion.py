"""Several series that become one volume in the worker: the job, and what the worker does of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib.errors import EnhancementCancelled
from MedSRLib.fusion.grid import plan_fusion
from MedSRLib.fusion.request import FusionOptions
from MedSRLib.jobs.job import described
from MedSRLib.jobs.messages import Done, Part
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.fusion.fuse import Fused
    from MedSRLib.progress import Cancelled, Progress


@dataclass(frozen=True)
class FusionJob:
    """Everything that ``fuse`` needs, captured when the user clicks.

    Args:
        volumes: the series.
        names: of the series, for messages and the report.
        model: name in the catalogue, model folder, or "auto".
        options: of the fusion.
    """

    volumes: tuple[Volume, ...]
    names: tuple[str, ...]
    model: str | Path
    options: FusionOptions
    kept = ""

    def bytes_needed(self) -> int:
        """About what the files take: the series, the result and its coverage."""
        plan = plan_fusion(self.volumes, spacing=self.options.spacing, field=self.options.field)
        result = int(np.prod(plan.shape)) * (self.volumes[0].voxels.itemsize + 1)
        return sum(volume.voxels.nbytes for volume in self.volumes) + result

    def write(self, folder: Path) -> None:
        """The voxels of each series."""
        for index, volume in enumerate(self.volumes):
            np.save(_input(folder, index), volume.voxels, allow_pickle=False)

    def message(self, folder: Path) -> dict[str, Any]:
        """The order "fuse" of ``messages``."""
        inputs = [
            {
                **described(volume),
                "frame_of_reference": volume.frame_of_reference,
                "input": str(_input(folder, index)),
            }
            for index, volume in enumerate(self.volumes)
        ]
        return {
            "do": "fuse",
            "model": str(self.model),
            "options": self.options.to_json(),
            "names": self.names,
            "inputs": inputs,
            "folder": str(folder),
        }

    def take(self, part: Part, folder: Path) -> None:
        """There are no parts."""

    def results(self, done: Done, folder: Path) -> list[Fused]:
        """One; its voxels are a mapped file."""
        from MedSRLib.fusion.fuse import Fused

        (result,) = done.results
        first = self.volumes[0]
        voxels, coverage = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in FILES)
        volume = Volume(voxels, result.affine, first.modality, frame_of_reference=first.frame_of_reference)
        return [Fused(volume, result.report, volume.with_voxels(coverage))]


FILES = ("fused.npy", "coverage.npy")
"""What the worker writes into the job's folder: the result, and how many series measured each of its voxels."""


def fuse_message(message: Mapping[str, Any], *, progress: Progress, cancelled: Cancelled) -> Fused:
    """Does what a message asks for, in the worker.

    Args:
        message: from ``FusionJob.message``.
        progress, cancelled: as for ``fuse``.

    Raises:
        MedSRError: as ``fuse``.
    """
    from MedSRLib.fusion.fuse import fuse

    volumes = [_read(one) for one in message["inputs"]]
    options = FusionOptions.from_json(message["options"])
    fused = fuse(
        volumes,
        names=message["names"],
        model=message["model"],
        progress=progress,
        cancelled=cancelled,
        **options.to_json(),
    )
    if cancelled():
        raise EnhancementCancelled("cancelled: nothing was written")
    return fused


def _read(one: Mapping[str, Any]) -> Volume:
    voxels = np.load(one["input"], mmap_mode="r", allow_pickle=False)
    affine = np.array(one["affine"])
    frame = one["frame_of_reference"]
    return Volume(np.asarray(voxels), affine, one["modality"], one["slice_thickness"], frame_of_reference=frame)


def _input(folder: Path, index: int) -> Path:
    return folder / f"input-{index}.npy"
