"""Volumes to files by SimpleITK; RAS becomes ITK's LPS here."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from MedSRLib.volumes import nifti, nifti_writer, nrrd_writer
from MedSRLib.volumes.forms import NiftiForms
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.mark import Mark
from MedSRLib.volumes.threads import shared_by_threads

NIFTI = (".nii", ".nii.gz")
METAIMAGE = (".mha", ".mhd")


def write_image(
    voxels: np.ndarray,
    affine: np.ndarray,
    path: Path,
    mark: Mark | None = None,
    *,
    step: float | None = None,
    forms: NiftiForms | None = None,
) -> None:
    """Write one compressed image and check that it is whole.

    Args:
        voxels: [k, j, i], or [n, k, j, i] of several frames; of a dtype that ``exact_for_files`` lets through.
        affine: 4x4, IJK to RAS.
        path: the file; format by suffix. What is there is replaced.
        mark: what the file says about itself: NIfTI in descrip and an extension, the others in keys of their own.
        step: seconds between frames, 1 where it is not known.
        forms: both transforms for a NIfTI file, with their codes; by default each is ``affine``.

    Raises:
        InputError, RuntimeError: the file is not whole; the disk is full.
    """
    import SimpleITK as sitk

    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    rank = voxels.ndim
    directions = np.eye(rank)
    directions[:3, :3] = lps[:3, :3] / spacing
    image = sitk.GetImageFromArray(voxels, isVector=False)
    image.SetSpacing([*spacing.tolist(), step or 1.0][:rank])
    image.SetDirection(directions.ravel().tolist())
    image.SetOrigin([*lps[:3, 3].tolist(), 0.0][:rank])
    is_nifti = path.name.lower().endswith(NIFTI)
    if mark is not None:
        texts = {"ITK_FileNotes": mark.descrip()} if is_nifti else mark.keys()
        for key, text in texts.items():
            image.SetMetaData(key, text)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        plain = Path(folder) / "plain.nii" if is_nifti else path
        with itk_without_warnings(), _readable_for_itk(plain) as target:
            sitk.WriteImage(image, str(target), useCompression=not is_nifti)
        if is_nifti:
            # A full disk makes ITK's NIfTI writer stop without a word.
            nifti.require_whole(plain)
            nifti_writer.complete(plain, path, comment=b"" if mark is None else mark.extension(), forms=forms)
        elif rank == 4 and path.suffix.lower() == ".nrrd":
            nrrd_writer.list_frames(path)


@shared_by_threads
@contextmanager
def itk_without_warnings() -> Iterator[None]:
    """Keep ITK's warnings off the user's terminal; errors still come as exceptions."""
    import SimpleITK as sitk

    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


@shared_by_threads
@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep off the user's terminal what libraries in C write to stderr, past Python: JPEG decoders do."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        before = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


@contextmanager
def _readable_for_itk(path: Path) -> Iterator[Path]:
    """A name for a file to be written that ITK can take: it ends the process at bytes that are no UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="medsr-") as folder:
            link = Path(folder) / "link"
            link.symlink_to(path.parent.absolute(), target_is_directory=True)
            plain = link / f"plain{path.suffix}"
            yield plain
            plain.replace(path)
    else:
        yield path


def one_line(error: Exception) -> str:
    """What an exception says last, on one line and without ITK's object addresses."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^(.*\(0x\w+\): |\[nrrd\] \w+: )", "", lines[-1]).rstrip(".!") if lines else type(error).__name__
