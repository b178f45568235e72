"""How a process of MedSR's own works with processor and memory; nothing is done to a process that imports MedSRLib.

Measured with the network of inplane-x2-lite: run by two threads on two cores that eight other processes kept busy, it
took 44 s (12 s of work) as OpenMP does by itself, and 9 s (2.2 s of work) with waiting threads that sleep. Four slices
of 256 x 256 took 4.5 s and 840 000 page faults as glibc does by itself, and 2.9 s and 60 000 with freed memory kept.
"""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""M_MMAP_MAX and M_TRIM_THRESHOLD of glibc's malloc.h."""


def prepare_process() -> None:
    """To be called before torch is imported; what the user has set in the environment stays.

    Threads that wait for others sleep instead of spinning, and there are no more of them than the container may use at
    a time. What was compiled for a GPU is kept for the next process, and freed memory stays with this one for the next
    tile instead of being zeroed by the kernel again.
    """
    threads = _allowed()
    _set("OMP_WAIT_POLICY", "passive")
    if threads is not None:
        _set("OMP_NUM_THREADS", str(threads))
    _set("TORCHINDUCTOR_CACHE_DIR", str(Path.home() / ".medsr" / "compiled"))
    if sys.platform == "linux" and not any(name.startswith("MALLOC_") for name in os.environ):
        import ctypes

        with suppress(OSError, AttributeError):  # another C library than glibc
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MMAP_MAX, 0)
            mallopt(_TRIM_THRESHOLD, -1)


def environment_before() -> dict[str, str]:
    """The environment without what ``prepare_process`` has set, for a process that is to know nothing of it."""
    return {name: value for name, value in os.environ.items() if _set_here.get(name) != value}


_set_here: dict[str, str] = {}


def _set(name: str, value: str) -> None:
    if name not in os.environ:
        os.environ[name] = _set_here[name] = value


def _allowed() -> int | None:
    """Processors that the container's quota of time makes (cgroup v2), where it has one."""
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # "max" for no quota
        return None
