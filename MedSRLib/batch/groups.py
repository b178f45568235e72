"""Which series of a folder belong together, so that ``medsr batch --fuse`` makes one volume of them.

DICOM says it: one study, one frame of reference, one modality, one description but for the words that name a
direction, and more than one direction. Files do not, so their names must: one folder and one name but for a direction
("axial", "sag") or a run ("run-2", "stack3").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from MedSRLib.batch.discover import Study
from MedSRLib.fusion.names import common_words, direction_in

_PARALLEL = 0.9
"""Cosine between the slices' normals above which two series have one direction."""
_UNNAMED = "fused"

Key = tuple[str, ...]


def group_series(studies: Sequence[Study]) -> tuple[list[Study], list[Study]]:
    """Series that can be one volume, as studies with members; and those that have no partner.

    A group is named by what its members' names have in common, and lies in the folder that holds them all. Axial
    series come first: the result lies as the first one does.

    Args:
        studies: from ``find_studies``.

    Returns:
        The groups, sorted by name, and the studies that are in none.
    """
    members: dict[Key, list[Study]] = {}
    alone = []
    for study in studies:
        key = _key(study)
        if key is None:
            alone.append(study)
        else:
            members.setdefault(key, []).append(study)
    groups = []
    for found in members.values():
        if len(found) < 2 or _all_parallel(found):
            alone += found
        else:
            groups.append(_group(sorted(found, key=lambda one: (_place_in_order(one), one.key))))
    return sorted(groups, key=lambda one: one.key), sorted(alone, key=lambda one: one.key)


def _key(study: Study) -> Key | None:
    """What the series of one group share; None where nothing says to what a series belongs."""
    if study.suffix:
        folder = str(PurePosixPath(study.name).parent)
        common, directed = common_words(PurePosixPath(study.stem).name)
        return ("file", folder, common.casefold()) if directed else None
    known = study.tags
    frame, description = known.get("FrameOfReferenceUID"), known.get("SeriesDescription")
    if not frame or not description:
        return None
    common, _ = common_words(description)
    return "dicom", known.get("StudyInstanceUID", ""), frame, known.get("Modality", ""), common.casefold()


def _group(members: list[Study]) -> Study:
    first = members[0]
    parents = [PurePosixPath(one.name).parent.parts for one in members]
    shared = []
    for parts in zip(*parents, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    label = PurePosixPath(first.stem).name if first.suffix else str(first.tags["SeriesDescription"])
    stem = PurePosixPath(*shared, common_words(label)[0] or _UNNAMED)
    source = first.source
    for one in members[1:]:
        while not one.source.is_relative_to(source):
            source = source.parent
    fingerprint = {
        "files": sum(one.fingerprint.get("files", 0) for one in members),
        "bytes": sum(one.fingerprint.get("bytes", 0) for one in members),
        "modified": max(one.fingerprint.get("modified", 0) for one in members),
    }
    return replace(
        first,
        source=source,
        name=f"{stem}{first.suffix}",
        series=" ".join(sorted(one.series for one in members if one.series)),
        fingerprint=fingerprint,
        members=tuple(members),
    )


def _place_in_order(study: Study) -> int:
    """Of a series within its group: axial, sagittal, coronal, others."""
    normal = _normal(study)
    if normal is not None:
        return (1, 2, 0)[int(np.argmax(np.abs(normal)))]
    return direction_in(PurePosixPath(study.stem).name)


def _all_parallel(studies: Sequence[Study]) -> bool:
    """Whether all series are known to have one direction."""
    normals = [_normal(study) for study in studies]
    known = [normal for normal in normals if normal is not None]
    return len(known) == len(normals) and all(abs(float(known[0] @ one)) > _PARALLEL for one in known[1:])


def _normal(study: Study) -> np.ndarray | None:
    """Unit vector across the slices of a DICOM series; None where its headers do not say it in one place."""
    directions = study.tags.get("ImageOrientationPatient", ())
    if len(directions) != 6:
        return None
    normal = np.cross(directions[:3], directions[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0 else None
