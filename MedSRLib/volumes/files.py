"""Image files to Volume and back: formats, what may be overwritten, and writing whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError, OutputError, UsageError
from MedSRLib.volumes import metaimage, nifti, nrrd
from MedSRLib.volumes.dicom_frames import pydicom_without_warnings
from MedSRLib.volumes.dicom_target import is_dicom_target, require_dicom_target, write_dicom
from MedSRLib.volumes.dicom_template import Template
from MedSRLib.volumes.itk import METAIMAGE, NIFTI, one_line, write_image
from MedSRLib.volumes.mark import Mark
from MedSRLib.volumes.sequence import VolumeSequence
from MedSRLib.volumes.targets import require_file_target
from MedSRLib.volumes.volume import Volume
from MedSRLib.volumes.voxel_types import exact_for_files

_READERS: dict[str, Callable[[Path], VolumeSequence]] = {
    **dict.fromkeys(nifti.SUFFIXES, nifti.read_nifti),
    **dict.fromkeys(nrrd.SUFFIXES, nrrd.read_nrrd),
    **dict.fromkeys(metaimage.SUFFIXES, metaimage.read_metaimage),
}
READABLE = tuple(_READERS)
WRITABLE = (*NIFTI, ".nrrd", *METAIMAGE)

_SHEAR = 2e-4
_LARGEST_COMPRESSION = 20
_LARGEST_SAMPLE = 2**22
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


def read_volume(
    path: str | Path, *, modality: str | None = None, series: str | None = None, frame: int | None = None
) -> Volume:
    """Read one volume: a file, a DICOM series, or one frame of them; else as ``read_sequence``.

    Args:
        path, modality, series: as for ``read_sequence``.
        frame: number of the frame, from 1, where there are several.

    Raises:
        UsageError: as for ``read_sequence``, or there is no such frame.
        InputError: as for ``read_sequence``, or there are several frames and none is chosen.
    """
    return read_sequence(path, modality=modality, series=series).choose(frame, path)


def read_sequence(path: str | Path, *, modality: str | None = None, series: str | None = None) -> VolumeSequence:
    """Read every frame of a NIfTI, NRRD, MetaImage or DICOM file, or of a DICOM series folder.

    Geometry is float64 throughout and never approximated: shear is kept, and NIfTI's affine is the header's own
    float32 numbers. A one-slice image becomes [1, j, i]. The voxel dtype is the file's; 64 bit integers become
    32 bit where that is exact, because no resampling can keep more.

    Args:
        path: a file, format by suffix, or a folder with a DICOM series.
        modality: what the voxels are; by default what the file says, else ``guess_modality``.
        series: SeriesInstanceUID (or its end) where the folder holds several series.

    Raises:
        UsageError: the suffix is not known, or ``series`` is given for a file.
        InputError: the file is missing, damaged, empty, in colour, of no three axes, or of a voxel type that cannot be
            kept.
    """
    path = Path(path)
    if not path.exists():
        leads = "is a link that leads nowhere" if path.is_symlink() else "does not exist"
        raise InputError(f"{path} {leads}: check the path")
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of absurd numbers is looked at, not printed
        sequence = _read(path, series)
    notes: tuple[str, ...] = ()
    if modality is None and not is_dicom(path) and sequence.volumes[0].modality == "other":
        modality = guess_modality(sequence.volumes[0].voxels)
        notes = (_GUESSED[modality],)
    if modality is None:
        return sequence
    volumes = tuple(replace(volume, modality=modality, notes=(*volume.notes, *notes)) for volume in sequence.volumes)
    return replace(sequence, volumes=volumes)


def _read(path: Path, series: str | None) -> VolumeSequence:
    """By the reader that its suffix or its first bytes ask for."""
    if is_dicom(path):
        from MedSRLib.volumes.dicom import read_series

        with pydicom_without_warnings():
            return read_series(path, series)
    if series is not None:
        raise UsageError(f"a series can only be chosen in a DICOM folder, and {path} is not a folder")
    return _READERS[_suffix(path, READABLE)](path)


def write_volume(
    volume: Volume | VolumeSequence,
    path: str | Path,
    *,
    overwrite: bool = False,
    protected: Sequence[str | Path] = (),
    mark: Mark | None = None,
    template: Template | None = None,
) -> list[str]:
    """Write NIfTI, NRRD or MetaImage, with the volume's dtype, so that ``path`` is either whole or untouched.

    With ``template`` and ``mark``, a name without one of their suffixes gets a derived DICOM series: ``write_dicom``.

    The file is written in a temporary folder beside the target, checked, and moved. Half floats are stored as
    float32, booleans as uint8. NRRD and MetaImage hold any affine; NIfTI through ITK holds no shear. What came
    from NIfTI keeps both its transforms in NIfTI. Several frames make a 4D file, in NRRD a list as 3D Slicer reads it.

    Args:
        volume: what to write; the frames of a sequence have one shape and dtype.
        path: the target; format by suffix. A .mhd gets its voxels in a .zraw beside it.
        overwrite: whether an existing file may be replaced.
        protected: inputs, files or DICOM folders, that are never written onto, whatever ``overwrite`` says.
        mark: what the file says about itself, for a result of ``enhance``.
        template: the headers of the DICOM series that the volume was made of.

    Returns:
        Sentences on what the format could not keep.

    Raises:
        UsageError: the suffix is not known, or the target exists or is protected.
        OutputError: the target could not be written, or cannot hold the volume.
    """
    path = Path(path)
    step = volume.step if isinstance(volume, VolumeSequence) else None
    volumes = volume.volumes if isinstance(volume, VolumeSequence) else (volume,)
    first = volumes[0]
    if template is not None and mark is not None and is_dicom_target(path):
        if len(volumes) > 1:
            raise UsageError(f"{path} asks for DICOM, which is written of one frame: choose --frame, or a .nii.gz")
        return write_dicom(first, path, template, mark, overwrite=overwrite, protected=protected)
    require_writable(path, overwrite=overwrite, protected=protected, volume=first)
    voxels = exact_for_files(first.voxels if len(volumes) == 1 else np.stack([one.voxels for one in volumes]))
    try:
        _require_space(path, voxels.nbytes)
        with tempfile.TemporaryDirectory(prefix=".medsr-", dir=path.parent) as folder:
            write_image(voxels, first.affine, Path(folder) / path.name, mark, step=step, forms=first.forms)
            _move(Path(folder), path)
    except (OSError, RuntimeError, InputError) as error:
        if shutil.disk_usage(path.parent).free < voxels.nbytes:
            needed = -(-voxels.nbytes // 10**6)
            remedy = f"the disk is full, {path.name} needs up to {needed} MB: free some or choose another folder"
        else:
            remedy = f"{one_line(error)}: choose another folder"
        raise OutputError(f"{path} could not be written, {remedy}") from error
    return []


def require_writable(
    path: str | Path,
    *,
    overwrite: bool = False,
    protected: Sequence[str | Path] = (),
    volume: Volume | None = None,
    dicom: bool = False,
) -> None:
    """Check, before any work, that ``write_volume`` with the same arguments may write.

    Args:
        path, overwrite, protected: as for ``write_volume``.
        volume: the volume to come, or any other with the same directions of its axes, such as the input.
        dicom: whether the volume was read from DICOM, so that a derived series can be written.

    Raises:
        UsageError: the suffix is not known, or the target exists or is protected.
        OutputError: the folder does not exist or does not let us write, or the format cannot hold the volume.
    """
    path = Path(path)
    if dicom and volume is not None and is_dicom_target(path):
        require_dicom_target(path, volume, overwrite=overwrite, protected=protected)
        return
    if path.suffix.lower() in ("", ".dcm"):
        raise UsageError(f"{path.name} asks for DICOM, which is only made of DICOM: use {', '.join(WRITABLE)}")
    suffix = _suffix(path, WRITABLE)
    targets = [path, path.with_suffix(".zraw")] if suffix == ".mhd" else [path]
    if suffix == ".mhd" and not _is_unicode(path.name):
        raise UsageError(f"the name of {path} has bytes that are no UTF-8, which a .mhd cannot hold: write it as .mha")
    for target in targets:
        require_file_target(target, overwrite=overwrite, protected=protected)
    if volume is not None and suffix in NIFTI and _is_sheared(volume.affine):
        raise OutputError(
            f"NIfTI files cannot keep the sheared axes of this volume: write {path.name} as .nrrd or .mha"
        )


_GUESSED = {
    "CT": "the modality is not stated: taken for CT, as the grey levels look like Hounsfield units; --modality says it",
    "other": "the modality is not stated: taken for MR or the like, as the grey levels do not look like Hounsfield "
    "units; --modality says it",
}
"""Notes by what ``guess_modality`` gives."""


def guess_modality(voxels: np.ndarray) -> str:
    """CT where the grey levels look like Hounsfield units, else other.

    They do when all are integers, at least 1 % lie around air and lung (-1100 to -500), and hardly any lie below,
    except for one padding value (-2000, -3024, ...). MR magnitudes are not negative; MR phase maps (-4096 to 4095)
    spread below -1100.

    Args:
        voxels: [k, j, i]; of large volumes evenly spaced slices are looked at.
    """
    values = sample_slices(voxels).reshape(-1)
    if values.size == 0 or values.min() > -500 or values.min() < -(2**15):
        return "other"
    if not np.issubdtype(values.dtype, np.integer) and not np.array_equal(values, np.rint(values)):
        return "other"
    low = values[values < -1100]
    stray = np.count_nonzero(low != low.min()) if low.size else 0
    present = values.size - low.size
    air = np.count_nonzero((values >= -1100) & (values <= -500))
    return "CT" if air >= 0.01 * present > 0 and stray <= 0.01 * present else "other"


def sample_slices(voxels: np.ndarray) -> np.ndarray:
    """The volume, or evenly spaced slices of it that hold about 2**22 voxels, without copying."""
    return voxels[:: max(1, -(-voxels.size // _LARGEST_SAMPLE))]


def is_dicom(path: Path) -> bool:
    """Whether a path is a folder, or a file without one of our suffixes that begins or is named like DICOM."""
    if path.is_dir():
        return True
    if path.name.lower().endswith(READABLE) or not path.is_file():
        return False
    if path.suffix.lower() in _DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _suffix(path: Path, accepted: Sequence[str]) -> str:
    """The longest accepted suffix of a path."""
    for suffix in sorted(accepted, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return suffix
    folder = ", a DICOM file or its folder" if accepted is READABLE else ""
    raise UsageError(f"{path.name} has no suffix that MedSR knows: use {', '.join(accepted)}{folder}")


def _is_unicode(name: str) -> bool:
    """Whether a name is text; old shares and archives have names in Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_sheared(affine: np.ndarray) -> bool:
    """Whether two axes are off the right angle by more (cosine) than ITK's own NIfTI reader lets pass."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() > _SHEAR)


def _require_space(path: Path, size: int) -> None:
    """Give up before ITK starts where not even the best compression would fit.

    Raises:
        OSError: no space is left.
    """
    least = size if path.name.lower().endswith(".nii") else size // _LARGEST_COMPRESSION
    if shutil.disk_usage(path.parent).free < least:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _move(folder: Path, path: Path) -> None:
    """Move the written files beside each other to their place; a header last, so that it never names old voxels."""
    data = [file for file in folder.iterdir() if file.name != path.name]
    if data:
        path.unlink(missing_ok=True)
    for file in data:
        os.replace(file, path.parent / file.name)
    os.replace(folder / path.name, path)
