"""Stored pixel values and what they mean: bits, modality LUT, rescale, padding (PS3.3 C.7.6.3, C.11.1).

pydicom reads what is stored plainly or in RLE; GDCM, through SimpleITK, decodes the JPEG family. GDCM gets each frame
in a bare file of its own, so that it applies nothing: by itself it turns MONOCHROME1 round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.dicom_frames import Frame, pydicom_without_warnings
from MedSRLib.volumes.itk import itk_without_warnings, one_line, quiet_libraries

_GREY_WITHIN = 2
"""Levels by which red, green and blue of a grey pixel may differ after lossy compression."""
_FEWEST_BITS = 8
"""No image has fewer; below more there may be overlays."""
_LARGEST_RESCALE = 2.0**31
_LARGE_FILE = 2**28


def read_values(frames: Sequence[Frame]) -> tuple[np.ndarray, tuple[float, float] | None, list[str]]:
    """The values [k, j, i] of frames of one size, each by its own modality LUT or slope and intercept.

    Integers stay integers, 16 bit where they fit, unless a slope or intercept is fractional: then they are float32.

    Args:
        frames: in the order of k.

    Returns:
        The values; lowest and highest value of padding, or None; and sentences on what is unusual.

    Raises:
        InputError: a file cannot be decoded, is in colour, or lacks what the others have.
    """
    _require_one_rescale(frames)
    notes: dict[str, None] = {}
    stored: dict[Path, np.ndarray] = {}
    values, paddings = [], set()
    last_use = {frame.path: position for position, frame in enumerate(frames)}
    for position, frame in enumerate(frames):
        if frame.path not in stored:
            stored[frame.path] = read_stored(frame.path)
        pixels = stored[frame.path]
        if frame.index >= len(pixels):
            raise InputError(f"{frame.path} holds {len(pixels)} frames and promises more: export the series again")
        values.append(_fitting(_rescaled(frame, _grey(frame, pixels[frame.index], notes))))
        paddings.add(_padding(frame))
        if last_use[frame.path] == position:
            del stored[frame.path]
    if any(frame.text("PhotometricInterpretation") == "MONOCHROME1" for frame in frames):
        notes[
            "the images are MONOCHROME1: their values are kept as stored, only a DICOM viewer shows them inverted"
        ] = None
    padding = next(iter(paddings)) if len(paddings) == 1 else None
    return _stacked(values), padding, list(notes)


def read_stored(path: Path) -> np.ndarray:
    """The stored values of a file, [frames, rows, columns] or, in colour, [frames, rows, columns, samples].

    Raises:
        InputError: the file is damaged, or compressed in a way that cannot be decoded.
    """
    from pydicom.pixels import pixel_array
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    syntax, is_compressed = None, False
    try:
        with pydicom_without_warnings():
            file = _parsed(path)
            syntax = file.file_meta.get("TransferSyntaxUID") if hasattr(file, "file_meta") else None
            if syntax is None:
                implicit, little = file.original_encoding
                syntax = (
                    ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
                )
                file.ensure_file_meta()
                file.file_meta.TransferSyntaxUID = syntax
            is_compressed = syntax.is_compressed  # ValueError of a UID that names no transfer syntax
            _require_as_many_pixels_as_said(file, is_compressed=is_compressed)
            samples = int(file.get("SamplesPerPixel") or 1)
            if not any(name in file for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                raise InputError(f"{path} holds no pixels, as if cut short: copy or export it again")
            if is_compressed and syntax != RLELossless and not syntax.is_deflated:
                with suppress(RuntimeError), quiet_libraries():
                    return _by_gdcm(file, samples)
            with quiet_libraries():
                pixels = pixel_array(file, correct_unused_bits=False)
    except InputError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # pydicom and its decoders raise much for damaged files
        if syntax is None or not is_compressed:
            raise InputError(f"{path} is cut short or damaged ({one_line(error)}): copy or export it again") from error
        raise InputError(
            f"{path} is damaged, or its {syntax.name} cannot be decoded ({one_line(error)}): export it uncompressed"
        ) from error
    rank = 3 if samples > 1 else 2
    pixels = pixels[None] if pixels.ndim == rank else pixels
    try:
        return pixels if samples > 1 else _meaningful_bits(pixels, file)
    except (NotImplementedError, TypeError, ValueError) as error:  # of a tag that cannot be read, too
        raise InputError(f"{path} is damaged ({one_line(error)}): copy or export it again") from error


def _require_as_many_pixels_as_said(file: Any, *, is_compressed: bool) -> None:
    """A file with the pixels of several images says how many: rows or columns that are too few tear images apart.

    Raises:
        ValueError: there are pixels of more images than it says.
    """
    if is_compressed or "PixelData" not in file:
        return
    names = ("Rows", "Columns", "BitsAllocated")
    bits = int(file.get("SamplesPerPixel") or 1) * int(
        np.prod([int(file.get(name) or 0) for name in names], dtype=object)
    )
    said, found = int(file.get("NumberOfFrames") or 1), 8 * len(file.PixelData)
    if bits and found >= (said + 1) * bits and not str(file.get("PhotometricInterpretation")).startswith("YBR"):
        raise ValueError(f"it holds the pixels of {found // bits} images of its size, and says {said}")


def _parsed(path: Path) -> Any:
    """A whole file.

    Raises:
        ValueError: an attribute claims more bytes than there is memory for, which a file of that size cannot hold.
    """
    import pydicom

    try:
        return pydicom.dcmread(path, force=True)
    except MemoryError as error:
        if path.stat().st_size > _LARGE_FILE:
            raise
        raise ValueError("an attribute is longer than the file") from error


def _by_gdcm(file: Any, samples: int) -> np.ndarray:
    """Decodes JPEG, JPEG-LS and JPEG 2000.

    Raises:
        RuntimeError: GDCM cannot; one of pydicom's own decoders may.
    """
    import SimpleITK as sitk
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

    bare = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    bare.file_meta.TransferSyntaxUID = file.file_meta.TransferSyntaxUID
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID = generate_uid()
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames"):
        if file.get(name) is not None:
            setattr(bare, name, file.get(name))
    bare.SamplesPerPixel = samples
    bare.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else file.PhotometricInterpretation
    if samples > 1:
        bare.PlanarConfiguration = file.get("PlanarConfiguration") or 0
    bare.add(file["PixelData"])
    with tempfile.TemporaryDirectory(prefix="medsr-") as folder:
        path = Path(folder) / "frames.dcm"
        bare.save_as(path, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        with itk_without_warnings():
            pixels = sitk.GetArrayFromImage(reader.Execute())
    count = int(file.get("NumberOfFrames") or 1)
    shape = (count, int(file.Rows), int(file.Columns), *([samples] if samples > 1 else []))
    return pixels.reshape(shape)


def _meaningful_bits(pixels: np.ndarray, file: Any) -> np.ndarray:
    """Stored values without what lies in the bits above them (overlays, rubbish).

    Raises:
        TypeError, ValueError: the numbers of bits are none, or leave out a part of the values.
    """
    if pixels.dtype.kind not in "iu":
        return pixels
    allocated = 8 * pixels.itemsize
    bits = int(file.get("BitsStored") or allocated)
    low = int(file.get("HighBit", bits - 1) or 0) + 1 - bits
    if not 0 < bits < allocated or low < 0 or low + bits > allocated:
        return pixels
    if low and bits < _FEWEST_BITS and np.bitwise_and(pixels, (1 << low) - 1).any():
        raise ValueError(f"the {bits} bits it stores leave out {low} lower ones that are not empty")
    unsigned = pixels.view(pixels.dtype.newbyteorder("=").str.replace("i", "u")) if pixels.dtype.isnative else pixels
    raised = unsigned << (allocated - bits - low)
    signed = bool(file.get("PixelRepresentation"))
    return (raised.view(raised.dtype.str.replace("u", "i")) if signed else raised) >> (allocated - bits)


def _grey(frame: Frame, pixels: np.ndarray, notes: dict[str, None]) -> np.ndarray:
    """One value for each pixel.

    Raises:
        InputError: the image is in colour.
    """
    interpretation = frame.text("PhotometricInterpretation")
    if interpretation == "PALETTE COLOR":
        raise InputError(f"{frame.path} is in palette colour: choose a grey-level image")
    if pixels.ndim == 2:
        return pixels
    wide = pixels.astype(np.int32)
    if np.ptp(wide, axis=-1).max() > _GREY_WITHIN:
        raise InputError(f"{frame.path} is in colour: choose a grey-level series")
    notes["the images are stored in colour, but hold grey only: their green is taken"] = None
    return pixels[..., 1]


def _rescaled(frame: Frame, pixels: np.ndarray) -> np.ndarray:
    """Stored values to what they mean."""
    if frame.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        try:
            return np.asarray(apply_modality_lut(pixels, frame.tags))
        except Exception as error:
            raise InputError(
                f"{frame.path} has a ModalityLUTSequence that cannot be applied ({one_line(error)}): export it again"
            ) from error
    slope, intercept = rescale_of(frame)
    if slope == 0:
        raise InputError(f"{frame.path} has a RescaleSlope of 0, which makes all pixels equal: export the series again")
    if (slope, intercept) == (1, 0):
        return pixels
    if max(abs(slope), abs(intercept)) > _LARGEST_RESCALE:
        raise InputError(
            f"{frame.path} has a RescaleSlope of {slope:g} and a RescaleIntercept of {intercept:g}, of which no grey "
            "levels come: correct them or export the series again"
        )
    if slope.is_integer() and intercept.is_integer() and pixels.dtype.kind in "iu":
        return pixels.astype(np.int64) * int(slope) + int(intercept)
    return (pixels * slope + intercept).astype(np.float32)


def rescale_of(frame: Frame) -> tuple[float, float]:
    """Slope and intercept, (1, 0) where the frame does not say."""
    slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _require_one_rescale(frames: Sequence[Frame]) -> None:
    """A slice without slope amid slices that have one is a damaged slice, unless it makes no difference."""
    silent = [frame for frame in frames if frame.number("RescaleSlope") is None]
    said = [frame for frame in frames if frame.number("RescaleSlope") is not None]
    if silent and any(rescale_of(frame) != (1, 0) for frame in said) and not frames[0].get("ModalityLUTSequence"):
        raise InputError(f"{silent[0].path} has no RescaleSlope, which other slices have: export the series again")


def _padding(frame: Frame) -> tuple[float, float] | None:
    """Lowest and highest value of pixels that are no measurement, as they come out of the rescale."""
    value, limit = frame.number("PixelPaddingValue"), frame.number("PixelPaddingRangeLimit")
    if value is None or frame.get("ModalityLUTSequence"):
        return None
    slope, intercept = rescale_of(frame)
    ends = [_as_stored(frame, one) * slope + intercept for one in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(frame: Frame, value: float) -> float:
    """Padding is written as US or SS, whatever pixels are: 63536 means -2000 where pixels are signed."""
    allocated = frame.whole("BitsAllocated", 16)
    signed = frame.whole("PixelRepresentation", 0) == 1
    if signed and value >= 2 ** (allocated - 1):
        return value - 2**allocated
    return value + 2**allocated if not signed and value < 0 else value


def _fitting(values: np.ndarray) -> np.ndarray:
    """The smallest integer type of at least the width that was stored, so that a series takes little memory."""
    if values.dtype.kind not in "iu" or values.itemsize <= 2:
        return values
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for dtype in (np.int16, np.uint16, np.int32, np.uint32):
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return values.astype(dtype)
    return values.astype(np.float64)


def _stacked(values: list[np.ndarray]) -> np.ndarray:
    """All frames in one array of a type that holds them all."""
    kinds = {one.dtype for one in values}
    if len(kinds) == 1:
        return np.stack(values)
    if any(dtype.kind == "f" for dtype in kinds):
        return np.stack([one.astype(np.float32) for one in values])
    low, high = min(int(one.min()) for one in values), max(int(one.max()) for one in values)
    for dtype in (np.int16, np.uint16, np.int32, np.uint32):
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return np.stack([one.astype(dtype) for one in values])
    return np.stack([one.astype(np.float64) for one in values])
