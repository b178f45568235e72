"""From slabs to voxels: the projection P, the grey levels, the figures of the report; all on the slabs' device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from MedSRLib.acquisition.interpolation import back_project, interpolate
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.report import FidelityTally
from MedSRLib.enhancement.slabs import Box, Slab
from MedSRLib.enhancement.transfer import Download, Measurement, as_written, restored
from MedSRLib.volumes.intensity import IntensityScaling


@dataclass(frozen=True)
class Finishing:
    """What is done to every slab.

    Everything is float32: of TF32's eleven bits the last is 0.05 % of the range, and it would come back with y itself.

    Args:
        scaling: of the volume.
        acquisition: A.
        iterations: of the back-projection; 0 leaves P out.
        floor, noise: normalised, as for ``back_project``.
        check: called before each slab; raises to cancel.
    """

    scaling: IntensityScaling
    acquisition: AcquisitionModel
    iterations: int
    floor: float | None
    noise: float
    check: Callable[[], None]

    def finish(
        self,
        slabs: Iterable[Slab],
        y: Measurement,
        cut: Box,
        voxels: np.ndarray,
        spread: np.ndarray | None,
        tally: FidelityTally,
    ) -> None:
        """Fills the result.

        Args:
            slabs: of y.
            y: the measurement.
            cut: voxels of all slabs that are kept.
            voxels: filled, of the shape of ``cut`` and the type of the result.
            spread: filled, float32; None for no uncertainty.
            tally: counts every slab.
        """
        results = Download(voxels, y.device)
        spreads = None if spread is None else Download(spread, y.device)
        for slab in slabs:
            self.check()
            x = back_project(
                slab.estimate, y[slab.low], self.acquisition, self.iterations, floor=self.floor, noise=self.noise
            )
            result = as_written(restored(x, self.scaling), voxels.dtype)
            part, kept = _overlap(slab.high, cut)
            results.put(result[part], kept)
            deviation = None if slab.spread is None else slab.spread * self.scaling.width
            if spreads is not None and deviation is not None:
                spreads.put(deviation[part], kept)
            grey = y.grey(slab.low)
            tally.add(grey, interpolate(grey, tuple(result.shape)), result, deviation)
        for download in (results, spreads):
            if download is not None:
                download.finish()


def _overlap(slab: Box, cut: Box) -> tuple[Box, Box]:
    """Where a slab meets the part that is returned: as a box of the slab and as a box of the result."""
    starts = [max(s.start, c.start) for s, c in zip(slab, cut, strict=True)]
    stops = [max(start, min(s.stop, c.stop)) for start, s, c in zip(starts, slab, cut, strict=True)]

    def relative(origin: Box) -> Box:
        k, j, i = (slice(a - o.start, b - o.start) for a, b, o in zip(starts, stops, origin, strict=True))
        return k, j, i

    return relative(slab), relative(cut)
