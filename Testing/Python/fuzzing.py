"""Image files and DICOM series that were damaged at random, and a verdict on what reading them came to.

A good reader refuses a damaged file with one sentence, or reads what really stands in it: that is told by an
independent reading, by nibabel (NIfTI), ITK (NRRD, MetaImage) and pydicom (DICOM).
"""

from __future__ import annotations

import gzip
import random
import re
import struct
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

import dicom_objects
import nibabel
import numpy as np
import pydicom
from independent_readings import by_itk, by_nibabel, by_pydicom

from MedSRLib.errors import MedSRError
from MedSRLib.volumes.checks import require_enhanceable
from MedSRLib.volumes.files import read_sequence
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.source import Source

KINDS = ("nifti", "nrrd", "metaimage", "dicom")
RIGHT, REFUSED, UNLIKE, ALONE, TRACEBACK = "right", "refused", "unlike", "alone", "traceback"
"""Verdicts: as the independent reading says; one sentence; otherwise than it; it reads nothing; no sentence."""

_NUMBERS = (
    "0", "-1", "1", "nan", "inf", "-inf", "1e300", "1e-300", "99999999999", "-0.0", "0.5", "1,5", "1A", "", "abc",
    "2 3", "65536", "4294967296", "1e60", "0x10", "１",
)  # fmt: skip
_SPACES = ("left-posterior-superior", "right-anterior-superior", "LAS", "LPS", "RAS", "scanner-xyz", "")


def make_case(kind: str, seed: int, folder: Path) -> Path:
    """Write one damaged input; the same seed makes the same.

    Args:
        kind: one of ``KINDS``.
        seed: of all that is random.
        folder: an empty folder.

    Returns:
        What is to be read: a file, or the folder of a series.
    """
    dice = random.Random(f"{kind} {seed}")
    makers: dict[str, Callable[[random.Random, Path], Path]] = {
        "nifti": _nifti,
        "nrrd": _nrrd,
        "metaimage": _metaimage,
        "dicom": _dicom,
    }
    return makers[kind](dice, folder)


def judge(kind: str, path: Path, reading_done: Callable[[], None] = lambda: None) -> tuple[str, str]:
    """Read an input, and compare with the independent reading.

    Args:
        kind: one of ``KINDS``.
        path: what ``make_case`` returned.
        reading_done: called before the independent reading, whose library may crash.

    Returns:
        A verdict, and what there is to say about it.
    """
    try:
        sequence = read_sequence(path)
        for volume in sequence.volumes:
            try:
                require_enhanceable(volume)
            except MedSRError as refusal:
                _require_sentence(refusal)
        source = Source(path)
        source.described()
        source.warnings()
        if source.is_dicom and len(sequence.volumes) == 1:
            source.template()
    except MedSRError as refusal:
        try:
            _require_sentence(refusal)
        except AssertionError as error:
            return TRACEBACK, str(error)
        return REFUSED, str(refusal)
    except Exception as error:
        ours = [one for one in traceback.extract_tb(error.__traceback__) if "MedSRLib" in one.filename][-1]
        return TRACEBACK, f"{type(error).__name__} ({error}) in {Path(ours.filename).name}:{ours.lineno} {ours.name}"
    reading_done()
    frames = np.stack([volume.voxels for volume in sequence.volumes])
    affine = sequence.volumes[0].affine
    try:
        expected = {"nifti": by_nibabel, "nrrd": by_itk, "metaimage": by_itk, "dicom": by_pydicom}[kind](path)
    except Exception as error:
        return ALONE, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return _compare(frames, affine, *expected)


def _require_sentence(refusal: MedSRError) -> None:
    text = str(refusal)
    assert "\n" not in text, f"more than a line: {text!r}"
    assert ":" in text, f"no remedy: {text!r}"
    assert len(text) < 1500, f"too long: {text[:200]!r}"


def _compare(frames: np.ndarray, affine: np.ndarray, voxels: np.ndarray, affines: list[np.ndarray]) -> tuple[str, str]:
    """Frames [n, k, j, i] beside voxels of the same order, and an affine beside those that would be right."""
    if frames.size != voxels.size:
        return UNLIKE, f"shape {frames.shape} beside {voxels.shape}"
    fits = [
        np.allclose(affine, one, rtol=1e-4, atol=1e-4 * max(1e-3, float(np.abs(one[:3, :3]).max()))) for one in affines
    ]
    if affines and not any(fits):
        return UNLIKE, f"affine {np.round(affine, 4).tolist()} beside {[np.round(one, 4).tolist() for one in affines]}"
    ours, theirs = frames.ravel().astype(np.float64), np.asarray(voxels, np.float64).ravel()
    scale = float(np.nanmax(np.abs(theirs[np.isfinite(theirs)]), initial=1.0))
    if not np.allclose(ours, theirs, rtol=1e-5, atol=2e-6 * scale, equal_nan=True):
        return UNLIKE, f"{int(np.sum(~np.isclose(ours, theirs, rtol=1e-5, equal_nan=True)))} voxels differ"
    return RIGHT, ""


# Damage


def damage(content: bytes, dice: random.Random, header: int = 0) -> bytes:
    """A few bytes flipped, overwritten, cut off, taken out or doubled; most often in the header."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        if not changed:
            break
        end = min(header, len(changed)) if header and dice.random() < 0.7 else len(changed)
        at = dice.randrange(max(1, end))
        how = dice.randrange(7)
        if how == 0:
            changed[at] ^= 1 << dice.randrange(8)
        elif how == 1:
            changed[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        elif how == 2:
            del changed[at:]
        elif how == 3:
            del changed[at : at + dice.choice((1, 2, 8, 64))]
        elif how == 4:
            changed[at:at] = changed[at : at + dice.choice((1, 4, 32))]
        elif how == 5:
            size = dice.choice((2, 4, 8))
            changed[at : at + size] = dice.choice((b"\xff", b"\0", b"\x7f")) * min(size, len(changed) - at)
        else:
            changed += bytes(dice.randrange(256) for _ in range(dice.choice((1, 16, 400))))
    return bytes(changed)


def damage_text(text: str, dice: random.Random) -> str:
    """Lines taken out, doubled and swapped, and numbers replaced by odd ones."""
    lines = text.split("\n")
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = dice.randrange(len(lines))
        how = dice.randrange(6)
        if how == 0:
            del lines[at]
            lines = lines or [""]
        elif how == 1:
            lines.insert(at, lines[at])
        elif how == 2:
            other = dice.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            numbers = list(re.finditer(r"-?\d[\d.e+-]*", lines[at]))
            if numbers:
                one = dice.choice(numbers)
                lines[at] = lines[at][: one.start()] + dice.choice(_NUMBERS) + lines[at][one.end() :]
    return "\n".join(lines)


def _affine(dice: random.Random) -> np.ndarray:
    """A rotation, anisotropic spacings and an origin, RAS."""
    rotation, _ = np.linalg.qr(np.random.default_rng(dice.randrange(2**32)).standard_normal((3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([dice.choice((0.4, 0.9, 1.0)), dice.choice((0.5, 1.1)), dice.choice((1, 3.3))])
    affine[:3, 3] = [dice.uniform(-100, 100) for _ in range(3)]
    return affine


def _voxels(dice: random.Random, kinds: tuple[str, ...]) -> np.ndarray:
    shape = (dice.choice((1, 3, 4)), dice.choice((5, 8)), dice.choice((6, 7)))
    grey = np.random.default_rng(dice.randrange(2**32)).integers(0, 100, shape)
    return grey.astype(dice.choice(kinds))


# NIfTI


def _nifti(dice: random.Random, folder: Path) -> Path:
    voxels = _voxels(dice, ("u1", "i1", "i2", "u2", "i4", "f4", "f8")).T
    if dice.random() < 0.2:
        voxels = np.stack([voxels] * dice.choice((1, 3)), axis=-1)
    make = nibabel.Nifti2Image if dice.random() < 0.15 else nibabel.Nifti1Image
    affine = _affine(dice)
    image = make(voxels, affine)
    image.header.set_sform(affine, dice.choice((0, 1, 2)))
    image.header.set_qform(affine if dice.random() < 0.8 else _affine(dice), dice.choice((0, 1, 3)))
    image.header.set_xyzt_units(dice.choice(("mm", "mm", "meter", "micron", "unknown")))
    if dice.random() < 0.3:
        image.header.set_slope_inter(dice.choice((0.5, 2.0)), dice.choice((0.0, -1024.0)))
    plain = image.to_bytes()
    size = 540 if make is nibabel.Nifti2Image else 348
    if dice.random() < 0.4:
        changed = bytearray(plain)
        for _ in range(dice.choice((1, 2))):
            form, place = dice.choice((("h", 40), ("h", 42), ("h", 44), ("h", 46), ("h", 48), ("h", 70), ("h", 72),
                                       ("f", 76), ("f", 80), ("f", 84), ("f", 88), ("f", 108), ("f", 112), ("f", 116),
                                       ("b", 123), ("h", 252), ("h", 254), ("f", 256), ("f", 264), ("f", 280),
                                       ("f", 300), ("f", 316)))  # fmt: skip
            odd = (0, -1, 1, 2, 7, 300, 32767, -32768) if form in "h" else (0, -1, 1, 3, 255 - 256, 2, 127)
            reals = (0.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30, 351.5, -352.0)
            value = dice.choice(reals) if form == "f" else dice.choice(odd)
            struct.pack_into("<" + form, changed, place, value)
        plain = bytes(changed)
    else:
        plain = damage(plain, dice, size)
    suffix = dice.choice((".nii", ".nii.gz"))
    path = folder / f"case{suffix}"
    if suffix == ".nii":
        path.write_bytes(plain)
    else:
        packed = gzip.compress(plain, 1)
        path.write_bytes(damage(packed, dice) if dice.random() < 0.3 else packed)
    return path


# NRRD


def _nrrd(dice: random.Random, folder: Path) -> Path:
    voxels = _voxels(dice, ("u1", "i2", "u2", "i4", "f4", "f8"))
    affine = _affine(dice)
    names = {"u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "f4": "float", "f8": "double"}
    encoding = dice.choice(("raw", "gzip", "ascii", "hex"))
    big = dice.random() < 0.2
    stored = voxels.astype(voxels.dtype.newbyteorder(">" if big else "<"))
    rows = [f"({','.join(f'{x:.9g}' for x in affine[:3, axis])})" for axis in range(3)]
    sizes = " ".join(map(str, voxels.shape[::-1]))
    lines = [
        "NRRD0004",
        "# made to be damaged",
        f"type: {names[voxels.dtype.str[1:]]}",
        "dimension: 3",
        f"space: {dice.choice(_SPACES[:5])}",
        f"sizes: {sizes}",
        f"space directions: {' '.join(rows)}",
        "kinds: domain domain domain",
        f"endian: {'big' if big else 'little'}",
        f"encoding: {encoding}",
        f"space origin: ({','.join(f'{x:.9g}' for x in affine[:3, 3])})",
    ]
    if dice.random() < 0.2:
        unit = dice.choice(("mm", "um", "m"))
        lines.insert(7, f'space units: "{unit}" "{unit}" "{unit}"')
    body = {
        "raw": stored.tobytes(),
        "gzip": gzip.compress(stored.tobytes(), 1),
        "ascii": " ".join(map(str, voxels.ravel().tolist())).encode(),
        "hex": stored.tobytes().hex().encode(),
    }[encoding]
    detached = dice.random() < 0.2
    if detached:
        lines.append(f"data file: {dice.choice(('case.bin', './case.bin', '../case.bin', 'gone.bin'))}")
    text = "\n".join(lines)
    how = dice.random()
    if how < 0.6:
        text = damage_text(text, dice)
    if how > 0.5:
        body = damage(body, dice)
    if detached:
        (folder / "case.bin").write_bytes(body)
        path = folder / "case.nhdr"
        path.write_bytes(text.encode() + b"\n\n")
        return path
    content = text.encode() + b"\n\n" + body
    if how > 0.9:
        content = damage(content, dice, len(text))
    path = folder / "case.nrrd"
    path.write_bytes(content)
    return path


# MetaImage


def _metaimage(dice: random.Random, folder: Path) -> Path:
    voxels = _voxels(dice, ("u1", "i2", "u2", "i4", "f4", "f8"))
    affine = LPS_TO_RAS @ _affine(dice)
    names = {"u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "f4": "FLOAT", "f8": "DOUBLE"}
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    packed = dice.random() < 0.5
    body = voxels.astype(voxels.dtype.newbyteorder("<")).tobytes()
    where = dice.choice(("LOCAL", "LOCAL", "case.raw", "../case.raw", "LIST"))
    packed = packed and where != "LIST"
    body = zlib.compress(body, 1) if packed else body
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        f"CompressedData = {packed}",
        *([f"CompressedDataSize = {len(body)}"] if packed else []),
        f"TransformMatrix = {' '.join(f'{x:.9g}' for x in (affine[:3, :3] / spacing).T.ravel())}",
        f"Offset = {' '.join(f'{x:.9g}' for x in affine[:3, 3])}",
        f"ElementSpacing = {' '.join(f'{x:.9g}' for x in spacing)}",
        f"DimSize = {' '.join(map(str, voxels.shape[::-1]))}",
        f"ElementType = MET_{names[voxels.dtype.str[1:]]}",
        f"ElementDataFile = {where}",
    ]
    text = "\n".join(lines)
    how = dice.random()
    if how < 0.6:
        text = damage_text(text, dice)
    if how > 0.5:
        body = damage(body, dice)
    path = folder / ("case.mha" if where == "LOCAL" else "case.mhd")
    if where == "LIST":
        text += "".join(f"\n{k}.raw" for k in range(voxels.shape[0]))
        for k, one in enumerate(voxels):
            (folder / f"{k}.raw").write_bytes(damage(one.tobytes(), dice) if how > 0.5 else one.tobytes())
    if where == "LOCAL":
        content = text.encode() + b"\n" + body
        path.write_bytes(damage(content, dice, len(text)) if how > 0.9 else content)
    else:
        path.write_bytes(text.encode() + b"\n")
        (folder / "case.raw").write_bytes(body)
    return path


# DICOM


def _dicom(dice: random.Random, folder: Path) -> Path:
    kind = dice.choice(("CT", "MR", "PT", "US", "CR", "enhanced"))
    if kind == "enhanced":
        path = dicom_objects.write_enhanced_mr(folder / "case.dcm")
        path.write_bytes(_damage_dicom(path.read_bytes(), dice))
        return path
    dicom_objects.write_series(folder / "case", kind)
    files = sorted((folder / "case").iterdir())
    for path in dice.sample(files, dice.choice((1, 1, len(files)))):
        path.write_bytes(_damage_dicom(path.read_bytes(), dice))
    return folder / "case"


_TAGS = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "Rows", "Columns", "BitsStored", "BitsAllocated", "HighBit", "PixelRepresentation", "RescaleSlope",
    "RescaleIntercept", "SamplesPerPixel", "NumberOfFrames", "InstanceNumber", "SeriesInstanceUID", "SOPInstanceUID",
    "Modality", "ImageType", "PhotometricInterpretation", "WindowCenter", "PixelPaddingValue", "SpecificCharacterSet",
    "PatientName", "SOPClassUID",
)  # fmt: skip


def _damage_dicom(content: bytes, dice: random.Random) -> bytes:
    """One attribute's bytes replaced, or bytes of the file damaged."""
    if dice.random() < 0.5:
        return damage(content, dice, min(len(content), 1600))
    tag = pydicom.tag.Tag(dice.choice(_TAGS))
    place = content.find(struct.pack("<HH", tag.group, tag.element), 132)
    if place < 0:
        return damage(content, dice, 1600)
    size = struct.unpack_from("<H", content, place + 6)[0]
    start = place + 8
    how = dice.randrange(4)
    if how == 0:  # the whole attribute
        return content[:place] + content[start + size :]
    if how == 1:  # its length
        odd = struct.pack("<H", dice.choice((0, 1, size + 2, 0xFFFF, max(0, size - 2))))
        return content[: place + 6] + odd + content[start:]
    value = dice.choice(_NUMBERS).encode("utf-8")
    if how == 2 and content[place + 4 : place + 6] in (b"US", b"SS"):
        value = struct.pack("<H", dice.choice((0, 1, 2, 8, 12, 16, 17, 32, 255, 65535)))
    elif how == 3:
        value = b"\\".join([value] * dice.choice((1, 2, 3, 6, 7)))
    value += b" " * (len(value) % 2)
    return content[: place + 6] + struct.pack("<H", len(value)) + value + content[start + size :]
