"""The volumes of a run: found, read, checked, and kept in memory in their own dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.pairs import ISOTROPIC, TrainingVolume, find_volumes
from MedSRLib.volumes.files import read_volume
from MedSRLib.volumes.volume import Volume


@dataclass(frozen=True)
class TrainingData:
    """The volumes of a run.

    Args:
        train: ready to be sampled.
        validation: held-out volumes by name, cut to the part that is scored.
        spacing_mm: smallest and largest pixel of the low-resolution training images.
        names: files that were trained on.
        modalities: the domain: those that the configuration states, else those found.
        warnings: sentences about data that may not be what was meant.
    """

    train: list[TrainingVolume]
    validation: dict[str, Volume]
    spacing_mm: tuple[float, float]
    names: list[str]
    modalities: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_data(config: TrainingConfig, folder: Path) -> TrainingData:
    """Finds and reads the volumes a configuration names; no volume is in both sets.

    Args:
        config: of the run.
        folder: that the configuration's paths are relative to.

    Raises:
        InputError: a pattern matches nothing, a file cannot be read, a volume is smaller than a patch, or a held-out
            volume has no thin slices to compare with.
    """
    held_out = find_volumes(config.data.validation, folder)
    stacks = find_volumes(config.data.stacks, folder)
    paths = [path for path in find_volumes(config.data.train, folder) if path not in held_out]
    side = config.pairs.patch * config.scale[-1]
    train, pixels, found = [], [], set()
    for path in paths:
        volume = read_volume(path)
        _require_size(volume, side, path.name, config.task)
        train.append(TrainingVolume.of(volume, side, is_stack=path in stacks))
        pixels += [size * config.factors[0] for size in volume.spacing[:2]]
        found.add(volume.modality)
    if not train:
        raise InputError("data.validation takes every volume of data.train: leave some to train on")
    validation = {path.name: _scored_part(read_volume(path), path.name, config) for path in held_out}
    return TrainingData(
        train,
        validation,
        (min(pixels), max(pixels)),
        [path.name for path in paths],
        config.modalities or tuple(sorted(found)),
        tuple(_modality_warnings(config.modalities, found)),
    )


def _require_size(volume: Volume, side: int, name: str, task: str) -> None:
    """Raises InputError when no patch fits."""
    if min(volume.shape[1:]) < side:
        raise InputError(
            f"{name} has slices of {volume.shape[2]} x {volume.shape[1]} voxels and a patch takes "
            f"{side} x {side}: leave it out or make pairs.patch smaller"
        )
    if task == "volumetric" and volume.shape[0] < side:
        raise InputError(
            f"{name} has {volume.shape[0]} slices and a patch takes {side}: leave it out or make pairs.patch smaller"
        )


def _modality_warnings(stated: Sequence[str], found: set[str]) -> list[str]:
    """NIfTI and NRRD do not say what they hold: volumes that do not look like CT count as "other"."""
    says = ", ".join(stated)
    strange = {one for one in found - set(stated) if one != "other"}
    if stated and strange:
        looks = " and ".join(sorted(strange))
        return [f"some volumes look like {looks} and modalities says {says}: correct it, or leave those volumes out"]
    if "other" in found and tuple(stated) == ("CT",):
        return ["some volumes do not look like CT and modalities says CT: correct it, or leave those volumes out"]
    if not stated and len(found) > 1:
        mixed = " and ".join(sorted(found))
        return [f"{mixed} are mixed in one model: name them in modalities if that is meant, or train one model each"]
    return []


def _scored_part(volume: Volume, name: str, config: TrainingConfig) -> Volume:
    """The central slices, or for tasks that change k the central cube."""
    if config.task == "inplane":
        return volume.with_voxels(_centre(volume.voxels, (config.data.validation_slices, *volume.shape[1:])))
    cube = _centre(volume.voxels, (config.data.validation_side,) * 3)
    if config.task == "volumetric":
        return volume.with_voxels(cube)
    if max(volume.spacing) > ISOTROPIC * min(volume.spacing):
        raise InputError(
            f"{name} in data.validation has voxels of {' x '.join(f'{size:.2f}' for size in volume.spacing)} mm: "
            f"through-plane models are validated on nearly isotropic volumes, choose another"
        )
    # Enhancement makes slices as far apart as the pixels: with an isotropic affine that is the reference's own grid.
    return volume.with_voxels(cube, np.diag([*[volume.spacing[0]] * 3, 1.0]))


def _centre(voxels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    starts = [max(0, (n - wanted) // 2) for n, wanted in zip(voxels.shape, shape, strict=True)]
    box = tuple(slice(start, start + wanted) for start, wanted in zip(starts, shape, strict=True))
    return np.ascontiguousarray(voxels[box])
