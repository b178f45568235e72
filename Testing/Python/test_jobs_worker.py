"""The worker keeps to its protocol whatever else prints, writes results whole, and never outlives its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_support import worker_with

from MedSRLib.enhancement.request import USUAL
from MedSRLib.jobs.messages import Done, LineBuffer, Progress, encode, parse_event
from MedSRLib.jobs.transport import worker_environment

DOUBLE = "Enhanced(volume=volume.with_voxels(volume.voxels * 2), report={'model': model}, uncertainty=None)"


class Conversation:
    """A worker process spoken to line by line."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **worker_environment()},
            start_new_session=True,
        )
        # A worker that hangs fails its test instead of the whole run.
        self._watchdog = threading.Timer(60, self.process.kill)
        self._watchdog.start()

    def say(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(encode(message))
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        heard: dict[str, Any] = json.loads(self.process.stdout.readline())
        return heard

    def hear_answer(self) -> dict[str, Any]:
        """The next event that is no progress."""
        while (heard := self.hear())["event"] == "progress":
            pass
        return heard

    def order(self, number: int, voxels: np.ndarray, **changes: Any) -> dict[str, Any]:
        """Asks for a job of one input in a folder of its own; returns what was said, the input's part too."""
        folder = self.folder / f"job {number}"
        folder.mkdir()
        np.save(folder / "input.npy", voxels)
        one = {
            "input": str(folder / "input.npy"),
            "affine": np.eye(4),
            "modality": "MR",
            "slice_thickness": None,
            "roi": None,
            "output": str(folder / "output.npy"),
            "uncertainty": str(folder / "uncertainty.npy"),
        }
        one.update((name, changes.pop(name)) for name in set(one) & set(changes))
        message = {"do": "enhance", "job": number, "model": "any", "options": {}, "inputs": [one], **changes}
        self.say(**message)
        return {**message, **one}

    def end(self) -> tuple[str, str]:
        """Closes stdin and returns what stdout and stderr still hold."""
        output, log = self.process.communicate(timeout=30)
        self._watchdog.cancel()
        return output.decode(), log.decode()


@pytest.fixture
def converse(tmp_path: Path) -> Iterator[Any]:
    started: list[Conversation] = []

    def start(command: list[str]) -> Conversation:
        started.append(Conversation(command, tmp_path))
        assert started[-1].hear()["event"] == "ready"
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.end()


def image(shape: tuple[int, int, int] = (3, 16, 14)) -> np.ndarray:
    return np.random.default_rng(1).normal(500, 100, shape).astype(np.int16)


def test_a_job_ends_with_whole_files_its_report_and_nothing_beside_them(converse: Any) -> None:
    both = (
        "v = volume.with_voxels(volume.voxels * 2, volume.affine * 3); r = {'given': options, 'mode': volume.modality}"
    )
    lines = f"def enhance(volume, model, progress, cancelled, **options):\n {both}\n"
    worker = converse(worker_with(f"{lines} return Enhanced(volume=v, report=r, uncertainty=v)"))
    order = worker.order(1, image(), roi=[0, 4, 0, 5, 0, 3], options={"fidelity": 0.5})
    answer = worker.hear_answer()
    (result,) = answer["results"]
    assert (answer["event"], answer["job"], result["uncertainty"]) == ("done", 1, True)
    given = {**USUAL.to_json(), **order["options"], "roi": order["roi"]}
    assert (result["report"]["given"], result["report"]["mode"]) == (given, "MR")
    assert np.array_equal(result["affine"], np.eye(4) * 3)
    assert np.load(order["output"]).dtype == np.int16
    assert np.array_equal(np.load(order["output"]), image() * 2)
    assert np.array_equal(np.load(order["uncertainty"]), image() * 2)
    left = sorted(path.name for path in Path(order["output"]).parent.iterdir())
    assert left == ["input.npy", "output.npy", "uncertainty.npy"]


def test_what_libraries_print_goes_to_stderr_and_nothing_reads_the_orders(converse: Any) -> None:
    noisy = (
        "def enhance(volume, model, **_):\n"
        " print('from print'); os.write(1, b'from C\\n'); os.system('echo from a child')\n"
        f" assert sys.stdin.read() == ''; return {DOUBLE}"
    )
    worker = converse(worker_with(noisy))
    worker.order(1, image())
    assert worker.hear_answer()["event"] == "done"
    output, log = worker.end()
    assert output == ""
    assert {"from print", "from C", "from a child"} <= set(log.splitlines())


@pytest.mark.parametrize(
    ("fault", "kind", "code", "words"),
    [
        ("raise MemoryError", "OutOfMemoryError", 3, "memory ran out"),
        ("import nosuchpackage", "MissingPackageError", 3, "package nosuchpackage cannot be imported"),
        ("raise KeyError('x')", "MedSRError", 3, "(KeyError: 'x'): please report it"),
        ("import MedSRLib.errors; raise MedSRLib.errors.UsageError('say it so')", "UsageError", 2, "say it so"),
    ],
)
def test_every_error_is_one_sentence_with_its_kind_and_the_worker_lives_on(
    converse: Any, fault: str, kind: str, code: int, words: str
) -> None:
    worker = converse(worker_with(f"def enhance(volume, model, **_):\n if model == 'bad': {fault}\n return {DOUBLE}"))
    worker.order(1, image(), model="bad")
    answer = worker.hear_answer()
    assert (answer["event"], answer["job"], answer["kind"], answer["exit_code"]) == ("error", 1, kind, code)
    assert words in answer["sentence"]
    assert "\n" not in answer["sentence"]
    assert ("Traceback" in answer["details"]) == (kind in ("MissingPackageError", "MedSRError"))
    order = worker.order(2, image())
    assert worker.hear_answer()["job"] == 2
    assert np.array_equal(np.load(order["output"]), image() * 2)


def test_a_full_disk_is_an_error_and_leaves_no_half_file_under_the_final_name(converse: Any, tmp_path: Path) -> None:
    worker = converse(worker_with(f"def enhance(volume, model, **_): return {DOUBLE}"))
    order = worker.order(1, image(), output=str(tmp_path / "gone" / "output.npy"))
    answer = worker.hear_answer()
    assert (answer["kind"], answer["exit_code"]) == ("OutputError", 3)
    assert "free some space" in answer["sentence"]
    assert not Path(order["output"]).exists()


def test_a_cancel_reaches_its_own_job_only_even_before_that_has_begun(converse: Any) -> None:
    patient = (
        "from MedSRLib.errors import EnhancementCancelled\n"
        "def enhance(volume, model, progress, cancelled, **_):\n"
        " progress(0.5, model)\n"
        " while not cancelled() and model == 'endless': time.sleep(0.01)\n"
        " if cancelled(): raise EnhancementCancelled\n"
        f" return {DOUBLE}"
    )
    worker = converse(worker_with(patient))
    first = worker.order(1, image(), model="endless")
    second = worker.order(2, image())
    third = worker.order(3, image())
    worker.say(do="cancel", job=2)
    worker.say(do="cancel", job=1)
    answers = [worker.hear_answer() for _ in range(3)]
    assert [(a["job"], a["event"]) for a in answers] == [(1, "cancelled"), (2, "cancelled"), (3, "done")]
    assert [Path(o["output"]).exists() for o in (first, second, third)] == [False, False, True]


def test_a_worker_whose_parent_is_gone_ends_at_once_and_removes_the_job(converse: Any) -> None:
    worker = converse(worker_with("def enhance(volume, model, progress, **_): time.sleep(60)"))
    order = worker.order(1, image())
    assert worker.hear()["event"] == "progress"
    worker.end()
    assert worker.process.returncode == 0
    assert not Path(order["input"]).parent.exists()


def test_quit_ends_an_idle_worker_though_its_stdin_stays_open(converse: Any) -> None:
    worker = converse(worker_with("def enhance(*_, **__): pass"))
    worker.say(do="quit")
    assert worker.process.wait(10) == 0


def test_nonsense_orders_are_logged_and_not_fatal(converse: Any) -> None:
    worker = converse(worker_with(f"def enhance(volume, model, **_): return {DOUBLE}"))
    assert worker.process.stdin is not None
    worker.process.stdin.write(b"\xff{nonsense\n[]\n")
    worker.order(1, image())
    assert worker.hear_answer()["event"] == "done"
    assert "{nonsense" in worker.end()[1]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_in_the_terminal_is_the_parents_business(converse: Any) -> None:
    worker = converse(worker_with(f"def enhance(volume, model, **_): return {DOUBLE}"))
    assert os.getpgid(worker.process.pid) == worker.process.pid
    worker.process.send_signal(signal.SIGINT)
    worker.order(1, image())
    assert worker.hear_answer()["event"] == "done"


def test_progress_is_not_sent_more_often_than_people_can_read(converse: Any) -> None:
    busy = (
        "def enhance(volume, model, progress, **_):\n"
        " for n in range(20001): progress(n / 20000, 'x')\n"
        f" return {DOUBLE}"
    )
    worker = converse(worker_with(busy))
    worker.order(1, image())
    fractions = []
    while (heard := worker.hear())["event"] == "progress":
        fractions.append(heard["fraction"])
    assert fractions[-1] == 1
    assert len(fractions) < 100


def test_numbers_and_any_text_survive_the_protocol() -> None:
    affine = np.random.default_rng(0).normal(size=(4, 4)) * 10.0 ** np.arange(-8, 8).reshape(4, 4)
    report = {"text": "µ 東京 \u2028 \udcff", "half": np.float32(0.1), "count": np.int64(2**53 + 1)}
    results = [{"affine": affine, "uncertainty": False, "report": report}]
    line = encode({"event": "done", "job": 3, "results": results})
    assert line.isascii()
    event = parse_event(line.decode().rstrip("\n"))
    assert isinstance(event, Done)
    (result,) = event.results
    assert np.array_equal(result.affine, affine)
    assert result.report == {"text": report["text"], "half": float(np.float32(0.1)), "count": 2**53 + 1}


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_lines_are_the_same_however_the_pipe_cuts_them(size: int) -> None:
    texts = ["é 東", "", "x" * 50]
    data = "\n".join([*texts, "no end yet"]).encode()
    buffer = LineBuffer()
    lines = [line for n in range(0, len(data), size) for line in buffer.feed(data[n : n + size])]
    assert lines == texts
    assert buffer.feed(b"\r\n") == ["no end yet"]


def test_an_event_with_a_wrong_value_is_no_event() -> None:
    good = {"event": "progress", "job": 1, "fraction": 0.5, "message": "x"}
    assert parse_event(json.dumps(good)) == Progress(1, 0.5, "x")
    for change in ({"job": None}, {"fraction": "half"}, {"event": "progres"}):
        assert parse_event(json.dumps({**good, **change})) is None
    results = [{"affine": [[1, 2]], "uncertainty": 0, "report": {}}]
    assert parse_event(json.dumps({"event": "done", "job": 1, "results": results})) is None


def test_a_preview_whose_parent_is_gone_leaves_no_folder(converse: Any, tmp_path: Path) -> None:
    lines = (
        "import sys, time\n"
        "from types import SimpleNamespace\n"
        "class Preview:\n"
        " def __init__(self, *_): pass\n"
        " def parts(self, boxes, *, progress, cancelled):\n"
        "  time.sleep(60)\n"
        "  yield\n"
        "sys.modules['MedSRLib.enhancement.preview'] = SimpleNamespace(Preview=Preview)\n"
        "from MedSRLib.jobs.worker import main\n"
        "main()\n"
    )
    worker = converse([sys.executable, "-c", lines])
    folder = tmp_path / "preview"
    folder.mkdir()
    np.save(folder / "input-0.npy", image())
    source = {"input": str(folder / "input-0.npy"), "affine": np.eye(4), "modality": "MR", "slice_thickness": None}
    order = {"kept": "a", "model": "any", "options": {}, "boxes": [[0, 4, 0, 4, 0, 1]], "folder": str(folder)}
    worker.say(do="preview", job=1, input={**source, "roi": None}, **order)
    assert worker.hear()["event"] == "progress"
    worker.end()
    assert not folder.exists()
