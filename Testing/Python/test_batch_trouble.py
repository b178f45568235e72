"""``medsr batch`` when the disk, the memory, the options or the user stand in its way."""

# ruff: noqa: F811 (fixtures are imported, and named again as arguments)

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from batch_fixtures import (  # noqa: F401 (fixtures)
    Batch,
    batch,
    events,
    good,
    output,
    results,
    source,
    states,
    table,
    tree,
)
from test_dicom import write_series

from MedSRLib.batch import journal
from MedSRLib.batch.execution import run_batch
from MedSRLib.batch.plan import Settings, plan_batch
from MedSRLib.batch.study import process_study
from MedSRLib.enhancement import enhancer
from MedSRLib.enhancement.enhancer import enhance_all
from MedSRLib.enhancement.request import Input, Options
from MedSRLib.errors import OutputError
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume


def test_a_full_disk_is_recorded_and_leaves_nothing(
    batch: Batch, good: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    assert batch(good, output)[0] == 4
    assert results(output) == set()
    for row in table(output):
        assert "the disk is full" in row["error"]
        assert ".medsr-" not in row["error"]


def test_a_folder_that_cannot_be_made_or_written_is_recorded(
    batch: Batch, good: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output.mkdir()
    (output / "sub").write_text("a file where a folder should be")
    move = os.replace

    def replace(origin: Path, target: Path) -> None:
        if Path(target).name == "a.nii.gz" and Path(target).parent == output:
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        move(origin, target)

    monkeypatch.setattr(os, "replace", replace)
    assert batch(good, output)[0] == 4
    assert results(output) == {"sub"}
    assert [row["state"] for row in table(output)] == ["failed", "failed"]
    assert "Permission denied" in table(output)[0]["error"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd\nthing")])
def test_an_unforeseen_error_fails_one_study_only(
    batch: Batch, good: Path, output: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(inputs: list[Input], *words: Any, **told: Any) -> Any:
        if inputs[0].volume.voxels.dtype == np.uint16:
            raise error
        return enhance_all(inputs, *words, **told)

    monkeypatch.setattr(enhancer, "enhance_all", fail)
    assert batch(good, output)[0] == 4
    assert states(output) == {"a.nii.gz": "done", "sub/c.mha": "failed"}
    sentence = table(output)[1]["error"]
    assert ("memory ran out" if isinstance(error, MemoryError) else "RuntimeError (odd thing)") in sentence
    assert ("traceback" in events(output)[-1]) == isinstance(error, RuntimeError)


def test_a_journal_that_cannot_be_written_ends_the_batch(
    batch: Batch, good: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fsync(number: int) -> None:
        calls.append(number)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "os", SimpleNamespace(**{**vars(os), "fsync": fsync}))
    code, _, err = batch(good, output)
    assert code == 3
    assert "medsr-batch.jsonl cannot be written (No space left on device)" in err
    assert states(output) == {"a.nii.gz": "done", "sub/c.mha": "not started"}


def test_an_output_folder_that_cannot_be_used_is_said_before_any_work(batch: Batch, good: Path, output: Path) -> None:
    output.write_text("a file")
    code, _, err = batch(good, output)
    assert (code, output.read_text()) == (3, "a file")
    assert "choose another output folder" in err
    output.unlink()
    (output / journal.JOURNAL).mkdir(parents=True)
    assert batch(good, output)[0] == 3
    assert results(output) == set()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--workers", "0"], 2, "--workers must be"),
        (["--fidelity", "2"], 2, "between 0 and 1"),
        (["--fidelity", "0.5"], 3, "no perceptual weights"),
        (["--pattern", "*.txt"], 3, "--pattern"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_nothing_is_written(
    batch: Batch, good: Path, output: Path, words: list[str], code: int, says: str
) -> None:
    assert batch(good, output, *words)[0] == code
    assert says in batch(good, output, *words)[2].splitlines()[-1]
    assert not output.exists()


@pytest.mark.parametrize("width", ["0", "-1", "inf", "nan", "wide"])
def test_a_point_spread_that_is_none_is_wrong_usage(
    batch: Batch, good: Path, output: Path, width: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        batch(good, output, f"--point-spread={width}")
    assert stopped.value.code == 2
    assert "must be a positive number or kspace" in capsys.readouterr().err.splitlines()[-1]
    assert not output.exists()


def test_an_output_that_would_be_an_input_or_lie_in_a_dicom_series_is_refused(
    batch: Batch, good: Path, output: Path, tmp_path: Path
) -> None:
    output.mkdir()
    (output / "a.nii.gz").symlink_to(good / "a.nii.gz")
    before = tree(good)
    assert batch(good, output, "--overwrite")[0] == 4
    assert states(output) == {"a.nii.gz": "failed", "sub/c.mha": "done"}
    assert tree(good) == before
    write_series(tmp_path / "series")
    assert batch(tmp_path / "series", tmp_path / "series" / "enhanced")[0] == 4
    assert results(tmp_path / "series" / "enhanced") == set()


def test_a_study_that_is_cancelled_while_it_is_written_leaves_nothing(
    good: Path, output: Path, tiny_model: Model
) -> None:
    settings = Settings(tiny_model, Options(device="cpu", consistency=True), report=True)
    task = plan_batch(good, output, settings).tasks[0]
    written = []

    def cancelled() -> bool:
        written.extend(output.rglob(".medsr-*/a.nii.gz"))
        return bool(written)

    assert process_study(task, settings, output, cancelled=cancelled)["state"] == "cancelled"
    assert written
    assert results(output) == set()


def test_ctrl_c_cancels_the_study_at_work_and_leaves_nothing_of_it(
    batch: Batch, good: Path, output: Path, smooth_volume: Callable[..., Volume]
) -> None:
    write_volume(smooth_volume((24, 160, 160)), good / "b.nrrd")
    before = signal.default_int_handler
    original = signal.signal(signal.SIGINT, before)  # a test run in the background would have it ignored
    presser = threading.Thread(target=press_ctrl_c_during, args=(output, "b.nrrd"))
    presser.start()
    code, _, err = batch(good, output, "--uncertainty", "--report")
    presser.join()
    assert code == 130
    assert states(output) == {"a.nii.gz": "done", "b.nrrd": "cancelled", "sub/c.mha": "not started"}
    assert results(output) == {"a.nii.gz", "a.uncertainty.nii.gz", "a.report.json"}
    assert events(output)[-1]["state"] == "cancelled"
    assert "1 done, 1 cancelled, 1 not started" in err
    assert signal.signal(signal.SIGINT, original) is before


def press_ctrl_c_during(output: Path, name: str) -> None:
    """Sends SIGINT to this process as soon as the journal says that a study was started."""
    while not any(event["input"] == name for event in _events_so_far(output)):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def _events_so_far(output: Path) -> list[dict[str, Any]]:
    try:
        lines = (output / journal.JOURNAL).read_text().splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []


class TestTwoBatches:
    def test_a_second_one_into_the_same_folder_is_refused_and_a_dead_one_holds_nothing(
        self, batch: Batch, good: Path, output: Path
    ) -> None:
        output.mkdir()
        code = "import sys, time; from pathlib import Path; from MedSRLib.batch.journal import Journal\n"
        code += "journal = Journal(Path(sys.argv[1])); print('open', flush=True); time.sleep(600)"
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        with subprocess.Popen(
            [sys.executable, "-c", code, str(output / journal.JOURNAL)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            code, _, err = batch(good, output)
            other.kill()
        assert code == 3
        assert "another batch is at work" in err.splitlines()[-1]
        assert results(output) == set()
        assert not (output / journal.SUMMARY).exists()
        assert batch(good, output)[0] == 0

    def test_one_that_was_planned_before_another_ended_does_not_start(
        self, good: Path, output: Path, tiny_model: Model, batch: Batch
    ) -> None:
        stale = plan_batch(good, output, Settings(tiny_model, Options(device="cpu")))
        assert batch(good, output)[0] == 0
        before = tree(output)
        with pytest.raises(OutputError, match="start this one again"):
            run_batch(stale)
        assert tree(output) == before

    def test_a_file_system_without_locks_is_told_of(
        self, batch: Batch, good: Path, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def flock(number: int, how: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("fcntl.flock", flock)
        code, _, err = batch(good, output)
        assert code == 0
        assert "knows no locks" in err.splitlines()[-1]
