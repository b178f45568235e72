"""Several volumes of one place, measured one after the other or in different ways: what a 4D file holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from MedSRLib.errors import InputError, UsageError
from MedSRLib.volumes.volume import Volume

_LISTED_NAMES = 6


@dataclass(frozen=True, eq=False)
class VolumeSequence:
    """The frames of a time series, of several echoes, b-values or phases; or the one volume of an ordinary file.

    Args:
        volumes: at least one, all of one shape and place.
        names: what each frame is, "" where the file does not say.
        step: seconds from one frame to the next; None where frames are no times, or not evenly spaced.
        of_one_kind: whether they belong together; False for magnitude and phase, or two views in one series, of which
            one has to be chosen.
    """

    volumes: tuple[Volume, ...]
    names: tuple[str, ...]
    step: float | None = None
    of_one_kind: bool = True

    @classmethod
    def from_frames(
        cls, first: Volume, frames: np.ndarray, names: Sequence[str] = (), step: float | None = None
    ) -> VolumeSequence:
        """Frames [n, k, j, i] that share all but the voxels with ``first``."""
        volumes = tuple(replace(first, voxels=voxels) for voxels in frames)
        return cls(volumes, tuple(names) or ("",) * len(volumes), step)

    def __len__(self) -> int:
        return len(self.volumes)

    def chosen(self, frame: int | None, source: object) -> VolumeSequence:
        """The frames to work on: the one that is asked for, or all of them.

        Args:
            frame, source: as for ``choose``.

        Raises:
            UsageError: there is no frame of that number.
            InputError: they are of several kinds, and none is chosen.
        """
        if frame is None and self.of_one_kind:
            return self
        volume = self.choose(frame, source)
        return VolumeSequence((volume,), ("" if frame is None else self.names[frame - 1],))

    def choose(self, frame: int | None, source: object) -> Volume:
        """One volume of the sequence.

        Args:
            frame: its number, from 1; None where there is only one.
            source: the file, named in the sentence.

        Raises:
            UsageError: there is no frame of that number.
            InputError: there are several, and none is chosen.
        """
        count = len(self.volumes)
        if frame is not None:
            if not 1 <= frame <= count:
                has = f"{count} frames, numbered from 1" if count > 1 else "one frame"
                raise UsageError(f"{source} has {has}: there is no frame {frame}")
            return self.volumes[frame - 1]
        if count > 1:
            what = "frames" if self.of_one_kind else "images of several kinds or views"
            raise InputError(f"{source} has {count} {what}{self._listed()}, and one is wanted: choose it with --frame")
        return self.volumes[0]

    def _listed(self) -> str:
        known = [f"{number}: {name}" for number, name in enumerate(self.names, 1) if name]
        if not known:
            return ""
        more = [] if len(known) <= _LISTED_NAMES else ["..."]
        return f" ({', '.join([*known[:_LISTED_NAMES], *more])})"
