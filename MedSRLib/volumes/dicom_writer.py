"""A derived DICOM series: new slices under the patient, study and frame of reference of the series they came from.

What the tags mean is DICOM PS3.3: C.7.6.1 General Image, C.7.6.2 Image Plane, C.11.1 Modality LUT, C.8.9.4 PET Image.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib.errors import OutputError
from MedSRLib.volumes.dicom_frames import pydicom_without_warnings
from MedSRLib.volumes.dicom_required import code_item
from MedSRLib.volumes.dicom_storage import Storage, choose_storage, ds
from MedSRLib.volumes.dicom_template import Template
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.mark import ENHANCED, MANUFACTURER, NOTICE, UNCERTAINTY, Mark
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LONGEST_LO = 64
_LARGEST_SIDE = 2**16 - 1
_OFF_RIGHT_ANGLE = 1e-4
_THINNER = 0.999
_ON_SLICE = 1e-3
_SERIES_NUMBERS = {ENHANCED: 1000, UNCERTAINTY: 2000}
"""Added to the number of the source, so that series stand in a list beside those they came from."""
_PIXEL_SIZES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_RESCALED = ("CT", "PT")
"""Modalities whose images always say their slope and intercept."""
_SIXTEEN_BITS = ("CT", "MR", "PT")
"""Modalities whose images never hold 8 bits a pixel."""


def write_slices(volume: Volume, folder: Path, template: Template, mark: Mark) -> list[str]:
    """Write one file a slice into a folder that is there.

    Args:
        volume: what was made of the template's series.
        folder: gets ``0001.dcm`` and so on, in the order of k.
        template: the headers of that series.
        mark: how it was made.

    Returns:
        Sentences on what DICOM could not keep.

    Raises:
        OutputError: DICOM cannot hold the volume.
        OSError: a file cannot be written.
    """
    from pydicom.uid import generate_uid

    require_holdable(volume)
    storage = _storage(volume, template, mark)
    series = generate_uid(prefix=None)
    now = _now(template)
    for k, header in enumerate(_headers(volume, template, mark, storage)):
        header.SeriesInstanceUID = series
        header.SOPInstanceUID = generate_uid(prefix=None)
        for name in ("InstanceCreation", "Content"):
            setattr(header, f"{name}Date", now.strftime("%Y%m%d"))
            setattr(header, f"{name}Time", now.strftime("%H%M%S.%f"))
        if header.get("Modality") != "PT":  # whose activities are corrected for decay to the time of the series
            header.SeriesDate, header.SeriesTime = header.ContentDate, header.ContentTime
        header.PixelData = storage.store(volume.voxels[k]).tobytes()
        header["PixelData"].VR = "OB" if storage.dtype.itemsize == 1 else "OW"
        if len(header.PixelData) % 2:
            header.PixelData += b"\0"
        _save(header, folder / f"{k + 1:04d}.dcm")
    notes = [] if storage.exact else [f"the DICOM series holds grey levels in steps of {storage.slope:.3g}"]
    if template.left_out:
        notes.append(
            f"the DICOM series does without tags of the input that are damaged: {', '.join(template.left_out)}"
        )
    if template.mended:
        notes.append(
            f"texts of the input that break DICOM's rules were cut for the series: {', '.join(template.mended)}"
        )
    return notes


def require_holdable(volume: Volume) -> None:
    """Check that DICOM slices can hold a volume's axes; across slices they hold shear.

    Raises:
        OutputError: rows and columns are not at right angles, or more than DICOM counts.
    """
    i, j = (volume.affine[:3, axis] / np.linalg.norm(volume.affine[:3, axis]) for axis in (0, 1))
    if abs(i @ j) > _OFF_RIGHT_ANGLE:
        raise OutputError(
            "DICOM slices have rows and columns at right angles, this volume has not: write .nrrd or .mha"
        )
    if max(volume.shape[1:]) > _LARGEST_SIDE:
        raise OutputError(f"DICOM slices have {_LARGEST_SIDE} rows and columns at most: write .nrrd or .mha")


def _storage(volume: Volume, template: Template, mark: Mark) -> Storage:
    """How the volume's grey levels are stored; see ``choose_storage``."""
    first = template.headers[0]
    modality = first.get("Modality", "")
    eight = int(first.get("BitsAllocated", 16)) == 8 and modality not in _SIXTEEN_BITS
    return choose_storage(
        volume.voxels,
        signed=bool(first.get("PixelRepresentation", 0)),
        intercept=0.0 if mark.content == UNCERTAINTY else float(first.get("RescaleIntercept") or 0),
        bytes_only=eight and (volume.voxels.dtype == np.uint8 or modality == "US"),
        through_zero=modality == "PT",
    )


def _headers(volume: Volume, template: Template, mark: Mark, storage: Storage) -> Iterator[Dataset]:
    """The header of every slice, complete but for UIDs, times and pixels."""
    to_source = np.linalg.inv(template.affine) @ volume.affine
    last = template.shape[0] - 1
    for k in range(volume.shape[0]):
        place = float((to_source @ [0, 0, k, 1])[2])
        nearest = int(np.clip(np.rint(place), 0, last))
        around = {int(np.clip(one, 0, last)) for one in (np.floor(place + _ON_SLICE), np.ceil(place - _ON_SLICE))}
        header = copy.deepcopy(template.headers[nearest])
        _derive(header, template, sorted(around), mark)
        _place(header, k, volume, template, to_source)
        _describe_pixels(header, volume, storage, mark)
        yield header


def _derive(header: Dataset, template: Template, around: list[int], mark: Mark) -> None:
    """Say that the image is derived, from which ones, by what."""
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    # PET images are PRIMARY also where they are derived (C.8.9.4.1.1).
    second = "PRIMARY" if header.get("Modality") == "PT" else "SECONDARY"
    header.ImageType = ["DERIVED", second, *list(header.get("ImageType") or [])[2:]]
    header.DerivationDescription = mark.derivation()
    header.DerivationCodeSequence = [_code(codes.DCM.SpatialResampling)]
    sources = []
    for index in around:
        item = copy.deepcopy(template.references[index])
        item.PurposeOfReferenceCodeSequence = [_code(codes.DCM.SourceImageForImageProcessingOperation)]
        sources.append(item)
    header.SourceImageSequence = sources
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [_code(codes.DCM.ProcessingEquipment)]
    equipment.Manufacturer = MANUFACTURER
    equipment.ManufacturerModelName = MANUFACTURER
    equipment.SoftwareVersions = mark.version
    equipment.ContributionDateTime = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    equipment.ContributionDescription = mark.derivation()
    header.ContributingEquipmentSequence = [*header.get("ContributingEquipmentSequence", []), equipment]
    header.SeriesDescription = series_description(str(header.get("SeriesDescription") or ""), mark)
    number = header.get("SeriesNumber")
    header.SeriesNumber = _SERIES_NUMBERS[mark.content] + (int(number) if number else 0)


def series_description(source: str, mark: Mark) -> str:
    """What MedSR did and for what it is not made, then as much of the source's description as 64 characters hold."""
    kind = f" {mark.content}" if mark.content == UNCERTAINTY else ""
    return f"MedSR {mark.factors_text}{kind}, {NOTICE}: {source}"[:_LONGEST_LO].rstrip(": ").replace("\\", "/")


def _place(header: Dataset, k: int, volume: Volume, template: Template, to_source: np.ndarray) -> None:
    """Say where the slice lies, how large its pixels are, and how thick it is."""
    _, rows, columns = volume.shape
    header.Rows, header.Columns = rows, columns
    header.InstanceNumber = k + 1
    for name in ("NumberOfSlices", "ImagesInAcquisition"):
        if name in header:
            setattr(header, name, volume.shape[0])
    if "ImageIndex" in header:
        header.ImageIndex = k + 1
    for name in _PIXEL_SIZES:
        if header.get(name):
            between_rows, between_columns = header.get(name)
            sizes = float(between_rows) * to_source[1, 1], float(between_columns) * to_source[0, 0]
            setattr(header, name, [ds(size) for size in sizes])
    for region in header.get("SequenceOfUltrasoundRegions", []):
        _place_region(region, to_source, rows, columns)
    if "ImagePositionPatient" not in header:
        return
    lps = LPS_TO_RAS @ volume.affine
    axes = lps[:3, :2] / np.linalg.norm(lps[:3, :2], axis=0)
    normal = np.cross(axes[:, 0], axes[:, 1])
    position = lps[:3, 3] + k * lps[:3, 2]
    header.ImagePositionPatient = [ds(round(float(one), 10)) for one in position]
    header.ImageOrientationPatient = [ds(round(float(one), 12)) for one in axes.T.ravel()]
    header.PixelSpacing = [ds(float(np.linalg.norm(lps[:3, axis]))) for axis in (1, 0)]
    step = float(abs(normal @ lps[:3, 2]))
    if "SliceLocation" in header:
        header.SliceLocation = ds(round(float(normal @ position), 6))
    if to_source[2, 2] < _THINNER:
        # A slice of several that one was made into stands for its own step, however thick the one was.
        header.SliceThickness = ds(step)
    if volume.shape[0] > 1:
        header.SpacingBetweenSlices = ds(step)


def _place_region(region: Dataset, to_source: np.ndarray, rows: int, columns: int) -> None:
    """Put a calibrated region of an ultrasound image where its pixels now are (PS3.3 C.8.5.5)."""
    for axis, letter, count in ((0, "X", columns), (1, "Y", rows)):
        step, start = float(to_source[axis, axis]), float(to_source[axis, 3])
        for end, edge in (("Min", -0.5), ("Max", 0.5)):
            name = f"RegionLocation{end}{letter}{0 if end == 'Min' else 1}"
            if name in region:
                at = (int(region.get(name)) + edge - start) / step - edge
                setattr(region, name, int(np.clip(np.rint(at), 0, count - 1)))
        if f"ReferencePixel{letter}0" in region:
            # Counted from the region's own corner.
            at = (int(region.get(f"ReferencePixel{letter}0")) + 0.5) / step - 0.5
            setattr(region, f"ReferencePixel{letter}0", round(at))
        if f"PhysicalDelta{letter}" in region:
            setattr(region, f"PhysicalDelta{letter}", float(region.get(f"PhysicalDelta{letter}")) * step)


def _describe_pixels(header: Dataset, volume: Volume, storage: Storage, mark: Mark) -> None:
    """Say how grey levels are stored, and how they are shown."""
    header.SamplesPerPixel = 1
    if header.get("PhotometricInterpretation") != "MONOCHROME1":
        header.PhotometricInterpretation = "MONOCHROME2"
    bits = 8 * storage.dtype.itemsize
    header.BitsAllocated = header.BitsStored = bits
    header.HighBit = bits - 1
    header.PixelRepresentation = int(storage.dtype.kind == "i")
    modality = header.get("Modality", "")
    if "RescaleSlope" in header or modality in _RESCALED or storage != Storage(storage.dtype):
        header.RescaleSlope, header.RescaleIntercept = ds(storage.slope), ds(storage.intercept)
        if modality != "PT" and not header.get("RescaleType"):
            header.RescaleType = "HU" if modality == "CT" else "US"
    if "UltrasoundColorDataPresent" in header:
        header.UltrasoundColorDataPresent = 0
    if mark.content == UNCERTAINTY:
        _show_whole_range(header, volume)
    else:
        _keep_padding(header, storage, volume)


def _keep_padding(header: Dataset, storage: Storage, volume: Volume) -> None:
    """Say what stands for no measurement in the new stored values; nothing where no stored value means it."""
    if volume.padding is None:
        return
    names = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    for name, value in zip(names, dict.fromkeys(volume.padding), strict=False):
        stored = storage.find(value)
        if stored is None:
            return
        setattr(header, name, stored)


def _show_whole_range(header: Dataset, volume: Volume) -> None:
    """A window of its own for the uncertainty, whose values are not the source's grey levels."""
    header.pop("WindowCenterWidthExplanation", None)
    header.VOILUTFunction = "LINEAR_EXACT"  # the only straight one that may be narrower than 1
    width = float(volume.voxels.max()) or 1.0
    header.WindowCenter, header.WindowWidth = ds(width / 2), ds(width)


def _code(code: Any) -> Dataset:
    return code_item(code.value, code.scheme_designator, code.meaning)


def _now(template: Template) -> datetime:
    """The time in the zone of the source's dates, where it says one, else in this machine's."""
    offset = str(template.headers[0].get("TimezoneOffsetFromUTC") or "")
    try:
        return datetime.now(datetime.strptime(offset, "%z").tzinfo)
    except ValueError:
        return datetime.now()


def _save(header: Dataset, path: Path) -> None:
    """Write one file, uncompressed.

    Raises:
        OutputError: a text of the source does not fit its character set.
        OSError: no space or no permission.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = header.SOPClassUID
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with pydicom_without_warnings():
        try:
            FileDataset(str(path), header, preamble=bytes(128), file_meta=meta).save_as(path, enforce_file_format=True)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise OutputError(
                f"a header of the input cannot be written again ({type(error).__name__}): write .nrrd or .nii.gz"
            ) from error
