"""Where the slices of a DICOM series lie (PS3.3 C.7.6.2): from their own positions.

So a tilted gantry gives the sheared affine it really has, where ITK would give the nearest unsheared one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.dicom_frames import Frame
from MedSRLib.volumes.geometry import LPS_TO_RAS

_OFF_PLACE = 0.01
_OFF_PLACE_MM = 0.01
_SAME = 1e-4
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_CENTIMETRES = 3
"""Physical Units X Direction of an ultrasound region (PS3.3 C.8.5.5.1.15)."""


def is_placed(frame: Frame) -> bool:
    """Whether an image says where it lies; radiographs and ultrasound do not."""
    return frame.get("ImagePositionPatient") is not None


def find_axes(frames: Sequence[Frame], source: Path) -> np.ndarray:
    """Unit vectors along i and j in LPS, the same for all slices, shape [2, 3].

    Raises:
        InputError: a slice does not say where it lies, or they differ in orientation.
    """
    found = []
    for frame in frames:
        orientation = frame.numbers("ImageOrientationPatient", 6)
        if orientation is None or frame.numbers("ImagePositionPatient", 3) is None:
            raise InputError(f"{frame.path} does not say where its slice lies: export the series again with positions")
        axes = orientation.reshape(2, 3)
        lengths = np.linalg.norm(axes, axis=1, keepdims=True)
        if lengths.min() < 0.5 or abs(np.sum(axes[0] / lengths[0] * axes[1] / lengths[1])) > 0.1:
            raise InputError(
                f"{frame.path} has an ImageOrientationPatient of no two directions at right angles: "
                "export the series again"
            )
        found.append(axes / lengths)
    if np.ptp(found, axis=0).max() > _SAME:
        raise InputError(f"the slices in {source} differ in orientation (a localizer?): keep those of one orientation")
    return found[0]


def position_of(frame: Frame) -> np.ndarray:
    """LPS millimetres of the first pixel's centre, for a frame that ``find_axes`` let through."""
    position = frame.numbers("ImagePositionPatient", 3)
    assert position is not None
    return position


def place_stack(frames: Sequence[Frame], axes: np.ndarray, source: Path) -> tuple[np.ndarray, list[str]]:
    """The IJK to RAS affine of slices in the order of k, and sentences on what is unusual.

    Column k of the affine is (last - first position) / (n - 1). Where it strays from the slices' normal by less
    than 1 % of a pixel over the whole stack, that is the rounding of DICOM's decimal numbers, and the normal is used.

    Args:
        frames: one at every place, from low to high along the normal.
        axes: as ``find_axes`` gives them.
        source: named in messages.

    Raises:
        InputError: slices are missing, uneven, or differ in pixel spacing.
    """
    spacing, notes = pixel_spacing(frames, source)
    normal = np.cross(axes[0], axes[1])
    positions = np.array([position_of(frame) for frame in frames])
    step = normal * _lone_step(frames[0])
    if len(frames) > 1:
        _require_even(positions, normal, source)
        notes += _number_gaps(frames, positions @ normal, source)
        stack = positions[-1] - positions[0]
        straight = normal * (normal @ stack)
        if np.linalg.norm(stack - straight) <= _OFF_PLACE * min(spacing):
            stack = straight
        step = stack / (len(frames) - 1)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([axes[0] * spacing[1], axes[1] * spacing[0], step])
    affine[:3, 3] = positions[0]
    return LPS_TO_RAS @ affine, notes


def place_picture(frame: Frame, source: Path) -> tuple[np.ndarray, list[str]]:
    """The affine of an image that lies nowhere: a pixel size, i to the left and j to the back."""
    spacing, notes = pixel_spacing([frame], source)
    return LPS_TO_RAS @ np.diag([spacing[1], spacing[0], _lone_step(frame), 1.0]), notes


def pixel_spacing(frames: Sequence[Frame], source: Path) -> tuple[tuple[float, float], list[str]]:
    """Millimetres between rows and between columns, in DICOM's order; 1 where an image without a place does not say.

    Raises:
        InputError: a slice with a place does not say, the spacing is not positive, or slices differ in it.
    """
    found = []
    notes: list[str] = []
    for frame in frames:
        given = ((name, frame.numbers(name, 2)) for name in _SPACINGS)
        name, spacing = next(((name, numbers) for name, numbers in given if numbers is not None), ("", None))
        if spacing is None:
            spacing = _ultrasound_spacing(frame)
        if spacing is None:
            if is_placed(frame):
                raise InputError(f"{frame.path} does not state its pixel spacing: export the series again with it")
            spacing = np.ones(2)
            notes = ["the image does not state its pixel size: 1 mm is taken, do not measure lengths in the result"]
        if min(spacing) <= 0:
            listed = "\\".join(f"{one:g}" for one in spacing)
            raise InputError(f"{frame.path} has a {name} of {listed}, which is no size: export the series again")
        found.append(spacing)
    if any(not np.allclose(one, found[0], rtol=_SAME, atol=0) for one in found):
        raise InputError(f"the slices in {source} differ in pixel spacing: keep those of one spacing")
    return (float(found[0][0]), float(found[0][1])), notes


def _ultrasound_spacing(frame: Frame) -> np.ndarray | None:
    """Millimetres between rows and columns where all regions of an ultrasound image agree on them."""
    found = set()
    for item in frame.get("SequenceOfUltrasoundRegions") or []:
        region = Frame(frame.path, frame.index, item)
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        deltas = (region.get("PhysicalDeltaY"), region.get("PhysicalDeltaX"))
        if units == (_CENTIMETRES, _CENTIMETRES) and all(isinstance(one, float) and one != 0 for one in deltas):
            found.add((10 * abs(deltas[0]), 10 * abs(deltas[1])))
    return np.array(found.pop()) if len(found) == 1 else None


def _lone_step(frame: Frame) -> float:
    """Millimetres that one slice alone takes along k."""
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        value = frame.number(name)
        if value is not None and value > 0:
            return value
    return 1.0


def _require_even(positions: np.ndarray, normal: np.ndarray, source: Path) -> None:
    """Slices on a straight line, evenly spaced to 1 % of the spacing.

    Args:
        positions: [n, 3], LPS millimetres, in the order of k.
        normal: unit normal of the slices.
        source: named in the message.

    Raises:
        InputError: missing slices, or uneven ones.
    """
    gaps = np.diff(positions @ normal)
    step = float(gaps.min())
    tolerance = max(_OFF_PLACE * step, min(_OFF_PLACE_MM, 0.1 * step))
    steps = np.rint(gaps / step).astype(int)
    missing = int((steps - 1).sum())
    if missing and (np.abs(gaps - step * steps) <= tolerance * steps).all():
        raise InputError(
            f"{missing} of {missing + len(positions)} slices are missing in {source}: export the complete series"
        )
    line = np.linspace(positions[0], positions[-1], len(positions))
    if np.linalg.norm(positions - line, axis=1).max() > tolerance:
        raise InputError(
            f"the slices in {source} are unevenly spaced ({gaps.min():g} to {gaps.max():g} mm): "
            "resample the series to even spacing first"
        )


def _number_gaps(frames: Sequence[Frame], heights: np.ndarray, source: Path) -> list[str]:
    """What the slices' numbers say about slices that are not there, though the positions are even.

    Raises:
        InputError: numbers and slice spacing both say that slices are missing.
    """
    numbers = [frame.number("InstanceNumber") for frame in frames]
    known = np.array([number for number in numbers if number is not None])
    if len(known) < len(frames) or len(known) < 2:
        return []
    jumps = np.abs(np.diff(known))
    if jumps.min() < 1 or jumps.max() == 1:
        return []
    if jumps.min() < jumps.max():
        index = int(np.argmax(jumps))
        first, last = sorted((int(known[index]), int(known[index + 1])))
        return [
            f"the slices are evenly spaced, but no slice has a number between {first} and {last}: is the series whole?"
        ]
    step = (heights[-1] - heights[0]) / (len(heights) - 1)
    stated = frames[0].number("SpacingBetweenSlices") or frames[0].number("SliceThickness")
    times = int(jumps[0])
    if stated and abs(step - times * stated) <= _OFF_PLACE * step:
        missing = (times - 1) * (len(frames) - 1)
        raise InputError(
            f"at least {missing} of {missing + len(frames)} slices are missing in {source}, whose numbers count by "
            f"{times} and whose spacing of {step:g} mm is {times} times what they state: export the complete series"
        )
    return [f"the slices' numbers count by {times}: if the series had slices between them, they are missing"]
