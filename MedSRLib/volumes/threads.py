"""Settings of the whole process that a reader changes for a moment, while other threads read too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Lock

Setting = Callable[[], AbstractContextManager[None]]


def shared_by_threads(setting: Setting) -> Setting:
    """Makes the context manager of a process-wide setting safe for threads.

    The first one in changes it, the last one out puts it back. Left to themselves, a thread that leaves would undo the
    change for those still inside.
    """
    lock, stack, inside = Lock(), ExitStack(), 0

    @contextmanager
    def share() -> Iterator[None]:
        nonlocal inside
        with lock:
            if not inside:
                stack.enter_context(setting())
            inside += 1
        try:
            yield
        finally:
            with lock:
                inside -= 1
                if not inside:
                    stack.close()

    share.__doc__ = setting.__doc__
    return share
