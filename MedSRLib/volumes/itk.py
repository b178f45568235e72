"""Volumes to files by SimpleITK; RAS becomes ITK's LPS here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from MedSRLib.volumes import nifti, nifti_writer
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.mark import Mark
from MedSRLib.volumes.threads import shared_by_threads

NIFTI = (".nii", ".nii.gz")
METAIMAGE = (".mha", ".mhd")


def write_image(voxels: np.ndarray, affine: np.ndarray, path: Path, mark: Mark | None = None) -> None:
    """Write one compressed image and check that it is whole.

    Args:
        voxels: [k, j, i], of a dtype that ``exact_for_files`` lets through.
        affine: 4x4, IJK to RAS.
        path: the file; format by suffix. What is there is replaced.
        mark: what the file says about itself: NIfTI in descrip and an extension, the others in keys of their own.

    Raises:
        InputError, RuntimeError: the file is not whole; the disk is full.
    """
    import SimpleITK as sitk

    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    if not path.name.lower().endswith(NIFTI):
        for key, text in ({} if mark is None else mark.keys()).items():
            image.SetMetaData(key, text)
        with itk_without_warnings():
            sitk.WriteImage(image, str(path), useCompression=True)
        return
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, itk_without_warnings():
        if mark is None:
            sitk.WriteImage(image, str(path), useCompression=True)
        else:
            plain = Path(folder) / "plain.nii"
            image.SetMetaData("ITK_FileNotes", mark.descrip())
            sitk.WriteImage(image, str(plain))
            nifti_writer.add_comment(plain, path, mark.extension())
    # A full disk makes ITK's NIfTI writer stop without a word.
    nifti.require_whole(path)


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


def one_line(error: Exception) -> str:
    """What an exception says last, on one line and without ITK's object addresses."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^(.*\(0x\w+\): |\[nrrd\] \w+: )", "", lines[-1]).rstrip(".!") if lines else type(error).__name__
