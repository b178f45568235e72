"""Parts of a volume that are wanted at once: a job whose results come one by one, from what the worker keeps ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib.enhancement.request import Options, VoxelBox
from MedSRLib.jobs.job import described
from MedSRLib.jobs.messages import Done, Part
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.result import Enhanced


@dataclass(frozen=True, eq=False)
class PreviewJob:
    """Parts of one volume, in the order in which they are wanted.

    Args:
        kept: names volume, model and options together. The worker keeps them ready until it gets something else to do,
            so that the next job of that name is answered at once.
        volume: the input; its voxels are written once, as they are when the job is submitted.
        model: name in the catalogue, model folder, or "auto".
        options: of the enhancement.
        boxes: of the input.
        on_part: told the box and the voxels of each part as soon as it is there. A box may be larger than what was
            asked for, where that comes of it all the same.
    """

    kept: str
    volume: Volume
    model: str | Path
    options: Options
    boxes: tuple[VoxelBox, ...]
    on_part: Callable[[VoxelBox, np.ndarray], None]

    def bytes_needed(self) -> int:
        """The input's; parts are read and removed as they come."""
        return self.volume.voxels.nbytes

    def write(self, folder: Path) -> None:
        """The input's voxels."""
        np.save(folder / "input-0.npy", self.volume.voxels, allow_pickle=False)

    def message(self, folder: Path) -> dict[str, Any]:
        """The order "preview" of ``messages``, with the input where it was written."""
        path = folder / "input-0.npy"
        source = {**described(self.volume), "roi": None, "input": str(path)} if path.exists() else None
        return {
            "do": "preview",
            "kept": self.kept,
            "model": str(self.model),
            "options": self.options.to_json(),
            "boxes": self.boxes,
            "folder": str(folder),
            **({} if source is None else {"input": source}),
        }

    def take(self, part: Part, folder: Path) -> None:
        """Reads a part, which is not kept as a file."""
        path = folder / part.file
        voxels = np.load(path, allow_pickle=False)
        path.unlink(missing_ok=True)
        self.on_part(part.box, voxels)

    def results(self, done: Done, folder: Path) -> list[Enhanced]:
        """All parts were told before."""
        return []
