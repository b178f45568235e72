"""A worker process for plain Python, where no event loop runs: the runner is tested without Qt by it."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from MedSRLib.jobs.transport import Listener, kill_tree

_READ = 2**16
_WAIT_SECONDS = 2.0
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)


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
