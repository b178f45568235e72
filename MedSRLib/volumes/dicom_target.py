"""Where a derived DICOM series may be written, and writing it whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from MedSRLib.errors import OutputError, UsageError
from MedSRLib.volumes.dicom_template import Template, is_derived
from MedSRLib.volumes.dicom_writer import require_holdable, write_slices
from MedSRLib.volumes.mark import Mark
from MedSRLib.volumes.targets import exists, require_folder_of
from MedSRLib.volumes.volume import Volume

SUFFIX = ".dcm"


def is_dicom_target(path: Path) -> bool:
    """Whether a name asks for DICOM: a folder that is there, a name without a suffix, or .dcm for one file.

    A number, as in the UIDs that folders are named after, is no suffix.
    """
    suffix = path.suffix.lower()
    return path.is_dir() or suffix in ("", SUFFIX) or suffix[1:].isdigit()


def require_dicom_target(
    path: Path, volume: Volume, *, overwrite: bool = False, protected: Sequence[str | Path] = ()
) -> None:
    """Check, before any work, that ``write_dicom`` with the same arguments may write.

    Args:
        path: a folder that does not exist or is empty, or a name that ends with .dcm for a single slice.
        volume: the volume to come, or any other with the same directions of its axes and number of slices.
        overwrite: whether an earlier result, which holds nothing but files that MedSR derived, may be replaced.
        protected: inputs, which are never written into.

    Raises:
        UsageError: there is something that may not be replaced, or one file is asked for several slices.
        OutputError: the folder around it does not exist or does not let us write; DICOM cannot hold the volume.
    """
    if any(_meet(path, Path(other)) for other in protected):
        raise UsageError(f"{path} is part of the input, which is never overwritten: choose another output")
    if path.suffix.lower() == SUFFIX and not path.is_dir() and volume.shape[0] > 1:
        raise UsageError(f"{path.name} is one file, and the result has {volume.shape[0]} slices: name a folder")
    if path.is_symlink() or (path.exists() and not _is_empty_folder(path)):
        if not overwrite:
            raise exists(path)
        if not _is_earlier_result(path):
            raise UsageError(f"{path} holds more than a series that MedSR made, which is never replaced: name another")
    require_folder_of(path)
    require_holdable(volume)


def write_dicom(
    volume: Volume,
    path: Path,
    template: Template,
    mark: Mark,
    *,
    overwrite: bool = False,
    protected: Sequence[str | Path] = (),
) -> list[str]:
    """Write a derived series as a folder, or its only slice as a .dcm file, so that it is whole or not there.

    Args:
        volume: what was made of the template's series.
        path, overwrite, protected: as for ``require_dicom_target``.
        template: the headers of that series.
        mark: how it was made.

    Returns:
        Sentences on what DICOM could not keep.

    Raises:
        UsageError: as for ``require_dicom_target``.
        OutputError: also where writing fails.
    """
    require_dicom_target(path, volume, overwrite=overwrite, protected=protected)
    try:
        if shutil.disk_usage(path.parent).free < 2 * volume.voxels.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryDirectory(prefix=".medsr-", dir=path.parent) as folder:
            new = Path(folder) / "new"
            new.mkdir()
            notes = write_slices(volume, new, template, mark)
            if path.suffix.lower() == SUFFIX and not path.is_dir():
                os.replace(next(new.iterdir()), path)
                return notes
            put_folder(new, path, Path(folder) / "old")
    except OSError as error:
        raise OutputError(f"{path} could not be written, {error.strerror or error}: choose another folder") from error
    return notes


def put_folder(new: Path, path: Path, old: Path) -> None:
    """Move a folder to a place, where an empty one or an earlier result may be; all are on one disk.

    Args:
        new: the folder to be moved.
        path: the place.
        old: where to what was there is moved.

    Raises:
        OSError: it cannot be moved; then what was there is there again.
    """
    if path.is_dir():
        path.rename(old)
    elif path.exists():
        path.unlink()
    try:
        new.rename(path)
    except OSError:
        if old.is_dir():
            old.rename(path)
        raise


def _meet(path: Path, other: Path) -> bool:
    """Whether a target is a protected file, or is, holds or lies in a protected folder."""
    path, other = path.resolve(), other.resolve()
    return path == other or path.is_relative_to(other) or other.is_relative_to(path)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _is_earlier_result(path: Path) -> bool:
    """Whether a folder (or a file) holds nothing but DICOM files that MedSR derived."""
    files = list(path.iterdir()) if path.is_dir() else [path]
    return not path.is_symlink() and all(one.is_file() and not one.is_symlink() and is_derived(one) for one in files)
