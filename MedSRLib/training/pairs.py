"""What a sampler draws: pairs of a measurement and the anatomy behind it, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from MedSRLib.acquisition.batched import along_axes


@dataclass(frozen=True)
class Acquired:
    """How the anatomy of each pair was acquired, for the consistency loss: y = A x, the same matrix along each axis.

    Args:
        matrix: A of one axis, [N, m, n], without what was around the patch.
        y: the patch so acquired, without noise, which is not to be reproduced.
        axes: spatial axes that A acts on, of [N, 1, (D,) H, W]: negative.
        margin: voxels of y at the border of a patch that are not compared, along every axis but that of slices.
    """

    matrix: Tensor
    y: Tensor
    axes: tuple[int, ...]
    margin: int

    @classmethod
    def of(cls, matrix: Tensor, x: Tensor, axes: tuple[int, ...], margin: int) -> Acquired:
        """Acquires the anatomy [N, 1, (D,) H, W]."""
        return cls(matrix, along_axes(matrix, x, axes), axes, margin)

    def misfit(self, x: Tensor) -> Tensor:
        """Mean |A x - y|, a scalar with gradients; rows of zeros beyond a measurement do not count.

        Args:
            x: estimate of the anatomy, [N, 1, (D,) H, W].
        """
        inner = slice(self.margin, -self.margin or None)
        spatial = range(2 - x.ndim, 0)
        # Thick slices are few: a through-plane pair is measured to its first and last one.
        cut = [inner if len(self.axes) > 1 or axis not in self.axes else slice(None) for axis in spatial]
        misfit = (along_axes(self.matrix, x.float(), self.axes) - self.y)[(..., *cut)].abs().mean()
        return misfit / (self.matrix.sum(2) > 0.5).float().mean() ** len(self.axes)

    def to(self, device: torch.device) -> Acquired:
        """The same on another device."""
        return Acquired(self.matrix.to(device), self.y.to(device), self.axes, self.margin)


@dataclass(frozen=True)
class PairBatch:
    """Pairs, normalised float32.

    Args:
        low: what the generator sees, and is told as constant maps, [N, C, (D,) h, w].
        base: the image that its residual is added to, [N, 1, (D,) H, W].
        high: the anatomy, of the same shape.
        measurements: how it was acquired.
    """

    low: Tensor
    base: Tensor
    high: Tensor
    measurements: Acquired

    def to(self, device: torch.device) -> PairBatch:
        """The same on another device."""
        moved: dict[str, Any] = {item.name: getattr(self, item.name).to(device) for item in fields(self)}
        return PairBatch(**moved)
