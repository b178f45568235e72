"""A small network that reads off a patch of a measurement how it was acquired: its blur and its noise."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAK = 0.1
_GRAIN = 20.0
"""Brings the second differences, which hold little but noise and fine structure, to the size of the grey levels."""
SMALLEST_NOISE = 3e-4
"""Added to the noise before its logarithm is taken: below it there is nothing to tell."""


class AcquisitionEstimator(nn.Module):
    """Convolutions without padding, the mean and standard deviation of every feature, and two layers that read them.

    Args:
        features: of the first convolutions; the last has twice as many.
        width_mean, width_variance: of the point-spread widths that it was trained on, which its answers lean to.
    """

    mask: Tensor

    def __init__(self, features: int = 32, width_mean: float = 0.975, width_variance: float = 0.095) -> None:
        super().__init__()
        self.width_mean, self.width_variance = width_mean, width_variance
        self.arguments = {"features": features, "width_mean": width_mean, "width_variance": width_variance}
        second_difference = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
        self.register_buffer("mask", second_difference[None, None])
        widths = (4, features, features, features, 2 * features)
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Conv2d(n_in, n_out, 3), nn.LeakyReLU(_LEAK)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(4 * features, 64), nn.LeakyReLU(_LEAK), nn.Linear(64, 5))

    def forward(self, y: Tensor, kind: Tensor) -> Tensor:
        """What each patch shows.

        Args:
            y: normalised patches, [N, 1, h, w].
            kind: 1 or 0 for "is CT" and for "may be of truncated k-space", [N, 2].

        Returns:
            [N, 5]: the Gaussian's width in voxels and the logarithm of its variance, the log odds of truncated
            k-space, the logarithm of the noise (in parts of the range, plus ``SMALLEST_NOISE``) and of its variance.
        """
        grain = _GRAIN * functional.conv2d(y, self.mask, padding=1)
        maps = kind[:, :, None, None].expand(-1, -1, *y.shape[2:])
        seen = self.body(torch.cat([y, grain, maps], 1))
        answer: Tensor = self.head(torch.cat([seen.mean((2, 3)), seen.std((2, 3))], 1))
        return answer
