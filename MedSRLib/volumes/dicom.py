"""A DICOM series, or one DICOM file, to volumes: images, echoes and times by pydicom, the JPEG family by GDCM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError, UsageError
from MedSRLib.volumes.dicom_files import choose_series, find_series
from MedSRLib.volumes.dicom_frames import Frame
from MedSRLib.volumes.dicom_pixels import read_values
from MedSRLib.volumes.dicom_place import find_axes, is_placed, place_picture, place_stack, position_of
from MedSRLib.volumes.dicom_split import Stacks, split
from MedSRLib.volumes.sequence import VolumeSequence
from MedSRLib.volumes.volume import DICOM_MODALITIES, Volume

_NO_IMAGES = {
    "RTDOSE": "a dose grid, no image",
    "SEG": "a segmentation, whose labels would be blended",
    "NM": "a nuclear medicine file whose slices do not say where they lie",
}
_SLICED = ("CT", "MR", "PT", "NM")
_MILLISECONDS = 1e-3


def read_series(source: str | Path, series: str | None = None) -> VolumeSequence:
    """Read one series of a folder (its subfolders are not searched; file names do not matter), or one file.

    Modality LUT, or rescale slope and intercept, are applied, so CT is in HU; integers stay integers, 16 bit where
    they fit, unless a slope or intercept is fractional or slices differ in it in a fractional way: then the voxels
    are float32. Several images at each place are frames, told apart by the attribute that differs.

    Args:
        source: the folder where the files are, or a file.
        series: SeriesInstanceUID, or its end, where there are several.

    Raises:
        InputError: no series or several, a file of it cannot be read, or the slices do not make evenly spaced
            grey-level volumes.
    """
    source = Path(source)
    axes, stacks = find_stacks(source, series)
    volumes = []
    for frames in stacks.stacks:
        affine, notes = place_picture(frames[0], source) if axes is None else place_stack(frames, axes, source)
        voxels, padding, more = read_values(frames)
        thickness = frames[0].number("SliceThickness")
        volumes.append(
            Volume(
                voxels,
                affine,
                DICOM_MODALITIES.get(frames[0].text("Modality"), "other"),
                thickness if thickness is not None and thickness > 0 else None,
                notes=(*stacks.notes, *notes, *more),
                padding=padding,
                frame_of_reference=frames[0].text("FrameOfReferenceUID") or None,
            )
        )
    kind = np.result_type(*(volume.voxels.dtype for volume in volumes))
    if stacks.of_one_kind:
        volumes = [volume.with_voxels(volume.voxels.astype(kind, copy=False)) for volume in volumes]
    return VolumeSequence(tuple(volumes), tuple(stacks.names), stacks.step, stacks.of_one_kind)


def find_slices(source: Path, series: str | None = None, frame: int | None = None) -> tuple[np.ndarray, list[Frame]]:
    """The IJK to RAS affine of one volume that ``read_series`` reads, and its slices in the order of k.

    Args:
        source, series: as for ``read_series``.
        frame: which volume, from 1, where there are several.

    Raises:
        InputError: as for ``read_series``, but for the voxels, which are not looked at; or there are several volumes
            and none is chosen.
    """
    axes, stacks = find_stacks(source, series)
    frames = stacks.stacks[_chosen(len(stacks.stacks), frame, source)]
    affine, _ = place_picture(frames[0], source) if axes is None else place_stack(frames, axes, source)
    return affine, frames


def series_files(source: Path, series: str | None = None) -> list[Path]:
    """Every file that ``read_series`` reads, sorted.

    Raises:
        InputError: no series or several, or a file of it cannot be read.
    """
    return sorted({frame.path for frame in choose_series(find_series(source), source, series).frames})


def find_stacks(source: Path, series: str | None = None) -> tuple[np.ndarray | None, Stacks]:
    """The images of a series in the order of their slices, without their pixels.

    Args:
        source, series: as for ``read_series``.

    Returns:
        The unit vectors along i and j in LPS, [2, 3], or None for images that lie nowhere; and a stack for each frame.

    Raises:
        InputError: as for ``read_series``, but for places, spacings and pixels.
    """
    frames = choose_series(find_series(source), source, series).frames
    _require_images(frames)
    if not any(is_placed(frame) for frame in frames) and (len(frames) == 1 or _are_pictures(frames)):
        return None, _pictures(frames)
    _require_one_size(frames, source)
    axes = find_axes(frames, source)
    heights = np.array([position_of(frame) for frame in frames]) @ np.cross(axes[0], axes[1])
    return axes, split(frames, heights, source)


def _chosen(count: int, frame: int | None, source: Path) -> int:
    if frame is None and count > 1:
        raise InputError(f"{source} has {count} frames, and one is wanted: choose it with --frame")
    if frame is not None and not 1 <= frame <= count:
        raise UsageError(f"{source} has {count} frames, numbered from 1: there is no frame {frame}")
    return 0 if frame is None else frame - 1


def _require_images(frames: Sequence[Frame]) -> None:
    """Raises InputError for what holds pixels but is no image, or not one image a frame."""
    for frame in frames:
        modality = frame.text("Modality")
        if modality in _NO_IMAGES and (modality != "NM" or (len(frames) > 1 and not is_placed(frame))):
            raise InputError(f"{frame.path} is {_NO_IMAGES[modality]}: choose a series of images")
        if frame.index and is_placed(frame) and not frame.groups:
            raise InputError(
                f"{frame.path} is multi-frame and does not say where each frame lies: export it as one file per slice"
            )
        if "MOSAIC" in (frame.get("ImageType") or ()):
            raise InputError(f"{frame.path} is a mosaic of slices, which is not read: convert the series to NIfTI")


def _require_one_size(frames: Sequence[Frame], source: Path) -> None:
    sizes = sorted({(frame.whole("Columns", 0), frame.whole("Rows", 0)) for frame in frames})
    if len(sizes) > 1:
        listed = ", ".join(f"{columns} x {rows}" for columns, rows in sizes)
        raise InputError(f"the slices in {source} differ in size ({listed}): keep those of one size")


def _are_pictures(frames: Sequence[Frame]) -> bool:
    """Whether images are by nature no slices of a volume, so that they need no place."""
    return frames[0].text("Modality") not in _SLICED


def _pictures(frames: Sequence[Frame]) -> Stacks:
    """Images that lie nowhere, each by itself: the frames of one film, or views of which one is to be chosen."""
    film = len({frame.path for frame in frames}) == 1
    if len(frames) == 1:
        return Stacks([[frames[0]]], [""])
    step = frames[0].number("FrameTime") if film else None
    names = ["" if film else " ".join([frame.path.name, frame.text("ViewPosition")]).strip() for frame in frames]
    return Stacks([[frame] for frame in frames], names, film, step * _MILLISECONDS if step else None)
