"""Which volumes look as if they were series of one image, by their names and where they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from MedSRLib.fusion.checks import LEAST_ANGLE, LEAST_OVERLAP, largest_angle, of_one_frame, overlap
from MedSRLib.fusion.names import common_words
from MedSRLib.volumes.volume import Volume

_THICK = 1.5
"""Slices so many pixels apart leave something open that another series can tell."""
_SERIES_NUMBER = re.compile(r"^\d+\s*:\s*")
"""What Slicer puts before the description of a DICOM series."""


def suggest(first: Volume, name: str, others: Sequence[Volume], names: Sequence[str]) -> list[bool]:
    """For each of the other volumes whether it is proposed to be fused with the first one.

    Proposed are thick slices of the first one's frame of reference and place, named as the first one but for a
    direction, if one of them at least lies in another direction.

    Args:
        first: the volume that the result will lie as.
        name: its name.
        others: further volumes; their voxels are not looked at.
        names: theirs.
    """
    wanted = _common(name)
    fitting = [
        _common(own) == wanted
        and volume.shape[0] > 1
        and volume.spacing[2] >= _THICK * min(volume.spacing[:2])
        and volume.modality in (first.modality, "other")
        and of_one_frame(first, volume)
        and overlap(first, volume, np.eye(4)) >= LEAST_OVERLAP
        for volume, own in zip(others, names, strict=True)
    ]
    chosen = [volume for volume, fits in zip(others, fitting, strict=True) if fits]
    if largest_angle([first, *chosen]) < LEAST_ANGLE:
        return [False] * len(others)
    return fitting


def _common(name: str) -> str:
    return common_words(_SERIES_NUMBER.sub("", name))[0].casefold()
