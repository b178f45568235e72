"""The protocol between the runner and its worker: one JSON object a line, pure ASCII, over pipes.

To the worker: ``{"do": "enhance", "job": n, "model": ..., "options": {...}, "inputs": [{"input": path, "affine": ...,
"modality": ..., "slice_thickness": ..., "roi": ..., "output": path, "uncertainty": path}, ...]}``,
``{"do": "preview", "job": n, "kept": name, "model": ..., "options": {...}, "input": {as above, without outputs, where
the worker does not hold it under that name yet}, "boxes": [...], "folder": path}``,
``{"do": "fuse", "job": n, "model": ..., "options": {...}, "names": [...], "inputs": [{as above, with
"frame_of_reference", without its outputs}, ...], "folder": path}``,
``{"do": "cancel", "job": n}``, ``{"do": "quit"}``. From the worker: ``{"event": "ready", "pid": ...}``, and for a job
``{"event": "progress", "job": n, "fraction": ..., "message": ...}`` and for a preview
``{"event": "part", "job": n, "box": [...], "file": name in the folder}`` until one of
``{"event": "done", "job": n, "results": [{"affine": ..., "uncertainty": bool, "report": {...}}, ...]}``,
``{"event": "error", "job": n, "kind": ..., "exit_code": ..., "sentence": ..., "details": ...}`` or
``{"event": "cancelled", "job": n}``. Voxels travel as .npy files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MedSRLib.enhancement.request import VoxelBox


@dataclass(frozen=True)
class Ready:
    """The worker waits for jobs; ``pid`` is its own, not a launcher's."""

    pid: int


@dataclass(frozen=True)
class Progress:
    """A job goes on."""

    job: int
    fraction: float
    message: str


@dataclass(frozen=True)
class Part:
    """A part of a preview is in the job's folder: the voxels over ``box`` of the input."""

    job: int
    box: VoxelBox
    file: str


@dataclass(frozen=True)
class Result:
    """What is to be known of one input's output files."""

    affine: np.ndarray
    uncertainty: bool
    report: dict[str, Any]


@dataclass(frozen=True)
class Done:
    """A job's output files are complete, those of every input."""

    job: int
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Failed:
    """A job has failed; ``kind`` and ``exit_code`` are of the error's class, ``details`` are for the log."""

    job: int
    kind: str
    exit_code: int
    sentence: str
    details: str


@dataclass(frozen=True)
class Cancelled:
    """A job was given up."""

    job: int


Event = Ready | Progress | Part | Done | Failed | Cancelled


class LineBuffer:
    """Puts lines together from the pieces that a pipe delivers."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now, without their ends; bytes that are no UTF-8 are replaced."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.rstrip(b"\r").decode("utf-8", errors="replace") for line in lines]


def encode(message: Mapping[str, Any]) -> bytes:
    """One line. Numbers come back as they were: JSON holds the shortest text that gives the same float64."""
    return json.dumps(message, default=_plain).encode("ascii") + b"\n"


def decode(line: str) -> dict[str, Any]:
    """The object in a line, empty when there is none."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def parse_event(line: str) -> Event | None:
    """What the worker says in a line, or None when that is not of this protocol."""
    message = decode(line)
    try:
        match message.get("event"):
            case "ready":
                return Ready(int(message["pid"]))
            case "progress":
                return Progress(int(message["job"]), float(message["fraction"]), str(message["message"]))
            case "part":
                return Part(int(message["job"]), _box(message["box"]), Path(str(message["file"])).name)
            case "done":
                return Done(int(message["job"]), tuple(_result(one) for one in message["results"]))
            case "error":
                told = (str(message[key]) for key in ("sentence", "details"))
                return Failed(int(message["job"]), str(message["kind"]), int(message["exit_code"]), *told)
            case "cancelled":
                return Cancelled(int(message["job"]))
    except (KeyError, TypeError, ValueError):
        pass
    return None


def _box(content: Any) -> VoxelBox:
    i0, i1, j0, j1, k0, k1 = (int(n) for n in content)
    return i0, i1, j0, j1, k0, k1


def _result(content: Mapping[str, Any]) -> Result:
    affine = np.array(content["affine"], dtype=np.float64).reshape(4, 4)
    return Result(affine, bool(content["uncertainty"]), dict(content["report"]))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent to the worker")
