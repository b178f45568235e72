"""The way to a device and back: the measurement a box at a time, and finished parts in the result's type.

All that lies between stays on the device.
"""

from __future__ import annotations

from collections import deque
from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np
import torch

from MedSRLib.volumes.intensity import IntensityScaling, cast_like, integer_limits

if TYPE_CHECKING:
    from MedSRLib.enhancement.extent import Box

_AS_IT_IS = tuple(np.dtype(kind) for kind in ("u1", "i1", "i2", "i4", "f2", "f4"))
"""Types that every torch knows, and that are no wider than float32."""
_UINT16 = np.dtype(np.uint16)
_AT_WORK = 2
"""Buffers: one is emptied while the other is filled."""


class Measurement:
    """y of the formula: ``measurement[box]`` is normalised float32 on the device.

    Args:
        grey: the voxels [k, j, i] that are read.
        scaling: of the volume they belong to.
        device: where the boxes are wanted.
    """

    def __init__(self, grey: np.ndarray, scaling: IntensityScaling, device: torch.device) -> None:
        self.shape: tuple[int, int, int] = grey.shape
        self.device = device
        self._grey = grey
        self._scaling = scaling

    def __getitem__(self, box: slice | Box | EllipsisType) -> torch.Tensor:
        return (self.grey(box) - self._scaling.offset) / self._scaling.width

    def grey(self, box: slice | Box | EllipsisType = ...) -> torch.Tensor:
        """Voxels in the volume's units, float32 on the device."""
        part = self._grey[box]
        if part.dtype == _UINT16:
            bits = torch.from_numpy(_own(part).view(np.int16)).to(self.device)
            return (bits.to(torch.int32) & 0xFFFF).float()
        if part.dtype not in _AS_IT_IS:
            part = part.astype(np.float32)
        return torch.from_numpy(_own(part)).to(self.device).float()


def _own(part: np.ndarray) -> np.ndarray:
    """Voxels that torch may take without a warning: those of a scene or of a mapped file are for reading only."""
    return np.require(part, requirements=["C", "W"])


def restored(normalised: torch.Tensor, scaling: IntensityScaling) -> torch.Tensor:
    """Values in the volume's units; see ``IntensityScaling.restore``."""
    return normalised * scaling.width + scaling.offset


def as_written(values: torch.Tensor, dtype: np.dtype) -> torch.Tensor:
    """The float32 values that ``cast_like`` makes voxels of: rounded and clipped for integers.

    Args:
        values: float32, in the volume's units.
        dtype: of the voxels.
    """
    if dtype.kind in "iu":
        return values.round().clamp(*integer_limits(dtype))
    return values.half().float() if dtype == np.float16 else values


class Download:
    """Brings finished parts into an array of the host; on CUDA while the device works on the next part.

    Args:
        target: the whole result.
        device: where the parts are.
    """

    def __init__(self, target: np.ndarray, device: torch.device) -> None:
        self._target = target
        self._waiting: deque[tuple[torch.cuda.Event, torch.Tensor, Box]] = deque()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._buffers: list[torch.Tensor] = []
        self._count = 0

    def put(self, part: torch.Tensor, box: Box) -> None:
        """Begins to bring a part.

        Args:
            part: float32 that the target's type can hold, see ``as_written``.
            box: of the target.
        """
        part = _narrowed(part, self._target.dtype)
        if self._stream is None:
            self._store(part, box)
            return
        if len(self._waiting) == _AT_WORK:
            self._take()
        buffer = self._buffer(part)
        self._stream.wait_stream(torch.cuda.current_stream(part.device))
        with torch.cuda.stream(self._stream):
            buffer.copy_(part, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record(self._stream)
        part.record_stream(self._stream)
        self._waiting.append((arrived, buffer, box))

    def finish(self) -> None:
        """Waits for what is under way."""
        while self._waiting:
            self._take()

    def _buffer(self, part: torch.Tensor) -> torch.Tensor:
        """A part of the page-locked buffer whose turn it is."""
        turn, self._count = self._count % _AT_WORK, self._count + 1
        if len(self._buffers) <= turn:
            self._buffers.append(torch.empty(0, dtype=part.dtype))
        if self._buffers[turn].numel() < part.numel():
            self._buffers[turn] = torch.empty(part.numel(), dtype=part.dtype, pin_memory=True)
        return self._buffers[turn][: part.numel()].view(part.shape)

    def _take(self) -> None:
        arrived, buffer, box = self._waiting.popleft()
        arrived.synchronize()
        self._store(buffer, box)

    def _store(self, part: torch.Tensor, box: Box) -> None:
        voxels, kind = part.cpu().numpy(), self._target.dtype
        if kind == _UINT16:
            voxels = voxels.view(kind)
        self._target[box] = voxels if voxels.dtype == kind else cast_like(voxels, kind)


def _narrowed(part: torch.Tensor, dtype: np.dtype) -> torch.Tensor:
    """Values in the type of the voxels where torch has it; the bits of an int16 for a uint16; else as they are."""
    if dtype == _UINT16:
        return part.to(torch.int32).to(torch.int16).contiguous()
    if dtype in _AS_IT_IS:
        return part.to(getattr(torch, dtype.name))
    return part
