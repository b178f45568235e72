"""Where and how precisely the generator runs, and how many voxels fit into one tile there."""

from __future__ import annotations

import math
import time
import warnings
from functools import cache
from typing import TYPE_CHECKING

from MedSRLib.enhancement.request import require_device_name, require_precision_name
from MedSRLib.errors import UsageError

if TYPE_CHECKING:
    import torch

    from MedSRLib.networks.build import Generator

_CPU_TILE_BYTES = 0.75e9
_GPU_SHARE = 0.6
_FLOAT32_BYTES = 4
_NO_CARD = ("Found no NVIDIA driver", "No CUDA GPUs are available", "no CUDA-capable device")
"""What torch says where there is no card, or where the user hides it."""


def resolve_device(name: str = "auto") -> torch.device:
    """A torch device; "auto" takes CUDA where it works, then Apple's MPS, then the CPU, see ``device_notes``.

    Raises:
        UsageError: the name is unknown, this machine has no such device, or it does not run a kernel.
    """
    import torch

    require_device_name(name)
    if name == "auto":
        if cuda_works():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    works, problem = _try_cuda(name) if device.type == "cuda" else (torch.backends.mps.is_available(), "")
    if device.type != "cpu" and problem:
        raise UsageError(f"PyTorch {torch.__version__} cannot use the device {name!r} ({problem}): use --device cpu")
    if device.type != "cpu" and not works:
        raise UsageError(
            f"this machine has no device {name!r}: use --device cpu, or install a torch build that sees it"
        )
    return device


def cuda_works() -> bool:
    """Whether there is a CUDA device that runs a kernel."""
    return _try_cuda() == (True, "")


def device_notes(name: str = "auto") -> tuple[str, ...]:
    """A sentence for the user where "auto" passes over a CUDA device that is there but cannot be used.

    Args:
        name: as for ``resolve_device``; who names a device gets that one or an error.
    """
    if name != "auto":
        return ()
    import torch

    _, problem = _try_cuda()
    if not problem:
        return ()
    used = "CPU" if resolve_device(name).type == "cpu" else "Apple GPU"
    return (f"the {used} is used, because PyTorch {torch.__version__} cannot use the GPU: {problem}",)


@cache
def _try_cuda(name: str = "cuda") -> tuple[bool, str]:
    """Whether torch sees a CUDA device, and why a kernel fails on it; asked once a process.

    A card that torch lists may still be too new for its kernels, and a driver too old for it hides every card: only a
    real convolution tells.
    """
    import torch

    if torch.version.cuda is None:
        return False, ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch warns of here is told as a note
        seen = torch.cuda.is_available()
        try:
            torch.cuda.init()
            if not seen:
                return False, ""
            index = torch.device(name).index
            if index is not None and index >= torch.cuda.device_count():
                return False, ""
            image, kernel = torch.ones(1, 1, 8, 8, device=name), torch.ones(1, 1, 3, 3, device=name)
            torch.nn.functional.conv2d(image, kernel).sum().item()
        except torch.OutOfMemoryError:
            return True, ""  # the card works: what does not fit now is seen to where tiles are run
        except (RuntimeError, AssertionError) as error:
            reason = _first_line(error)
            absent = any(said in reason for said in _NO_CARD)
            return seen, "" if absent and not seen else reason
    return True, ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


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


def now(device: torch.device) -> float:
    """Seconds of a clock, once the device has done what it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
