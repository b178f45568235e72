"""Another Python can do the work: named in the panel or the environment; what it lacks is said before a click."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_widgets
import pytest
from jobs_support import Bench, bench, job_of, script
from scene_fixtures import blob

from MedSRLib.errors import MissingPackageError
from MedSRLib.jobs import interpreter
from MedSRLib.jobs.transport import worker_command
from MedSRLib.volumes.volume import Volume


@pytest.fixture(autouse=True)
def _own() -> Iterator[None]:
    yield
    interpreter.choose_interpreter("")


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A Python that has no packages at all."""
    path = tmp_path / "other python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    path.chmod(0o755)
    return str(path)


pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script stands for an interpreter")


def test_the_environment_goes_before_what_was_chosen(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interpreter.named_interpreter() == ""
    interpreter.choose_interpreter(other)
    assert worker_command()[0] == other
    monkeypatch.setenv("MEDSR_PYTHON", sys.executable)
    assert worker_command()[0] == sys.executable


def test_what_an_interpreter_lacks_is_asked_of_itself(other: str, tmp_path: Path) -> None:
    assert interpreter.lacking(sys.executable, ["numpy", "json", "no_such_module"]) == ["no_such_module"]
    assert interpreter.lacking(other, ["numpy", "json"]) == ["numpy"]
    with pytest.raises(MissingPackageError, match="cannot be started as Python"):
        interpreter.lacking(str(tmp_path / "gone"), ["numpy"])
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(MissingPackageError, match="cannot be started as Python"):
        interpreter.lacking(str(broken), ["numpy"])


def test_a_worker_of_another_interpreter_is_replaced(
    tmp_path: Path, smooth_volume: Callable[..., Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    import MedSRLib.jobs.runner as runner

    answer = "ready()\nwhile True:\n job = hear()\n say(json.dumps({'event': 'cancelled', 'job': job['job']}))\n"
    commands = [script(answer), script(f"# another\n{answer}")]
    monkeypatch.setattr(runner, "worker_command", lambda: commands[0])
    made: Bench
    with bench("subprocess", tmp_path / "jobs") as made:
        pids = []
        for _ in range(2):
            made.run(job_of(smooth_volume()))
            pids.append(made.runner.worker_pid)
        commands.pop(0)
        made.run(job_of(smooth_volume()))
        pids.append(made.runner.worker_pid)
    assert pids[0] == pids[1] != pids[2]


def test_the_panel_takes_another_python_and_says_what_it_lacks(
    open_panel: Callable[[], Any],
    models_folder: Path,
    add_volume: Callable[..., Any],
    other: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import MedSRLib.panel.assessment as assessment

    monkeypatch.setattr(assessment, "missing_packages", lambda: ["torch>=2.1"])
    monkeypatch.setattr(assessment, "needs_extension", lambda missing: "torch>=2.1" in missing)
    add_volume(blob())
    panel = open_panel()
    assert not panel.ui.enhanceButton.enabled
    assert panel.ui.extensionsButton.visible
    line = panel.ui.pythonPathLineEdit
    line.currentPath = sys.executable
    assert panel.ui.enhanceButton.enabled
    assert not panel.ui.extensionsButton.visible
    assert fake_widgets.SETTINGS["MedSR/Python"] == sys.executable
    assert interpreter.named_interpreter() == sys.executable
    line.currentPath = sys.executable[:-1]  # as somebody types
    assert interpreter.named_interpreter() == sys.executable
    line.currentPath = other
    assert not panel.ui.enhanceButton.enabled
    assert f'"{other}" -m pip install "torch" "numpy"' in panel.ui.enhanceButton.toolTip
    assert not panel.ui.previewButton.enabled
    line.currentPath = ""
    assert panel.ui.extensionsButton.visible


def test_another_python_is_started_without_what_slicer_set_for_its_own(
    application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fake_qt
    from jobs_support import wait_until

    from MedSRLib.jobs.transport import Listener, worker_environment
    from MedSRLib.panel.interpreter import interpreter_problem
    from MedSRLib.panel.qprocess import QProcessTransport

    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # with which no other Python starts
    monkeypatch.setenv("PYTHONPATH", "slicers-own")
    interpreter.choose_interpreter(sys.executable)
    assert interpreter_problem() == ""
    said, ended = [], []
    transport = QProcessTransport()
    command = [sys.executable, "-c", "import os; print(os.environ['PYTHONPATH'])"]
    listener = Listener(output=said.append, log=print, exited=lambda code, problem: ended.append(code))
    transport.start(command, worker_environment(), listener)
    wait_until(lambda: ended, fake_qt.pump)
    assert ended == [0]
    assert "slicers-own" not in b"".join(said).decode()
    transport.stop(quietly=False, worker_pid=None)


def test_the_choice_is_kept_for_this_computer(
    open_panel: Callable[[], Any], models_folder: Path, add_volume: Callable[..., Any], application: Any
) -> None:
    fake_widgets.SETTINGS["MedSR/Python"] = sys.executable
    add_volume(blob())
    assert open_panel().ui.pythonPathLineEdit.currentPath == sys.executable
    assert interpreter.named_interpreter() == sys.executable
