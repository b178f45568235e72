"""Parts of a volume that are enhanced one by one, in the order in which somebody wants to see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from MedSRLib.enhancement.enhancer import load_enhancer
from MedSRLib.enhancement.extent import region_of
from MedSRLib.enhancement.preparation import Preparation
from MedSRLib.enhancement.request import USUAL, Input, Options, VoxelBox
from MedSRLib.models.catalogue import Model
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.volumes.checks import require_enhanceable
from MedSRLib.volumes.volume import Volume


class Preview:
    """A volume and a model that are kept ready. A part equals that part of what ``enhance`` makes of the volume.

    Args:
        volume: the measurement y.
        model: as for ``enhance``.
        options: of the enhancement; an uncertainty map is not made.

    Raises:
        MedSRError: as ``enhance``.
    """

    def __init__(self, volume: Volume, model: str | Path | Model = "auto", options: Options = USUAL) -> None:
        self._cancelled: Cancelled | None = None
        prepared = Preparation.of(Input(volume), fill_nan=options.fill_nan)
        require_enhanceable(prepared.volume, force=options.force)
        self._enhancer = load_enhancer(model, replace(options, uncertainty=False), cancelled=self._is_cancelled)
        self._prepared = prepared.along_slices() if self._enhancer.by_slices else prepared

    def parts(
        self,
        boxes: Sequence[VoxelBox],
        *,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> Iterator[tuple[VoxelBox, np.ndarray]]:
        """Enhances parts, each with the box of the input that it covers.

        Where k-space was truncated all of a slice is needed for any part of it: then whole slices are handed out.

        Args:
            boxes: of the input, one slice or more each, in order.
            progress: told while point spread and noise are estimated, once for all calls.
            cancelled: asked before every tile.

        Yields:
            The box and the voxels there, [k, j, i], of the input's dtype.

        Raises:
            UsageError: a box is empty or outside the volume.
            EnhancementCancelled: ``cancelled()`` returned true.
        """
        self._cancelled = cancelled
        for box in boxes:
            region_of(self._prepared.source.volume, box)
        whole = self._enhancer.takes_whole_rows(self._prepared.volume, progress)
        wanted = dict.fromkeys(self._whole_slice(box) if whole else box for box in boxes)
        for box in wanted:
            part = replace(self._prepared, source=replace(self._prepared.source, roi=box))
            enhanced = part.finish(next(self._enhancer.enhance([part.input])))
            yield box, enhanced.volume.voxels

    def _whole_slice(self, box: VoxelBox) -> VoxelBox:
        """A box made as large as its slices."""
        n_k, n_j, n_i = self._prepared.source.volume.shape
        full = [0, n_i, 0, n_j, 0, n_k]
        axis = self._prepared.axis
        full[2 * axis : 2 * axis + 2] = box[2 * axis : 2 * axis + 2]
        i0, i1, j0, j1, k0, k1 = full
        return i0, i1, j0, j1, k0, k1

    def _is_cancelled(self) -> bool:
        return self._cancelled is not None and self._cancelled()
