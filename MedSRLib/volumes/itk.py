"""SimpleITK images to arrays and back; ITK's LPS becomes RAS here."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes import metaimage, nifti, nifti_writer
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.mark import Mark
from MedSRLib.volumes.threads import shared_by_threads

NIFTI = (".nii", ".nii.gz")
METAIMAGE = (".mha", ".mhd")

_MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_US": "US"}


def read_image(path: Path) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Voxels [k, j, i], RAS affine, and the modality where the file states one.

    Raises:
        InputError: the file is damaged, empty, in colour, not 3D, or of a voxel type that cannot be kept.
    """
    import SimpleITK as sitk

    header = nifti.read_header(path) if path.name.lower().endswith(NIFTI) else None
    if header is not None:
        nifti.require_whole(path, header)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with itk_without_warnings(), _sheared_nifti_let_in():
            reader.ReadImageInformation()
            _require_grey_3d(path, reader.GetSize(), reader.GetNumberOfComponents(), reader.GetPixelIDValue())
            if path.name.lower().endswith(METAIMAGE):
                bytes_each = sitk.Image([1, 1], reader.GetPixelIDValue()).GetSizeOfPixelComponent()
                metaimage.require_whole(path, int(np.prod(reader.GetSize(), dtype=np.int64)) * bytes_each)
            image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}): copy or export it again") from error
    voxels = sitk.GetArrayFromImage(image)
    voxels = exact_for_files(voxels[None] if voxels.ndim == 2 else voxels)
    affine = _ras_affine(image.GetDirection(), image.GetSpacing(), image.GetOrigin())
    said = image.GetMetaData("Modality") if image.HasMetaDataKey("Modality") else ""
    return voxels, header.affine(affine) if header is not None else affine, _MODALITIES.get(said)


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
    nifti.require_whole(path, nifti.read_header(path))


def exact_for_files(voxels: np.ndarray) -> np.ndarray:
    """The same values in a dtype that every format here can hold, in the byte order of this machine.

    Raises:
        InputError: the values would change: complex numbers, or integers beyond 32 bits.
    """
    dtype = voxels.dtype.newbyteorder("=")
    if dtype.kind == "b":
        dtype = np.dtype(np.uint8)
    elif dtype == np.float16:
        dtype = np.dtype(np.float32)
    elif dtype.kind in "iu" and dtype.itemsize == 8 and voxels.size:
        low, high = int(voxels.min()), int(voxels.max())
        fits = [kind for kind in (np.int32, np.uint32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
        if not fits:
            raise InputError("the volume holds integers beyond 32 bits, which no filter keeps exactly: rescale it")
        dtype = np.dtype(fits[0])
    elif dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"voxels of type {voxels.dtype} are not grey levels: convert them to integers or floats")
    return voxels.astype(dtype, copy=False)


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


def _require_grey_3d(path: Path, size: Sequence[int], components: int, pixel_id: int) -> None:
    import SimpleITK as sitk

    if components > 1:
        raise InputError(f"{path} holds {components} values per voxel (colour or vectors): choose a grey-level volume")
    if pixel_id in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputError(f"{path} holds complex numbers: save their magnitude and choose that")
    if len(size) > 3:
        raise InputError(f"{path} has {len(size)} axes ({' x '.join(map(str, size))}): save one 3D volume of it")
    if min(size) < 1:
        raise InputError(f"{path} has no voxels: choose a volume that holds an image")


def _ras_affine(direction: Sequence[float], spacing: Sequence[float], origin: Sequence[float]) -> np.ndarray:
    """ITK's LPS geometry, of 2 or 3 axes, as an IJK to RAS affine; a picture lies in the plane z = 0."""
    rank = len(spacing)
    affine = np.eye(4)
    affine[:rank, :rank] = np.reshape(direction, (rank, rank)) * np.asarray(spacing)
    affine[:rank, 3] = origin
    return LPS_TO_RAS @ affine


@shared_by_threads
@contextmanager
def _sheared_nifti_let_in() -> Iterator[None]:
    """Let ITK read the voxels of a NIfTI file whose sform is sheared; ``nifti.py`` reads the sform itself."""
    name = "ITK_NIFTI_SFORM_PERMISSIVE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
