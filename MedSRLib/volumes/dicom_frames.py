"""Images in DICOM files, one by one: a file of one image is one frame, an enhanced one (PS3.3 C.7.6.16) holds many."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.threads import shared_by_threads

FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
RENAMED = {
    "EffectiveEchoTime": "EchoTime",
    "FrameType": "ImageType",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
}
"""What enhanced images call otherwise than classic ones."""
_LONGEST_QUOTE = 40


@dataclass(frozen=True, eq=False)
class Frame:
    """One image: a file, its number in that file, and its attributes.

    Args:
        path: the file.
        index: of the frame in the file, from 0.
        tags: the file's attributes without pixels, a pydicom dataset.
        groups: the frame's attributes from functional groups, by keyword; these count before ``tags``.
    """

    path: Path
    index: int
    tags: Any
    groups: Mapping[str, Any] = field(default_factory=dict)

    def get(self, keyword: str, default: Any = None) -> Any:
        """An attribute's value; ``default`` where it is absent or empty.

        Raises:
            InputError: it cannot be read as what its type says.
        """
        try:
            value = self.groups[keyword] if keyword in self.groups else self.tags.get(keyword)
        except Exception as error:  # pydicom raises much for values that break the rules
            raise self._no_number(keyword) from error
        return default if value is None or (isinstance(value, str) and not value.strip()) else value

    def numbers(self, keyword: str, count: int | None = None) -> np.ndarray | None:
        """An attribute's numbers as float64, or None where it is absent or empty.

        Args:
            keyword: of the attribute.
            count: how many numbers it must have.

        Raises:
            InputError: they are no finite numbers, or others than so many.
        """
        value = self.get(keyword)
        if value is None:
            return None
        try:
            numbers = np.atleast_1d(np.asarray(value, np.float64))
        except (TypeError, ValueError) as error:
            raise self._no_number(keyword) from error
        if numbers.size == 0:
            return None
        if not np.isfinite(numbers).all():
            raise self._no_number(keyword)
        if count is not None and numbers.size != count:
            raise InputError(
                f"{self.path} gives {numbers.size} numbers for {keyword}, where {count} belong: export the series again"
            )
        return numbers

    def number(self, keyword: str) -> float | None:
        """The first of an attribute's numbers, or None where it is absent or empty."""
        numbers = self.numbers(keyword)
        return None if numbers is None else float(numbers[0])

    def whole(self, keyword: str, default: int) -> int:
        """An attribute's whole number."""
        number = self.number(keyword)
        return default if number is None else int(number)

    def text(self, keyword: str) -> str:
        """An attribute in words; several values with backslashes between them, as DICOM writes them."""
        value = self.get(keyword, "")
        return (
            "\\".join(map(str, value)) if isinstance(value, (list, tuple)) or hasattr(value, "append") else str(value)
        )

    def _no_number(self, keyword: str) -> InputError:
        return InputError(
            f"{self.path} has a {keyword} that cannot be read{_quoted(self.tags, keyword)}: "
            "correct it or export the series again"
        )


def frames_of(path: Path, tags: Any) -> list[Frame]:
    """Every image of a file.

    Args:
        path: the file.
        tags: its attributes, with its functional groups.

    Raises:
        InputError: the number of frames or the functional groups cannot be read, or they differ in number.
    """
    whole = Frame(path, 0, tags)
    count = whole.whole("NumberOfFrames", 1)
    try:
        shared, each = ([_flat(item) for item in tags.get(name) or ()] for name in FUNCTIONAL_GROUPS)
    except Exception as error:  # pydicom raises much for damaged files
        raise InputError(f"{path} has functional groups that cannot be read: export the series again") from error
    if not shared and not each:
        return [Frame(path, index, tags) for index in range(max(1, count))]
    if len(each) != max(1, count):
        raise InputError(f"{path} holds {count} frames and describes {len(each)} of them: export the series again")
    common = shared[0] if shared else {}
    return [Frame(path, index, tags, {**common, **item}) for index, item in enumerate(each)]


def _flat(item: Any) -> dict[str, Any]:
    """The attributes of a functional group and of the first items of the sequences in it, by keyword."""
    found: dict[str, Any] = {}
    for element in item:
        if element.tag.is_private or not element.keyword:
            continue
        if element.VR == "SQ":
            found |= _flat(element.value[0]) if element.value else {}
        elif element.keyword != "RealWorldValueSlope":
            found[RENAMED.get(element.keyword, element.keyword)] = element.value
    return found


def _quoted(tags: Any, keyword: str) -> str:
    """What stands in the file, as far as it can be shown."""
    try:
        raw = tags.get_item(keyword).value
    except Exception:  # the message does without it
        return ""
    text = raw.decode("latin-1") if isinstance(raw, bytes) else str(raw)
    text = " ".join(text.split())
    return f" ({text[:_LONGEST_QUOTE]!r})" if text else ""


@shared_by_threads
@contextmanager
def pydicom_without_warnings() -> Iterator[None]:
    """Keep pydicom's warnings about odd but readable files to ourselves."""
    import logging

    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
