"""The module file inside a Slicer of doubles (``fake_slicer``), for the tests of the panel and the logic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_qt
import fake_slicer
import fake_widgets
import pytest
from jobs_support import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE_FILE = REPOSITORY / "MedSR" / "MedSR.py"


@pytest.fixture
def application(scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``slicer.app``, with ``qt``, ``ctk`` and the rest of Slicer's Python around it. Observers must not raise."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    raised: list[BaseException] = []  # VTK hands what an observer raises to this hook, and goes on
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: raised.append(error))
    yield fake_slicer.install(monkeypatch, tmp_path)
    if raised:
        raise raised[0]


@pytest.fixture
def module(application: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """MedSR/MedSR.py."""
    return fake_slicer.load_module(monkeypatch, MODULE_FILE)


@pytest.fixture
def open_panel(module: ModuleType) -> Iterator[Callable[[], Any]]:
    """Opens the panel as Slicer does when the user selects the module."""
    opened = []

    def open_it() -> Any:
        parent = fake_widgets.qMRMLWidget()
        parent.setLayout(fake_widgets.QVBoxLayout())
        parent.__dict__["isEntered"] = True
        widget = module.MedSRWidget(parent)
        opened.append(widget)
        widget.setup()
        widget.enter()
        return widget

    yield open_it
    for widget in opened:
        widget.cleanup()


def settle(widget: Any) -> None:
    """Lets Slicer's event loop run until nothing goes on in the panel; importing torch takes long on a busy machine."""
    wait_until(lambda: widget._state.name == "Idle", fake_qt.pump, seconds=300)


def ended(pid: int) -> bool:
    """Whether a process is gone."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


__all__ = ["MODULE_FILE", "REPOSITORY", "application", "ended", "module", "open_panel", "settle"]
