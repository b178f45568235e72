"""What a sampler draws: pairs of a measurement and the anatomy behind it, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

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
        crossing: planes of each kind where ``low`` holds those of both that cross in an image, image by image, each
            [rows, columns]; an image is then [1, rows, crossing x crossing]. 0: ``low`` holds what each image is of.
    """

    low: Tensor
    base: Tensor
    high: Tensor
    measurements: Acquired
    crossing: int = 0

    def image(self, residual: Tensor) -> Tensor:
        """The base with a generator's residuals of ``low``, the mean of both kinds where planes cross."""
        if not self.crossing:
            return self.base + residual
        planes = residual.unflatten(0, (len(self.base), 2, self.crossing)).squeeze(3)
        edge = (planes.shape[-1] - self.crossing) // 2
        across, along = planes[..., edge : edge + self.crossing].permute(1, 0, 3, 2, 4)
        mean = (across + along.transpose(-1, -2)) / 2
        return self.base + mean.flatten(2).unsqueeze(1)

    def to(self, device: torch.device) -> PairBatch:
        """The same on another device."""
        low, base, high = (x.to(device) for x in (self.low, self.base, self.high))
        return PairBatch(low, base, high, self.measurements.to(device), self.crossing)
