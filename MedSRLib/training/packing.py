"""Training volumes in few small files, for a machine that has the GPU and not the data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from MedSRLib.errors import InputError, MedSRError, OutputError, UsageError
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.training.discovery import find_volumes
from MedSRLib.training.reading import name_all, read_image, read_side_by_side
from MedSRLib.volumes.packed import SUFFIX, pack_volume
from MedSRLib.volumes.storage import write_atomically

_MEGABYTE = 10**6


@dataclass(frozen=True)
class Packed:
    """What came of packing.

    Args:
        volumes: how many were packed.
        parts: bytes in each part; one where no size was asked for.
        refused: sentences about volumes that were left out.
    """

    volumes: int
    parts: list[int]
    refused: list[str]


def pack(
    patterns: Sequence[str],
    out: Path,
    *,
    part_size: float | None = None,
    modality: str | None = None,
    stacks: Sequence[str] = (),
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Packed:
    """Packs volumes into a folder that training takes as it takes a folder of volumes.

    Args:
        patterns: files, folders or glob patterns, as for training.
        out: folder that is made; with a part size it holds folders ``part1``, ``part2``, ...
        part_size: most megabytes (10^6 bytes) a part.
        modality: of all volumes; None: what they say, else what they look like.
        stacks: patterns of those whose slices are unrelated images.
        progress: called with a fraction and a message.
        cancelled: asked after every volume.

    Raises:
        UsageError: ``out`` is there already, or a volume is larger than a part.
        InputError: a pattern matches nothing, or no volume could be read.
        OutputError: the folder cannot be written.
        EnhancementCancelled: ``cancelled()`` returned true; nothing is left behind.
    """
    if out.exists():
        raise UsageError(f"{out} is there already: choose another folder for --out, or remove it")
    here = Path.cwd()
    paths, alone = find_volumes(patterns, here), set(find_volumes(stacks, here))
    names = name_all(paths)
    beside = out.with_name(f".{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    refused: list[str] = []

    def write(path: Path) -> Path | None:
        try:
            volume, is_stack = read_image(path, names[path])
        except MedSRError as error:
            refused.append(str(error))
            return None
        if modality is not None:
            volume = replace(volume, modality=modality)
        target = beside / (names[path].replace("/", "_") + SUFFIX)
        write_atomically(target, pack_volume(volume, is_stack=is_stack or path in alone))
        return target

    try:
        files = [file for file in read_side_by_side(paths, write, cancelled=cancelled, progress=progress) if file]
        if not files:
            raise InputError(f"none of {len(paths)} volumes could be packed: {refused[0]}")
        parts = [files] if part_size is None else _divide(files, part_size * _MEGABYTE)
        sizes = [sum(file.stat().st_size for file in part) for part in parts]
        if part_size is not None:
            for number, part in enumerate(parts, 1):
                (beside / f"part{number}").mkdir()
                for file in part:
                    file.rename(beside / f"part{number}" / file.name)
        beside.rename(out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror}): choose another folder") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Packed(len(files), sizes, sorted(refused))


def _divide(files: Sequence[Path], size: float) -> list[list[Path]]:
    """Each file, the largest first, into the first part that has room for it."""
    parts: list[list[Path]] = []
    room: list[float] = []
    for file in sorted(files, key=lambda file: -file.stat().st_size):
        need = file.stat().st_size
        if need > size:
            raise UsageError(
                f"{file.stem} takes {need / _MEGABYTE:.1f} MB and a part {size / _MEGABYTE:g} MB: give a larger "
                f"--part-size"
            )
        number = next((n for n, left in enumerate(room) if need <= left), len(parts))
        if number == len(parts):
            parts.append([])
            room.append(size)
        parts[number].append(file)
        room[number] -= need
    return parts
