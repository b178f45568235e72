"""One enhancement as it is captured when the user clicks, and who is told how it goes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from MedSRLib.enhancement.estimate import estimate
from MedSRLib.enhancement.request import USUAL, Input, Options
from MedSRLib.errors import MedSRError
from MedSRLib.jobs.messages import Done, Part
from MedSRLib.models.installed import manifest_for

if TYPE_CHECKING:
    from MedSRLib.enhancement.result import Enhanced
    from MedSRLib.volumes.volume import Volume


class Order(Protocol):
    """What the worker is asked for, and what becomes of its answers. The runner makes and removes the folder."""

    @property
    def kept(self) -> str:
        """Names what the worker keeps in memory for further jobs, "" for nothing."""

    def bytes_needed(self) -> int:
        """About what the files take."""

    def write(self, folder: Path) -> None:
        """Writes what the worker reads; raises OSError."""

    def message(self, folder: Path) -> dict[str, Any]:
        """What is said to the worker, without the number of the job; only what was written is spoken of."""

    def take(self, part: Part, folder: Path) -> None:
        """Takes a part that is there already; raises OSError or ValueError where it cannot be read."""

    def results(self, done: Done, folder: Path) -> list[Any]:
        """What the caller is given in the end; raises OSError, ValueError or InputError where it cannot be read."""


@dataclass(frozen=True)
class Job:
    """Everything that ``enhance_all`` needs, captured when the user clicks.

    Args:
        inputs: one volume, or the frames of a sequence.
        model: name in the catalogue, model folder, or "auto".
        options: for all inputs.
    """

    inputs: tuple[Input, ...]
    model: str | Path = "auto"
    options: Options = USUAL
    kept = ""

    def bytes_needed(self) -> int:
        """About what the files take: inputs, results, and their uncertainty maps in float32.

        Where the model does not fit the input, which the worker will say, only the inputs are counted.
        """
        total = 0
        for one in self.inputs:
            voxels = one.volume.voxels
            total += voxels.nbytes
            with contextlib.suppress(MedSRError):
                manifest = manifest_for(str(self.model), "CPU")
                shape, spacing = one.volume.shape, one.volume.spacing
                expected = estimate(shape, voxels.dtype, manifest, "CPU", self.options, spacing=spacing, roi=one.roi)
                total += math.prod(expected.shape) * (voxels.itemsize + (4 if self.options.uncertainty else 0))
        return total

    def write(self, folder: Path) -> None:
        """The voxels of each input."""
        for index, one in enumerate(self.inputs):
            np.save(_files(folder, index)["input"], one.volume.voxels, allow_pickle=False)

    def message(self, folder: Path) -> dict[str, Any]:
        """The order "enhance" of ``messages``."""
        inputs = [
            {
                **described(one.volume),
                "roi": one.roi,
                **{kind: str(path) for kind, path in _files(folder, index).items()},
            }
            for index, one in enumerate(self.inputs)
        ]
        return {"do": "enhance", "model": str(self.model), "options": self.options.to_json(), "inputs": inputs}

    def take(self, part: Part, folder: Path) -> None:
        """There are no parts."""

    def results(self, done: Done, folder: Path) -> list[Enhanced]:
        """One an input; their voxels are mapped files."""
        from MedSRLib.enhancement.result import Enhanced, FidelityReport

        results = []
        for index, (one, result) in enumerate(zip(self.inputs, done.results, strict=True)):
            files = _files(folder, index)
            volume = one.volume.with_voxels(_mapped(files["output"]), result.affine)
            uncertainty = volume.with_voxels(_mapped(files["uncertainty"])) if result.uncertainty else None
            results.append(Enhanced(volume, FidelityReport.from_json(result.report), uncertainty))
        return results


@dataclass(frozen=True)
class Callbacks:
    """What the caller of a job is told; exactly one of the last three ends it, and the runner is idle by then.

    Args:
        on_progress: fraction 0..1, message, seconds left or None.
        on_done: one result an input, as ``enhance_all`` gives them. Their voxels are read-only and lie in files that
            are removed when the callback returns: copy what is to stay.
        on_error: one sentence that says what to do, and the end of the worker's log.
        on_cancelled: nothing was made.
    """

    on_progress: Callable[[float, str, float | None], None]
    on_done: Callable[[list[Any]], None]
    on_error: Callable[[str, str], None]
    on_cancelled: Callable[[], None]


def described(volume: Volume) -> Mapping[str, Any]:
    """What of a volume is said to the worker beside its voxels."""
    return {"affine": volume.affine, "modality": volume.modality, "slice_thickness": volume.slice_thickness}


def _files(folder: Path, index: int) -> dict[str, Path]:
    """The files of one input, by their names in a message."""
    return {kind: folder / f"{kind}-{index}.npy" for kind in ("input", "output", "uncertainty")}


def _mapped(path: Path) -> np.ndarray:
    voxels: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return voxels
