"""Damaged inputs by the thousand, each read in a process that is ended when it takes too long or too much memory.

python Testing/fuzz.py --count 10000 --keep failures/

Prints how many were right, refused with a sentence, read by MedSR alone, unlike the independent reading, a traceback,
a hang or a death; exits with 1 where there was one of the last four. What failed can be made again by its kind and
number: --kind nifti --first 1234 --count 1 --keep folder/.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "Python"), str(Path(__file__).parents[1])]

from fuzzing import KINDS, TRACEBACK, UNLIKE, judge, make_case  # noqa: E402 (its folder is no package)

HANG, DEATH, ORACLE = "hang", "death", "alone (the other reader died)"
BAD = (UNLIKE, TRACEBACK, HANG, DEATH)
SECONDS = 20
MEMORY = 1 << 30
"""Bytes that reading a file of some kilobytes may take on top of Python and its libraries."""


def work(pipe: Connection) -> None:
    """Judges one case after another, as they come through the pipe."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the other readers have to say
    while True:
        kind, path = pipe.recv()
        pipe.send(judge(kind, path, lambda: pipe.send(None)))


class Worker:
    """A process that judges, hired again when it died or hung."""

    def __init__(self) -> None:
        self._hire()

    def _hire(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def judge(self, kind: str, path: Path) -> tuple[str, str]:
        """The verdict on a case, a hang and a death among them."""
        self._pipe.send((kind, path))
        read = False
        end = time.monotonic() + SECONDS
        while True:
            try:
                if not self._pipe.poll(max(0, end - time.monotonic())):
                    answer = (ORACLE if read else HANG), f"more than {SECONDS} s"
                    break
                answer = self._pipe.recv()
            except EOFError:
                self._process.join()
                answer = (ORACLE if read else DEATH), f"exit code {self._process.exitcode}"
                break
            if answer is not None:
                return answer
            read = True
        self._process.kill()
        self._process.join()
        self._hire()
        return answer


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="inputs, divided among the kinds")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--kind", choices=KINDS, action="append", help="(default: all)")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that failed")
    arguments = parser.parse_args()
    kinds = arguments.kind or list(KINDS)
    worker = Worker()
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    for number in range(arguments.first, arguments.first + -(-arguments.count // len(kinds))):
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                path = make_case(kind, number, Path(folder))
                verdict, words = worker.judge(kind, path)
                counts[kind][verdict] += 1
                if verdict in BAD:
                    print(f"{kind} {number}: {verdict}: {words}", flush=True)
                    if arguments.keep is not None:
                        shutil.copytree(folder, arguments.keep / f"{kind}-{number}", dirs_exist_ok=True)
    for kind in kinds:
        print(f"{kind:10}", ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts[kind].items())))
    return int(any(counts[kind][verdict] for kind in kinds for verdict in BAD))


if __name__ == "__main__":
    sys.exit(main())
