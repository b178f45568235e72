"""The task "inplane" in enhancement: slice by slice, with its neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.restoration import Restoration, plane_slabs
from MedSRLib.models.manifest import Manifest

if TYPE_CHECKING:
    from MedSRLib.enhancement.slabs import Box, Generator, Slab
    from MedSRLib.enhancement.transfer import Measurement


class InPlaneRestoration(Restoration):
    """Slices are finished by themselves; each is run with its neighbours as channels."""

    runs = 8
    estimates_point_spread = True

    def slices_around(self, manifest: Manifest) -> int:
        """The neighbours that are fed as channels."""
        return manifest.slices // 2

    def voxels_seen(self, low: tuple[int, ...], high: tuple[int, ...]) -> int:
        """The measurement's."""
        return math.prod(low)

    def slabs(
        self,
        y: Measurement,
        shape: tuple[int, ...],
        cut: Box,
        manifest: Manifest,
        acquisition: AcquisitionModel,
        generator: Generator,
        *,
        uncertainty: bool,
        done: Callable[[float], None],
    ) -> Iterator[Slab]:
        """Some of the slices that are kept at a time; the others are there as their neighbours only."""
        from MedSRLib.enhancement.slabs import (
            Slab,
            add_base,
            base_image,
            neighbourhoods,
            run_ensemble,
            with_neighbours,
        )

        count, rows, columns = y.shape
        kept = cut[0]
        for some in plane_slabs(kept.stop - kept.start, rows * columns, y.device.type):
            slab = slice(kept.start + some.start, kept.start + some.stop)
            around = with_neighbours(slab, count, manifest.slices)
            planes = y[around]
            seen = neighbourhoods(planes, slab, count, manifest.slices)
            output, spread = run_ensemble(generator, seen, uncertainty=uncertainty, turned=True)
            own = planes[slab.start - around.start : slab.stop - around.start]
            base = base_image(own, tuple(output.shape), acquisition, manifest.base_iterations)
            low, high = (slab, slice(0, rows), slice(0, columns)), (slab, slice(0, shape[1]), slice(0, shape[2]))
            yield Slab(low, high, add_base(output, base, manifest), base, spread)
            done(some.stop / (kept.stop - kept.start))
