"""Why a worker ended in mid-job, as one sentence that says what to do."""

from __future__ import annotations

import signal

_SIGKILL = int(getattr(signal, "SIGKILL", 9))
_LAUNCHER_SAW_A_CRASH = "exit abnormally"
"""What Slicer's launcher writes about a child that a signal ended; its own exit code is then 1."""
_PYTHON_SAW_A_CRASH = ("Fatal Python error", "Traceback (most recent call last)")
_UNTOUCHED = "The scene was not changed."


def explain_exit(code: int | None, problem: str, log: str) -> str:
    """The sentence for a worker that is gone.

    Nobody but the system kills a worker that is at work, and it does so when memory runs out. A crash of its own
    leaves Python's words in the log: ``faulthandler`` is on.

    Args:
        code: exit code, negative for a signal's number; None when it never started.
        problem: what the operating system said.
        log: what the worker and its launcher wrote.
    """
    if code is None:
        return f"The enhancement process could not be started ({problem}): check that this program may start others."
    launcher_only = _LAUNCHER_SAW_A_CRASH in log and not any(text in log for text in _PYTHON_SAW_A_CRASH)
    if code in (-_SIGKILL, 128 + _SIGKILL) or launcher_only:
        return (
            "The system ended the enhancement, most likely because memory ran out: close other programs, enhance a "
            f"region of interest, or choose a smaller model. {_UNTOUCHED}"
        )
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return (
        f"The enhancement process ended unexpectedly ({how}): try again on the CPU, and report the log if that "
        f"fails too. {_UNTOUCHED}"
    )
