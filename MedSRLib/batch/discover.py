"""What there is to enhance below a folder: image files, and every series of every DICOM folder."""

from __future__ import annotations

import os
import re
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from MedSRLib.errors import InputError, UsageError
from MedSRLib.volumes.dicom_files import lacks_preamble
from MedSRLib.volumes.dicom_tags import PATIENT, without_patient
from MedSRLib.volumes.files import READABLE
from MedSRLib.volumes.source import data_files

_LONGEST_DESCRIPTION = 60
_SHORT_UID = 12
GROUP_TAGS = ("StudyInstanceUID", "FrameOfReferenceUID", "Modality", "ImageOrientationPatient")
_LABEL_TAGS = [
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Rows",
    "Columns",
    *GROUP_TAGS,
    *PATIENT,
]


@dataclass(frozen=True)
class Study:
    """One volume to enhance.

    Args:
        source: an image file or the folder of a DICOM series.
        name: its path below the input folder, with "/"; a series is ``folder/number-description``.
        suffix: of an image file, as in ``READABLE``; "" for a DICOM series.
        series: SeriesInstanceUID, "" for an image file.
        fingerprint: ``files``, ``bytes`` and ``modified`` (newest, in ns): another one means another input.
        tags: of a DICOM series, what ``groups`` tells by that it belongs to others: see ``GROUP_TAGS``.
        members: the series that are fused into one volume; () for a volume that is enhanced by itself.
    """

    source: Path
    name: str
    suffix: str = ""
    series: str = ""
    fingerprint: dict[str, int] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[Study, ...] = ()

    @property
    def stem(self) -> str:
        """The name without the suffix."""
        return self.name[: len(self.name) - len(self.suffix)]

    @property
    def sources(self) -> list[Path]:
        """The files or folders that must never be written to."""
        return [member.source for member in self.members] or [self.source]

    @property
    def key(self) -> tuple[str, str]:
        """What tells studies apart: two series may have one number and description."""
        return self.name, self.series


def find_studies(root: Path, *, output: Path, pattern: str | None = None) -> list[Study]:
    """Every volume below a folder, sorted by name.

    Hidden files and folders (temporary ones of MedSR are) are passed over, links to folders are followed, each folder
    once. A file that turns out not to be readable is found all the same: it fails when its turn comes, in the open.

    Args:
        root: the input folder.
        output: the output folder; where it lies below ``root`` it is passed over.
        pattern: a glob for the end of the name, such as ``*.nii.gz`` or ``anat/*_T1w.*``; None for everything.

    Raises:
        UsageError: ``root`` is a file, is ``output`` or lies in it, or the pattern is empty.
        InputError: ``root`` does not exist or holds nothing to enhance.
    """
    if not root.exists():
        raise InputError(f"{root} does not exist: check the path")
    if not root.is_dir():
        raise UsageError(f"{root} is a file: give the folder it lies in, or use 'medsr enhance' for one file")
    if root.resolve().is_relative_to(output.resolve()):
        raise UsageError(
            f"{root} lies in the output folder {output}, and inputs are never written onto: choose another"
        )
    if pattern == "":
        raise UsageError("the pattern is empty: give a glob such as '*.nii.gz', or leave --pattern out")
    found = []
    for folder, files in _folders(root, output.resolve()):
        place = folder.relative_to(root).as_posix()
        found += _studies_in(folder, "" if place == "." else f"{place}/", files)
    if not found:
        raise InputError(f"{root} holds no volumes: choose a folder with {', '.join(READABLE)} files or DICOM series")
    chosen = [study for study in found if pattern is None or PurePosixPath(study.name).match(pattern)]
    if not chosen:
        raise InputError(f"none of the {len(found)} volumes in {root} matches {pattern!r}: choose another --pattern")
    return sorted(chosen, key=lambda study: study.key)


def _folders(root: Path, excluded: Path) -> Iterator[tuple[Path, list[Path] | None]]:
    """Every folder once, with its visible files, or None where it cannot be listed.

    Linked folders come after all real ones, so that what can be reached both ways is named by its real path.
    """
    real, linked, seen = deque([root]), deque[Path](), set[Path]()
    while real or linked:
        folder = real.popleft() if real else linked.popleft()
        place = folder.resolve()
        if place in seen or place.is_relative_to(excluded):
            continue
        seen.add(place)
        try:
            entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError:
            yield folder, None
            continue
        folders = [path for path in entries if os.path.isdir(path)]
        linked += [path for path in folders if path.is_symlink()]
        real += [path for path in folders if not path.is_symlink()]
        # A link that leads nowhere is kept: data sets whose files were not fetched are full of them.
        yield folder, [path for path in entries if os.path.isfile(path) or (path.is_symlink() and not path.exists())]


def _studies_in(folder: Path, place: str, files: Sequence[Path] | None) -> list[Study]:
    """The volumes of one folder.

    Args:
        folder: where the files are.
        place: the folder below the input folder, with "/" at its end, "" for the input folder itself.
        files: None for a folder that cannot be listed, which becomes a study that will fail and say so.
    """
    if files is None:
        return [Study(folder, place.rstrip("/") or folder.name)]
    studies, others = [], []
    for path in files:
        suffixes = [suffix for suffix in READABLE if path.name.lower().endswith(suffix)]
        if suffixes:
            suffix = max(suffixes, key=len)
            studies.append(Study(path, place + path.name, suffix, "", fingerprint(_parts(path))))
        else:
            others.append(path)
    return studies + _series_in(folder, place, others)


def _series_in(folder: Path, place: str, files: Sequence[Path]) -> list[Study]:
    """Every DICOM series among the files of a folder."""
    members: dict[str, list[Path]] = {}
    labels: dict[str, str] = {}
    about: dict[str, dict[str, Any]] = {}
    damaged = False
    for path in files:
        try:
            tags = _read_label_tags(path)
        except Exception:  # pydicom raises much for damaged files; reading the series will say what is wrong
            damaged = True
            continue
        if tags is None or "Rows" not in tags or "Columns" not in tags:
            continue
        uid = str(tags.get("SeriesInstanceUID", ""))
        members.setdefault(uid, []).append(path)
        labels.setdefault(uid, _label(tags, uid))
        about.setdefault(uid, {"SeriesDescription": _word(tags, "SeriesDescription"), **_group_tags(tags)})
    if damaged and not members:
        return [Study(folder, place.rstrip("/") or folder.name, fingerprint=fingerprint(files))]
    return [
        Study(folder, place + labels[uid], "", uid, fingerprint(paths), about[uid]) for uid, paths in members.items()
    ]


def _read_label_tags(path: Path) -> Any:
    """The few tags that tell series apart, or None where the file is not DICOM."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not path.exists():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_LABEL_TAGS))
        except InvalidDicomError:
            if not lacks_preamble(path):
                return None
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_LABEL_TAGS), force=True)


def _label(tags: Any, uid: str) -> str:
    """A file name for a series: its number and description, or the end of its UID."""
    number, description = (_word(tags, name) for name in ("SeriesNumber", "SeriesDescription"))
    known = [f"{int(number):03d}"] if number.isdecimal() else []
    return "-".join([*known, *([description] if description else [])]) or short_uid(uid)


def _word(tags: Any, name: str) -> str:
    """An element's text as a part of a file name, without the patient's name; "" where it says nothing."""
    try:
        text = str(tags.get(name) or "")
    except (ValueError, TypeError):
        text = ""
    text = without_patient(text, tags)
    return re.sub(r"[^\w.-]+", "_", text)[:_LONGEST_DESCRIPTION].strip("._-")


def _group_tags(tags: Any) -> dict[str, Any]:
    """``GROUP_TAGS`` as plain values; what cannot be read is left out."""
    known: dict[str, Any] = {}
    for name in GROUP_TAGS:
        try:
            value = tags.get(name)
            if value:
                known[name] = [float(one) for one in value] if name == "ImageOrientationPatient" else str(value)
        except (ValueError, TypeError):
            continue
    return known


def short_uid(uid: str) -> str:
    """The end of a UID, which is the part that differs."""
    return uid[-_SHORT_UID:].strip(".") or "series"


def _parts(path: Path) -> list[Path]:
    """A file and, where it is a detached header, what holds its voxels."""
    try:
        return [path, *data_files(path)]
    except OSError:
        return [path]


def fingerprint(paths: Sequence[Path]) -> dict[str, int]:
    """Number, bytes and newest change of some files; those that are gone do not count."""
    stats = []
    for path in paths:
        try:
            stats.append(path.stat())
        except OSError:
            continue
    return {
        "files": len(stats),
        "bytes": sum(one.st_size for one in stats),
        "modified": max((one.st_mtime_ns for one in stats), default=0),
    }
