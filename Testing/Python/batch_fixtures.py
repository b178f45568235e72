"""What the tests of ``medsr batch`` share: an input folder, the command, and ways to look at what it left."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MedSRLib.batch import journal, workers
from MedSRLib.batch.plan import Settings, Task
from MedSRLib.batch.study import process_study
from MedSRLib.commands.main import main
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume

Batch = Callable[..., tuple[int, str, str]]


@pytest.fixture
def source(tmp_path: Path, smooth_volume: Callable[..., Volume]) -> Path:
    """``a.nii.gz`` and ``sub/c.mha``, and between them ``b.nrrd``, which is no NRRD file."""
    folder = tmp_path / "input"
    (folder / "sub").mkdir(parents=True)
    write_volume(smooth_volume((4, 14, 12)), folder / "a.nii.gz")
    write_volume(smooth_volume((3, 13, 11), np.uint16), folder / "sub" / "c.mha")
    (folder / "b.nrrd").write_text("not an image")
    return folder


@pytest.fixture
def good(source: Path) -> Path:
    """The same without the bad file."""
    (source / "b.nrrd").unlink()
    return source


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def batch(models_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Runs the command, with one worker in this process; returns its exit code, stdout and stderr."""
    in_processes = workers.run_in_processes

    def run_tasks(tasks: list[Task], settings: Settings, output: Path, **words: Any) -> Iterator[Any]:
        if words["workers"] > 1:
            return in_processes(tasks, settings, output, **words)
        return run_here(tasks, settings, output, **words)

    monkeypatch.setattr(workers, "run_in_processes", run_tasks)

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["batch", *map(str, words), "--model", "tiny-x2", "--device", "cpu"])
        return code, *capsys.readouterr()

    return run


def run_here(tasks: list[Task], settings: Settings, output: Path, **words: Any) -> Iterator[Any]:
    """What ``run_in_processes`` does, without the seconds that a new process takes to import torch."""
    for task in tasks:
        if words["cancelled"]():
            return
        words["started"](task)
        yield task, process_study(task, settings, output, cancelled=words["cancelled"])


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def results(folder: Path) -> set[str]:
    """What a run left, folders too, beside its journal and summary."""
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    return left - {journal.JOURNAL, journal.SUMMARY}


def events(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / journal.JOURNAL).read_text().splitlines()]


def table(output: Path) -> list[dict[str, str]]:
    with open(output / journal.SUMMARY, newline="") as file:
        return list(csv.DictReader(file))


def states(output: Path) -> dict[str, str]:
    return {row["input"]: row["state"] for row in table(output)}
