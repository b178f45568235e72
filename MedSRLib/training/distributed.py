"""Several processes that train as one: who writes, what is shared. With one process nothing here does anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

_T = TypeVar("_T")
_PATIENCE = timedelta(hours=2)
"""The other processes wait while the first one validates."""


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the processes that torchrun started; started without torchrun it does nothing.

    NCCL, one GPU a process, where there are GPUs, else gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def is_distributed() -> bool:
    """Whether a process group of more than one process is up."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """Number of this process; 0 writes files and reports."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if is_distributed() else 1


def share_gradients(network: nn.Module) -> nn.Module:
    """The network whose backward pass averages gradients over all processes; parameters start as those of process 0.

    Buffers are not sent around: ours (power iterations of spectral norm) follow from the weights alone.
    """
    return DistributedDataParallel(network, broadcast_buffers=False) if is_distributed() else network


def joint_mean(x: Tensor) -> Tensor:
    """Mean over the batches of all processes, which are equally large; gradients flow to every process."""
    mean = x.mean()
    if not is_distributed():
        return mean
    joint: Tensor = all_reduce(mean) / world_size()
    return joint


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process, so that all of them stop at the same iteration."""
    if not is_distributed():
        return flag
    shared = torch.tensor(float(flag), device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return bool(shared.item())


def mean_of_processes(value: float, device: torch.device) -> float:
    """Mean of one number over all processes."""
    if not is_distributed():
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(shared)
    return shared.item() / world_size()


def own_device(device: torch.device) -> torch.device:
    """The device of this process: each of several has the GPU that ``process_group`` gave it."""
    if is_distributed() and device.type == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return device


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if is_distributed():
        dist.barrier()


def of_every_process(value: _T) -> list[_T]:
    """The value that each process has, in order of their numbers."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values
