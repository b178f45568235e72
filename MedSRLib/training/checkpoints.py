"""Checkpoints on disk: replaced in one step, and cut into files small enough to carry where that is asked for."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from MedSRLib.errors import InputError, OutputError
from MedSRLib.volumes.itk import one_line

_INDEX = b"MedSR checkpoint in parts\n"


def save_checkpoint(state: dict[str, Any], path: Path, megabytes: float = 0.0) -> None:
    """Writes a checkpoint in one step: a reader finds the old one or the new one, whole.

    Args:
        state: what ``torch.save`` takes.
        path: of the checkpoint.
        megabytes: largest file, 10**6 bytes each; what is larger goes into numbered files beside ``path``, which then
            lists them. 0: one file.

    Raises:
        OutputError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.part")
    before = parts_of(path)
    try:
        torch.save(state, beside)
        size = beside.stat().st_size
        if megabytes and size > megabytes * 1e6:
            names = _cut(beside, path, int(megabytes * 1e6), before)
            beside.write_bytes(_INDEX + json.dumps(names).encode())
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:  # torch's writer of archives raises the latter when a disk is full
        beside.unlink(missing_ok=True)
        raise OutputError(
            f"the checkpoint {path} could not be written ({one_line(error)}): free some space and continue with "
            f"--resume from the one before"
        ) from error
    for old in set(before) - set(parts_of(path)):
        old.unlink(missing_ok=True)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """A checkpoint, in one file or in parts.

    Args:
        path: of the checkpoint.
        device: where its tensors go.

    Raises:
        InputError: a part is missing.
    """
    parts = parts_of(path)
    if not parts:
        return dict(torch.load(path, map_location=device, weights_only=True))
    if missing := [part.name for part in parts if not part.is_file()]:
        raise InputError(f"{path} lacks its part {missing[0]}: bring it into the same folder")
    whole = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    return dict(torch.load(whole, map_location=device, weights_only=True))


def parts_of(path: Path) -> list[Path]:
    """The files that a checkpoint in parts lists, in order; none where it is in one file, or is not there."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        if file.read(len(_INDEX)) != _INDEX:
            return []
        return [path.with_name(name) for name in json.loads(file.read())]


def _cut(whole: Path, path: Path, size: int, before: list[Path]) -> list[str]:
    """Copies a file into parts whose names differ from those before, so that these stay until they are not needed."""
    used = [int(found[1]) for part in before if (found := re.search(r"\.(\d+)-\d+$", part.name))]
    turn = (max(used, default=0) + 1) % 10
    names: list[str] = []
    with whole.open("rb") as file:
        while piece := file.read(size):
            names.append(f"{path.name}.{turn}-{len(names):03d}")
            path.with_name(names[-1]).write_bytes(piece)
    return names
