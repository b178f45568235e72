"""What the scripts of this folder share: steps with a verdict each, waiting, and Slicer's exit code."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import slicer

PASSED, FAILED, NOT_READY = 0, 1, 2


def run(steps: Sequence[Callable[[], None]]) -> None:
    """Runs every step in an empty scene, says how each ended, and ends Slicer: 0 all passed, 1 not, 2 cannot run."""
    from MedSRLib.panel.packages import missing_packages

    missing = missing_packages()
    if missing:
        say(f"cannot run: this Slicer lacks {', '.join(missing)}; enhance a volume in the MedSR module once")
        slicer.util.exit(NOT_READY)
        return
    failed = 0
    for step in steps:
        slicer.mrmlScene.Clear(0)
        started = time.monotonic()
        try:
            step()
        except Exception:
            failed += 1
            traceback.print_exc()
            say(f"FAILED  {step.__name__}")
        else:
            say(f"passed  {step.__name__}  {time.monotonic() - started:.1f} s")
    say(f"{len(steps) - failed} of {len(steps)} steps passed in Slicer {slicer.app.applicationVersion}")
    slicer.util.exit(FAILED if failed else PASSED)


def say(text: str) -> None:
    """A line that is easily told from what Slicer itself writes."""
    sys.stdout.write(f"MedSR test: {text}\n")
    sys.stdout.flush()


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 300.0) -> None:
    """Lets Slicer's event loop run until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}")
        slicer.app.processEvents()
        time.sleep(0.01)


def sample() -> Any:
    """The head at 1.5 mm that the extension carries."""
    import SampleData

    from MedSR import registerSampleData

    registerSampleData()
    return SampleData.downloadSample("MedSR head, 1.5 mm")


def region_in(volume: Any, millimetres: tuple[float, float, float]) -> Any:
    """A box in the middle of a volume."""
    low = bounds(volume)
    box = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    box.SetCenter((low[0] + low[1]) / 2, (low[2] + low[3]) / 2, (low[4] + low[5]) / 2)
    box.SetSize(*millimetres)
    return box


def bounds(volume: Any) -> list[float]:
    """Outer edges of a volume's voxels in the world, millimetres."""
    found = [0.0] * 6
    volume.GetRASBounds(found)
    return found


def same(one: Sequence[float], other: Sequence[float], tolerance: float = 1e-3) -> bool:
    """Whether numbers agree."""
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))
