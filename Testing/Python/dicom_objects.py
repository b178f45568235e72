"""DICOM series as scanners write them, small and complete, in which dciodvfy finds no error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

STUDY, SERIES, FRAME = (f"1.2.826.0.1.3680043.8.498.{number}" for number in (1, 2, 3))
SLICES, ROWS, COLUMNS = 4, 14, 12
SPACING = (0.9, 0.8)
"""Between rows, then between columns: DICOM's order."""
STEP = 2.5
CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
}


def grey_levels(count: int = SLICES, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Soft blobs with noise, 0 to about 900."""
    k, j, i = (np.linspace(-1, 1, n) for n in (count, rows, columns))
    radius = np.sqrt(k[:, None, None] ** 2 / 4 + j[None, :, None] ** 2 + i[None, None, :] ** 2)
    noise = np.random.default_rng(5).standard_normal((count, rows, columns))
    return np.clip(600 * (radius < 0.8) + 200 * np.cos(6 * radius) + 20 * noise, 0, None).astype(np.uint16)


def write_series(folder: Path, modality: str, **tags: Any) -> Path:
    """A series whose file names have nothing to do with its order; ``tags`` replace or add attributes, None removes."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 1 if modality in ("US", "CR") else SLICES
    for k, pixels in enumerate(grey_levels(count)):
        one = slice_of(modality, k, pixels)
        for name, value in tags.items():
            if value is None:
                one.pop(name, None)
            else:
                setattr(one, name, value)
        save(one, folder / f"IM{(3 * k + 1) % 7}")
    return folder


def save(one: Dataset, path: Path) -> None:
    """Write a slice as a DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = one.SOPClassUID
    meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    FileDataset(str(path), one, preamble=bytes(128), file_meta=meta).save_as(path, enforce_file_format=True)


def slice_of(modality: str, k: int, pixels: np.ndarray) -> Dataset:
    """One slice of a series."""
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID = CLASSES[modality], generate_uid()
    one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Case^Test", "T-1", "19700101", "O"
    one.StudyInstanceUID, one.SeriesInstanceUID = STUDY, SERIES
    one.StudyDate = one.SeriesDate = one.AcquisitionDate = one.ContentDate = "20240102"
    one.StudyTime = one.SeriesTime = one.AcquisitionTime = one.ContentTime = "101112"
    one.AccessionNumber, one.StudyID, one.SeriesNumber, one.InstanceNumber = "A1", "1", 3, k + 1
    one.ReferringPhysicianName = ""
    one.Modality, one.SeriesDescription = modality, "Thorax 2.5 B30f"
    one.Manufacturer, one.ManufacturerModelName = "Scanners", "S1"
    one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.BodyPartExamined = "CHEST"
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = pixels.shape
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    one.WindowCenter, one.WindowWidth = 40, 400
    one.add_new(0x00091010, "LO", "private to the scanner")
    one.PixelData = pixels.astype("<u2").tobytes()
    if modality not in ("US", "CR"):
        _lay(one, k)
    {"CT": _ct, "MR": _mr, "PT": _pt, "US": _us, "CR": _cr}[modality](one, k, pixels)
    return one


def _lay(one: Dataset, k: int) -> None:
    one.FrameOfReferenceUID, one.PositionReferenceIndicator = FRAME, ""
    one.ImageOrientationPatient = [1, 0, 0, 0, 0.8, 0.6]
    normal = np.cross([1, 0, 0], [0, 0.8, 0.6])
    one.ImagePositionPatient = [round(float(x), 6) for x in np.array([-10.5, 20.25, 100]) + k * STEP * normal]
    one.PixelSpacing, one.SliceThickness = list(SPACING), STEP
    one.SliceLocation = round(float(normal @ np.array(one.ImagePositionPatient, float)), 3)


def _ct(one: Dataset, k: int, pixels: np.ndarray) -> None:
    one.KVP, one.AcquisitionNumber = 120, 1
    one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, -1024, "HU"
    one.ConvolutionKernel, one.PatientPosition = "B30f", "HFS"
    one.PixelPaddingValue = 0


def _mr(one: Dataset, k: int, pixels: np.ndarray) -> None:
    one.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    one.ScanningSequence, one.SequenceVariant, one.ScanOptions, one.MRAcquisitionType = "SE", "SK", "", "2D"
    one.RepetitionTime, one.EchoTime, one.EchoTrainLength, one.PatientPosition = 500, 10, 1, "HFS"
    one.SpacingBetweenSlices = STEP


def _pt(one: Dataset, k: int, pixels: np.ndarray) -> None:
    one.ImageType = ["ORIGINAL", "PRIMARY"]
    one.SeriesType, one.Units, one.CountsSource = ["WHOLE BODY", "IMAGE"], "BQML", "EMISSION"
    one.NumberOfSlices, one.ImageIndex, one.CorrectedImage = SLICES, k + 1, ["DECY", "ATTN"]
    one.DecayCorrection, one.DecayFactor, one.CollimatorType = "START", 1.1, "NONE"
    one.FrameReferenceTime, one.ActualFrameDuration = 1000 * k, 120000
    one.RescaleSlope, one.RescaleIntercept = [0.5, 1.25, 3.7, 0.031][k], 0
    one.BitsStored, one.HighBit = 16, 15
    one.RadiopharmaceuticalInformationSequence = [_tracer()]
    one.PatientOrientationCodeSequence = [_code("F-10450", "SRT", "recumbent")]
    one.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [_code("F-10340", "SRT", "supine")]
    one.PatientGantryRelationshipCodeSequence = [_code("F-10470", "SRT", "headfirst")]


def _us(one: Dataset, k: int, pixels: np.ndarray) -> None:
    one.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"]
    one.BodyPartExamined = "ABDOMEN"
    one.BitsAllocated, one.BitsStored, one.HighBit = 8, 8, 7
    one.PixelData = (pixels // 4).astype(np.uint8).tobytes()
    one.PatientOrientation, one.UltrasoundColorDataPresent = "", 1
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 2
    region.RegionLocationMinX0, region.RegionLocationMaxX1 = 2, 9
    region.RegionLocationMinY0, region.RegionLocationMaxY1 = 1, 12
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    region.ReferencePixelX0 = region.ReferencePixelY0 = 4
    region.ReferencePixelPhysicalValueX = region.ReferencePixelPhysicalValueY = 0.0
    one.SequenceOfUltrasoundRegions = [region]


def _cr(one: Dataset, k: int, pixels: np.ndarray) -> None:
    one.ImageType = ["ORIGINAL", "PRIMARY"]
    one.PhotometricInterpretation, one.PresentationLUTShape = "MONOCHROME1", "INVERSE"
    one.ViewPosition, one.PatientOrientation, one.ImagerPixelSpacing = "AP", "", [0.2, 0.1]


def _tracer() -> Dataset:
    item = Dataset()
    item.RadionuclideCodeSequence = [_code("C-111A1", "SRT", "^18^Fluorine")]
    item.RadiopharmaceuticalStartTime, item.RadionuclideTotalDose = "090000", 370000000
    item.RadionuclideHalfLife, item.RadionuclidePositronFraction = 6586.2, 0.967
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def write_enhanced_mr(path: Path) -> Path:
    """All slices in one file, with what differs between them in functional groups (PS3.3 A.36)."""
    pixels = grey_levels()
    one = slice_of("MR", 0, pixels[0])
    own = ("RepetitionTime", "EchoTime", "EchoTrainLength", "ScanningSequence", "SequenceVariant", "ScanOptions")
    placed = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SliceLocation")
    moved = {
        name: one.pop(name).value for name in (*own, *placed, "SpacingBetweenSlices", "WindowCenter", "WindowWidth")
    }
    one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    one.EchoPulseSequence, one.NumberOfFrames = "GRADIENT", SLICES
    measures = _item(**{name: moved[name] for name in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")})
    one.SharedFunctionalGroupsSequence = [
        _item(
            PixelMeasuresSequence=[measures],
            PlaneOrientationSequence=[_item(ImageOrientationPatient=moved["ImageOrientationPatient"])],
            MRTimingAndRelatedParametersSequence=[_item(RepetitionTime=500, FlipAngle=30, EchoTrainLength=1)],
            MREchoSequence=[_item(EffectiveEchoTime=4.5)],
            FrameVOILUTSequence=[_item(WindowCenter=40, WindowWidth=400)],
        )
    ]
    positions = [slice_of("MR", k, pixels[k]).ImagePositionPatient for k in range(SLICES)]
    one.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=position)]) for position in positions
    ]
    one.PixelData = pixels.astype("<u2").tobytes()
    save(one, path)
    return path


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item
