"""Standard streams that are closed, full, or cannot print a name: no reason to lose the work."""

from __future__ import annotations

import os
import sys


def make_streams_safe() -> None:
    """Makes closed streams lead nowhere, and escapes characters that a stream's code page does not have.

    A closed descriptor would be given to the next file that is opened, and what is printed would end up in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
