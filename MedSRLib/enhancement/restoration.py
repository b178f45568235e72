"""How enhancement carries out a task: what it assumes of the acquisition, what it reads, and the slabs it hands out.

All but ``slabs`` is known before anything runs and without torch, for the plan and for the estimate of time and memory.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.request import Options
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.slabs import Box, Generator, Slab
    from MedSRLib.enhancement.transfer import Measurement

_SLAB_VOXELS = 2**20
"""Voxels of the generator's input finished at a time; bounds the float32 copies beside the result."""
_PROGRESS_STEPS = 20
"""On a CPU a volume is handed out in at least so many slabs where it has the planes, so that progress moves."""


class Restoration(ABC):
    """One task. Shapes are in array order [k, j, i].

    Attributes:
        by_slices: the slice axis is another one than the two of the pixels, so that it has to be known.
        runs: of the generator for an uncertainty map.
        estimates_point_spread: A blurs by an in-plane point spread, which can be found out from the slices.
    """

    by_slices: ClassVar[bool] = True
    runs: ClassVar[int]
    estimates_point_spread: ClassVar[bool] = False

    def acquisition(self, volume: Volume, manifest: Manifest, options: Options) -> AcquisitionModel:
        """A as far as the file and the user say it, and the model's assumptions for the rest.

        Args:
            volume: the input.
            manifest: of the model.
            options: checked against the manifest.

        Raises:
            InputError: the volume is not one for this task.
        """
        known = manifest.in_plane_fwhm if options.point_spread is None else options.point_spread
        acquisition = AcquisitionModel(manifest.factors, slice_thickness=thickness_of(volume, manifest, options))
        return acquisition.with_point_spread(known)

    def warnings(self, volume: Volume, manifest: Manifest, acquisition: AcquisitionModel) -> list[str]:
        """Sentences for what this task cannot do well, or not wholly, for this volume.

        Args:
            volume: the input.
            manifest: of the model.
            acquisition: as ``acquisition`` gave it.
        """
        return []

    def slices_around(self, manifest: Manifest) -> int | None:
        """Low-resolution slices beside the region that its result depends on; None: as voxels along the other axes."""
        return None

    @abstractmethod
    def voxels_seen(self, low: tuple[int, ...], high: tuple[int, ...]) -> int:
        """Voxels of the generator's input for a measurement of shape ``low`` and a result of shape ``high``."""

    def voxels_finished(self, low: tuple[int, ...], high: tuple[int, ...]) -> int:
        """Voxels of the result in the largest slab."""
        return math.prod(high) * min(math.prod(low), _SLAB_VOXELS) // math.prod(low)

    def bytes_kept(self, high: tuple[int, ...]) -> int:
        """Memory that is kept beside the slabs and the result while all of it is worked on."""
        return 0

    @abstractmethod
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
        """The estimates, before the projection onto volumes that agree with the measurement.

        Args:
            y: the measurement, on the device.
            shape: high-resolution shape.
            cut: voxels of it that are kept; a slab that holds none of them may be left out.
            manifest: of the model.
            acquisition: A.
            generator: what is run.
            uncertainty: run it on every flip, where ``runs`` say so on every transposition too, and hand out mean and
                spread.
            done: told the finished fraction.
        """


def thickness_of(volume: Volume, manifest: Manifest, options: Options) -> float:
    """Slice thickness over spacing: the volume's, else the width that was said, else the model's."""
    said = options.point_spread
    width = manifest.in_plane_fwhm if said is None or isinstance(said, str) else said
    return volume.slice_thickness / volume.spacing[2] if volume.slice_thickness else width


def thickness_source(volume: Volume, options: Options) -> str:
    """Where ``thickness_of`` has it from: "header", "given" or "assumed"."""
    if volume.slice_thickness:
        return "header"
    return "assumed" if options.point_spread is None or isinstance(options.point_spread, str) else "given"


def plane_slabs(planes: int, voxels: int, device: str = "cpu") -> Iterator[slice]:
    """Planes finished at a time: few enough for the memory, and for progress that moves.

    A GPU that finishes a volume within a second or two is given so many at a time that it is kept busy.

    Args:
        planes: how many there are.
        voxels: of one plane.
        device: where they are worked on, a torch device type.
    """
    most = _SLAB_VOXELS // voxels
    thickness = max(1, most if device == "cuda" else min(most, -(-planes // _PROGRESS_STEPS)))
    for start in range(0, planes, thickness):
        yield slice(start, min(planes, start + thickness))
