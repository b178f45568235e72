"""Batches in several processes, and inside 3D Slicer: what kills one study, and what cancels them all."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from MedSRLib.batch import journal
from MedSRLib.batch.discover import Study, find_studies
from MedSRLib.batch.execution import Summary, run_batch
from MedSRLib.batch.plan import Plan, Settings, name_tasks
from MedSRLib.batch.study import staging_folder
from MedSRLib.enhancement.request import Options
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "Resources" / "Scripts" / "medsr_batch.py"
OPTIONS = Options(device="cpu")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and named pipes of POSIX")


def environment(models: Path) -> dict[str, str]:
    return {**os.environ, "MEDSR_MODELS": str(models), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def rows(output: Path) -> dict[str, dict[str, str]]:
    with open(output / journal.SUMMARY, newline="") as file:
        return {row["input"]: row for row in csv.DictReader(file)}


def left_over(output: Path) -> list[Path]:
    return list(output.rglob(".medsr-*"))


@pytest.fixture(scope="module")
def killed(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path, list[int]]:
    """Two workers; the one that reads a pipe nobody writes to is killed, as the kernel does when memory runs out.

    Returns:
        The summary, the output folder, and the process ids of all workers.
    """
    folder = tmp_path_factory.mktemp("dead")
    source, output = folder / "input", folder / "output"
    source.mkdir()
    for name in "bcd":
        write_small(source / f"{name}.nrrd")
    os.mkfifo(source / "a.nrrd")
    settings = Settings(tiny_model, OPTIONS)
    studies = [Study(source / "a.nrrd", "a.nrrd", ".nrrd"), *find_studies(source, output=output)]
    tasks = name_tasks(studies, settings)
    staging_folder(tasks[0], settings, output).mkdir(parents=True)  # as if it had died while it wrote
    workers: list[int] = []

    def kill_when_both_work() -> bool:
        new = [one for one in multiprocessing.active_children() if one.pid not in workers]
        new.sort(key=lambda one: int(one.name.rpartition("-")[2]))  # in the order they were started
        workers.extend(one.pid for one in new if one.pid is not None)
        if new and len(workers) == 2:
            os.kill(workers[0], signal.SIGKILL)  # the first has the first study
        return False

    summary = run_batch(Plan(source, output, settings, tasks, []), workers=2, cancelled=kill_when_both_work)
    return summary, output, workers


class TestDeadWorker:
    def test_its_study_fails_with_a_reason_and_all_others_are_done(
        self, killed: tuple[Summary, Path, list[int]]
    ) -> None:
        summary, output, _ = killed
        assert summary.counts == {"done": 3, "failed": 1}
        assert "died" in rows(output)["a.nrrd"]["error"]
        assert "--workers" in rows(output)["a.nrrd"]["error"]
        assert sorted(path.name for path in output.glob("*.nrrd")) == ["b.nrrd", "c.nrrd", "d.nrrd"]

    def test_it_is_replaced_and_leaves_nothing_behind(self, killed: tuple[Summary, Path, list[int]]) -> None:
        _, output, workers = killed
        assert len(workers) == 3
        assert left_over(output) == []
        assert not any(one.pid in workers for one in multiprocessing.active_children())


def test_a_fault_in_a_library_ends_one_study_of_an_ordinary_batch_too(tiny_model: Model, tmp_path: Path) -> None:
    source, output = tmp_path / "input", tmp_path / "output"
    source.mkdir()
    write_small(source / "b.nrrd")
    os.mkfifo(source / "a.nrrd")
    settings = Settings(tiny_model, OPTIONS)
    studies = [Study(source / "a.nrrd", "a.nrrd", ".nrrd"), *find_studies(source, output=output)]
    aborted: list[int] = []

    def abort_the_first() -> bool:
        for one in multiprocessing.active_children():
            if not aborted and one.pid is not None:
                aborted.append(one.pid)
                os.kill(one.pid, signal.SIGABRT)
        return False

    summary = run_batch(Plan(source, output, settings, name_tasks(studies, settings)), cancelled=abort_the_first)
    assert aborted
    assert {row["input"]: row["state"] for row in summary.rows} == {"a.nrrd": "failed", "b.nrrd": "done"}
    assert "a fault in a library" in rows(output)["a.nrrd"]["error"]


def test_ctrl_c_on_a_terminal_stops_all_workers_and_leaves_whole_files_only(
    tiny_model: Model, tmp_path: Path, smooth_volume: Callable[..., Volume]
) -> None:
    source, output = tmp_path / "input", tmp_path / "output"
    source.mkdir()
    write_small(source / "a.nii.gz")
    for name in "bcd":
        write_volume(smooth_volume((32, 192, 192)), source / f"{name}.nii.gz")
    command = [sys.executable, "-m", "MedSRLib.commands.main", "batch", str(source), str(output), "--uncertainty"]
    process = subprocess.Popen(
        [*command, "--model", "tiny-x2", "--device", "cpu", "--workers", "2", "--json"],
        env=environment(tiny_model.folder.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    wait_until(lambda: len(left_over(output)) == 2 and (output / "a.nii.gz").exists(), process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal signals every process in the foreground
    out, err = process.communicate(timeout=120)  # returns when the last worker has let go of the pipes
    assert process.returncode == 130
    assert "Traceback" not in err
    assert json.loads(out)["counts"] == {"done": 1, "cancelled": 2, "not started": 1}
    assert {name: row["state"] for name, row in rows(output).items()} == {
        "a.nii.gz": "done",
        "b.nii.gz": "cancelled",
        "c.nii.gz": "cancelled",
        "d.nii.gz": "not started",
    }
    made = {path.name for path in output.iterdir()}
    assert made == {"a.nii.gz", "a.uncertainty.nii.gz", journal.JOURNAL, journal.SUMMARY}


FAKE_SLICER = """
import json, sys, types
from pathlib import Path

script, record, *calls = sys.argv[1:]
codes = []
slicer = types.ModuleType("slicer")
slicer.util = types.SimpleNamespace(exit=codes.append, mainWindow=lambda: None)
sys.modules["slicer"] = slicer
__file__ = script
for call in map(json.loads, calls):
    if "lacks" in call:
        sys.modules[call["lacks"]] = None
    sys.argv = [script, *call["words"]]
    print("Slicer's own noise")
    exec(open(script).read(), globals())
    sys.modules.pop(call.get("lacks"), None)
Path(record).write_text(json.dumps(codes))
"""


@pytest.fixture(scope="module")
def session(
    tiny_model: Model, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[int], subprocess.CompletedProcess[str]]:
    """Several batches one after another as Slicer runs them: the script in the namespace of ``__main__``, with a
    ``slicer`` that notes exit codes.

    Returns:
        The folder of it all, the exit codes, and what was said.
    """
    folder = tmp_path_factory.mktemp("slicer")
    (folder / "input").mkdir()
    write_small(folder / "input" / "a.nrrd")
    (folder / "input" / "b.nrrd").write_text("not an image")
    source, log, options = str(folder / "input"), str(folder / "log.txt"), ["--model", "tiny-x2", "--device", "cpu"]
    calls = [
        {"lacks": "torch", "words": [source, str(folder / "lacking"), *options]},
        {"words": ["--surely-no-option"]},
        {"words": ["a", "b", "--log", str(folder / "nowhere" / "log.txt")]},
        {"words": [source, str(folder / "one"), *options]},
        {
            "words": [
                source,
                str(folder / "two"),
                "--workers",
                "2",
                "--pattern",
                "a.*",
                "--json",
                *options,
                "--log",
                log,
            ]
        },
    ]
    runner = folder / "fake_slicer.py"
    runner.write_text(FAKE_SLICER)
    done = subprocess.run(
        [sys.executable, runner, SCRIPT, folder / "codes.json", *map(json.dumps, calls)],
        env={**environment(tiny_model.folder.parent), "PYTHONPATH": ""},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (folder / "codes.json").exists(), done.stderr
    return folder, json.loads((folder / "codes.json").read_text()), done


class TestInSlicer:
    def test_every_ending_exits_slicer_with_its_code(self, session: tuple) -> None:
        assert session[1] == [3, 2, 2, 4, 0]

    def test_the_same_files_are_written_as_by_medsr_batch(self, session: tuple) -> None:
        folder = session[0]
        for output in (folder / "one", folder / "two"):
            assert sorted(path.name for path in output.iterdir()) == ["a.nrrd", journal.SUMMARY, journal.JOURNAL]
            assert rows(output)["a.nrrd"]["state"] == "done"
        assert "not a NRRD file" in rows(folder / "one")["b.nrrd"]["error"]

    def test_messages_begin_with_medsr_so_that_slicers_own_can_be_told_apart(self, session: tuple) -> None:
        stderr = session[2].stderr
        assert "medsr: [1/2] a.nrrd done" in stderr
        assert "lacks the Python package torch" in stderr
        assert "choose another --log" in stderr
        assert [line for line in stderr.splitlines() if not line.startswith(("medsr", "usage:", " "))] == []

    def test_a_log_holds_what_the_batch_said_and_nothing_else(self, session: tuple) -> None:
        folder, _, done = session
        messages, _, summary = (folder / "log.txt").read_text().partition("{")
        assert "medsr: [1/1] a.nrrd done" in messages
        assert "noise" not in messages
        assert json.loads("{" + summary)["counts"] == {"done": 1}
        assert str(folder / "two") not in done.stderr + done.stdout


def write_small(path: Path) -> None:
    """A little ramp with noise."""
    import numpy as np

    voxels = np.random.default_rng(0).integers(0, 900, (3, 12, 10)).astype(np.int16)
    write_volume(Volume(voxels, np.diag([1.0, 1.0, 3.0, 1.0]), "MR"), path)


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Waits for something that a running process is to bring about."""
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
