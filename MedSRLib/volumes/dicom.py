"""A DICOM series folder to a Volume: pydicom for the tags, SimpleITK (GDCM) for the voxels.

The affine comes from the slices' own positions, so a tilted gantry gives the sheared affine it really has, where
ITK would give the nearest unsheared one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.itk import itk_without_warnings, one_line
from MedSRLib.volumes.threads import shared_by_threads
from MedSRLib.volumes.volume import DICOM_MODALITIES, Volume

_TAGS = [
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "ImagerPixelSpacing",
    "Modality",
    "NumberOfFrames",
    "PixelRepresentation",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "Rows",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SliceThickness",
    "SpacingBetweenSlices",
]
_SHORT_UID = 12
_OFF_PLACE = 0.01
_OFF_PLACE_MM = 0.01
_SAME = 1e-4


@dataclass(frozen=True)
class Slice:
    """One file of a series and its tags."""

    path: Path
    tags: Any

    def numbers(self, name: str) -> np.ndarray | None:
        """A tag's value as float64, or None where it is absent or empty."""
        value = self.tags.get(name)
        return None if value is None or value == "" else np.asarray(value, np.float64)


def read_series(folder: str | Path, series: str | None = None) -> Volume:
    """Read one series of a folder (its subfolders are not searched; file names do not matter).

    Rescale slope and intercept are applied, so CT is in HU; integers stay integers, 16 bit where they fit, unless a
    slope or intercept is fractional or slices differ in it in a fractional way: then the voxels are float32.

    Args:
        folder: where the files are.
        series: SeriesInstanceUID, or its end, where there are several.

    Raises:
        InputError: no series or several, or the slices do not make one evenly spaced grey-level volume.
    """
    folder = Path(folder)
    affine, slices = find_slices(folder, series)
    thickness = slices[0].numbers("SliceThickness")
    return Volume(
        _read_voxels(slices, folder),
        affine,
        DICOM_MODALITIES.get(slices[0].tags.get("Modality", ""), "other"),
        float(thickness) if thickness is not None and thickness > 0 else None,
    )


def find_slices(folder: Path, series: str | None = None) -> tuple[np.ndarray, list[Slice]]:
    """The IJK to RAS affine of the series that ``read_series`` reads, and its slices in the order of k.

    Raises:
        InputError: as for ``read_series``, but for the voxels, which are not looked at.
    """
    slices = _choose(_find_series(folder), folder, series)
    _require_plain_slices(slices, folder)
    return _place(slices, folder)


def _find_series(folder: Path) -> dict[str, list[Slice]]:
    """The images of a folder by SeriesInstanceUID; reports, structures and other files are passed over."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    found: dict[str, list[Slice]] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        try:
            with _without_warnings():
                tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        except InvalidDicomError:
            continue
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"{path} is damaged ({one_line(error)}): export the series again") from error
        if "Rows" in tags and "Columns" in tags:
            found.setdefault(str(tags.get("SeriesInstanceUID", "")), []).append(Slice(path, tags))
    if not found:
        raise InputError(f"{folder} holds no DICOM images: choose the folder that the files of the series lie in")
    return found


@shared_by_threads
@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep pydicom's warnings about odd but readable files to ourselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _choose(found: dict[str, list[Slice]], folder: Path, series: str | None) -> list[Slice]:
    """The one series, or the one whose UID ends with ``series``."""
    chosen = [uid for uid in found if series is None or uid.endswith(series)]
    if len(chosen) == 1:
        return found[chosen[0]]
    tails = {uid: uid[-_SHORT_UID:] for uid in found}
    if len(set(tails.values())) < len(found):
        tails = {uid: uid for uid in found}
    listed = "; ".join(
        f"{tails[uid]} ({len(slices)} slices, {slices[0].tags.get('SeriesDescription') or 'no description'})"
        for uid, slices in found.items()
    )
    if series is None:
        raise InputError(f"{folder} holds {len(found)} series, choose one with --series: {listed}")
    raise InputError(f"{len(chosen)} series in {folder} match {series!r}, choose one of these: {listed}")


def _require_plain_slices(slices: Sequence[Slice], folder: Path) -> None:
    """Grey-level images of one size, one image a file.

    Raises:
        InputError: they are not.
    """
    for one in slices:
        tags = one.tags
        if int(tags.get("SamplesPerPixel", 1)) != 1:
            raise InputError(f"{one.path} is in colour: choose a grey-level series")
        if int(tags.get("NumberOfFrames") or 1) > 1:
            raise InputError(f"{one.path} is multi-frame, which is not read: export it as one file per slice or NIfTI")
        if "MOSAIC" in (tags.get("ImageType") or ()):
            raise InputError(f"{one.path} is a mosaic of slices, which is not read: convert the series to NIfTI")
    sizes = sorted({(int(one.tags.Columns), int(one.tags.Rows)) for one in slices})
    if len(sizes) > 1:
        listed = ", ".join(f"{columns} x {rows}" for columns, rows in sizes)
        raise InputError(f"the slices in {folder} differ in size ({listed}): keep those of one size")


def _place(slices: Sequence[Slice], folder: Path) -> tuple[np.ndarray, list[Slice]]:
    """The IJK to RAS affine and the slices in the order of k.

    Column k of the affine is (last - first position) / (n - 1). Where it strays from the slices' normal by less
    than 1 % of a pixel over the whole stack, that is the rounding of DICOM's decimal numbers, and the normal is used.

    Raises:
        InputError: slices miss their position, are missing, uneven, or differ in orientation or pixel spacing.
    """
    spacing = _pixel_spacing(slices, folder)
    first = slices[0]
    if len(slices) == 1 and first.numbers("ImagePositionPatient") is None:
        # Radiographs and ultrasound have no place in the body, only a pixel size.
        return LPS_TO_RAS @ np.diag([spacing[1], spacing[0], _lone_step(first), 1.0]), [first]
    axes = _axes(slices, folder)
    normal = np.cross(axes[0], axes[1])
    positions = np.array([_position(one) for one in slices])
    order = np.argsort(positions @ normal, kind="stable")
    positions, ordered = positions[order], [slices[index] for index in order]
    step = normal * _lone_step(first)
    if len(ordered) > 1:
        _require_even(positions, normal, folder)
        stack = positions[-1] - positions[0]
        straight = normal * (normal @ stack)
        if np.linalg.norm(stack - straight) <= _OFF_PLACE * min(spacing):
            stack = straight
        step = stack / (len(ordered) - 1)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([axes[0] * spacing[1], axes[1] * spacing[0], step])
    affine[:3, 3] = positions[0]
    return LPS_TO_RAS @ affine, ordered


def _pixel_spacing(slices: Sequence[Slice], folder: Path) -> tuple[float, float]:
    """Millimetres between rows and between columns, in DICOM's order; 1 where a radiograph does not say."""
    found = []
    for one in slices:
        spacing = one.numbers("PixelSpacing")
        if spacing is None:
            spacing = one.numbers("ImagerPixelSpacing")
        found.append(np.ones(2) if spacing is None else spacing)
    if any(not np.allclose(one, found[0], rtol=_SAME, atol=0) for one in found) or min(found[0]) <= 0:
        raise InputError(f"the slices in {folder} differ in pixel spacing: keep those of one spacing")
    return float(found[0][0]), float(found[0][1])


def _lone_step(one: Slice) -> float:
    """Millimetres that one slice alone takes along k."""
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        value = one.numbers(name)
        if value is not None and value > 0:
            return float(value)
    return 1.0


def _axes(slices: Sequence[Slice], folder: Path) -> np.ndarray:
    """Unit vectors along i and j in LPS, the same for all slices, shape [2, 3]."""
    found = []
    for one in slices:
        orientation = one.numbers("ImageOrientationPatient")
        if orientation is None or orientation.size != 6 or one.numbers("ImagePositionPatient") is None:
            raise InputError(f"{one.path} does not say where its slice lies: export the series again with positions")
        found.append(orientation)
    if np.ptp(found, axis=0).max() > _SAME:
        raise InputError(f"the slices in {folder} differ in orientation (a localizer?): keep those of one orientation")
    axes = np.reshape(found[0], (2, 3))
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)


def _position(one: Slice) -> np.ndarray:
    position = one.numbers("ImagePositionPatient")
    assert position is not None  # _axes has refused slices without a position
    return position


def _require_even(positions: np.ndarray, normal: np.ndarray, folder: Path) -> None:
    """Slices on a straight line, evenly spaced to 1 % of the spacing.

    Args:
        positions: [n, 3], LPS millimetres, in the order of k.
        normal: unit normal of the slices.
        folder: named in the message.

    Raises:
        InputError: several slices at one place, missing slices, or uneven ones.
    """
    gaps = np.diff(positions @ normal)
    if gaps.min() <= _OFF_PLACE * gaps.mean():
        raise InputError(f"several slices in {folder} lie at the same place (phases or echoes?): keep one set of them")
    step = float(gaps.min())
    tolerance = max(_OFF_PLACE * step, _OFF_PLACE_MM)
    steps = np.rint(gaps / step).astype(int)
    missing = int((steps - 1).sum())
    if missing and (np.abs(gaps - step * steps) <= tolerance * steps).all():
        raise InputError(
            f"{missing} of {missing + len(positions)} slices are missing in {folder}: export the complete series"
        )
    line = np.linspace(positions[0], positions[-1], len(positions))
    if np.linalg.norm(positions - line, axis=1).max() > tolerance:
        raise InputError(
            f"the slices in {folder} are unevenly spaced ({gaps.min():g} to {gaps.max():g} mm): "
            "resample the series to even spacing first"
        )


def _read_voxels(slices: Sequence[Slice], folder: Path) -> np.ndarray:
    """Voxels [k, j, i] with slope and intercept applied."""
    import SimpleITK as sitk

    # ITK takes the voxel type of the first slice for all: where slices differ, name a type that holds them all.
    rescales = {(one.tags.get("RescaleSlope") or 1, one.tags.get("RescaleIntercept") or 0) for one in slices}
    stored = {(one.tags.get("BitsStored"), one.tags.get("PixelRepresentation")) for one in slices}
    integral = all(float(number).is_integer() for pair in rescales for number in pair)
    kind = sitk.sitkUnknown
    if not integral:
        kind = sitk.sitkFloat32
    elif len(rescales) > 1 or len(stored) > 1:
        kind = sitk.sitkInt32
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(one.path) for one in slices])
    reader.SetOutputPixelType(kind)
    try:
        with itk_without_warnings():
            voxels = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise InputError(f"the slices in {folder} cannot be read ({one_line(error)}): export them again") from error
    voxels = voxels[None] if voxels.ndim == 2 else voxels
    for dtype in (np.int16, np.uint16):
        limits = np.iinfo(dtype)
        if (
            voxels.dtype.kind in "iu"
            and voxels.itemsize > 2
            and limits.min <= voxels.min()
            and voxels.max() <= limits.max
        ):
            return voxels.astype(dtype)
    return voxels
