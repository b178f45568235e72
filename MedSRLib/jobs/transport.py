"""How the worker is started, spoken to and ended, as far as that needs no event loop."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from MedSRLib.errors import MissingPackageError
from MedSRLib.jobs.interpreter import named_interpreter

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
    """The interpreter that has MedSR's packages: the one that is named, else in Slicer its launcher PythonSlicer.

    Raises:
        MissingPackageError: there is none.
    """
    if named := named_interpreter():
        if shutil.which(named) is None:
            raise MissingPackageError(
                f"{named} cannot be started as Python 3.11 or later: name another interpreter, or none"
            )
        return named
    if Path(sys.executable or "").name.lower().startswith("python"):
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found is None:
        raise MissingPackageError("no Python interpreter was found beside this program: install Slicer again")
    return found


def worker_command() -> list[str]:
    """What starts a worker."""
    return command_of("worker")


def command_of(module: str) -> list[str]:
    """What starts a module of this room in a process of its own: by a path, whatever becomes of PYTHONPATH.

    Args:
        module: its name.
    """
    return [python_executable(), "-P", str(Path(__file__).with_name("start.py")), module]


def worker_environment() -> dict[str, str]:
    """Variables of the worker: this very MedSRLib, UTF-8 whatever the locale, nothing from the current folder.

    An interpreter that was named has its own packages: those of this program would not fit it.
    """
    here = str(Path(__file__).resolve().parents[2])
    inherited = "" if named_interpreter() else os.environ.get("PYTHONPATH")
    return {
        "PYTHONPATH": here if not inherited else os.pathsep.join((here, inherited)),
        "PYTHONUTF8": "1",
        "PYTHONSAFEPATH": "1",
    }
