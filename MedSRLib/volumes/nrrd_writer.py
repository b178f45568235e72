"""Frames in NRRD as 3D Slicer reads them: a list of volumes in space, where ITK writes a space of four dimensions."""

from __future__ import annotations

import shutil
from pathlib import Path

from MedSRLib.volumes.nrrd_header import NrrdHeader

_FOUR_DIMENSIONS = ("space dimension:", "space directions:", "space origin:", "kinds:")


def list_frames(path: Path) -> None:
    """Rewrites the header of a .nrrd of four axes, as ITK writes it; its voxels stay as they are.

    Args:
        path: the file, with the frames along the last axis and the header's vectors in LPS.
    """
    header = NrrdHeader.read(path)
    directions, origin = header.vectors("spacedirections"), header.vectors("spaceorigin")
    text = path.read_bytes()[: header.end].decode()
    lines = [line for line in text.splitlines() if line and not line.startswith(_FOUR_DIMENSIONS)]
    vectors = [
        f"({','.join(repr(float(one)) for one in vector[:3])})"
        for vector in (*directions[:3], *origin)
        if vector is not None
    ]
    place = [
        "space: left-posterior-superior",
        f"space directions: {' '.join(vectors[:3])} none",
        f"space origin: {vectors[3]}",
        "kinds: domain domain domain list",
    ]
    after = next(number for number, line in enumerate(lines) if line.startswith("dimension:")) + 1
    whole = path.with_name(f"{path.name}.list")
    with path.open("rb") as source, whole.open("wb") as file:
        file.write("\n".join([*lines[:after], *place, *lines[after:], "", ""]).encode())
        source.seek(header.end)
        shutil.copyfileobj(source, file, 2**22)
    whole.replace(path)
