"""What the panel's tests share: a listener that records, and waiting while something pumps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fake_qt
import numpy as np
from reports import report_of
from subprocess_transport import SubprocessTransport

from MedSRLib.enhancement.request import Input, Options
from MedSRLib.jobs.job import Callbacks, Job
from MedSRLib.jobs.runner import JobRunner
from MedSRLib.panel.qprocess import QProcessTransport
from MedSRLib.volumes.volume import Volume

TRANSPORTS = {"subprocess": SubprocessTransport, "qprocess": QProcessTransport}


def wait_until(condition: Callable[[], Any], pump: Callable[[], None], *, seconds: float = 60.0) -> None:
    """Pumps until something is so; fails when it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        pump()
        time.sleep(0.01)


def job_of(volume: Volume, model: Any = "auto", *, roi: Any = None, **options: Any) -> Job:
    """A job of one volume."""
    return Job((Input(volume, roi),), model, Options.from_json(options))


class Record:
    """What a job's callbacks were told."""

    def __init__(self) -> None:
        self.progress: list[tuple[float, str, float | None]] = []
        self.voxels: np.ndarray | None = None
        self.enhanced: Any = None
        self.error: tuple[str, str] | None = None
        self.cancelled = False
        self.endings = 0

    @property
    def callbacks(self) -> Callbacks:
        return Callbacks(
            on_progress=lambda *told: self.progress.append(told),
            on_done=self._done,
            on_error=self._failed,
            on_cancelled=self._cancelled,
        )

    def _done(self, results: list[Any]) -> None:
        self.endings += 1
        for enhanced in results[:1]:  # a preview has none
            self.voxels = np.array(enhanced.volume.voxels)
            self.enhanced = enhanced

    def _failed(self, sentence: str, tail: str) -> None:
        self.endings += 1
        self.error = (sentence, tail)

    def _cancelled(self) -> None:
        self.endings += 1
        self.cancelled = True


class Bench:
    """A runner with its pump, and the folder its job folders are made in."""

    def __init__(self, transport: str, folder: Path, command: list[str] | None = None) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.runner = JobRunner(TRANSPORTS[transport], command=command, temporary_folder=folder)

    def pump(self) -> None:
        self.runner.poll()
        fake_qt.pump()

    def submit(self, job: Job) -> Record:
        record = Record()
        self.runner.submit(job, record.callbacks)
        return record

    def wait(self, condition: Callable[[], Any], **options: Any) -> None:
        wait_until(condition, self.pump, **options)

    def run(self, job: Job) -> Record:
        record = self.submit(job)
        self.wait(lambda: record.endings)
        return record


@contextmanager
def bench(transport: str, folder: Path, command: list[str] | None = None) -> Iterator[Bench]:
    """A bench whose worker is ended in any case."""
    made = Bench(transport, folder, command)
    try:
        yield made
    finally:
        made.runner.close()


def script(lines: str) -> list[str]:
    """A command that runs Python statements; ``say`` writes a line to stdout at once, ``hear`` reads one."""
    prelude = (
        "import json, os, sys, time\n"
        "def say(text): os.write(1, text.encode() + b'\\n')\n"
        "def hear(): return json.loads(sys.stdin.readline())\n"
        "def ready(): say(json.dumps({'event': 'ready', 'pid': os.getpid()}))\n"
    )
    return [sys.executable, "-c", prelude + lines]


def worker_with(lines: str) -> list[str]:
    """A command that runs the real worker with the ``enhance`` that Python statements define, and without torch."""
    return [
        sys.executable,
        "-c",
        "import os, sys, time\n"
        "from types import SimpleNamespace as Enhanced\n"
        f"{lines}\n"
        "from MedSRLib.progress import part_of\n"
        "def enhance_all(inputs, model, options, *, progress, cancelled):\n"
        "    for n, one in enumerate(inputs):\n"
        "        told = {'progress': part_of(progress, n, len(inputs)), 'cancelled': cancelled, 'roi': one.roi}\n"
        "        made = enhance(one.volume, model, **told, **options.to_json())\n"
        f"        report = {{**{report_of().to_json()!r}, **made.report}}\n"
        "        made.report = Enhanced(to_json=lambda report=report: report)\n"
        "        yield made\n"
        "sys.modules['MedSRLib.enhancement.enhancer'] = Enhanced(enhance_all=enhance_all)\n"
        "from MedSRLib.jobs.worker import main\n"
        "main()\n",
    ]
