"""The DICOM images of a folder by series, and the files that should be among them but cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MedSRLib.errors import InputError
from MedSRLib.volumes.dicom_frames import FUNCTIONAL_GROUPS, Frame, frames_of, pydicom_without_warnings
from MedSRLib.volumes.dicom_tags import TAGS, without_patient
from MedSRLib.volumes.itk import one_line

_SHORT_UID = 12
_PREAMBLE_BYTES = 132
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_FIRST_GROUPS = (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")
"""How a file without preamble begins: with the lowest group, in either byte order."""


@dataclass
class Series:
    """The images of one SeriesInstanceUID, and what belongs to it but cannot be read, with the sentence for it."""

    uid: str
    frames: list[Frame] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """For people: how many images it has, and what the scanner calls it."""
        try:
            name = without_patient(self.frames[0].text("SeriesDescription"), self.frames[0].tags).strip()
        except InputError:
            name = ""
        return f"{len(self.frames)} slices, {name or 'no description'}"


def find_series(source: Path) -> list[Series]:
    """The images of a folder, or of one file, by series; reports, structures and other files are passed over.

    A file without preamble is read where it begins like DICOM and turns out to hold an image. One that cannot be read
    belongs to a series where it still says so itself, or where it is named like the files of that series.

    Args:
        source: a folder, whose subfolders are not searched, or a file.

    Raises:
        InputError: there are no images.
    """
    found: dict[str, Series] = {}
    unreadable: dict[Path, tuple[str, str]] = {}
    for path in sorted(source.iterdir()) if source.is_dir() else [source]:
        if source.is_dir() and (
            path.name.startswith(".") or not (path.is_file() or path.is_symlink()) or path.is_dir()
        ):
            continue
        tags, reason = read_tags(path)
        uid = "" if tags is None else str(tags.get("SeriesInstanceUID", ""))
        try:
            frames = [] if tags is None or reason else frames_of(path, tags)
        except InputError as error:
            unreadable[path] = (uid, str(error))
            continue
        if frames:
            found.setdefault(uid, Series(uid)).frames += frames
        elif reason:
            unreadable[path] = (uid, f"{path} {reason}: copy or export it again")
    if not found:
        _refuse_without_images(source, unreadable)
    for series in found.values():
        names = {frame.path.name for frame in series.frames}
        for path, (uid, sentence) in unreadable.items():
            if uid == series.uid or (not uid and _named_alike(path.name, names)):
                series.unreadable[path] = sentence
    return list(found.values())


def choose_series(found: list[Series], source: Path, uid: str | None) -> Series:
    """The one series, or the one whose UID ends with ``uid``.

    Raises:
        InputError: none or several are meant, or files of the series cannot be read.
    """
    chosen = [series for series in found if uid is None or series.uid.endswith(uid)]
    if len(chosen) == 1:
        _require_readable(chosen[0])
        return chosen[0]
    tails = {series.uid: series.uid[-_SHORT_UID:] for series in found}
    if len(set(tails.values())) < len(found):
        tails = {series.uid: series.uid for series in found}
    listed = "; ".join(f"{tails[series.uid]} ({series.description})" for series in found)
    if uid is None:
        raise InputError(f"{source} holds {len(found)} series, choose one with --series: {listed}")
    raise InputError(f"{len(chosen)} series in {source} match {uid!r}, choose one of these: {listed}")


def lacks_preamble(path: Path) -> bool:
    """Whether a file begins as DICOM does behind its preamble, as files from network captures and old archives do."""
    with path.open("rb") as file:
        return file.read(2) in _FIRST_GROUPS


def read_tags(path: Path) -> tuple[Any, str]:
    """A file's attributes without pixels, and why its image cannot be read.

    Returns:
        (attributes, "") of an image; (attributes or None, reason) of a damaged one; (None, "") of anything else.
    """
    import pydicom

    try:
        with path.open("rb") as file:
            start = file.read(_PREAMBLE_BYTES)
    except OSError as error:
        return None, "is a link that leads nowhere" if path.is_symlink() else f"cannot be read ({one_line(error)})"
    if not start.strip(b"\0"):
        return None, "holds only zeros" if start else "is an empty file"
    whole = start[128:] == b"DICM"
    if not whole and not start.startswith(_FIRST_GROUPS):
        return None, "is no DICOM file"
    try:
        with pydicom_without_warnings():
            tags = pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=[*TAGS, *FUNCTIONAL_GROUPS], force=not whole
            )
            image = "Rows" in tags and "Columns" in tags
            name = str(getattr(tags.get("SOPClassUID"), "name", ""))
            media = _is_media(tags)
            str(tags.get("SeriesInstanceUID"))  # one that cannot be read is found here
    except Exception as error:  # pydicom raises much for damaged files
        return None, f"is damaged ({one_line(error)})"
    if image:
        return tags, ""
    if "Image Storage" in name or (not name and len(start) < _PREAMBLE_BYTES) or (not name and not media):
        return tags, "lacks its rows and columns, as if cut short"
    return None, ""


def _is_media(tags: Any) -> bool:
    """Whether a file without SOP class says in its meta information that it is something else than an image."""
    name = str(getattr(getattr(tags, "file_meta", {}).get("MediaStorageSOPClassUID"), "name", ""))
    return bool(name) and "Image Storage" not in name


def _named_alike(name: str, names: Iterable[str]) -> bool:
    """Whether a file is named like others but for its number: IM0005 beside IM0004, 5.dcm beside 4.dcm."""
    if name.lower().endswith(_DICOM_SUFFIXES):
        return True
    return _pattern(name) in {_pattern(other) for other in names}


def _pattern(name: str) -> str:
    """A name without its number; numbers in hexadecimal or letters after digits count too (IM00000A)."""
    _, dot, suffix = name.rpartition(".")
    if dot and not suffix.isdigit():
        return f"*.{suffix.lower()}"
    return re.sub(r"\d[0-9A-Za-z]*", "#", name)


def _require_readable(series: Series) -> None:
    if series.unreadable:
        sentence = next(iter(series.unreadable.values()))
        others = len(series.unreadable) - 1
        raise InputError(sentence + (f" ({others} other files of the series cannot be read either)" if others else ""))


def _refuse_without_images(source: Path, unreadable: dict[Path, tuple[str, str]]) -> None:
    """Raises InputError; the reason of a file that should be DICOM is better than that there is none."""
    for path, (uid, sentence) in unreadable.items():
        if uid or path == source or path.name.lower().endswith(_DICOM_SUFFIXES):
            raise InputError(sentence)
    if not source.is_dir():
        raise InputError(f"{source} is DICOM, but holds no image: choose a file or folder of images")
    raise InputError(f"{source} holds no DICOM images: choose the folder that the files of the series lie in")
