"""A small network that reads off a patch of a measurement how it was acquired: its blur and its noise."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAK = 0.1
SMALLEST_NOISE = 3e-4
"""Added to the noise before its logarithm is taken: below it there is nothing to tell."""
_LEAST_DEVIATION = 1e-3
_LEAST_GRAIN = 3e-5
"""Added to standard deviations that are divided by, in parts of the range: a constant patch is divided by them."""
_LEAST_POWER = 1e-4


class AcquisitionEstimator(nn.Module):
    """Convolutions without padding, mean and logarithm of the power of every feature, and three layers that read them.

    Blur and noise show in how the power of a patch falls off with frequency, whatever its contrast: the patch and its
    second differences each come in their own standard deviation, and ratios of power are differences of logarithms.

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
        self.head = nn.Sequential(
            nn.Linear(4 * features + 3, 96),
            nn.LeakyReLU(_LEAK),
            nn.Linear(96, 48),
            nn.LeakyReLU(_LEAK),
            nn.Linear(48, 5),
        )

    def forward(self, y: Tensor, kind: Tensor) -> Tensor:
        """What each patch shows.

        Args:
            y: normalised patches, [N, 1, h, w].
            kind: 1 or 0 for "is CT" and for "may be of truncated k-space", [N, 2].

        Returns:
            [N, 5]: the Gaussian's width in voxels and the logarithm of its variance, the log odds of truncated
            k-space, the logarithm of the noise (in parts of the range, plus ``SMALLEST_NOISE``) and of its variance.
        """
        deviation = y.std((1, 2, 3), keepdim=True) + _LEAST_DEVIATION
        grain = functional.conv2d(y, self.mask, padding=1)
        fineness = grain.std((1, 2, 3), keepdim=True) + _LEAST_GRAIN
        maps = kind[:, :, None, None].expand(-1, -1, *y.shape[2:])
        contrast = (y - y.mean((1, 2, 3), keepdim=True)) / deviation
        seen = self.body(torch.cat([contrast, grain / fineness, maps], 1))
        power = torch.log(seen.square().mean((2, 3)) + _LEAST_POWER) / 2
        sizes = torch.cat([deviation, fineness, fineness / deviation], 1).flatten(1).log()
        answer: Tensor = self.head(torch.cat([power, seen.mean((2, 3)), sizes], 1))
        # The noise is answered relative to what is fine in the patch.
        width, variance, odds, noise, its_variance = answer.unbind(1)
        return torch.stack([width, variance, odds, noise + sizes[:, 1], its_variance], 1)
