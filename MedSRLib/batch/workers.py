"""Tasks carried out by processes of their own, so that what ends a process ends one study."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.batch.plan import Settings, Task
from MedSRLib.batch.staging import staging_folder
from MedSRLib.batch.study import process_study
from MedSRLib.process import prepare_process

if TYPE_CHECKING:
    from MedSRLib.progress import Cancelled, Progress

Outcome = tuple[Task, dict[str, Any]]
"""A task and the answer of ``process_study``."""

_ASK_SECONDS = 0.2
_DIED = (
    "the process that worked on it died, for want of memory or by a fault in a library: try it again with fewer "
    "--workers, or alone with --pattern"
)


def run_in_processes(
    tasks: Sequence[Task],
    settings: Settings,
    output: Path,
    *,
    workers: int,
    started: Callable[[Task], None],
    progress: Progress,
    cancelled: Cancelled,
) -> Generator[Outcome, None, None]:
    """Carries tasks out in worker processes, each with its share of the processor's threads.

    Each worker is a pool of its own: the death of one then says which task it died of, and ends no other.

    Args:
        tasks, settings, output: what, how and where to.
        workers: number of processes.
        started: told of each task before it begins.
        progress: told how many tasks the work in hand comes to, a fraction for each worker, and the name of one.
        cancelled: asked several times a second; stops the tasks at work too.
    """
    import torch

    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    threads = max(1, torch.get_num_threads() // workers)

    def hire() -> _Worker:
        share = context.Value("d", 0.0)
        pool = ProcessPoolExecutor(1, context, initializer=_prepare_worker, initargs=(stop, threads, share))
        return _Worker(pool, share)

    idle = [hire() for _ in range(min(workers, len(tasks)))]
    busy: dict[Future[dict[str, Any]], tuple[_Worker, Task, float]] = {}
    waiting = deque(tasks)
    try:
        while waiting or busy:
            if cancelled():
                stop.set()
                waiting.clear()
            while idle and waiting:
                worker, task = idle.pop(), waiting.popleft()
                started(task)
                worker.share.value = 0.0
                with _without_interrupts():
                    try:
                        future = worker.pool.submit(_process, task, settings, output)
                    except BrokenProcessPool:  # it died while it waited
                        worker.pool.shutdown()
                        worker = hire()
                        future = worker.pool.submit(_process, task, settings, output)
                busy[future] = worker, task, time.monotonic()
            finished, _ = wait(busy, _ASK_SECONDS, FIRST_COMPLETED)
            if busy and not finished:
                at_work = [(worker.share.value, task.study.name) for worker, task, _ in busy.values()]
                progress(sum(share for share, _ in at_work), at_work[0][1])
            for future in finished:
                worker, task, begun = busy.pop(future)
                try:
                    answer = future.result()
                except BrokenProcessPool:
                    shutil.rmtree(staging_folder(task, settings, output), ignore_errors=True)
                    answer = {"state": "failed", "error": _DIED, "died": True, "seconds": time.monotonic() - begun}
                    worker.pool.shutdown()
                    worker = hire()
                idle.append(worker)
                yield task, answer
    finally:
        stop.set()
        for worker in (*idle, *(worker for worker, _, _ in busy.values())):
            worker.pool.shutdown()


@dataclass(frozen=True)
class _Worker:
    """A process, and the part of its task that it has done."""

    pool: ProcessPoolExecutor
    share: Synchronized[float]


_stop: Event
"""In a worker process: set when the batch is cancelled."""
_share: Synchronized[float]
"""In a worker process: where it tells how far it is."""


def _prepare_worker(stop: Event, threads: int, share: Synchronized[float]) -> None:
    """Runs once in a new worker process."""
    prepare_process()
    import torch

    global _stop, _share
    _stop, _share = stop, share
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the parent tells us
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's workers outlive a parent that was killed, waiting for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _process(task: Task, settings: Settings, output: Path) -> dict[str, Any]:
    def progress(fraction: float, message: str) -> None:
        _share.value = fraction

    return process_study(task, settings, output, progress=progress, cancelled=_stop.is_set)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process started in here has SIGINT blocked from its first instruction on.

    So Ctrl-C prints no traceback of a worker that is still importing. Windows has no such masks, and its workers ignore
    Ctrl-C a moment later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
