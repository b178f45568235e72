"""The worker as a QProcess: inside Slicer, where Qt's event loop delivers what it says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from MedSRLib.jobs.interpreter import named_interpreter
from MedSRLib.jobs.transport import Listener, kill_tree

_WAIT_MILLISECONDS = 2000
_NORMAL_EXIT = 0
_FAILED_TO_START = 0
"""Qt's numbers of QProcess::NormalExit and QProcess::FailedToStart; where the names live differs from Qt 5 to 6."""


class QProcessTransport:
    """A ``Transport`` for 3D Slicer. Slots are connected by full signatures: ``finished`` is overloaded in Qt 5."""

    def __init__(self) -> None:
        self._process: Any = None
        self._listener: Listener | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str], listener: Listener) -> None:
        """Starts the process."""
        import qt
        import slicer

        self._listener = listener
        self._process = process = qt.QProcess()
        # Another Python would stumble over the PYTHONHOME and the libraries of Slicer's.
        own = qt.QProcessEnvironment.systemEnvironment
        variables = slicer.app.startupEnvironment() if named_interpreter() else own()
        for name, value in environment.items():
            variables.insert(name, value)
        process.setProcessEnvironment(variables)
        process.connect("readyReadStandardOutput()", self._on_output)
        process.connect("readyReadStandardError()", self._on_log)
        process.connect("finished(int,QProcess::ExitStatus)", self._on_finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._on_error)
        process.start(command[0], list(command[1:]))

    def send(self, data: bytes) -> None:
        """Writes to the worker's stdin."""
        self._process.write(data)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back from the caller's own thread."""
        import qt

        qt.QTimer.singleShot(round(1000 * seconds), callback)

    def poll(self) -> None:
        """Nothing to do: Qt's event loop delivers."""

    def stop(self, *, quietly: bool, worker_pid: int | None) -> None:
        """Ends the process tree and forgets the listener."""
        self._listener = None
        process = self._process
        if process is None:
            return
        process.closeWriteChannel()
        if quietly and process.waitForFinished(_WAIT_MILLISECONDS):
            return
        launcher = int(process.processId())
        if launcher and worker_pid:
            kill_tree(worker_pid)
        if launcher and os.name == "nt":
            kill_tree(launcher)
        # On POSIX the launcher shares Slicer's process group: it is killed alone.
        process.kill()
        process.waitForFinished(_WAIT_MILLISECONDS)

    def _on_output(self) -> None:
        data = self._process.readAllStandardOutput().data()
        if data and self._listener is not None:
            self._listener.output(data)

    def _on_log(self) -> None:
        data = self._process.readAllStandardError().data()
        if data and self._listener is not None:
            self._listener.log(data)

    def _on_finished(self, code: int, status: int) -> None:
        # The process must outlive its own signal, whatever the listener drops.
        self.call_later(0, self._process.deleteLater)
        self._on_output()
        self._on_log()
        if self._listener is not None:
            self._listener.exited(code if int(status) == _NORMAL_EXIT else -code, "")

    def _on_error(self, error: int) -> None:
        if int(error) == _FAILED_TO_START and self._listener is not None:
            problem, listener = str(self._process.errorString()), self._listener
            self.call_later(0, lambda: listener.exited(None, problem))
