"""Attributes that PS3.3 asks for and exported files often lack, or whose values break the rules of PS3.5.

An attribute of type 2 may be empty where its value is not known, and an empty one says no more than a missing one: a
derived series is complete without making anything up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

_ALWAYS = (
    "AccessionNumber",
    "Manufacturer",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
_OF_MODALITY = {
    "CR": ("BodyPartExamined", "ViewPosition"),
    "CT": ("AcquisitionNumber", "KVP"),
    "MR": ("EchoTime", "EchoTrainLength", "MRAcquisitionType", "RepetitionTime", "ScanOptions"),
    "PT": (
        "CollimatorType",
        "CorrectedImage",
        "PatientGantryRelationshipCodeSequence",
        "PatientOrientationCodeSequence",
        "RadiopharmaceuticalInformationSequence",
    ),
}
"""Type 2, by Modality."""
_EMPTY_IS_WRONG = ("CardiacNumberOfImages", "InversionTime", "TriggerTime")
"""Type 2C: with the technique they belong to or not at all."""
_UNPAIRED = set(
    """
    ABDOMEN ABDOMENPELVIS AORTA BLADDER BRAIN CERVIX CHEST CHESTABDOMEN CHESTABDPELVIS COCCYX COLON CSPINE CTSPINE
    DUODENUM ESOPHAGUS GALLBLADDER HEAD HEADNECK HEART LARYNX LIVER LSPINE LSSPINE MEDIASTINUM MOUTH NECK NECKCHEST
    NOSE PANCREAS PELVIS PENIS PHARYNX PROSTATE RECTUM SKULL SPINE SPLEEN SSPINE STERNUM STOMACH TLSPINE TONGUE
    TRACHEA TSPINE UTERUS VAGINA WHOLEBODY
    """.split()  # noqa: SIM905 (words to be read)
)
"""Body parts (PS3.16 L) that are neither left nor right."""
_SEQUENCES = {"SPIN": "SE", "GRADIENT": "GR", "BOTH": ["GR", "SE"]}
"""Scanning Sequence of classic MR for Echo Pulse Sequence of enhanced MR; another one is a research mode, RM."""
_POSTURES = {
    "S": ("40199007", "SCT", "supine"),
    "P": ("1240000", "SCT", "prone"),
    "DR": ("102535000", "SCT", "right lateral decubitus"),
    "DL": ("102536004", "SCT", "left lateral decubitus"),
}
_ENTRANCES = {"HF": ("102540001", "SCT", "headfirst"), "FF": ("102541002", "SCT", "feet-first")}
"""Codes of PS3.16 CID 20 and 21 for the parts of Patient Position."""
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LONGEST = {"SH": 16, "LO": 64, "CS": 16}
_IDENTITY = (0x0010, 0x0020)
_CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f]+")


def complete(header: Dataset) -> None:
    """Add empty attributes of type 2, and take away empty ones that may not be empty."""
    modality = str(header.get("Modality", ""))
    if modality == "PT":
        _orient_patient(header)
    if modality == "MR":
        _make_classic(header)
    for name in (*_ALWAYS, *_OF_MODALITY.get(modality, ())):
        if name not in header:
            setattr(header, name, None if not name.endswith("Sequence") else [])
    for name in _EMPTY_IS_WRONG:
        # Some scanners write an inversion time of 0 for none.
        if name in header and (header.get(name) in (None, "") or (name == "InversionTime" and not header.get(name))):
            delattr(header, name)
    if "FrameOfReferenceUID" in header and "PositionReferenceIndicator" not in header:
        header.PositionReferenceIndicator = ""
    if "ImagePositionPatient" not in header and "PatientOrientation" not in header:
        header.PatientOrientation = ""
    if header.SOPClassUID == _SECONDARY_CAPTURE and not header.get("ConversionType"):
        header.ConversionType = "WSD"  # a workstation, as MedSR runs on
    if not header.get("Laterality") and "ImageLaterality" not in header:
        if str(header.get("BodyPartExamined")) in _UNPAIRED:
            header.pop("Laterality", None)
        else:
            header.Laterality = ""


def _make_classic(header: Dataset) -> None:
    """Say of an MR frame what a file of one image has to (C.8.3.1), in the words of that."""
    if not header.get("ScanningSequence"):
        header.ScanningSequence = _SEQUENCES.get(str(header.get("EchoPulseSequence")), "RM")
    if not header.get("SequenceVariant"):
        header.SequenceVariant = "NONE"
    if header.get("InPlanePhaseEncodingDirection") == "COLUMN":
        header.InPlanePhaseEncodingDirection = "COL"
    if not any(header.get("VelocityEncodingDirection") or ()):
        header.pop("VelocityEncodingDirection", None)


def _orient_patient(header: Dataset) -> None:
    """Say how the patient lay as PET does, in codes, and then not in Patient Position too (C.8.4.6, C.7.3.1.1.2)."""
    position = str(header.get("PatientPosition") or "")
    known = position[:2] in _ENTRANCES and position[2:] in _POSTURES
    if known and not header.get("PatientOrientationCodeSequence"):
        posture = code_item("102538003", "SCT", "recumbent")
        posture.PatientOrientationModifierCodeSequence = [code_item(*_POSTURES[position[2:]])]
        header.PatientOrientationCodeSequence = [posture]
        header.PatientGantryRelationshipCodeSequence = [code_item(*_ENTRANCES[position[:2]])]
    header.pop("PatientPosition", None)


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence (PS3.3 8)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def mend(element: DataElement) -> bool:
    """Give an attribute the representation of the dictionary, and cut texts to what that allows.

    What tells patients and studies apart stays as it is.

    Returns:
        Whether something was mended.
    """
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    texts = ("CS", "SH", "LO", "ST", "LT", "UT")
    right = dictionary_VR(element.tag) if dictionary_has_tag(element.tag) else element.VR
    mended = False
    if right != element.VR and right in texts and element.VR in texts:
        element.VR, mended = right, True
    longest = _LONGEST.get(element.VR)
    if longest is None or element.tag.group in _IDENTITY or element.value is None:
        return mended
    values = [element.value] if isinstance(element.value, str) else list(element.value)
    cut = [_CONTROL.sub(" ", value)[:longest].rstrip() for value in values]
    if cut != values:
        element.value, mended = (cut if len(cut) > 1 else cut[0]), True
    return mended
