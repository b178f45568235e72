"""How the worker is started, spoken to and ended: what the runner needs, and the implementation without Qt."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from MedSRLib.errors import MissingPackageError

_READ = 2**16
_WAIT_SECONDS = 2.0
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)


@dataclass(frozen=True)
class Listener:
    """Who is told what the worker does; always from the caller's own thread.

    Args:
        output: bytes from its stdout, in pieces of any size.
        log: bytes from its stderr.
        exited: its exit code, negative for the number of the signal that ended it, None when it never started;
            and what the operating system said about it.
    """

    output: Callable[[bytes], None]
    log: Callable[[bytes], None]
    exited: Callable[[int | None, str], None]


class Transport(Protocol):
    """One worker process. Nothing is told to the listener from within a method other than ``poll``."""

    def start(self, command: Sequence[str], environment: Mapping[str, str], listener: Listener) -> None:
        """Starts the process; that it could not be started is told by ``listener.exited``.

        Args:
            command: executable and arguments.
            environment: variables that are set for the child beside those it inherits.
            listener: told everything.
        """

    def send(self, data: bytes) -> None:
        """Writes to the worker's stdin; a worker that has ended is told by ``exited``, not here."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back from the caller's own thread."""

    def poll(self) -> None:
        """Delivers what has arrived, where no event loop does."""

    def stop(self, *, quietly: bool, worker_pid: int | None) -> None:
        """Ends the process tree and forgets the listener.

        Args:
            quietly: close stdin and give the worker a moment to end by itself.
            worker_pid: of the Python process, where it is known: the process that was started may be a launcher.
        """


class SubprocessTransport:
    """For plain Python: threads read, and the caller pumps ``poll``. In Slicer's event loop threads do not run."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._stopped = False

    def start(self, command: Sequence[str], environment: Mapping[str, str], listener: Listener) -> None:
        """Starts the process."""
        try:
            self._process = process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **environment},
                start_new_session=True,
                creationflags=_NO_WINDOW,
            )
        except OSError as error:
            problem = str(error)
            self._events.put(lambda: listener.exited(None, problem))
            return
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=self._read, args=(pipe, told), daemon=True)
            for pipe, told in ((process.stdout, listener.output), (process.stderr, listener.log))
        ]

        def wait() -> None:
            code = process.wait()
            for reader in readers:
                # A grandchild may hold the pipes open longer than the worker lives.
                reader.join(_WAIT_SECONDS)
            self._events.put(lambda: listener.exited(code, ""))

        for thread in (*readers, threading.Thread(target=wait, daemon=True)):
            thread.start()

    def send(self, data: bytes) -> None:
        """Writes to the worker's stdin."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(data)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back from the caller's own thread."""
        self._timers.append((time.monotonic() + seconds, callback))

    def poll(self) -> None:
        """Delivers what has arrived."""
        while not self._stopped:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                break
            event()
        while timer := next((t for t in self._timers if t[0] <= time.monotonic()), None):
            self._timers.remove(timer)
            timer[1]()

    def stop(self, *, quietly: bool, worker_pid: int | None) -> None:
        """Ends the process tree and forgets the listener."""
        self._stopped = True
        self._timers.clear()
        if self._process is None:
            return
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._process.poll() is not None or (quietly and self._ended()):
            return
        for pid in {worker_pid or self._process.pid, self._process.pid}:
            kill_tree(pid)
        self._ended()

    def _ended(self) -> bool:
        assert self._process is not None
        try:
            self._process.wait(_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _read(self, pipe: IO[bytes], told: Callable[[bytes], None]) -> None:
        with pipe:
            while data := pipe.read(_READ):
                self._events.put(lambda data=data: told(data))  # type: ignore[misc]


def kill_tree(pid: int) -> None:
    """Kills a process that leads a group of its own, and all its children; one that is gone already is no error."""
    if os.name == "nt":
        command = ["taskkill", "/F", "/T", "/PID", str(pid)]
        subprocess.run(command, capture_output=True, check=False, creationflags=_NO_WINDOW)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


def python_executable() -> str:
    """The interpreter that has MedSR's packages: in Slicer its launcher PythonSlicer.

    Raises:
        MissingPackageError: there is none.
    """
    if Path(sys.executable or "").name.lower().startswith("python"):
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found is None:
        raise MissingPackageError("no Python interpreter was found beside this program: install Slicer again")
    return found


def worker_command() -> list[str]:
    """What starts a worker."""
    return [python_executable(), "-m", "MedSRLib.jobs.worker"]


def worker_environment() -> dict[str, str]:
    """Variables of the worker: this very MedSRLib, UTF-8 whatever the locale, nothing from the current folder."""
    here = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return {
        "PYTHONPATH": here if not inherited else os.pathsep.join((here, inherited)),
        "PYTHONUTF8": "1",
        "PYTHONSAFEPATH": "1",
    }
