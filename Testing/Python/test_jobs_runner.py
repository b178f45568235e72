"""The runner reports every end of a job, leaves no file and no process, and keeps the worker for the next job."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_qt
import numpy as np
import pytest
from conftest import UINT16, make_tiny_model
from jobs_support import TRANSPORTS, Bench, Record, bench, job_of, script, worker_with
from reports import report_of

from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.result import Enhanced
from MedSRLib.errors import MissingPackageError, OutputError, UsageError
from MedSRLib.jobs import job as job_module
from MedSRLib.jobs import runner as runner_module
from MedSRLib.jobs import transport as transport_module
from MedSRLib.jobs.exits import explain_exit
from MedSRLib.jobs.job import Job
from MedSRLib.jobs.runner import State
from MedSRLib.jobs.time_left import TimeLeft
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.files import read_volume
from MedSRLib.volumes.volume import Volume

FOLDER = "Ärztin 東京 α job"
SLEEPER = worker_with("def enhance(*_, **__): time.sleep(60)")
"""The real worker, busy with a job that answers nothing."""
LAUNCHER = (
    "import subprocess, sys\n"
    "code = subprocess.call(sys.argv[1:])\n"
    "if code < 0: sys.exit('error: [python-real] exit abnormally - Report the problem.')\n"
    "sys.exit(code)"
)
"""What Slicer's PythonSlicer does: the Python that works is its child."""
RESULT = f"{{'affine': np.eye(4).tolist(), 'uncertainty': False, 'report': {report_of().to_json()!r}}}"
DONE = f"{{'event': 'done', 'job': 1, 'results': [{RESULT}]}}"
"""What a worker says of a job of one input."""
posix_only = pytest.mark.skipif(os.name == "nt", reason="signals")


@pytest.fixture(autouse=True)
def _slicer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qt", fake_qt)


@pytest.fixture(params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def awkward_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_tiny_model(tmp_path_factory.mktemp("modèles α") / "tiny-x2", slices=3)


@pytest.fixture(scope="module", params=list(TRANSPORTS))
def warm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench whose real worker is shared: torch is imported once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "qt", fake_qt)
        with bench(request.param, tmp_path_factory.mktemp("temporary") / FOLDER) as made:
            yield made


@pytest.fixture
def volume(smooth_volume: Callable[..., Volume]) -> Volume:
    return smooth_volume()


@pytest.fixture
def job(volume: Volume) -> Job:
    return job_of(volume, "any")


def is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed child of ours is a zombie until it is waited for.
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for_end(pid: int) -> None:
    end = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < end, f"process {pid} lives"
        time.sleep(0.01)


def test_the_worker_gives_exactly_what_enhance_gives_in_process(warm: Bench, awkward_model: Model) -> None:
    whole = read_volume(UINT16)
    real = replace(whole, voxels=whole.voxels[8:16], slice_thickness=1.5, notes=())  # notes stay with the caller
    options = {
        "device": "cpu",
        "uncertainty": True,
        "roi": np.array([4, 40, 0, 48, 2, 6]),
        "point_spread": np.float64(1.1),
    }
    record = warm.run(job_of(real, awkward_model.folder, **options))
    expected = enhance(real, awkward_model.folder, **options)
    assert record.error is None
    assert record.voxels is not None
    assert record.voxels.dtype == expected.volume.voxels.dtype
    assert np.array_equal(record.voxels, expected.volume.voxels)
    told = record.enhanced
    assert np.array_equal(told.volume.affine, expected.volume.affine)
    assert (told.volume.modality, told.volume.slice_thickness) == (real.modality, real.slice_thickness)
    assert np.array_equal(told.uncertainty.voxels, expected.uncertainty.voxels)
    assert np.array_equal(told.uncertainty.affine, expected.uncertainty.affine)
    timeless = [replace(report, seconds=0) for report in (told.report, expected.report)]
    assert timeless[0] == timeless[1]
    assert is_empty(warm.folder)


def test_two_jobs_in_a_row_use_the_same_process_and_are_not_mixed_up(
    warm: Bench, awkward_model: Model, smooth_volume: Callable[..., Volume]
) -> None:
    warm.run(job_of(smooth_volume(), awkward_model.folder))
    pid = warm.runner.worker_pid
    other = smooth_volume((4, 16, 13), np.float32)
    record = warm.run(job_of(other, awkward_model.folder))
    assert warm.runner.worker_pid == pid
    assert pid is not None
    assert pid != os.getpid()
    assert record.voxels is not None
    assert np.array_equal(record.voxels, enhance(other, awkward_model.folder).volume.voxels)


def test_progress_arrives_while_the_job_runs_and_rises_to_one(
    warm: Bench, awkward_model: Model, volume: Volume
) -> None:
    record = warm.submit(job_of(volume, awkward_model.folder))
    assert warm.runner.state in (State.STARTING, State.RUNNING)
    warm.wait(lambda: record.progress)
    assert record.endings == 0
    warm.wait(lambda: record.endings)
    fractions = [fraction for fraction, _, _ in record.progress]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert record.progress[-1][1].startswith("enhancing on ")
    assert warm.runner.state is State.IDLE


def test_a_job_cancelled_in_mid_run_leaves_nothing_and_the_worker_serves_the_next(
    warm: Bench, awkward_model: Model, smooth_volume: Callable[..., Volume]
) -> None:
    warm.run(job_of(smooth_volume(), awkward_model.folder))
    pid = warm.runner.worker_pid
    big = smooth_volume((50, 160, 160))
    record = warm.submit(job_of(big, awkward_model.folder))
    warm.wait(lambda: any(0 < fraction < 1 for fraction, _, _ in record.progress))
    warm.runner.cancel()
    warm.runner.cancel()
    assert warm.runner.state is State.CANCELLING
    told = len(record.progress)
    warm.wait(lambda: record.endings)
    assert record.cancelled
    assert record.error is None
    assert len(record.progress) == told
    assert is_empty(warm.folder)
    assert warm.runner.state is State.IDLE
    assert warm.run(job_of(smooth_volume(), awkward_model.folder)).voxels is not None
    assert warm.runner.worker_pid == pid


def test_an_error_of_enhance_arrives_as_its_own_sentence_and_the_worker_lives_on(warm: Bench, volume: Volume) -> None:
    record = warm.run(job_of(volume, "nosuchmodel"))
    assert record.error is not None
    assert record.error[0].startswith("there is no model 'nosuchmodel'")
    assert is_empty(warm.folder)
    pid = warm.runner.worker_pid
    flat = volume.with_voxels(np.zeros_like(volume.voxels))
    record = warm.run(job_of(flat, "nosuchmodel"))
    assert record.error is not None
    assert "nothing to enhance" in record.error[0]
    assert warm.runner.worker_pid == pid


def test_a_second_job_is_refused_while_one_runs_and_the_first_is_not_harmed(
    warm: Bench, awkward_model: Model, volume: Volume
) -> None:
    record = warm.submit(job_of(volume, awkward_model.folder))
    with pytest.raises(UsageError, match="is running: wait for it or cancel it"):
        warm.submit(job_of(volume, awkward_model.folder))
    warm.wait(lambda: record.endings)
    assert record.voxels is not None
    assert is_empty(warm.folder)


@posix_only
@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGKILL, "memory ran out"), (signal.SIGSEGV, r"\(signal 11\): try again on the CPU")]
)
def test_a_killed_or_crashed_worker_is_reported_and_the_next_job_gets_a_new_one(
    transport: str, number: int, words: str, volume: Volume, tmp_path: Path
) -> None:
    with bench(transport, tmp_path, SLEEPER) as made:
        record = made.submit(job_of(volume))
        made.wait(lambda: record.progress)
        pid = made.runner.worker_pid
        assert pid is not None
        os.kill(pid, number)
        made.wait(lambda: record.endings)
        assert record.error is not None
        sentence, tail = record.error
        assert re.search(words, sentence)
        assert "scene was not changed" in sentence
        assert ("Segmentation fault" in tail) == (number == signal.SIGSEGV)
        assert is_empty(made.folder)
        assert made.runner.worker_pid is None
        again = made.submit(job_of(volume))
        made.wait(lambda: again.progress)
        assert made.runner.worker_pid not in (None, pid)


@posix_only
def test_a_worker_that_dies_between_jobs_is_replaced_at_the_next_click(
    transport: str, volume: Volume, tmp_path: Path
) -> None:
    with bench(transport, tmp_path, worker_with("def enhance(*_, **__): raise MemoryError")) as made:
        made.run(job_of(volume))
        pid = made.runner.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
        time.sleep(0.3)
        if transport == "qprocess":  # Slicer's event loop is always running.
            made.pump()
        record = made.run(job_of(volume))
        assert record.error is not None
        assert record.error[0].startswith("memory ran out")
        assert made.runner.worker_pid not in (None, pid)


@posix_only
def test_a_worker_that_does_not_react_to_cancel_is_killed_with_its_children(
    transport: str, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "CANCEL_GRACE_SECONDS", 0.2)
    children = "import subprocess\ndef enhance(*_, progress, **__):\n"
    children += " child = subprocess.Popen(['sleep', '60'])\n progress(1.0, str(child.pid))\n time.sleep(60)"
    with bench(transport, tmp_path, worker_with(children)) as made:
        record = made.submit(job_of(volume))
        made.wait(lambda: len(record.progress) > 1)
        pids = [int(record.progress[-1][1]), made.runner.worker_pid or 0]
        assert all(map(is_alive, pids))
        made.runner.cancel()
        made.wait(lambda: record.endings)
        assert record.cancelled
        assert made.runner.state is State.IDLE
        assert is_empty(made.folder)
        for pid in pids:
            wait_for_end(pid)


@posix_only
@pytest.mark.parametrize("ending", ["killed", "closed", "closed before it is ready"])
def test_a_launcher_in_between_hides_no_death_and_leaves_no_orphan(
    transport: str, ending: str, volume: Volume, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    slow = "time.sleep(0.5)" if ending.endswith("ready") else ""
    lines = f"open({str(noted)!r}, 'w').write(f'{{os.getpid()}}.'); {slow}\ndef enhance(*_, **__): time.sleep(60)"
    with bench(transport, tmp_path / "jobs", [sys.executable, "-c", LAUNCHER, *worker_with(lines)]) as made:
        record = made.submit(job_of(volume))
        made.wait(lambda: noted.exists() and noted.read_text().endswith("."))
        pid = int(noted.read_text().rstrip("."))
        if not slow:
            made.wait(lambda: record.progress)
            assert made.runner.worker_pid == pid
            os.kill(pid, signal.SIGSTOP)  # It will not end by itself.
        if ending == "killed":
            os.kill(pid, signal.SIGKILL)
            made.wait(lambda: record.endings)
            assert record.error is not None
            assert "memory ran out" in record.error[0]
        else:
            made.runner.close()
        wait_for_end(pid)
        assert is_empty(made.folder)


def test_a_job_cancelled_before_the_worker_is_up_is_never_sent(transport: str, job: Job, tmp_path: Path) -> None:
    with bench(transport, tmp_path, script("time.sleep(0.3); ready(); say(sys.stdin.read())")) as made:
        record = made.submit(job)
        assert made.runner.state is State.STARTING
        made.runner.cancel()
        made.wait(lambda: record.endings)
        assert record.cancelled
        assert is_empty(made.folder)
        assert made.runner.log_tail() == ""


def test_a_result_that_crosses_the_cancel_is_dropped(transport: str, job: Job, tmp_path: Path) -> None:
    lines = "import numpy as np; ready(); np.save(hear()['inputs'][0]['output'], np.zeros((2, 2, 2)))\n"
    with bench(transport, tmp_path, script(f"{lines}assert hear()['do'] == 'cancel'; say(json.dumps({DONE}))")) as made:
        record = made.submit(job)
        made.wait(lambda: made.runner.state is State.RUNNING)
        made.runner.cancel()
        made.wait(lambda: record.endings)
        assert record.cancelled
        assert record.enhanced is None
        assert is_empty(made.folder)


@posix_only
@pytest.mark.parametrize("busy", [True, False])
def test_close_ends_the_worker_tells_nobody_and_leaves_no_file(
    transport: str, busy: bool, volume: Volume, tmp_path: Path
) -> None:
    answer = "time.sleep(60)" if busy else "raise MemoryError"
    with bench(transport, tmp_path, worker_with(f"def enhance(*_, **__): {answer}")) as made:
        record = made.submit(job_of(volume))
        made.wait(lambda: record.progress if busy else record.endings)
        pid, told = made.runner.worker_pid, record.endings
        assert pid is not None
        made.runner.close()
        wait_for_end(pid)
        made.pump()
        assert record.endings == told
        assert made.runner.state is State.IDLE
        assert is_empty(made.folder)
        record = made.submit(job_of(volume))
        made.wait(lambda: record.progress)
        assert made.runner.worker_pid != pid


@pytest.mark.parametrize("event", ["progress", "done"])
def test_what_a_callback_raises_reaches_the_caller_and_the_runner_goes_on(
    event: str, volume: Volume, tmp_path: Path
) -> None:
    lines = (
        "import numpy as np; ready(); np.save(hear()['inputs'][0]['output'], np.zeros((2, 2, 2)))\n"
        "say(json.dumps({'event': 'progress', 'job': 1, 'fraction': 0.5, 'message': ''}) + '\\n' + json.dumps("
        f"{DONE}))\n"
        "sys.stdin.read()"
    )

    def fail(*_: object) -> None:
        raise KeyError("the scene refused")

    with bench("subprocess", tmp_path, script(lines)) as made:
        record = Record()
        made.runner.submit(job_of(volume), replace(record.callbacks, **{f"on_{event}": fail}))
        with pytest.raises(KeyError, match="the scene refused"):
            made.wait(lambda: False)
        assert record.endings == (event == "progress")
        assert made.runner.state is State.IDLE
        assert is_empty(made.folder)


def test_a_callback_may_submit_the_next_job(volume: Volume, tmp_path: Path) -> None:
    quick = (
        "def enhance(volume, model, **_):\n"
        " used = dict(name=model, version='1', sha256={}, fidelity=1.0)\n"
        " return Enhanced(volume=volume, report=dict(model=used), uncertainty=None)"
    )
    with bench("subprocess", tmp_path, worker_with(quick)) as made:
        models: list[str] = []

        def next_one(results: list[Enhanced]) -> None:
            models.append(results[0].report.model.name)
            if len(models) < 3:
                submit()

        def submit() -> None:
            made.runner.submit(job_of(volume, f"number {len(models)}"), replace(Record().callbacks, on_done=next_one))

        submit()
        made.wait(lambda: len(models) == 3)
        assert models == ["number 0", "number 1", "number 2"]
        assert is_empty(made.folder)


def test_lines_that_are_not_of_the_protocol_go_to_the_log_and_the_job_goes_on(
    transport: str, job: Job, tmp_path: Path
) -> None:
    noise = ["a library's banner", "[1, 2]", '{"event": "done"}', '{"event": "progress", "job": 1}', '{"event": "x"}']
    noise += ['{"event": "done", "job": 1, "results": [{"affine": [1]}]}', "\xff\u2028é"]
    lines = f"ready(); hear()\nfor text in {noise!r}: say(text)\n"
    lines += "say(json.dumps({'event': 'progress', 'job': 1, 'fraction': 0.5, 'message': 'halfway'}))\n"
    lines += "say(json.dumps({'event': 'progress', 'job': 99, 'fraction': 0.9, 'message': 'of another job'}))\n"
    lines += "sys.stderr.write('Downloading 1%\\rDownloading 2%\\r\\n'); sys.stderr.flush()\n"
    lines += "os.write(1, b'\\xfe\\xfe no UTF-8\\n'); say(json.dumps({'event': 'cancelled', 'job': 1}))"
    with bench(transport, tmp_path, script(lines)) as made:
        record = made.run(job)
        assert record.cancelled
        assert [told[:2] for told in record.progress] == [(0.5, "halfway")]
        made.wait(lambda: "Downloading 2%" in made.runner.log_tail())
        log = made.runner.log_tail().splitlines()
        assert set(noise) - {"\xff\u2028é"} <= set(log)
        assert "\ufffd\ufffd no UTF-8" in log


def test_a_line_may_arrive_in_pieces_and_several_at_once(transport: str, job: Job, tmp_path: Path) -> None:
    lines = (
        "text = json.dumps({'event': 'ready', 'pid': os.getpid()}).encode() + b'\\n'\n"
        "for n in range(0, len(text), 7): os.write(1, text[n:n + 7]); time.sleep(0.02)\n"
        "hear(); p = lambda f: json.dumps({'event': 'progress', 'job': 1, 'fraction': f, 'message': 'é'}) + '\\n'\n"
        "text = (p(0.1) + p(0.2) + p(0.3)).encode(); os.write(1, text[:-5]); time.sleep(0.1); os.write(1, text[-5:])\n"
        "say(json.dumps({'event': 'cancelled', 'job': 1}))"
    )
    with bench(transport, tmp_path, script(lines)) as made:
        record = made.run(job)
        assert [told[:2] for told in record.progress] == [(0.1, "é"), (0.2, "é"), (0.3, "é")]
        assert record.cancelled


def test_a_job_that_makes_the_worker_exit_is_reported_with_the_end_of_its_log(
    transport: str, job: Job, tmp_path: Path
) -> None:
    lines = "ready(); hear()\nfor n in range(100): sys.stderr.write(f'line {n}\\n')\n"
    with bench(transport, tmp_path, script(f"{lines}sys.stderr.flush(); os._exit(3)")) as made:
        record = made.run(job)
        assert record.error is not None
        sentence, tail = record.error
        assert "ended unexpectedly (exit code 3)" in sentence
        assert tail.splitlines()[-1] == "line 99"
        assert 10 < len(tail.splitlines()) <= 50
        assert is_empty(made.folder)


def test_a_worker_that_cannot_be_started_is_reported_after_submit_has_returned(
    transport: str, job: Job, tmp_path: Path
) -> None:
    with bench(transport, tmp_path / "jobs", [str(tmp_path / "no such python")]) as made:
        record = made.submit(job)
        assert record.endings == 0
        made.wait(lambda: record.endings)
        assert record.error is not None
        assert "could not be started" in record.error[0]
        assert "No such file" in record.error[0]
        assert is_empty(made.folder)


def test_a_result_that_cannot_be_read_is_an_error_and_not_a_result(job: Job, tmp_path: Path) -> None:
    half = "import numpy as np; ready(); open(hear()['inputs'][0]['output'], 'wb').write(b'half a file')"
    lines = f"{half}; say(json.dumps({DONE}))"
    with bench("subprocess", tmp_path, script(f"{lines}; sys.stdin.read()")) as made:
        record = made.run(job)
        assert record.error is not None
        assert record.error[0].startswith("The result could not be read")
        assert is_empty(made.folder)


def test_a_temporary_folder_that_cannot_be_written_to_is_an_error_of_submit(job: Job, tmp_path: Path) -> None:
    made = Bench("subprocess", tmp_path / "gone")
    made.folder.rmdir()
    with pytest.raises(OutputError, match="temporary folder"):
        made.submit(job)
    assert made.runner.state is State.IDLE


def test_a_full_disk_is_told_before_the_work_with_both_sizes(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Bench("subprocess", tmp_path / "jobs")
    monkeypatch.setattr(runner_module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**6))
    with pytest.raises(OutputError, match=r"needs .* GB in the temporary folder .*jobs, where 0\.0 GB are free"):
        made.submit(job)
    assert is_empty(made.folder)
    assert made.runner.state is State.IDLE


def test_a_write_that_breaks_off_is_told_with_its_reason(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("1000 requested and 16 written")  # as numpy says it, without an error number

    made = Bench("subprocess", tmp_path / "jobs")
    monkeypatch.setattr(job_module.np, "save", broken)
    with pytest.raises(OutputError, match="1000 requested and 16 written"):
        made.submit(job)
    assert is_empty(made.folder)


def test_the_space_for_results_is_counted_by_the_model(volume: Volume, models_folder: Path, tiny_model: Model) -> None:
    name = tiny_model.manifest.name
    assert job_of(volume, name).bytes_needed() == 5 * volume.voxels.nbytes
    assert job_of(volume, name, uncertainty=True).bytes_needed() == (5 + 8) * volume.voxels.nbytes
    assert job_of(volume, "gone").bytes_needed() == volume.voxels.nbytes


def test_an_idle_worker_gives_its_memory_back_and_the_next_job_gets_a_new_one(
    transport: str, job: Job, tmp_path: Path
) -> None:
    answer = "say(json.dumps({'event': 'cancelled', 'job': json.loads(line)['job']}))"
    worker = script(f"ready(); [{answer} for line in sys.stdin if 'enhance' in line]")
    with bench(transport, tmp_path / "jobs", worker) as made:
        made.runner._idle_seconds = 0.2
        pids = []
        for _ in range(2):
            assert made.run(job).cancelled
            pids.append(made.runner.worker_pid)
            made.wait(lambda: made.runner.worker_pid is None)
            wait_for_end(pids[-1])
        assert pids[0] != pids[1]


def test_an_external_interpreter_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSR_PYTHON", sys.executable)
    monkeypatch.setattr(sys, "executable", "/opt/slicer/bin/SlicerApp-real")
    assert transport_module.worker_command()[0] == os.environ["MEDSR_PYTHON"]
    monkeypatch.setenv("MEDSR_PYTHON", "/no/such/python")
    with pytest.raises(MissingPackageError, match="/no/such/python cannot be started"):
        transport_module.worker_command()


def test_the_worker_is_found_without_pythonpath_and_from_any_folder(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for module, said in (("worker", '"event": "ready"'), ("device_query", '["cpu", "CPU"]')):
        command = transport_module.command_of(module)
        ran = subprocess.run(
            command, input="", capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
        )
        assert said in ran.stdout, ran.stderr


def test_other_options_than_those_of_enhance_are_refused(volume: Volume) -> None:
    with pytest.raises(UsageError, match="unknown option tile"):
        job_of(volume, tile=64)


@pytest.mark.parametrize(
    ("code", "log", "words"),
    [
        (-9, "", "memory ran out"),
        (137, "", "memory ran out"),
        (1, "error: [python-real] exit abnormally - Report the problem.", "memory ran out"),
        (1, "Fatal Python error: Segmentation fault\n[python-real] exit abnormally", "exit code 1"),
        (1, "Traceback (most recent call last):\nImportError: no torch", "exit code 1"),
        (-11, "", "signal 11"),
    ],
)
def test_only_a_kill_from_outside_is_called_a_lack_of_memory(code: int, log: str, words: str) -> None:
    assert words in explain_exit(code, "", log)


def test_the_worker_gets_its_environment_and_this_process_keeps_its_own(
    transport: str, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    before = dict(os.environ)
    lines = "say(' '.join(os.environ[n] for n in ('PYTHONUTF8', 'PYTHONSAFEPATH', 'PYTHONPATH'))); os._exit(0)"
    with bench(transport, tmp_path, script(lines)) as made:
        record = made.run(job)
        assert record.error is not None
        root = Path(transport_module.__file__).parents[2]
        assert record.error[1] == f"1 1 {root}{os.pathsep}/somewhere"
    assert dict(os.environ) == before


def test_slicers_launcher_is_looked_for_when_the_interpreter_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/slicer/bin/SlicerApp-real")
    monkeypatch.setattr(transport_module.shutil, "which", {"PythonSlicer": "/opt/slicer/bin/PythonSlicer"}.get)
    assert transport_module.worker_command()[0] == "/opt/slicer/bin/PythonSlicer"
    monkeypatch.setattr(transport_module.shutil, "which", lambda _: None)
    with pytest.raises(MissingPackageError, match="no Python interpreter"):
        transport_module.worker_command()


def test_the_time_left_counts_down_steadily_and_ignores_the_time_to_load() -> None:
    now = 0.0
    left = TimeLeft(lambda: now)
    assert left.update(0.0) is None
    said = []
    for now in np.arange(0.5, 20.5, 0.5):
        said.append(left.update(now / 20))
    assert said[0] is None
    assert np.allclose([s for s in said if s is not None], [20 - t for t in np.arange(1.0, 20.5, 0.5)])
    now += 10  # One slow tile does not double the figure.
    slow = left.update(1.0)
    assert slow == pytest.approx(0, abs=1e-9)


def test_the_panel_imports_neither_torch_nor_qt() -> None:
    code = (
        "import sys, MedSRLib.jobs.runner, MedSRLib.panel.qprocess, MedSRLib.panel.packages\n"
        "import MedSRLib.enhancement.estimate\n"
        "print([m for m in ('torch', 'monai', 'scipy', 'SimpleITK', 'qt', 'ctk', 'slicer') if m in sys.modules])"
    )
    root = Path(transport_module.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
