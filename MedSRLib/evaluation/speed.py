"""How fast an enhancement is, and against what: the processor's own limit, its stages, and three other ways."""

from __future__ import annotations

import ctypes
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from MedSRLib.enhancement import estimation, finishing, slabs
from MedSRLib.enhancement.devices import now
from MedSRLib.enhancement.enhancer import run_generator
from MedSRLib.enhancement.report import FidelityTally
from MedSRLib.enhancement.result import Enhanced
from MedSRLib.models.manifest import Manifest
from MedSRLib.networks.build import Generator
from MedSRLib.volumes.volume import Volume

STAGES: dict[str, tuple[Any, str]] = {
    "estimating": (estimation, "estimate_acquisition"),
    "base": (slabs, "base_image"),
    "projection": (finishing, "back_project"),
    "report": (FidelityTally, "add"),
}
"""Functions beside the network that are timed; what is left over is "other"."""
_PRODUCT = {"cpu": 2048, "cuda": 8192}
"""Rows of the square matrices whose product is the limit."""
_PRODUCTS = 5
_FLOP_SIDE = 16


@dataclass
class Stopwatch:
    """Seconds by stage of one enhancement.

    Args:
        device: waited for before each look at the clock.

    Attributes:
        seconds: by stage.
        voxels: that the network was given, halos included.
    """

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    voxels: int = 0

    @contextmanager
    def watching(self, generator: nn.Module) -> Iterator[None]:
        """Times the stages of what is enhanced inside, with this generator."""
        began: list[float] = []

        def enter(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            self.voxels += given[0].numel() // given[0].shape[1]
            began.append(now(self.device))

        def leave(*_: object) -> None:
            self.seconds["network"] += now(self.device) - began.pop()

        with ExitStack() as restored:
            for stage, (owner, name) in STAGES.items():
                plain = getattr(owner, name)
                setattr(owner, name, self._timed(stage, plain))
                restored.callback(setattr, owner, name, plain)
            for handle in (generator.register_forward_pre_hook(enter), generator.register_forward_hook(leave)):
                restored.callback(handle.remove)
            yield

    def _timed(self, stage: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            started = now(self.device)
            result = plain(*given, **named)
            self.seconds[stage] += now(self.device) - started
            return result

        return timed


@dataclass(frozen=True)
class Timing:
    """One enhancement.

    Args:
        enhanced: what it gave.
        seconds: that it took.
        stages: seconds by stage, "network" and "other" among them.
        flops: floating-point operations of the network.
        peak_mib: memory at the worst moment: the device's, on a CPU the process's; None where nobody tells.
    """

    enhanced: Enhanced
    seconds: float
    stages: dict[str, float]
    flops: float
    peak_mib: float | None


def matrix_limit(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second of a large matrix product, the most that a convolution can reach.

    Args:
        device: to measure.
        dtype: of the matrices.
    """
    n = _PRODUCT.get(device.type, _PRODUCT["cpu"])
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    torch.mm(a, b)
    best = math.inf
    for _ in range(_PRODUCTS):
        started = now(device)
        torch.mm(a, b)
        best = min(best, now(device) - started)
    return 2 * n**3 / best


def flops_per_voxel(generator: Generator, channels: int) -> float:
    """Floating-point operations of a generator for one voxel of its input; a multiplication and an addition are two.

    Args:
        generator: on any device.
        channels: of its input.
    """
    where = next(generator.parameters())
    image = torch.zeros(1, channels, *[_FLOP_SIDE] * len(generator.factors), device=where.device, dtype=where.dtype)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        generator(image)
    return counter.get_total_flops() / math.prod(image.shape[2:])


def time_enhancement(
    volume: Volume, manifest: Manifest, generator: Generator, device: torch.device, **options: Any
) -> Timing:
    """One enhancement with its stages; the first of a process on a device is slower than the others.

    Args:
        volume: the measurement.
        manifest: how the network wants its input.
        generator: the network; moved to the device.
        device: where.
        options: as for ``enhance``.
    """
    watch = Stopwatch(device)
    flops = flops_per_voxel(generator, manifest.slices + len(manifest.conditions))
    forget_peak(device)
    with watch.watching(generator):
        started = now(device)
        enhanced = run_generator(volume, manifest, generator, device=str(device), **options)
        seconds = now(device) - started
    stages = dict(watch.seconds)
    stages["other"] = seconds - sum(stages.values())
    return Timing(enhanced, seconds, stages, flops * watch.voxels, peak_mib(device))


def forget_peak(device: torch.device) -> None:
    """Has ``peak_mib`` begin anew, and gives back what the process keeps of freed memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")


def peak_mib(device: torch.device) -> float | None:
    """Most memory in use since ``forget_peak``, MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    return None


def phantom(shape: tuple[int, int, int], slice_spacing: float = 1.0) -> Volume:
    """A volume with something in every voxel, so that none of it is passed over as air: rings, an edge and noise.

    float32, so that results can be compared to more than a grey level.

    Args:
        shape: [k, j, i].
        slice_spacing: along k, in pixels.
    """
    random = np.random.default_rng(0)
    k, j, i = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    radius = np.sqrt(k[:, None, None] ** 2 / 4 + j[None, :, None] ** 2 + i[None, None, :] ** 2)
    voxels = 600 * (radius < 0.8) + 200 * np.cos(24 * radius) + 300
    voxels += 15 * random.standard_normal(shape, np.float32)
    return Volume(voxels.astype(np.float32), np.diag([1.0, 1.0, slice_spacing, 1.0]), "MR")
