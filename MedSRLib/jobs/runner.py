"""Runs one job at a time in a separate process that is kept for the next."""

from __future__ import annotations

import enum
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from MedSRLib.errors import InputError, OutputError, UsageError
from MedSRLib.jobs.exits import explain_exit
from MedSRLib.jobs.job import Callbacks, Order
from MedSRLib.jobs.messages import Cancelled, Done, Event, LineBuffer, Part, Progress, Ready, encode, parse_event
from MedSRLib.jobs.time_left import TimeLeft
from MedSRLib.jobs.transport import Listener, Transport, worker_command, worker_environment

CANCEL_GRACE_SECONDS = 5.0
"""What a worker gets to answer a cancel before it is killed; it asks before every tile."""
IDLE_SECONDS = 300.0
"""A worker that has nothing to do holds about 0.5 GB."""
_SPARE_BYTES = 64 * 2**20
"""What is to stay free in the temporary folder."""
_LOG_LINES = 200
_TAIL_LINES = 30


class State(enum.Enum):
    """What a runner is doing."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"


@dataclass
class _Run:
    number: int
    job: Order
    callbacks: Callbacks
    folder: Path
    written: bool = False
    time_left: TimeLeft = field(default_factory=TimeLeft)

    def write(self) -> None:
        """What the worker reads."""
        self.job.write(self.folder)
        self.written = True


class JobRunner:
    """Owns the worker process. Use it from one thread; the callbacks come from that thread too.

    Args:
        make_transport: such as ``QProcessTransport``; where no event loop runs, ``poll`` has to be called often.
        command: what starts a worker; None for this MedSR's own.
        temporary_folder: where job folders are made; None for the system's.
        idle_seconds: after which a worker without a job is ended, to give its memory back; it needs seconds to start.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        *,
        command: Sequence[str] | None = None,
        temporary_folder: Path | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._make_transport = make_transport
        self._command = command
        self._temporary_folder = temporary_folder
        self._idle_seconds = idle_seconds
        self._state = State.IDLE
        self._transport: Transport | None = None
        self._started: Sequence[str] = ()
        self._worker_pid: int | None = None
        self._run: _Run | None = None
        self._waiting: _Run | None = None
        self._kept = ""
        """What the worker keeps ready, as far as it has said so."""
        self._jobs = 0
        self._lines = LineBuffer()
        self._unread: deque[str] = deque()
        self._log_lines = LineBuffer()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._leftover: list[Path] = []

    @property
    def state(self) -> State:
        """What the runner is doing now."""
        return self._state

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker; None when none is ready."""
        return self._worker_pid

    def log_tail(self) -> str:
        """The last lines the worker wrote that were not for the runner."""
        return "\n".join(list(self._log)[-_TAIL_LINES:])

    def submit(self, job: Order, callbacks: Callbacks) -> None:
        """Starts a job; the worker is started first when there is none.

        While another job is being cancelled the new one waits for its end.

        Args:
            job: what to do.
            callbacks: told how it goes, never from within this method.

        Raises:
            UsageError: a job is running.
            OutputError: the inputs could not be written to the temporary folder.
            MissingPackageError: there is no Python interpreter to run the worker.
        """
        if self._waiting is not None or self._state not in (State.IDLE, State.CANCELLING):
            raise UsageError("an enhancement is running: wait for it or cancel it first")
        command = self._command or worker_command()
        self.poll()  # A worker that has died since is to be replaced, not written to.
        if self._state is State.IDLE and command != self._started:  # another interpreter was named
            self._drop_worker(quietly=True)
        self._remove()
        run = self._prepare(job, callbacks)
        if self._state is State.CANCELLING:
            self._waiting = run
        else:
            self._begin(run, command)

    def cancel(self) -> None:
        """Asks the worker to stop; one that does not answer is killed. ``on_cancelled`` follows."""
        run, transport = self._run, self._transport
        if run is None or transport is None:
            return
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._remove(waiting.folder)
            transport.call_later(0.0, waiting.callbacks.on_cancelled)
        if self._state is State.CANCELLING:
            return
        if self._state is State.RUNNING:
            transport.send(encode({"do": "cancel", "job": run.number}))
        self._state = State.CANCELLING

        def lose_patience() -> None:
            if self._run is run:
                self._drop_worker(quietly=False)
                self._finish(run, run.callbacks.on_cancelled)

        transport.call_later(CANCEL_GRACE_SECONDS, lose_patience)

    def close(self) -> None:
        """Ends the worker and a running job, calls nothing back, leaves no file. A later ``submit`` starts anew."""
        run, waiting, self._run, self._waiting = self._run, self._waiting, None, None
        self._state = State.IDLE
        self._drop_worker(quietly=run is None)
        for one in (run, waiting):
            self._remove(None if one is None else one.folder)

    def poll(self) -> None:
        """Delivers what the worker said, where no event loop does."""
        if self._transport is not None:
            self._transport.poll()

    def _begin(self, run: _Run, command: Sequence[str]) -> None:
        """Starts or sends what was prepared."""
        self._run = run
        if self._transport is None:
            self._state = State.STARTING
            self._start(command)
        else:
            self._state = State.RUNNING
            self._send_job(self._transport, run)

    def _prepare(self, job: Order, callbacks: Callbacks) -> _Run:
        self._jobs += 1
        try:
            folder = Path(tempfile.mkdtemp(prefix="MedSR-", dir=self._temporary_folder))
            needed, free = job.bytes_needed(), shutil.disk_usage(folder).free
            if free < needed + _SPARE_BYTES:
                folder.rmdir()
                raise OutputError(
                    f"the work needs {needed / 1e9:.1f} GB in the temporary folder {folder.parent}, where "
                    f"{free / 1e9:.1f} GB are free: free some space there, or enhance a region"
                )
            run = _Run(self._jobs, job, callbacks, folder)
            try:
                if not self._keeps(job):
                    run.write()
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        except OSError as error:
            raise OutputError(
                f"the volume could not be written to the temporary folder "
                f"{self._temporary_folder or tempfile.gettempdir()} ({error.strerror or error}): free some space there"
            ) from error
        return run

    def _start(self, command: Sequence[str]) -> None:
        transport = self._transport = self._make_transport()
        self._started = command
        self._lines, self._log_lines = LineBuffer(), LineBuffer()
        self._unread.clear()
        self._log.clear()

        def while_current(told: Callable[..., None]) -> Callable[..., None]:
            return lambda *what: told(*what) if self._transport is transport else None

        listener = Listener(while_current(self._on_output), while_current(self._on_log), while_current(self._on_exited))
        transport.start(command, worker_environment(), listener)

    def _keeps(self, job: Order) -> bool:
        """Whether the worker has all that a job would write."""
        return bool(job.kept) and job.kept == self._kept

    def _send_job(self, transport: Transport, run: _Run) -> None:
        try:
            if not run.written and not self._keeps(run.job):  # that worker has died meanwhile
                run.write()
        except OSError as error:
            self._fail(run, f"The volume could not be written ({error.strerror or error}): free some space.")
            return
        if not self._keeps(run.job):
            self._kept = ""
        transport.send(encode({**run.job.message(run.folder), "job": run.number}))

    def _drop_worker(self, *, quietly: bool) -> None:
        transport, self._transport = self._transport, None
        pid, self._worker_pid, self._kept = self._worker_pid, None, ""
        if transport is None:
            return
        if quietly:
            transport.send(encode({"do": "quit"}))
        transport.stop(quietly=quietly, worker_pid=pid)

    def _on_log(self, data: bytes) -> None:
        # Progress bars of libraries end their lines by a carriage return only.
        self._log.extend(self._log_lines.feed(data.replace(b"\r", b"\n")))

    def _on_output(self, data: bytes) -> None:
        self._unread.extend(self._lines.feed(data))
        self._read_on()

    def _read_on(self) -> None:
        """Line by line from a queue, since a callback may run the event loop and so come back here."""
        while self._unread:
            line = self._unread.popleft()
            event = parse_event(line)
            if event is None:
                self._log.append(line)
                continue
            try:
                self._on_event(event)
            except BaseException:
                self._read_on()  # What a callback raises must not hold back the lines behind it.
                raise

    def _on_event(self, event: Event) -> None:
        run = self._run
        if isinstance(event, Ready):
            self._on_ready(event)
        elif run is None or event.job != run.number:
            return
        elif isinstance(event, Progress):
            left = run.time_left.update(event.fraction)
            if self._state is State.RUNNING:
                run.callbacks.on_progress(event.fraction, event.message, left)
        elif isinstance(event, Part):
            self._on_part(run, event)
        elif self._state is State.CANCELLING or isinstance(event, Cancelled):
            self._finish(run, run.callbacks.on_cancelled)
        elif isinstance(event, Done):
            self._on_done(run, event)
        else:
            self._log.extend(event.details.splitlines())
            self._fail(run, event.sentence)

    def _on_ready(self, event: Ready) -> None:
        if event.pid > 1 and event.pid != os.getpid():
            self._worker_pid = event.pid
        run = self._run
        if run is None or self._transport is None:
            return
        if self._state is State.CANCELLING:
            self._finish(run, run.callbacks.on_cancelled)
        elif self._state is State.STARTING:
            self._state = State.RUNNING
            self._send_job(self._transport, run)

    def _on_part(self, run: _Run, event: Part) -> None:
        self._kept = run.job.kept
        try:
            run.job.take(event, run.folder)
        except (OSError, ValueError) as error:
            self._log.append(f"a part could not be read ({error})")

    def _on_done(self, run: _Run, event: Done) -> None:
        try:
            results = run.job.results(event, run.folder)
        except (OSError, ValueError, InputError) as error:
            self._fail(
                run, f"The result could not be read ({error}): free space in the temporary folder and try again."
            )
            return
        self._rest()
        try:
            run.callbacks.on_done(results)
        finally:
            del results  # Windows cannot remove a file that is still mapped.
            self._remove(run.folder)

    def _on_exited(self, code: int | None, problem: str) -> None:
        self._transport = self._worker_pid = None
        self._kept = ""
        run = self._run
        if run is None:
            return
        if self._state is State.CANCELLING:
            self._finish(run, run.callbacks.on_cancelled)
        else:
            self._fail(run, explain_exit(code, problem, "\n".join(self._log)))

    def _fail(self, run: _Run, sentence: str) -> None:
        tail = self.log_tail()
        self._finish(run, lambda: run.callbacks.on_error(sentence, tail))

    def _finish(self, run: _Run, tell: Callable[[], None]) -> None:
        self._rest()
        try:
            tell()
        finally:
            self._remove(run.folder)

    def _rest(self) -> None:
        """Idle before the caller is told, so that it can submit again; or what waited has begun."""
        self._run = None
        self._state = State.IDLE
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._begin(waiting, self._command or worker_command())
            return
        transport, jobs = self._transport, self._jobs

        def end_idle_worker() -> None:
            if self._transport is transport and self._run is None and self._jobs == jobs:
                self._drop_worker(quietly=True)

        if transport is not None:
            transport.call_later(self._idle_seconds, end_idle_worker)

    def _remove(self, folder: Path | None = None) -> None:
        """Removes a job folder, and those that were still in use when their job ended."""
        folders = [*self._leftover, *([folder] if folder else [])]
        for one in folders:
            shutil.rmtree(one, ignore_errors=True)
        self._leftover = [one for one in folders if one.exists()]
