"""The task "volumetric" in enhancement: the whole volume at once, for A does not leave any axis alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.request import Options
from MedSRLib.enhancement.restoration import Restoration
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.slabs import Box, Generator, Slab
    from MedSRLib.enhancement.transfer import Measurement


class VolumetricRestoration(Restoration):
    """One slab, run in 3D."""

    by_slices = False
    runs = 8

    def acquisition(self, volume: Volume, manifest: Manifest, options: Options) -> AcquisitionModel:
        """A; an MR acquisition in 3D truncates k-space along all three axes."""
        found = super().acquisition(volume, manifest, options)
        return replace(found, slice_profile="kspace") if found.in_plane_profile == "kspace" else found

    def voxels_seen(self, low: tuple[int, ...], high: tuple[int, ...]) -> int:
        """The measurement's."""
        return math.prod(low)

    def voxels_finished(self, low: tuple[int, ...], high: tuple[int, ...]) -> int:
        """All of them."""
        return math.prod(high)

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
        """The volume."""
        from MedSRLib.enhancement.slabs import Slab, add_base, base_image, run_ensemble, whole

        measured = y[...]
        output, spread = run_ensemble(generator, measured[None, None], uncertainty=uncertainty)
        base = base_image(measured, shape, acquisition, manifest.base_iterations)
        done(1.0)
        estimate = add_base(output[0], base, manifest)
        yield Slab(whole(y.shape), whole(shape), estimate, base, None if spread is None else spread[0])
