"""Which series can be fused: refused here, in one sentence, is what would give an image that looks right and is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from MedSRLib.errors import InputError, UsageError
from MedSRLib.volumes.checks import require_enhanceable
from MedSRLib.volumes.volume import Volume

LEAST_ANGLE = 30.0
"""Degrees between slices of two series that measure different things of the anatomy."""
_LARGEST_GAP = 2.0
"""Slices farther apart than so many thicknesses leave more anatomy out than they measure."""
_NOTED_GAP = 1.3
LEAST_OVERLAP = 0.1
_SAMPLES = 16


def require_fusable(volumes: Sequence[Volume], names: Sequence[str], *, registration: bool) -> list[str]:
    """Refuse what cannot become one volume, by what the files say alone.

    Args:
        volumes: the series.
        names: of the series, for the sentences.
        registration: whether their places will be looked for.

    Returns:
        Sentences for the report, on what is unusual.

    Raises:
        UsageError: fewer than two series.
        InputError: a series is not an image of several slices, has gaps, is of another modality or frame of reference;
            or all series are parallel.
    """
    for volume, name in zip(volumes, names, strict=True):
        try:
            require_enhanceable(volume)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    return require_one_anatomy(volumes, names, registration=registration)


def require_one_anatomy(volumes: Sequence[Volume], names: Sequence[str], *, registration: bool) -> list[str]:
    """The same without a look at the voxels."""
    if len(volumes) < 2:
        raise UsageError("fusing takes two or more series, and there is one: use 'medsr enhance' for a single series")
    notes = []
    for volume, name in zip(volumes, names, strict=True):
        if volume.shape[0] < 2:
            raise InputError(f"{name} has one slice, which is no series: choose a series of several slices")
        spacing, thickness = volume.spacing[2], volume.slice_thickness
        if thickness and spacing > _LARGEST_GAP * thickness:
            raise InputError(
                f"{name} has gaps: its slices are {thickness:g} mm thick and {spacing:g} mm apart; choose a series "
                "without gaps between its slices"
            )
        if thickness and spacing > _NOTED_GAP * thickness:
            notes.append(f"{name} leaves {spacing - thickness:.3g} mm between its slices that it did not measure")
    known = {volume.modality for volume in volumes} - {"other"}
    if len(known) > 1:
        listed = ", ".join(f"{n} ({v.modality})" for v, n in zip(volumes, names, strict=True))
        raise InputError(f"the series have different contrasts, which cannot be one volume: {listed}")
    if largest_angle(volumes) < LEAST_ANGLE:
        raise InputError(
            "all series are parallel, so none measures what the others leave open: add one of another orientation"
        )
    if not registration:
        _require_one_frame(volumes, names)
    return notes


def largest_angle(volumes: Sequence[Volume]) -> float:
    """Degrees between the slices of the two series that differ most in orientation, 0 to 90."""
    normals = []
    for volume in volumes:
        normal = np.cross(volume.affine[:3, 0], volume.affine[:3, 1])
        normals.append(normal / np.linalg.norm(normal))
    cosines = np.abs(np.array(normals) @ np.array(normals).T)
    return float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))))


def of_one_frame(first: Volume, second: Volume) -> bool:
    """Whether two volumes have one frame of reference, as far as their files say."""
    frames = {first.frame_of_reference, second.frame_of_reference}
    return None in frames or len(frames) == 1


def require_overlap(first: Volume, second: Volume, motion: np.ndarray, name: str) -> None:
    """Refuse a series that lies elsewhere.

    Args:
        first: the series that the others are placed against.
        second: another one.
        motion: its millimetres to the first one's, 4x4.
        name: of the second, for the sentence.

    Raises:
        InputError: less than a tenth of the smaller of the two boxes lies in the other.
    """
    share = overlap(first, second, motion)
    if share < LEAST_OVERLAP:
        raise InputError(
            f"{name} does not overlap with the first series ({100 * share:.0f} % of it): choose series of one place "
            "in the body"
        )


def overlap(first: Volume, second: Volume, motion: np.ndarray) -> float:
    """The part of the smaller of two boxes that lies in the other.

    Args:
        first, second: two volumes.
        motion: the second one's millimetres to the first one's, 4x4.
    """
    return max(_share(second, first, motion), _share(first, second, np.linalg.inv(motion)))


def _share(inner: Volume, outer: Volume, motion: np.ndarray) -> float:
    """The part of one box that lies in another."""
    grid = [(np.arange(_SAMPLES) + 0.5) / _SAMPLES * n - 0.5 for n in reversed(inner.shape)]
    points = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, 3)
    to_outer = np.linalg.inv(outer.affine) @ motion @ inner.affine
    places = points @ to_outer[:3, :3].T + to_outer[:3, 3]
    size = np.array(outer.shape[::-1])
    return float(((places >= -0.5) & (places <= size - 0.5)).all(axis=1).mean())


def _require_one_frame(volumes: Sequence[Volume], names: Sequence[str]) -> None:
    for volume, name in zip(volumes[1:], names[1:], strict=True):
        if not of_one_frame(volumes[0], volume):
            raise InputError(
                f"{name} has another frame of reference than {names[0]}, so the scanner does not say how they lie to "
                "each other: leave registration on"
            )
