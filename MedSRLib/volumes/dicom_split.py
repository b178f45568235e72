"""Images of one place told apart: echoes, phases, b-values, times, magnitude and phase of one SeriesInstanceUID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.dicom_frames import Frame
from MedSRLib.volumes.dicom_tags import KINDS, STATES, TIMES

_SAME_PLACE = 0.01
"""Part of the slice spacing by which positions of one place may differ."""
_MILLISECONDS = 1e-3

Key = tuple[str, ...]


@dataclass(frozen=True)
class Stacks:
    """The images of a series, one stack of slices for each state.

    Args:
        stacks: slices of each state, one at every place.
        names: what tells each from the others, "" where there is one.
        of_one_kind: whether they are frames of one 4D image; False where they are magnitude and phase or the like.
        step: seconds between them, where they are times.
        notes: sentences on what is unusual.
    """

    stacks: list[list[Frame]]
    names: list[str]
    of_one_kind: bool = True
    step: float | None = None
    notes: tuple[str, ...] = ()


def split(frames: Sequence[Frame], heights: np.ndarray, source: Path) -> Stacks:
    """Stacks of one image at every place.

    Args:
        frames: all of one orientation.
        heights: millimetres of each along the slices' normal.
        source: named in the message.

    Raises:
        InputError: places hold different numbers of images, or no attribute tells them apart.
    """
    kept = _without_copies(frames)
    notes = [] if len(kept) == len(frames) else [f"{len(frames) - len(kept)} files are copies of others: passed over"]
    places = _places([frames[index] for index in kept], heights[kept])
    count = len(places[0])
    if count == 1 and all(len(place) == 1 for place in places):
        return Stacks([[place[0] for place in places]], [""], notes=tuple(notes))
    if any(len(place) != count for place in places):
        fewest, most = min(map(len, places)), max(map(len, places))
        raise InputError(
            f"some places in {source} hold {most} images (phases or echoes?), others at the same place as few as "
            f"{fewest}: export the complete series, or keep one set of slices"
        )
    varying = [keyword for keyword in (*KINDS, *STATES) if _tells_apart(keyword, places)]
    keys = [[tuple(frame.text(keyword) for keyword in varying) for frame in place] for place in places]
    if any(len(set(of_place)) < count for of_place in keys):
        clock = next((keyword for keyword in (*TIMES, "InstanceNumber") if _orders(keyword, places, keys)), None)
        if clock is None:
            raise InputError(
                f"several slices in {source} lie at the same place and no attribute tells them apart "
                "(phases or echoes?): keep one set of them"
            )
        keys = [_with_ranks(clock, place, of_place) for place, of_place in zip(places, keys, strict=True)]
        varying.append(clock)
    order = sorted(set(keys[0]), key=lambda key: [_sortable(word) for word in key])
    stacks = [[place[of_place.index(key)] for place, of_place in zip(places, keys, strict=True)] for key in order]
    names = [", ".join(f"{keyword} {word}" for keyword, word in zip(varying, key, strict=True)) for key in order]
    return Stacks(stacks, names, not set(varying) & set(KINDS), _step(varying, stacks), tuple(notes))


def _without_copies(frames: Sequence[Frame]) -> list[int]:
    """Indices of the frames without those that come a second time in another file."""
    seen, kept = set(), []
    for index, frame in enumerate(frames):
        uid = frame.text("SOPInstanceUID")
        if not uid or (uid, frame.index) not in seen:
            kept.append(index)
        seen.add((uid, frame.index))
    return kept


def _places(frames: Sequence[Frame], heights: np.ndarray) -> list[list[Frame]]:
    """The frames of each place, from low to high."""
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    apart = gaps > _SAME_PLACE * (gaps.max() if gaps.size else 0)
    places: list[list[Frame]] = [[frames[order[0]]]]
    for index, new in zip(order[1:], apart, strict=True):
        if new:
            places.append([])
        places[-1].append(frames[index])
    return places


def _tells_apart(keyword: str, places: list[list[Frame]]) -> bool:
    """Whether an attribute has the same different values at every place."""
    first = sorted(frame.text(keyword) for frame in places[0])
    if len(set(first)) < 2:
        return False
    return all(sorted(frame.text(keyword) for frame in place) == first for place in places[1:])


def _orders(keyword: str, places: list[list[Frame]], keys: list[list[Key]]) -> bool:
    """Whether an attribute puts in order, at every place, the images that are alike so far."""
    for place, of_place in zip(places, keys, strict=True):
        found = {(key, frame.text(keyword)) for frame, key in zip(place, of_place, strict=True)}
        if len(found) < len(place) or any(not word for _, word in found):
            return False
    if keyword != "InstanceNumber":
        return True
    # Numbers are the last resort: they must run through the slices of every state in one direction.
    runs: dict[Key, list[float]] = {}
    for place, of_place in zip(places, keys, strict=True):
        for frame, key in zip(place, _with_ranks(keyword, place, of_place), strict=True):
            runs.setdefault(key, []).append(frame.number(keyword) or 0.0)
    return all((np.diff(run) > 0).all() or (np.diff(run) < 0).all() for run in runs.values())


def _with_ranks(keyword: str, place: list[Frame], keys: list[Key]) -> list[Key]:
    """The keys of a place with each image's rank by an attribute among those of its key."""
    ranked = []
    for frame, key in zip(place, keys, strict=True):
        alike = sorted(
            {_sortable(other.text(keyword)) for other, others in zip(place, keys, strict=True) if others == key}
        )
        ranked.append((*key, str(1 + alike.index(_sortable(frame.text(keyword))))))
    return ranked


def _sortable(word: str) -> tuple[float, str]:
    """Numbers in their order, then words."""
    try:
        return float(word), ""
    except ValueError:
        return np.inf, word


def _step(varying: list[str], stacks: list[list[Frame]]) -> float | None:
    """Seconds between stacks that differ in their temporal position alone."""
    resolution = stacks[0][0].number("TemporalResolution")
    if varying != ["TemporalPositionIdentifier"] or resolution is None or resolution <= 0:
        return None
    return resolution * _MILLISECONDS
