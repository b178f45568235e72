"""The attributes (PS3.6 keywords) that reading a series looks at; everything else in a header is passed over."""

from __future__ import annotations

import re
from typing import Any

PATIENT = ("PatientBirthDate", "PatientID", "PatientName")
IDENTITY = (
    "InstanceNumber", "Modality", "SOPClassUID", "SOPInstanceUID",
    "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "ViewPosition",
)  # fmt: skip
PLACE = (
    "FrameOfReferenceUID", "ImageOrientationPatient",
    "ImagePositionPatient", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "NumberOfFrames",
    "PixelSpacing", "SequenceOfUltrasoundRegions", "SliceThickness", "SpacingBetweenSlices",
)  # fmt: skip
PIXELS = (
    "BitsAllocated", "BitsStored", "Columns", "HighBit", "ModalityLUTSequence", "PhotometricInterpretation",
    "PixelPaddingRangeLimit", "PixelPaddingValue", "PixelRepresentation", "PlanarConfiguration", "RescaleIntercept",
    "RescaleSlope", "Rows", "SamplesPerPixel",
)  # fmt: skip
KINDS = ("ImageType", "ComplexImageComponent")
"""Images that differ in one of these are not of one kind: magnitude and phase, water and fat."""
STATES = (
    "EchoNumbers", "EchoTime", "TemporalPositionIdentifier", "DiffusionBValue", "DiffusionGradientOrientation",
    "NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase", "InversionTime", "InversionTimes", "FlipAngle",
    "RepetitionTime", "SpectrallySelectedSuppression", "AcquisitionNumber",
)  # fmt: skip
"""What the frames of one place are told apart by: the same values at every place."""
TIMES = (
    "TriggerTime", "FrameReferenceDateTime", "FrameReferenceTime", "AcquisitionDateTime", "FrameAcquisitionDateTime",
    "AcquisitionTime", "ContentTime",
)  # fmt: skip
"""Clocks, which differ from slice to slice: the frames of one place are told apart by their order."""
STEPS = ("FrameTime", "TemporalResolution")
TAGS = (*PATIENT, *IDENTITY, *PLACE, *PIXELS, *KINDS, *STATES, *TIMES, *STEPS)
_SHORTEST_NAME = 3


def without_patient(text: str, tags: Any) -> str:
    """A text, such as a series description, without the words that tell who the patient is.

    Args:
        text: what is to be shown, or to name a file.
        tags: a pydicom dataset that holds the attributes of ``PATIENT`` where the file has them.
    """
    for name in PATIENT:
        try:
            words = re.split(r"[\W_]+", str(tags.get(name) or ""))
        except Exception:  # pydicom raises much for values that break the rules, which then tell nothing
            continue
        for word in words:
            if len(word) >= _SHORTEST_NAME:
                text = re.sub(re.escape(word), "", text, flags=re.IGNORECASE)
    return text
