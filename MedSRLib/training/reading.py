"""The images of a run: read side by side, checked, and refused by their names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from MedSRLib.errors import EnhancementCancelled, InputError
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.training.distributed import is_distributed, rank
from MedSRLib.volumes.checks import is_label_map, require_enhanceable
from MedSRLib.volumes.dicom_files import find_series
from MedSRLib.volumes.files import read_sequence
from MedSRLib.volumes.packed import SUFFIX, read_packed
from MedSRLib.volumes.volume import Volume

_READERS = 8
"""Threads that read; decoding leaves Python's lock alone. More would compete for the disk and for memory."""
_T = TypeVar("_T")


def name_all(paths: Sequence[Path]) -> dict[Path, str]:
    """Names for people: the last part of each path, or as many as it takes to tell all of them apart."""
    for parts in count(1):
        names = {path: "/".join(path.parts[-parts:]).removesuffix(SUFFIX) for path in paths}
        if len(set(names.values())) == len(names):
            break
    return names


def read_image(path: Path, name: str) -> tuple[Volume, bool]:
    """The one volume of a file or folder, and whether it was packed as a stack of unrelated images.

    Args:
        path: a file, a DICOM folder or a packed volume.
        name: for messages.

    Raises:
        UsageError: a file is in no format that MedSR knows.
        InputError: it cannot be read, there are several volumes, or it is no image.
    """
    is_stack = False
    if path.suffix == SUFFIX:
        with naming(name):
            volume, is_stack = read_packed(path)
    else:
        volume = _read_one(path, name)
    with naming(name):
        require_enhanceable(volume, force=True)
    if is_label_map(volume.voxels):
        raise InputError(f"{name} looks like a label map: leave it out")
    return volume, is_stack


def _read_one(path: Path, name: str) -> Volume:
    if path.is_dir() and len(series := find_series(path)) > 1:
        raise InputError(f"{name} holds {len(series)} DICOM series: put each into a folder of its own")
    volumes = read_sequence(path).volumes
    if len(volumes) > 1:
        raise InputError(f"{name} holds {len(volumes)} volumes: training takes one a file, so split it or leave it out")
    return volumes[0]


def read_side_by_side(
    paths: Sequence[Path],
    prepare: Callable[[Path], _T],
    *,
    cancelled: Cancelled | None = None,
    progress: Progress | None = None,
) -> list[_T]:
    """What ``prepare`` makes of every path, in order; a terminal is shown a bar where there is no ``progress``.

    After an error no further file is begun (``map`` sees to it) and those being read are waited for: a thread that is
    inside ITK when the interpreter ends aborts the process.

    Args:
        paths: to be read.
        prepare: called in several threads.
        cancelled: asked after every volume, where one process trains.
        progress: called with a fraction and a message.

    Raises:
        MedSRError: of the first path that cannot be prepared.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    shown = progress is None and sys.stderr.isatty() and rank() == 0
    read = []
    with ThreadPoolExecutor(_READERS) as readers:
        for one in tqdm(readers.map(prepare, paths), "reading", len(paths), leave=False, disable=not shown):
            read.append(one)
            if progress is not None:
                progress(len(read) / len(paths), f"{len(read)} of {len(paths)}")
            if cancelled is not None and not is_distributed() and cancelled():
                readers.shutdown(cancel_futures=True)
                raise EnhancementCancelled(f"stopped after {len(read)} of {len(paths)} volumes were read")
    return read


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Puts the volume's name before what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
