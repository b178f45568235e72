"""The two records of a batch: a journal of events, which --resume reads, and a summary table for people."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from MedSRLib.errors import InputError, OutputError
from MedSRLib.volumes.storage import write_atomically

JOURNAL = "medsr-batch.jsonl"
SUMMARY = "medsr-batch.csv"

FIGURES = ("lr_consistency_percent", "mean_shift_percent", "edge_sharpness_gain", "added_detail_rms")
_COLUMNS = ("input", "series", "output", "state", "seconds", *FIGURES, "warnings", "error")
_BEHIND_ALL = 2**31 - 2
_ODD_NAMES = "surrogateescape"
"""File names that are not UTF-8 are written and read back byte for byte."""


class Journal:
    """Appends events as JSON lines; every line is on the disk before work goes on.

    While it is open no other process opens it: two batches in one folder would take each other's files for leftovers.
    The lock is the operating system's, which drops it when the process ends, however that happens.

    Args:
        path: made where it does not exist.

    Attributes:
        is_locked: False on file systems that know no locks.
        bytes_before: its size when it was opened.

    Raises:
        OutputError: it cannot be opened for writing, or another batch has it open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open(path, "ab+")  # noqa: SIM115
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self.is_locked = lock(self._file.fileno())
            self.bytes_before = os.fstat(self._file.fileno()).st_size
            self._end_torn_line()
        except BlockingIOError as error:
            self._file.close()
            raise OutputError(
                f"another batch is at work in {path.parent}: wait until it ends, or choose another output folder"
            ) from error
        except OSError as error:
            self._file.close()
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, event: Mapping[str, Any]) -> None:
        """Adds the time and appends one event.

        Raises:
            OutputError: the disk is full or gone; going on would leave work that nobody knows about.
        """
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}, ensure_ascii=False)
        try:
            self._file.write(f"{line}\n".encode(errors=_ODD_NAMES))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def _end_torn_line(self) -> None:
        """A run that lost its power leaves half a line: the next event must not be glued to it."""
        if self.bytes_before == 0:
            return
        self._file.seek(-1, os.SEEK_END)
        if self._file.read(1) != b"\n":
            self._file.write(b"\n")

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"the journal {self.path} cannot be written ({error.strerror}): free space or choose another output folder"
        )


def lock(number: int) -> bool:
    """Lock an open file for this process alone.

    Args:
        number: the file's descriptor.

    Returns:
        Whether it is locked; False on file systems that know no locks.

    Raises:
        BlockingIOError: another process has it locked.
    """
    if os.name == "nt":
        import msvcrt

        try:
            # Windows locks bytes, which nobody can read then: one far behind the end is taken.
            os.lseek(number, _BEHIND_ALL, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except PermissionError as error:
            raise BlockingIOError from error
    else:
        import fcntl

        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS):
                return False
            raise
    return True


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events of earlier runs, oldest first; torn lines are left out.

    Raises:
        InputError: the file is there and cannot be read.
    """
    try:
        lines = path.read_text("utf-8", _ODD_NAMES).split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(
            f"the journal {path} cannot be read ({error.strerror}): choose another output folder"
        ) from error
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def write_summary(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes one row a study, in one step.

    Args:
        path: the CSV file.
        rows: ``input``, ``series`` and ``state``; with ``output``, ``seconds``, ``report`` and ``error`` where known.

    Raises:
        OutputError: no permission or no space.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for row in rows:
        report = row.get("report", {})
        figures = {name: f"{report[name]:.6g}" for name in FIGURES if name in report}
        seconds = f"{row['seconds']:.2f}" if "seconds" in row else ""
        table.writerow({**row, "seconds": seconds, **figures, "warnings": "; ".join(report.get("warnings", ()))})
    write_atomically(path, text.getvalue().encode(errors=_ODD_NAMES))
