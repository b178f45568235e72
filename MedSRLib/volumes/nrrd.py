"""NRRD files to volumes: attached or detached, one volume or a list of frames, in any of the format's spaces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.forms import places
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.nrrd_header import NrrdHeader
from MedSRLib.volumes.payload import gather
from MedSRLib.volumes.sequence import VolumeSequence
from MedSRLib.volumes.units import millimetres, real, seconds
from MedSRLib.volumes.volume import Volume
from MedSRLib.volumes.voxel_types import exact_for_files

SUFFIXES = (".nrrd", ".nhdr")

_TO_RAS = {
    "ras": (1, 1, 1), "right-anterior-superior": (1, 1, 1),
    "las": (-1, 1, 1), "left-anterior-superior": (-1, 1, 1),
    "rast": (1, 1, 1), "right-anterior-superior-time": (1, 1, 1),
    "last": (-1, 1, 1), "left-anterior-superior-time": (-1, 1, 1),
}  # fmt: skip
"""Signs that lead to RAS; every other space is taken as LPS, as ITK and 3D Slicer do."""
_FRAMES = ("list", "time", "none", "???", "domain", "space", "")


@dataclass(frozen=True)
class _Axes:
    """Numbers of the header's axes: the spatial ones in the order of i, j, k, and the one of the frames."""

    spatial: list[int]
    frames: int | None


def read_nrrd(path: Path) -> VolumeSequence:
    """Every frame of a .nrrd or .nhdr.

    Raises:
        InputError: the file is damaged, cut short, in colour, complex, or has no voxels.
    """
    header = NrrdHeader.read(path)
    sizes, directions = header.sizes, header.vectors("spacedirections")
    axes = _axes(header, sizes, directions)
    affine, notes = _affine(header, axes, directions)
    if not places(affine):
        raise InputError(f"{path} gives no affine of finite numbers that places it: set its space directions anew")
    stored = gather(header.payloads(), int(np.prod(sizes, dtype=object)), header.dtype).reshape(sizes[::-1])
    order = [len(sizes) - 1 - axis for axis in reversed(axes.spatial)]
    frame = [] if axes.frames is None else [len(sizes) - 1 - axes.frames]
    others = [axis for axis in range(len(sizes)) if axis not in (*order, *frame)]
    voxels = stored.transpose(*others, *frame, *order)
    shape = [sizes[axis] for axis in reversed(axes.spatial)]
    count = 1 if axes.frames is None else sizes[axes.frames]
    frames = exact_for_files(voxels.reshape(count, *[1] * (3 - len(shape)), *shape))
    first = Volume(frames[0], affine, notes=tuple(notes))
    return VolumeSequence.from_frames(first, frames, step=_step(header, axes))


def _axes(header: NrrdHeader, sizes: list[int], directions: list[np.ndarray | None]) -> _Axes:
    """Which axes are spatial.

    Raises:
        InputError: colour, vectors, complex numbers, or axes that make no volume.
    """
    kinds = [kind.lower() for kind in header.per_axis("kinds")] or [""] * len(sizes)
    if (directions and len(directions) != len(sizes)) or len(kinds) != len(sizes):
        raise header.damaged(f"its kinds or space directions are not {len(sizes)}")
    spatial = []
    for axis, kind in enumerate(kinds):
        along = directions[axis] if directions else None
        if along is not None and along.size > 3 and not along[:3].any():
            continue  # a fourth dimension of space is time
        if along is not None or (not directions and (kind in ("domain", "space", "", "none", "???"))):
            spatial.append(axis)
    spatial, surplus = spatial[:3], spatial[3:]
    others = [axis for axis in range(len(sizes)) if axis not in spatial and sizes[axis] > 1]
    if len(spatial) < 2 or len(others) > 1 or any(sizes[axis] > 1 for axis in surplus[1:]):
        listed = " x ".join(map(str, sizes))
        raise InputError(
            f"{header.path} has {len(sizes)} axes ({listed}), which make no volume: save one 3D volume of it"
        )
    frames = others[0] if others else None
    if frames is not None and kinds[frames] not in _FRAMES:
        if kinds[frames] == "complex":
            raise InputError(f"{header.path} holds complex numbers: save their magnitude and choose that")
        raise InputError(
            f"{header.path} holds {sizes[frames]} values per voxel (colour or vectors): choose a grey-level volume"
        )
    return _Axes(spatial, frames)


def _affine(header: NrrdHeader, axes: _Axes, directions: list[np.ndarray | None]) -> tuple[np.ndarray, list[str]]:
    """IJK to RAS millimetres, and sentences on what is unusual."""
    notes: list[str] = []
    matrix = np.eye(4)
    rank = len(axes.spatial)
    if directions:
        columns = [directions[axis] for axis in axes.spatial]
        width = min(3, min(column.size for column in columns if column is not None))
        if width < rank:
            raise header.damaged("its space directions have too few numbers")
        for axis, column in enumerate(columns):
            assert column is not None
            matrix[:width, axis] = column[:width]
        if rank == 2 and width == 3:
            matrix[:3, 2] = _unit(np.cross(matrix[:3, 0], matrix[:3, 1]))
        origin = header.vectors("spaceorigin")
        if len(origin) == 1 and origin[0] is not None:
            if origin[0].size < width:
                raise header.damaged("its space origin has too few numbers")
            matrix[:width, 3] = origin[0][:width]
        factors = _unit_factors(header, header.per_axis("spaceunits")[:3], notes)
        matrix[: len(factors)] *= np.array(factors)[:, None]
    else:
        spacing, origin_without_space = _spacings(header, axes, notes)
        matrix[:rank, :rank] = np.diag(spacing)
        matrix[:rank, 3] = origin_without_space
        origin = header.vectors("spaceorigin")
        if len(origin) == 1 and origin[0] is not None:
            factors = _unit_factors(header, header.per_axis("spaceunits")[:3], notes) or [1.0]
            matrix[: len(origin[0][:3]), 3] = origin[0][:3] * np.resize(factors, len(origin[0][:3]))
            notes.append("the header says where the volume begins, but not along which directions: those of its space")
    signs = _TO_RAS.get(header.fields.get("space", "").lower())
    return (LPS_TO_RAS if signs is None else np.diag([*signs, 1.0])) @ matrix, notes


def _spacings(header: NrrdHeader, axes: _Axes, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Spacing and origin along the spatial axes of a file without space directions."""
    spacings, mins, centerings = (header.per_axis(name) for name in ("spacings", "axismins", "centerings"))
    units = header.per_axis("units")
    factors = _unit_factors(header, [units[axis] if axis < len(units) else "" for axis in axes.spatial], notes)
    spacing, origin = np.ones(len(axes.spatial)), np.zeros(len(axes.spatial))
    made_up = False
    for number, axis in enumerate(axes.spatial):
        said = abs(_number(header, spacings, axis))
        made_up |= not said > 0
        spacing[number] = said if said > 0 else 1.0
        first = _number(header, mins, axis)
        if np.isfinite(first):
            half = 0.5 if axis < len(centerings) and centerings[axis] == "cell" else 0.0
            origin[number] = first + half * spacing[number]
    notes += ["a pixel size that is not stated is taken as 1 mm"] if made_up else []
    return spacing * factors, origin * factors


def _number(header: NrrdHeader, words: list[str], axis: int) -> float:
    try:
        return real(words[axis]) if axis < len(words) else float("nan")
    except ValueError:
        raise header.damaged(f"{words[axis]!r} is no number") from None


def _unit_factors(header: NrrdHeader, units: list[str], notes: list[str]) -> list[float]:
    """Millimetres for each unit; one that is not known is taken as millimetres, and said."""
    factors = []
    for unit in units:
        factor = millimetres(unit) if unit.strip() else 1.0
        if factor is None:
            notes.append(f"the unit {unit!r} is not known: its lengths are taken as millimetres")
        factors.append(1.0 if factor is None else factor)
    if any(factor != 1 for factor in factors):
        notes.append(f"the header is in {'/'.join(dict.fromkeys(units))}: millimetres are made of them")
    return list(factors)


def _step(header: NrrdHeader, axes: _Axes) -> float | None:
    """Seconds between frames, where the frames' axis has a spacing in a unit of time."""
    if axes.frames is None:
        return None
    units = header.per_axis("units")
    factor = seconds(units[axes.frames]) if axes.frames < len(units) else None
    spacing = _number(header, header.per_axis("spacings"), axes.frames)
    return spacing * factor if factor is not None and spacing > 0 else None


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector
