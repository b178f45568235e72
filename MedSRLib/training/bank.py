"""All training volumes on the device, and blocks cut out of them for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from MedSRLib.errors import InputError
from MedSRLib.training.noise import Kinds
from MedSRLib.training.randomness import Random
from MedSRLib.training.training_volume import TrainingVolume

FOREGROUND = 0.05
"""Normalised voxels above this are anatomy."""
LEAST_FOREGROUND = 0.2
"""Share of a block that should be anatomy."""
SHARES = {"CT": 0.36, "MR": 0.46, "US": 0.10, "XR": 0.08, "other": 0.10}
"""How often each kind of image is drawn, where there are such volumes; within a kind by the square root of the size, so
that large volumes count more and do not drown the small ones."""
_KINDS = ("CT", "MR", "US", "XR")
"""In the order of ``Kinds``."""
_CANDIDATES = 6
"""Places that are looked at for each block; the first with enough foreground is taken."""
_GRID = 12
"""Points along each side of a block at which its foreground is looked for."""
_OUTLIERS = 8.0
"""Voxels that are no whole numbers are kept to this many times the intensity range."""


@dataclass(frozen=True)
class Blocks:
    """Anatomy cut out of the volumes.

    Args:
        x: normalised float32, [N, a, b, c] along the axes that were asked for.
        volume: index of each block's volume, [N].
    """

    x: Tensor
    volume: Tensor


class AnatomyBank:
    """Training volumes in one flat tensor of 16 bits a voxel.

    Args:
        volumes: to draw from.
        device: where they are kept.
        sliced: the first axis of a block lies across a volume's slices, unless the volume is nearly isotropic; else
            the middle one does, which is the axis of neighbours.

    Raises:
        InputError: there are no volumes, or they are more than the device holds.
    """

    def __init__(self, volumes: Sequence[TrainingVolume], device: torch.device, *, sliced: bool = True) -> None:
        if not volumes:
            raise InputError("no volume to train on was found: check data.train in the configuration")
        ends = np.cumsum([volume.voxels.size for volume in volumes])
        try:
            self._flat = torch.empty(int(ends[-1]), dtype=torch.int16, device=device)
        except torch.OutOfMemoryError:
            raise InputError(
                f"the volumes to train on take {2 * ends[-1] / 2**30:.1f} GB and the GPU has less: name fewer of them "
                f"in data.train, or train with run.device=cpu"
            ) from None
        grey = []
        for volume, end in zip(volumes, ends, strict=True):
            codes, step, zero = _as_int16(volume)
            self._flat[end - codes.size : end] = torch.from_numpy(codes.reshape(-1))
            grey.append((step / volume.scaling.width, (zero - volume.scaling.offset) / volume.scaling.width))
        orders = np.array([_orders(volume, sliced=sliced) for volume in volumes])
        shapes = np.array([volume.voxels.shape for volume in volumes])
        steps = np.stack([shapes[:, 1] * shapes[:, 2], shapes[:, 2], np.ones(len(volumes), int)], 1)
        rows = np.arange(len(volumes))[:, None, None]
        self.device = device
        self._offset = torch.tensor(ends - [volume.voxels.size for volume in volumes], device=device)
        self._scale, self._shift = torch.tensor(grey, device=device, dtype=torch.float32).unbind(1)
        self._sizes = torch.tensor(shapes[rows, orders], device=device)
        self._strides = torch.tensor(steps[rows, orders], device=device)
        self._shorter = torch.tensor(np.sort(shapes[rows, orders][:, 0])[:, 1], device=device)
        kinds = np.array([volume.modality for volume in volumes])
        self._kinds = {kind: torch.tensor(kinds == kind, device=device) for kind in _KINDS}
        is_alone = [volume.is_stack or not (sliced or volume.is_isotropic) for volume in volumes]
        self._is_alone = torch.tensor(is_alone, device=device)
        weights = np.sqrt([float(volume.voxels.size) for volume in volumes])
        for kind in set(kinds):
            weights[kinds == kind] *= SHARES[kind] / weights[kinds == kind].sum()
        self._weights = torch.tensor(weights, device=device, dtype=torch.float32)

    def kinds(self, volume: Tensor) -> Kinds:
        """What the images are that were cut out of these volumes, by their indices."""
        return Kinds(*(self._kinds[kind][volume] for kind in _KINDS))

    def draw(
        self,
        count: int,
        shape: tuple[int, int, int],
        around: tuple[int, int, int],
        random: Random,
        *,
        alone: float = 0.0,
        least: int = 0,
        among: Tensor | None = None,
    ) -> Blocks:
        """Blocks with enough foreground, turned and mirrored at random; beyond a volume its border goes on.

        Args:
            count: how many.
            shape: of a block without its surround, [a, b, c]; a side of 1 is the middle one of neighbouring slices.
            around: voxels added on either side of each axis.
            random: source of randomness.
            alone: probability that neighbouring slices repeat the middle one; those of stacks always do.
            least: voxels that a volume should have along both of its longest axes, where there are such volumes.
            among: whether each volume may be drawn of, at least one of them; None: of all.
        """
        weights = self._weights if among is None else self._weights * among
        if least:
            fits = (self._shorter >= least).float()
            weights = weights * torch.where(fits.any(), fits, 1.0)
        volume = random.choose(weights, count)
        order = random.below(torch.full((count,), self._sizes.shape[1], device=self.device))
        sizes, strides = self._sizes[volume, order], self._strides[volume, order]
        rooms = [(sizes[:, axis] - side + 1).clamp_min(1) for axis, side in enumerate(shape)]
        starts = random.below(torch.stack(rooms, 1)[:, None].expand(count, _CANDIDATES, 3).contiguous())
        grid = [torch.linspace(0, n - 1, min(n, _GRID), device=self.device).long() for n in shape]
        look = [starts[..., axis, None] + grid[axis] for axis in range(3)]
        seen = self._take(volume[:, None].expand(count, _CANDIDATES), look, sizes[:, None], strides[:, None])
        enough = (seen > FOREGROUND).float().mean((-1, -2, -3)) >= LEAST_FOREGROUND
        is_last = torch.arange(_CANDIDATES, device=self.device) == _CANDIDATES - 1
        first = (enough | is_last).float().argmax(1)
        start = starts.gather(1, first[:, None, None].expand(-1, 1, 3)).squeeze(1)
        index = []
        for axis, (side, beyond) in enumerate(zip(shape, around, strict=True)):
            local = torch.arange(-beyond, side + beyond, device=self.device).expand(count, -1)
            local = torch.where(random.chance(count, 0.5)[:, None], side - 1 - local, local)
            if side == 1:
                single = self._is_alone[volume] | random.chance(count, alone)
                local = torch.where(single[:, None], 0, local)
            index.append(start[:, axis, None] + local)
        return Blocks(self._take(volume, index, sizes, strides), volume)

    def _take(self, volume: Tensor, index: Sequence[Tensor], sizes: Tensor, strides: Tensor) -> Tensor:
        """Normalised voxels at index[0] x index[1] x index[2] of each volume, [..., a, b, c]."""
        steps = [
            index[axis].clamp_min(0).minimum(sizes[..., axis, None] - 1) * strides[..., axis, None] for axis in range(3)
        ]
        wide = (..., None, None, None)
        rows = steps[0][..., :, None, None] + steps[1][..., None, :, None] + self._offset[volume][wide]
        voxels = self._flat[rows + steps[2][..., None, None, :]].float()
        return voxels * self._scale[volume][wide] + self._shift[volume][wide]


def _orders(volume: TrainingVolume, *, sliced: bool) -> list[tuple[int, ...]]:
    """Six ways to lay the axes of a block along those of a volume, some twice or thrice where there are fewer."""
    if volume.is_isotropic:
        return list(permutations(range(3)))
    return [(0, 1, 2), (0, 2, 1)] * 3 if sliced else [(1, 0, 2), (2, 0, 1)] * 3


def _as_int16(volume: TrainingVolume) -> tuple[np.ndarray, float, float]:
    """Voxels as int16 codes, and the step and zero of ``voxel = code * step + zero``; exact for 16 bits or fewer."""
    voxels, scaling = volume.voxels, volume.scaling
    if np.can_cast(voxels.dtype, np.int16):
        return voxels.astype(np.int16, copy=False), 1.0, 0.0
    low, high = float(voxels.min()), float(voxels.max())
    if np.issubdtype(voxels.dtype, np.integer) and high - low <= 65535:
        return (voxels.astype(np.int64) - int(low) - 32768).astype(np.int16), 1.0, low + 32768.0
    low = max(low, scaling.offset - _OUTLIERS * scaling.width)
    high = min(high, scaling.offset + _OUTLIERS * scaling.width)
    step = (high - low) / 65535 or 1.0
    codes = np.rint((np.clip(voxels.astype(np.float64), low, high) - low) / step) - 32768
    return codes.astype(np.int16), step, low + 32768 * step
