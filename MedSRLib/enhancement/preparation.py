"""What is done to a volume before it is enhanced, and undone to the result: gaps, offsets, slices along i or j."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from MedSRLib.enhancement.extent import region_of
from MedSRLib.enhancement.request import Input
from MedSRLib.enhancement.turning import K, slice_axis, turned, turned_back, turned_roi
from MedSRLib.volumes.gaps import Gaps, find_gaps
from MedSRLib.volumes.intensity import cast_like, large_offset
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.result import Enhanced


@dataclass(frozen=True, eq=False)
class Preparation:
    """A volume ready for the network, and the way back.

    Args:
        source: as it was asked for.
        volume: what to enhance: gaps filled, the offset taken off (then float32), slices along k.
        gaps: of the source, or None.
        offset: grey levels to add to the result.
        axis: of the source that its slices lie along.
    """

    source: Input
    volume: Volume
    gaps: Gaps | None
    offset: float
    axis: int = K

    @classmethod
    def of(cls, source: Input, *, fill_nan: bool = False) -> Preparation:
        """Prepares a volume; one that needs nothing is left as it is.

        Args:
            source: the input.
            fill_nan: whether voxels that are not finite are gaps; else they are left to be refused.
        """
        gaps = find_gaps(source.volume, fill_nan=fill_nan)
        volume = source.volume if gaps is None else gaps.filled
        offset = 0.0
        if np.isfinite(volume.voxels).all() if volume.voxels.dtype.kind == "f" else True:
            offset = large_offset(volume.voxels)
        if offset:
            volume = volume.with_voxels((volume.voxels.astype(np.float64) - offset).astype(np.float32))
        return cls(source, volume, gaps, offset)

    def along_slices(self) -> Preparation:
        """The same with the slices along k."""
        axis = slice_axis(self.source.volume)
        return self if axis == K else replace(self, volume=turned(self.volume, axis), axis=axis)

    @property
    def input(self) -> Input:
        """What to enhance.

        Raises:
            UsageError: the region is empty or outside the volume.
        """
        region_of(self.source.volume, self.source.roi)  # speaks of the axes that were asked about
        if self.axis == K:
            return replace(self.source, volume=self.volume)
        return Input(self.volume, turned_roi(self.source.roi, self.axis))

    def finish(self, enhanced: Enhanced) -> Enhanced:
        """The result in the source's grey levels and type, with its gaps, and its notes in the report."""
        if self.axis != K:
            enhanced = turned_back(enhanced, self.axis, self.source.roi)
        volume, spread = enhanced.volume, enhanced.uncertainty
        notes = list(self.source.volume.notes)
        if self.offset:
            levels = volume.voxels.astype(np.float64) + self.offset
            volume = volume.with_voxels(cast_like(levels, self.source.volume.voxels.dtype))
        if self.gaps is not None:
            volume = self.gaps.put_back(volume)
            spread = None if spread is None else self.gaps.put_back(spread, keep_values=False)
            notes.append(self.gaps.note)
        report = replace(enhanced.report, notes=(*notes, *enhanced.report.notes))
        return replace(enhanced, volume=volume, uncertainty=spread, report=report)
