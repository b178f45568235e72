"""The part of Slicer's ``qt`` module that a QProcess needs, over real processes, with an event loop that is pumped.

It offers only names that a real Slicer 5.12.3 was seen to offer (``slicer_api``), under the rules of
Qt 5: slots run in ``pump`` or from ``waitForFinished`` only, a child shares its parent's process group, ``finished``
gives a crash as (signal number, 1), and a program that cannot be started gives ``errorOccurred`` alone.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from slicer_api import members, namespace

_calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
_timers: list[tuple[float, Callable[[], None]]] = []


def post(call: Callable[[], None]) -> None:
    """Lets the event loop call something at its next turn."""
    _calls.put(call)


def pump() -> None:
    """One turn of the event loop."""
    while not _calls.empty():
        _calls.get()()
    while timer := next((t for t in _timers if t[0] <= time.monotonic()), None):
        _timers.remove(timer)
        timer[1]()


class _Checked:
    """A class of Slicer's qt: defining a public name that the real class lacks is an error of this file."""

    def __init_subclass__(cls) -> None:
        real = members(f"qt.{cls.__name__}")
        invented = {name for name in vars(cls) if not name.startswith("_")} - real
        assert cls.__name__ in namespace("qt")
        assert not invented, f"qt.{cls.__name__} has no {invented}"


class QByteArray(_Checked):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def data(self) -> bytes | str:
        return self._content or ""


class QProcessEnvironment(_Checked):
    def __init__(self) -> None:
        self._variables = dict(os.environ)

    @staticmethod
    def systemEnvironment() -> QProcessEnvironment:
        return QProcessEnvironment()

    def insert(self, name: str, value: str) -> None:
        self._variables[name] = value

    def remove(self, name: str) -> None:
        self._variables.pop(name, None)

    def keys(self) -> list[str]:
        return list(self._variables)

    def value(self, name: str) -> str:
        return self._variables[name]


class QTimer(_Checked):
    def __init__(self) -> None:
        self._milliseconds = 0
        self._slot: Callable[[], None] | None = None
        self._run = 0

    def setInterval(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def connect(self, signature: str, slot: Callable[[], None]) -> None:
        assert signature == "timeout()"
        self._slot = slot

    def start(self) -> None:
        self.stop()
        run = self._run

        def timeout() -> None:
            if run == self._run and self._slot is not None:
                QTimer.singleShot(self._milliseconds, timeout)
                self._slot()

        QTimer.singleShot(self._milliseconds, timeout)

    def stop(self) -> None:
        self._run += 1

    @staticmethod
    def singleShot(milliseconds: int, slot: Callable[[], None]) -> None:
        _timers.append((time.monotonic() + milliseconds / 1000, slot))


class QProcess(_Checked):
    def __init__(self) -> None:
        self._slots: dict[str, Callable[..., None]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = QProcessEnvironment()
        self._arrived = {"Output": b"", "Error": b""}
        self._problem = ""
        self._over = False
        self._deleted = False
        self._lock = threading.Lock()

    def connect(self, signature: str, slot: Callable[..., None]) -> None:
        known = (
            "readyReadStandardOutput()",
            "readyReadStandardError()",
            "finished(int,QProcess::ExitStatus)",
            "errorOccurred(QProcess::ProcessError)",
        )
        if signature not in known or signature.partition("(")[0] not in members("qt.QProcess"):
            raise ValueError(f"QProcess has no signal {signature}")
        self._slots[signature] = slot

    def setProcessEnvironment(self, environment: QProcessEnvironment) -> None:
        self._environment = environment

    def start(self, program: str, arguments: list[str]) -> None:
        try:
            self._process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment._variables,
            )
        except OSError as error:
            self._problem = f"execve: {error.strerror}"
            self._slots["errorOccurred(QProcess::ProcessError)"](0)
            return
        self._readers = [
            threading.Thread(target=self._read, args=(channel, pipe), daemon=True)
            for channel, pipe in (("Output", self._process.stdout), ("Error", self._process.stderr))
        ]
        for thread in (*self._readers, threading.Thread(target=self._await, daemon=True)):
            thread.start()

    def _read(self, channel: str, pipe: Any) -> None:
        with pipe:
            while data := pipe.read(4096):
                with self._lock:
                    self._arrived[channel] += data
                _calls.put(lambda: self._slots[f"readyReadStandard{channel}()"]())

    def _await(self) -> None:
        assert self._process is not None
        self._process.wait()
        for reader in self._readers:
            reader.join(2)
        _calls.put(self._finish)

    def _finish(self) -> None:
        assert self._process is not None
        if not self._over:
            self._over = True
            code = self._process.returncode
            self._slots["finished(int,QProcess::ExitStatus)"](abs(code), int(code < 0))

    def _take(self, channel: str) -> QByteArray:
        with self._lock:
            data, self._arrived[channel] = self._arrived[channel], b""
        return QByteArray(data)

    def readAllStandardOutput(self) -> QByteArray:
        return self._take("Output")

    def readAllStandardError(self) -> QByteArray:
        return self._take("Error")

    def write(self, data: bytes) -> int:
        assert not self._deleted, "a deleted QProcess was used"
        assert isinstance(data, bytes)
        if self._process is None or self._over:
            return -1
        try:
            return self._process.stdin.write(data)  # type: ignore[union-attr,return-value]
        except OSError:
            return -1

    def closeWriteChannel(self) -> None:
        if self._process is not None:
            self._process.stdin.close()  # type: ignore[union-attr]

    def waitForFinished(self, milliseconds: int) -> bool:
        if self._process is None or self._over:
            return False
        try:
            self._process.wait(milliseconds / 1000)
        except subprocess.TimeoutExpired:
            return False
        self._finish()
        return True

    def processId(self) -> int:
        return 0 if self._process is None or self._over else self._process.pid

    def errorString(self) -> str:
        return self._problem

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def deleteLater(self) -> None:
        self._deleted = True
