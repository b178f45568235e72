"""What is done to a volume before it is enhanced, and undone to the result: gaps, and a large offset of grey levels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from MedSRLib.volumes.gaps import Gaps, find_gaps
from MedSRLib.volumes.intensity import cast_like, large_offset
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.result import Enhanced


@dataclass(frozen=True, eq=False)
class Preparation:
    """A volume ready for the network, and the way back.

    Args:
        source: as it was read.
        volume: what to enhance: gaps filled, the offset taken off (then float32).
        gaps: of the source, or None.
        offset: grey levels to add to the result.
    """

    source: Volume
    volume: Volume
    gaps: Gaps | None
    offset: float

    @classmethod
    def of(cls, source: Volume, *, fill_nan: bool = False) -> Preparation:
        """Prepares a volume; one that needs nothing is left as it is.

        Args:
            source: the input.
            fill_nan: whether voxels that are not finite are gaps; else they are left to be refused.
        """
        gaps = find_gaps(source, fill_nan=fill_nan)
        volume = source if gaps is None else gaps.filled
        offset = 0.0
        if np.isfinite(volume.voxels).all() if volume.voxels.dtype.kind == "f" else True:
            offset = large_offset(volume.voxels)
        if offset:
            volume = volume.with_voxels((volume.voxels.astype(np.float64) - offset).astype(np.float32))
        return cls(source, volume, gaps, offset)

    def finish(self, enhanced: Enhanced) -> Enhanced:
        """The result in the source's grey levels and type, with its gaps, and its notes in the report."""
        volume, spread = enhanced.volume, enhanced.uncertainty
        notes = list(self.source.notes)
        if self.offset:
            levels = volume.voxels.astype(np.float64) + self.offset
            volume = volume.with_voxels(cast_like(levels, self.source.voxels.dtype))
        if self.gaps is not None:
            volume = self.gaps.put_back(volume)
            spread = None if spread is None else self.gaps.put_back(spread, keep_values=False)
            notes.append(self.gaps.note)
        report = replace(enhanced.report, notes=(*notes, *enhanced.report.notes))
        return replace(enhanced, volume=volume, uncertainty=spread, report=report)
