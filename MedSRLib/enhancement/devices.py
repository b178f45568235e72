"""Where and how precisely the generator runs, and how many voxels fit into one tile there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from MedSRLib.enhancement.request import require_device_name, require_precision_name
from MedSRLib.errors import UsageError

if TYPE_CHECKING:
    import torch

    from MedSRLib.networks.build import Generator

_CPU_TILE_BYTES = 0.75e9
_GPU_SHARE = 0.6
_FLOAT32_BYTES = 4


def resolve_device(name: str = "auto") -> torch.device:
    """A torch device; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        UsageError: the name is unknown or this machine has no such device.
    """
    import torch

    require_device_name(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    missing_cuda = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    if missing_cuda or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise UsageError(
            f"this machine has no device {name!r}: use --device cpu, or install a torch build that sees it"
        )
    return device


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The generator's floating-point type; "auto" is float16 on CUDA and float32 elsewhere.

    Raises:
        UsageError: the name is unknown.
    """
    import torch

    require_precision_name(name)
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def device_label(device: torch.device) -> str:
    """The device for people: its product name and free memory where there is one."""
    import torch

    if device.type != "cuda":
        return "CPU" if device.type == "cpu" else "Apple GPU"
    free, _ = torch.cuda.mem_get_info(device)
    return f"{torch.cuda.get_device_name(device)}, {free / 2**30:.0f} GB free"


def tile_voxels(generator: Generator, device: torch.device) -> int:
    """Low-resolution voxels that one run of the generator may take.

    The feature maps after upsampling dominate: about three of them live at once, beside the concatenated maps of one
    dense block (measured: 14.9 kB a voxel for 64 features x4 in 2D, 4 kB for 32 features x2 in 3D).
    """
    import torch

    widest = max(parameter.shape[1] for parameter in generator.parameters() if parameter.ndim > 2)
    features = generator.features
    per_voxel = _FLOAT32_BYTES * (3 * features * math.prod(generator.factors) + 2 * widest + 2 * features)
    budget = _GPU_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _CPU_TILE_BYTES
    return max(1, int(budget / per_voxel))
