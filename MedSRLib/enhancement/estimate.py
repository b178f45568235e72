"""What an enhancement will give and cost, in one line: before anything runs, without torch.

The time is the number of multiplications the generator needs, divided by what this computer did per second in its
last run; before the first run on a CPU by a guess from its cores, and on another device it is not known.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from MedSRLib.enhancement.extent import extent_of, region_of
from MedSRLib.enhancement.request import USUAL, Options
from MedSRLib.enhancement.restorations import RESTORATIONS
from MedSRLib.enhancement.turning import K, shape_turned_back, slice_axis, turned, turned_roi
from MedSRLib.errors import OutputError
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.storage import write_atomically
from MedSRLib.volumes.volume import Volume

MEASURED = "measured in the last {n} on this device"
GUESSED = "guessed from the number of processor cores"
UNKNOWN = "known after the first run on this device"

_CPU = "CPU"
_RATE_PER_CORE = 1.5e10
"""Multiplications a second of one core in float32 convolutions: 1.6e10 to 2e10 measured with the lite model."""
_RUNS = 5
"""Of a device that are remembered: the median of their speeds is not moved by one in which something else ran."""
_FEWEST_SECONDS = 1.0
"""Shorter runs say more about starting than about speed."""
_PROCESS_BYTES = 1.3e9
"""Python with torch, 0.35e9, and a tile at work, at most 0.75e9, with the gaps between its pieces: 1.3e9 was measured
with slices of 512 x 512."""
_WORKING_BYTES = 32
"""Per voxel of a result's slab: about eight float32 images live at once."""


@dataclass(frozen=True)
class Estimate:
    """About what an enhancement takes.

    Args:
        shape: of the result, array order [k, j, i].
        memory: bytes at the worst moment: the worker's, without a GPU's own, and the result's in the scene.
        multiplications: of the generator.
        seconds: None when there is nothing to judge by.
        basis: ``MEASURED``, ``GUESSED`` or ``UNKNOWN``.
    """

    shape: tuple[int, int, int]
    memory: float
    multiplications: float
    seconds: float | None
    basis: str

    def of_frames(self, count: int) -> Estimate:
        """The same for as many frames, one after another; shape and memory are those of one."""
        seconds = None if self.seconds is None else count * self.seconds
        return replace(self, multiplications=count * self.multiplications, seconds=seconds)

    def line(self) -> str:
        """One line for people; the size in the order i x j x k, as Slicer shows it."""
        size = " x ".join(map(str, reversed(self.shape)))
        took = "time" if self.seconds is None else f"about {duration(self.seconds)}"
        return f"{size} voxels, about {max(0.1, self.memory / 1e9):.1f} GB of memory, {took} ({self.basis})"


def duration(seconds: float) -> str:
    """Seconds for people, no more exact than an estimate is."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def estimate(
    shape: Sequence[int],
    dtype: np.dtype | type,
    manifest: Manifest,
    device_name: str,
    options: Options = USUAL,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    roi: Sequence[int] | None = None,
) -> Estimate:
    """What enhancing a volume will give and take.

    Args:
        shape: of the input, array order [k, j, i].
        dtype: of its voxels.
        manifest: of the model.
        device_name: as ``device`` in a report; "CPU" for the processor.
        options: for the enhancement.
        spacing: of the input along i, j, k in millimetres; a through-plane model's factor depends on it.
        roi: as for ``enhance``.

    Raises:
        InputError: the model does not fit the volume.
        UsageError: an option is wrong, or the region is empty or outside the volume.
        ModelError: the model lacks the weights for the fidelity.
    """
    options.check(manifest)
    k, j, i = shape
    voxels = np.broadcast_to(np.zeros((), dtype), (k, j, i))
    volume = Volume(voxels, np.diag([*spacing, 1.0]))
    restoration = RESTORATIONS[manifest.task]
    region_of(volume, roi)  # speaks of the axes that were asked about
    axis = slice_axis(volume) if restoration.by_slices else K
    if axis != K:
        volume, roi = turned(volume, axis), turned_roi(roi, axis)
    acquisition = restoration.acquisition(volume, manifest, options)
    extent = extent_of(volume, region_of(volume, roi), manifest, acquisition)
    low = tuple(s.stop - s.start for s in extent.context)
    high = extent.context_shape
    runs = restoration.runs if options.uncertainty else 1
    work = multiplications_per_voxel(manifest) * restoration.voxels_seen(low, high) * runs
    kept = math.prod(extent.shape) * (2 * voxels.itemsize + (4 if options.uncertainty else 0))
    working = restoration.voxels_finished(low, high) * _WORKING_BYTES + restoration.bytes_kept(high)
    seconds, basis = time_for(work, device_name)
    return Estimate(
        shape=shape_turned_back(extent.shape, axis),
        memory=_PROCESS_BYTES + math.prod(low) * (voxels.itemsize + 4) + kept + working,
        multiplications=work,
        seconds=seconds,
        basis=basis,
    )


def time_for(work: float, device_name: str) -> tuple[float | None, str]:
    """Seconds for so many multiplications, None when there is nothing to judge by, and what that rests on.

    Args:
        work: multiplications of a generator, or what takes as long.
        device_name: as ``device`` in a report; "CPU" for the processor.
    """
    rate, basis = _rate(device_name)
    return None if rate is None else work / rate, basis


def remember_speed(estimated: Estimate, device: str, seconds: float) -> None:
    """Keeps what a finished run says about the device's speed, for the next estimate.

    Args:
        estimated: what was estimated for the run.
        device: that it ran on, as a report names it.
        seconds: that it took.
    """
    if seconds < _FEWEST_SECONDS:
        return
    key, speeds = _key(device), _speeds()
    speeds[key] = [*speeds.get(key, []), estimated.multiplications / seconds][-_RUNS:]
    with suppress(OutputError):  # An estimate is not worth an error.
        write_atomically(_speed_file(), json.dumps(speeds, indent=2).encode())


def multiplications_per_voxel(manifest: Manifest) -> float:
    """Multiplications of the generator for one voxel of its input, to about a tenth."""
    given = manifest.arguments
    dims, inputs, outputs = (given.get(n, d) for n, d in (("spatial_dims", 2), ("in_channels", 1), ("out_channels", 1)))
    f = given.get("features", 64)
    scale = math.prod(given.get("factors", (2,) * dims))
    if manifest.architecture == "CompactGenerator":
        return float(3**dims * (inputs * f + given.get("convolutions", 16) * f**2 + f * outputs * scale))
    g = given.get("growth", 32)
    folded = given.get("unshuffle", 1) ** dims
    scale *= folded
    dense = sum((f + n * g) * g for n in range(4)) + (f + 4 * g) * f
    trunk = inputs * folded * f + 3 * given.get("blocks", 23) * dense + f**2
    upsampling = scale * f**2 if scale > 1 else 0
    return float(3**dims * (trunk + upsampling + scale * (f**2 + f * outputs)) / folded)


def _rate(device_name: str) -> tuple[float | None, str]:
    measured = _speeds().get(_key(device_name))
    if measured:
        runs = "run" if len(measured) == 1 else f"{len(measured)} runs"
        return statistics.median(measured), MEASURED.format(n=runs)
    if device_name == _CPU:
        # Two logical processors share one core's arithmetic.
        return _RATE_PER_CORE * max(1, (os.cpu_count() or 1) // 2), GUESSED
    return None, UNKNOWN


def _key(device_name: str) -> str:
    """The device without how much of its memory is free just now."""
    return device_name.partition(",")[0]


def _speed_file() -> Path:
    return Path.home() / ".medsr" / "speed.json"


def _speeds() -> dict[str, list[float]]:
    """Multiplications a second in the latest runs, by device; an earlier version kept the last one alone."""
    try:
        stored = json.loads(_speed_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {key: rates if isinstance(rates, list) else [rates] for key, rates in stored.items()}
