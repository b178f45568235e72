"""The volumes of a run: found, read, checked, and kept in memory in their own dtype.

Several threads read them. Nothing is kept on disk: even hundreds are decoded in a minute.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.errors import InputError
from MedSRLib.evaluation.protocol import crop_to_multiple
from MedSRLib.progress import Cancelled
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.discovery import find_volumes
from MedSRLib.training.reading import name_all, naming, read_image, read_side_by_side
from MedSRLib.training.samplers import SAMPLERS
from MedSRLib.training.training_volume import TrainingVolume
from MedSRLib.volumes.volume import Volume


@dataclass(frozen=True)
class TrainingData:
    """The volumes of a run.

    Args:
        train: ready to be sampled.
        validation: held-out volumes by name, cut to the part that is scored.
        spacing_mm: smallest and largest pixel of the low-resolution training images.
        names: files and DICOM folders that were trained on.
        modalities: the domain: those that the configuration states, else those found.
        warnings: sentences about data that may not be what was meant.
    """

    train: list[TrainingVolume]
    validation: dict[str, Volume]
    spacing_mm: tuple[float, float]
    names: list[str]
    modalities: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_data(
    config: TrainingConfig, folder: Path, cancelled: Cancelled | None = None, *, patch_key: str = "pairs.patch"
) -> TrainingData:
    """Finds and reads the volumes a configuration names; no volume is in both sets. A terminal is shown a bar.

    Args:
        config: of the run.
        folder: that the configuration's paths are relative to.
        cancelled: asked after every volume, where one process trains: several stop together, at an iteration.
        patch_key: what the patch's side is called in the user's configuration, for messages.

    Raises:
        EnhancementCancelled: ``cancelled()`` returned true.
        UsageError: a file is in no format that MedSR knows.
        InputError: a pattern matches nothing, a file cannot be read, a volume is no image or smaller than a patch, or
            a held-out volume has no thin slices to compare with.
    """
    held_out = find_volumes(config.data.validation, folder)
    stacks = find_volumes(config.data.stacks, folder)
    paths = [path for path in find_volumes(config.data.train, folder) if path not in held_out]
    if not paths:
        raise InputError("data.validation takes every volume of data.train: leave some to train on")
    if others := [str(path) for path in stacks if path not in paths and path not in held_out]:
        raise InputError(f"data.stacks names {others[0]}, which is not among data.train: name it there too (--data)")
    names = name_all([*paths, *held_out])
    volumes: list[Any] = read_side_by_side(
        [*paths, *held_out], _Prepare(config, names, stacks, held_out, patch_key), cancelled=cancelled
    )
    train = volumes[: len(paths)]
    pixels = [size * config.factors[0] for volume in train for size in volume.spacing[:2]]
    found = {volume.modality for volume in train}
    return TrainingData(
        train,
        dict(zip((names[path] for path in held_out), volumes[len(paths) :], strict=True)),
        (min(pixels), max(pixels)),
        [names[path] for path in paths],
        config.modalities or tuple(sorted(found)),
        tuple(_modality_warnings(config.modalities, found)),
    )


class _Prepare:
    """From a path to what the run keeps of it: a ``TrainingVolume``, or a held-out ``Volume`` cut to what is scored.

    Args:
        config: of the run.
        names: of the paths, for messages.
        stacks: paths whose slices are unrelated images.
        held_out: paths that are not trained on.
        patch_key: see ``read_data``.
    """

    def __init__(
        self,
        config: TrainingConfig,
        names: Mapping[Path, str],
        stacks: Collection[Path],
        held_out: Collection[Path],
        patch_key: str,
    ) -> None:
        self._config = config
        self._names = names
        self._stacks = stacks
        self._held_out = held_out
        self._patch_key = patch_key

    def __call__(self, path: Path) -> TrainingVolume | Volume:
        name, config = self._names[path], self._config
        kind = SAMPLERS[config.task]
        volume, is_stack = read_image(path, name)
        if path in self._held_out:
            scored = kind.scored_part(volume, name, config)
            with naming(name):
                crop_to_multiple(scored, AcquisitionModel(config.factors))  # said now, not at the first validation
            return scored
        side = config.pairs.patch * config.scale[-1]
        _require_size(volume, side, name, kind.fewest_slices(side), self._patch_key)
        if volume.modality == "other" and len(config.modalities) == 1 and config.modalities != ("CT",):
            volume = replace(volume, modality=config.modalities[0])  # the file does not say, and the user does
        return TrainingVolume.of(volume, side, is_stack=is_stack or path in self._stacks)


def _require_size(volume: Volume, side: int, name: str, fewest_slices: int, patch_key: str) -> None:
    """Raises InputError when no patch fits."""
    if min(volume.shape[1:]) < side:
        raise InputError(
            f"{name} has slices of {volume.shape[2]} x {volume.shape[1]} voxels and a patch takes "
            f"{side} x {side}: leave it out or make {patch_key} smaller"
        )
    if volume.shape[0] < fewest_slices:
        raise InputError(
            f"{name} has {volume.shape[0]} slices and a patch takes {side}: leave it out or make {patch_key} smaller"
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
