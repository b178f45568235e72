"""The volumes of a run: found, read, checked, and kept in memory in their own dtype.

Several threads read them. Nothing is kept on disk: even hundreds are decoded in a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tqdm import tqdm

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.errors import EnhancementCancelled, InputError
from MedSRLib.evaluation.protocol import crop_to_multiple
from MedSRLib.progress import Cancelled
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.discovery import find_volumes
from MedSRLib.training.distributed import is_distributed, rank
from MedSRLib.training.pairs import TrainingVolume
from MedSRLib.training.samplers import SAMPLERS
from MedSRLib.volumes.checks import is_label_map, require_enhanceable
from MedSRLib.volumes.dicom_files import find_series
from MedSRLib.volumes.files import read_sequence
from MedSRLib.volumes.volume import Volume

_READERS = 8
"""Threads that read; decoding leaves Python's lock alone. More would compete for the disk and for memory."""


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


def read_data(config: TrainingConfig, folder: Path, cancelled: Cancelled | None = None) -> TrainingData:
    """Finds and reads the volumes a configuration names; no volume is in both sets. A terminal is shown a bar.

    Args:
        config: of the run.
        folder: that the configuration's paths are relative to.
        cancelled: asked after every volume, where one process trains: several stop together, at an iteration.

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
    names = _name([*paths, *held_out])
    volumes = _read([*paths, *held_out], _Prepare(config, names, stacks, held_out), cancelled)
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


def _name(paths: Sequence[Path]) -> dict[Path, str]:
    """Names for people: the last part of each path, or as many as it takes to tell all of them apart."""
    for parts in count(1):
        names = {path: "/".join(path.parts[-parts:]) for path in paths}
        if len(set(names.values())) == len(names):
            break
    return names


class _Prepare:
    """From a path to what the run keeps of it: a ``TrainingVolume``, or a held-out ``Volume`` cut to what is scored.

    Args:
        config: of the run.
        names: of the paths, for messages.
        stacks: paths whose slices are unrelated images.
        held_out: paths that are not trained on.
    """

    def __init__(
        self, config: TrainingConfig, names: Mapping[Path, str], stacks: Collection[Path], held_out: Collection[Path]
    ):
        self._config = config
        self._names = names
        self._stacks = stacks
        self._held_out = held_out

    def __call__(self, path: Path) -> TrainingVolume | Volume:
        name, config = self._names[path], self._config
        kind = SAMPLERS[config.task]
        volume = _read_one(path, name)
        with _naming(name):
            require_enhanceable(volume, force=True)
        if is_label_map(volume.voxels):
            raise InputError(f"{name} looks like a label map: leave it out of the data table of the configuration")
        if path in self._held_out:
            scored = kind.scored_part(volume, name, config)
            with _naming(name):
                crop_to_multiple(scored, AcquisitionModel(config.factors))  # said now, not at the first validation
            return scored
        side = config.pairs.patch * config.scale[-1]
        _require_size(volume, side, name, fewest_slices=kind.fewest_slices(side))
        return TrainingVolume.of(volume, side, is_stack=path in self._stacks)


def _read_one(path: Path, name: str) -> Volume:
    """The one volume of a file or folder.

    Raises:
        InputError: it cannot be read, or there are several.
    """
    if path.is_dir() and len(series := find_series(path)) > 1:
        raise InputError(f"{name} holds {len(series)} DICOM series: put each into a folder of its own")
    volumes = read_sequence(path).volumes
    if len(volumes) > 1:
        raise InputError(f"{name} holds {len(volumes)} volumes: training takes one a file, so split it or leave it out")
    return volumes[0]


def _read(paths: Sequence[Path], prepare: _Prepare, cancelled: Cancelled | None) -> list[Any]:
    """What ``prepare`` makes of every path, in order.

    After an error no further file is begun (``map`` sees to it) and those being read are waited for: a thread that is
    inside ITK when the interpreter ends aborts the process.

    Raises:
        MedSRError: of the first path that cannot be prepared.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    shown = sys.stderr.isatty() and rank() == 0
    read = []
    with ThreadPoolExecutor(_READERS) as readers:
        for one in tqdm(readers.map(prepare, paths), "reading", len(paths), leave=False, disable=not shown):
            read.append(one)
            if cancelled is not None and not is_distributed() and cancelled():
                readers.shutdown(cancel_futures=True)
                raise EnhancementCancelled(f"stopped after {len(read)} of {len(paths)} volumes were read")
    return read


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Puts the volume's name before what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _require_size(volume: Volume, side: int, name: str, *, fewest_slices: int) -> None:
    """Raises InputError when no patch fits."""
    if min(volume.shape[1:]) < side:
        raise InputError(
            f"{name} has slices of {volume.shape[2]} x {volume.shape[1]} voxels and a patch takes "
            f"{side} x {side}: leave it out or make pairs.patch smaller"
        )
    if volume.shape[0] < fewest_slices:
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
