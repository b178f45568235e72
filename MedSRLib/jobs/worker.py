"""The process that enhances, so that whatever happens here the user's scene survives: started as a module.

It stays alive between jobs, so that torch is imported once. It ends with its parent: when its stdin closes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from MedSRLib import __version__
from MedSRLib.errors import EnhancementCancelled, MedSRError, MissingPackageError, OutOfMemoryError, OutputError
from MedSRLib.jobs.messages import LineBuffer, decode, encode
from MedSRLib.process import prepare_process

if TYPE_CHECKING:
    from MedSRLib.enhancement.preview import Preview
    from MedSRLib.enhancement.request import Input
    from MedSRLib.progress import Cancelled, Progress

_PROGRESS_INTERVAL = 0.1
_BUFFER = 2**16

Message = dict[str, Any]


class Worker:
    """Reads jobs, answers each with done, error or cancelled.

    Args:
        source: file descriptor the messages come from.
        sink: file descriptor the answers go to.
    """

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = os.fdopen(sink, "wb")
        self._jobs: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._current: Message | None = None
        self._kept: tuple[str, Preview] | None = None

    def run(self) -> NoReturn:
        """Works until the parent says quit or is gone; then the whole process ends."""
        self._send({"event": "ready", "pid": os.getpid(), "version": __version__})
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            self._current = self._jobs.get()
            answer = self._answer(self._current)
            self._current = None
            self._send(answer)

    def _listen(self) -> None:
        buffer = LineBuffer()
        while data := os.read(self._source, _BUFFER):
            for line in buffer.feed(data):
                self._obey(line)
        self._end()

    def _obey(self, line: str) -> None:
        message = decode(line)
        order = message.get("do")
        if order in ("enhance", "preview", "fuse"):
            self._jobs.put(message)
        elif order == "cancel":
            self._cancelled.add(message.get("job", 0))
        elif order == "quit":
            self._end()
        else:
            sys.stderr.write(f"not an order: {line}\n")

    def _end(self) -> NoReturn:
        """At once, from the listening thread: nobody waits for the job, and no tile is worth finishing."""
        if self._current is not None:
            _discard(self._current)
        os._exit(0)

    def _send(self, message: Message) -> None:
        try:
            self._sink.write(encode(message))
            self._sink.flush()
        except OSError:
            self._end()

    def _answer(self, job: Message) -> Message:
        number = job.get("job", 0)
        try:
            work = {"preview": self._preview, "fuse": self._fuse}.get(job.get("do", ""), self._enhance)
            return {"event": "done", "job": number, **work(job)}
        except EnhancementCancelled:
            return {"event": "cancelled", "job": number}
        except MedSRError as error:
            return _failure(number, error)
        except MemoryError:
            sentence = "memory ran out: close other programs, or enhance a region of interest"
            return _failure(number, OutOfMemoryError(sentence))
        except ImportError as error:
            sentence = f"the Python package {error.name} cannot be imported ({error}): install it again"
            return _failure(number, MissingPackageError(sentence), traceback.format_exc())
        except Exception as error:
            sentence = f"the enhancement failed ({type(error).__name__}: {error}): please report it with the log"
            return _failure(number, MedSRError(sentence), traceback.format_exc())

    def _enhance(self, job: Message) -> Message:
        from MedSRLib.enhancement.enhancer import enhance_all
        from MedSRLib.enhancement.request import Options

        self._kept = None  # the memory is needed
        progress, cancelled = self._tells(job["job"])
        progress(0.0, "loading the model")
        inputs = [_read(one) for one in job["inputs"]]
        options = Options.from_json(job["options"])
        results = []
        enhanced_all = enhance_all(inputs, job["model"], options, progress=progress, cancelled=cancelled)
        for one, enhanced in zip(job["inputs"], enhanced_all, strict=True):
            if cancelled():
                raise EnhancementCancelled("cancelled: nothing was written")
            _save(Path(one["output"]), enhanced.volume.voxels)
            if enhanced.uncertainty is not None:
                _save(Path(one["uncertainty"]), enhanced.uncertainty.voxels)
            results.append(
                {
                    "affine": enhanced.volume.affine,
                    "uncertainty": enhanced.uncertainty is not None,
                    "report": enhanced.report.to_json(),
                }
            )
        return {"results": results}

    def _preview(self, job: Message) -> Message:
        from MedSRLib.enhancement.preview import Preview
        from MedSRLib.enhancement.request import Options

        progress, cancelled = self._tells(job["job"])
        if self._kept is None or self._kept[0] != job["kept"]:
            self._kept = None
            progress(0.0, "loading the model")
            source = _read(job["input"]).volume
            # Not mapped: the file is gone when the next job comes.
            source = source.with_voxels(source.voxels.copy())
            self._kept = job["kept"], Preview(source, job["model"], Options.from_json(job["options"]))
        boxes = [tuple(box) for box in job["boxes"]]
        parts = self._kept[1].parts(boxes, progress=progress, cancelled=cancelled)
        for number, (box, voxels) in enumerate(parts):
            name = f"part-{number}.npy"
            _save(Path(job["folder"]) / name, voxels)
            self._send({"event": "part", "job": job["job"], "box": box, "file": name})
        return {"results": []}

    def _fuse(self, job: Message) -> Message:
        from MedSRLib.jobs.fusion import FILES, fuse_message

        self._kept = None  # the memory is needed
        progress, cancelled = self._tells(job["job"])
        progress(0.0, "loading")
        fused = fuse_message(job, progress=progress, cancelled=cancelled)
        for name, volume in zip(FILES, (fused.volume, fused.coverage), strict=True):
            _save(Path(job["folder"]) / name, volume.voxels)
        return {"results": [{"affine": fused.volume.affine, "uncertainty": False, "report": fused.report}]}

    def _tells(self, number: int) -> tuple[Progress, Cancelled]:
        """Says how far a job is, not more often than anybody can read; and whether it is still wanted."""
        sent = -_PROGRESS_INTERVAL

        def progress(fraction: float, message: str) -> None:
            nonlocal sent
            now = time.monotonic()
            if now - sent >= _PROGRESS_INTERVAL or fraction >= 1:
                sent = now
                self._send({"event": "progress", "job": number, "fraction": fraction, "message": message})

        return progress, lambda: number in self._cancelled


def _read(one: Message) -> Input:
    import numpy as np

    from MedSRLib.enhancement.request import Input
    from MedSRLib.volumes.volume import Volume

    voxels = np.asarray(np.load(one["input"], mmap_mode="r"))
    volume = Volume(voxels, np.array(one["affine"]), one["modality"], one["slice_thickness"])
    return Input(volume, one["roi"])


def _failure(number: int, error: MedSRError, details: str = "") -> Message:
    return {
        "event": "error",
        "job": number,
        "kind": type(error).__name__,
        "exit_code": error.exit_code,
        "sentence": str(error),
        "details": details,
    }


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _save(path: Path, voxels: Any) -> None:
    """Beside the target and renamed: a file under its final name is whole."""
    import numpy as np

    try:
        with open(_partial(path), "wb") as file:
            np.save(file, voxels, allow_pickle=False)
        os.replace(_partial(path), path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): free some space on that disk") from error


def _discard(job: Message) -> None:
    """The files of a job whose parent is gone, and the folder that they leave empty."""
    if job.get("do") in ("preview", "fuse"):
        shutil.rmtree(job["folder"], ignore_errors=True)
        return
    for one in job["inputs"]:
        for key in ("input", "output", "uncertainty"):
            for path in (Path(one[key]), _partial(Path(one[key]))):
                with contextlib.suppress(OSError):
                    path.unlink()
        with contextlib.suppress(OSError):
            Path(one["input"]).parent.rmdir()


def _claim_pipes() -> tuple[int, int]:
    """Keeps stdin and stdout for the protocol: whatever else prints goes to stderr, whatever reads finds the end."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return source, sink


def main() -> NoReturn:
    """Starts the worker in a process group of its own, which the parent can kill whole."""
    source, sink = _claim_pipes()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid"):
        with contextlib.suppress(PermissionError):
            os.setsid()
    prepare_process()
    Worker(source, sink).run()


if __name__ == "__main__":
    main()
