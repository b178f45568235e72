"""What a derived DICOM series takes over from the slices it came from."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.dicom import find_slices
from MedSRLib.volumes.dicom_frames import FUNCTIONAL_GROUPS, RENAMED, Frame, pydicom_without_warnings
from MedSRLib.volumes.dicom_required import complete, mend
from MedSRLib.volumes.dicom_storage import ds
from MedSRLib.volumes.itk import one_line
from MedSRLib.volumes.mark import MANUFACTURER

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NOT_KEPT_GROUPS = (0x0002, 0x4FFE, 0x5200, 0x7FE0, 0xFFFA, 0xFFFC)
"""File meta information, signatures, functional groups, pixels, padding."""
_REPEATING_GROUPS = (0x5000, 0x6000)
"""Curves and overlays, which are drawn for the source's pixels."""
_NOT_KEPT = {
    # Of the source's pixels.
    "IconImageSequence",
    "LargestImagePixelValue",
    "LargestPixelValueInSeries",
    "ModalityLUTSequence",
    "PixelAspectRatio",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PlanarConfiguration",
    "RealWorldValueMappingSequence",
    "SmallestImagePixelValue",
    "SmallestPixelValueInSeries",
    "VOILUTSequence",
    # Display shutters, which are drawn for the source's pixels.
    "CenterOfCircularShutter",
    "RadiusOfCircularShutter",
    "ShutterLeftVerticalEdge",
    "ShutterLowerHorizontalEdge",
    "ShutterPresentationColorCIELabValue",
    "ShutterPresentationValue",
    "ShutterRightVerticalEdge",
    "ShutterShape",
    "ShutterUpperHorizontalEdge",
    "VerticesOfThePolygonalShutter",
    # Of a file with several frames.
    "ConcatenationFrameOffsetNumber",
    "ConcatenationUID",
    "CineRate",
    "DimensionIndexSequence",
    "DimensionOrganizationSequence",
    "DimensionOrganizationType",
    "FrameIncrementPointer",
    "FrameTime",
    "FrameTimeVector",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "NumberOfFrames",
    "RecommendedDisplayFrameRate",
    "StartTrim",
    "StopTrim",
    # Said anew of the derived image, or of it no longer true.
    "AlternateRepresentationSequence",
    "OriginalImageIdentification",
    "QualityControlImage",
    "SourceImageSequence",
}
_SINGLE_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.2": "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.3.1": "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.4.1": "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.4": "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.7.2": "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.7.3": "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.128.1": "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.130": "1.2.840.10008.5.1.4.1.1.128",
}
"""Classes of several frames (enhanced, legacy converted, ultrasound, secondary capture) and those of one."""
_NO_MACROS = ("DerivationImageSequence", "RealWorldValueMappingSequence", "ReferencedImageSequence")
"""Functional groups that are lists of things of their own, or speak of stored values."""
_EQUIPMENT = "ContributingEquipmentSequence"
_LOSSY_METHODS = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
}
"""Transfer syntaxes that are never lossless, by the standard they follow (PS3.3 C.7.6.1.1.5.1)."""


@dataclass(frozen=True)
class Template:
    """The headers of the source's slices.

    Args:
        headers: one a slice, in the order of k, each like the header of a file with one frame.
        references: for each slice, the item of a sequence that names it: class, instance and frame.
        affine: 4x4, the source's IJK to RAS.
        left_out: tags whose values cannot be read, which the derived series does without.
        mended: tags whose values broke the rules of DICOM, and do so no longer.
    """

    headers: list[Dataset]
    references: list[Dataset]
    affine: np.ndarray
    left_out: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """The source's numbers of voxels [k, j, i]."""
        return len(self.headers), int(self.headers[0].Rows), int(self.headers[0].Columns)


def read_template(source: Path, series: str | None = None, frame: int | None = None) -> Template:
    """Read the headers of the slices that ``read_series`` reads.

    Args:
        source: a file, or the folder of the series.
        series: SeriesInstanceUID, or its end, where there are several.
        frame: number of the volume, from 1, where there are several.

    Raises:
        InputError: as for ``read_series``, or a header is damaged.
    """
    left_out: set[str] = set()
    mended: set[str] = set()
    headers: list[Dataset] = []
    references: list[Dataset] = []
    files: dict[Path, Dataset] = {}
    with pydicom_without_warnings():
        affine, slices = find_slices(source, series, frame)
        for one in slices:
            if one.path not in files:
                files = {one.path: _read(one.path)}
            header = _kept(files[one.path], left_out, mended)
            for name, index in zip(FUNCTIONAL_GROUPS, (0, one.index), strict=True):
                if groups := files[one.path].get(name):
                    _merge(header, _kept(groups[index], left_out, mended))
            references.append(_reference(header, one))
            header.SOPClassUID = _SINGLE_FRAME.get(header.SOPClassUID, header.SOPClassUID)
            _keep_window(header, files[one.path])
            _keep_lossy_history(header, files[one.path], one.path)
            complete(header)
            headers.append(header)
    return Template(headers, references, affine, tuple(sorted(left_out)), tuple(sorted(mended)))


def _read(path: Path) -> Dataset:
    """The whole header of a file.

    Raises:
        InputError: it is damaged, or does not say what it is.
    """
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        said = {name: header.get(name) for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")}
    except Exception as error:  # pydicom raises much for damaged files
        raise InputError(f"{path} is damaged ({one_line(error)}): export the series again") from error
    for name, uid in said.items():
        if not isinstance(uid, str) or not uid:
            raise InputError(f"{path} has no {name}, without which no DICOM can be made of it: write .nrrd or .nii.gz")
    return header


def _reference(header: Dataset, one: Frame) -> Dataset:
    """How a sequence names one image (PS3.3 10.3)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if one.whole("NumberOfFrames", 1) > 1:
        item.ReferencedFrameNumber = one.index + 1
    return item


def _merge(header: Dataset, groups: Dataset) -> None:
    """Put what functional groups say of one frame (PS3.3 C.7.6.16) where a file of one frame says it."""
    for group in groups:
        if group.VR != "SQ" or not group.value or group.keyword in _NO_MACROS:
            continue
        for element in group.value[0]:
            if element.keyword in RENAMED:
                setattr(header, RENAMED[element.keyword], element.value)
            else:
                header.add(element)


def _kept(header: Dataset, left_out: set[str], mended: set[str]) -> Dataset:
    """A copy without private attributes and what belongs to the source's pixels alone.

    Args:
        header: of a file, or an item of a sequence in it.
        left_out: gets the tags whose values cannot be read.
        mended: gets the tags whose values broke the rules.
    """
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    kept = Dataset()
    for tag in list(header.keys()):
        if tag.is_private or tag.group in _NOT_KEPT_GROUPS or tag.group & 0xFF00 in _REPEATING_GROUPS:
            continue
        try:
            element = copy.copy(header[tag])
            if element.keyword in _NOT_KEPT:
                continue
            if element.VR == "SQ":
                element.value = Sequence([_kept(item, left_out, mended) for item in element.value])
            elif mend(element):
                mended.add(str(tag))
        except Exception:  # pydicom raises much for values that break the rules
            left_out.add(str(tag))
            continue
        kept.add(element)
    return kept


def _keep_window(kept: Dataset, header: Dataset) -> None:
    """Make a window of the range of a VOI LUT, where there is no window (PS3.3 C.11.2.1.1)."""
    if kept.get("WindowCenter") in (None, "") and header.get("VOILUTSequence"):
        number, first, _ = header.VOILUTSequence[0].LUTDescriptor
        number = number or 2**16
        kept.WindowCenter, kept.WindowWidth = ds(first + number / 2), ds(number)


def _keep_lossy_history(kept: Dataset, header: Dataset, path: Path) -> None:
    """Say of a source that is itself compressed with loss what its own attributes may not (PS3.3 C.7.6.1.1.5)."""
    method = _LOSSY_METHODS.get(str(header.file_meta.get("TransferSyntaxUID", "")))
    if method is None or "LossyImageCompression" in kept:
        return
    pixels = int(header.Rows) * int(header.Columns) * int(header.get("NumberOfFrames") or 1)
    ratio = pixels * int(header.get("SamplesPerPixel", 1)) * int(header.BitsAllocated) / 8 / path.stat().st_size
    kept.LossyImageCompression = "01"
    kept.LossyImageCompressionMethod = method
    kept.LossyImageCompressionRatio = ds(round(max(1.0, ratio), 2))


def is_derived(path: Path) -> bool:
    """Whether a DICOM file says that MedSR had a part in it (Contributing Equipment Sequence, PS3.3 C.12.1)."""
    import pydicom

    try:
        with pydicom_without_warnings():
            tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[_EQUIPMENT], force=True)
            return any(item.get("Manufacturer") == MANUFACTURER for item in tags.get(_EQUIPMENT, ()))
    except Exception:  # damaged, which reading it says; pydicom raises much
        return False
