"""The ESRGAN generator: residual-in-residual dense blocks (Wang et al. 2018), in two or three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MedSRLib.networks.convolution import convolution
from MedSRLib.networks.pixel_shuffle import PixelShuffle, icnr_, pixel_unshuffle

LEAK = 0.2
"""Slope of LeakyReLU for negative inputs: equation 2, ``max(x, 0.2 x)``."""
RESIDUAL_SCALE = 0.2
"""Weight of each residual branch: ``x + 0.2 F(x)`` keeps deep stacks stable without batch norm (ESRGAN, sec. 3.1)."""


def _initialise(weight: Tensor, scale: float = 1.0) -> None:
    nn.init.kaiming_normal_(weight, a=0.0)
    with torch.no_grad():
        weight.mul_(scale)


class DenseBlock(nn.Module):
    """Five convolutions, each seeing all earlier feature maps, and equation 1: ``y = x + 0.2 F(x)``.

    Args:
        spatial_dims: 2 or 3.
        features: channels in and out.
        growth: channels each inner convolution adds.
    """

    conv5: nn.Module

    def __init__(self, spatial_dims: int, features: int, growth: int) -> None:
        super().__init__()
        conv = convolution(spatial_dims)
        for n in range(1, 6):
            layer = conv(features + (n - 1) * growth, growth if n < 5 else features, 3, padding=1)
            _initialise(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)
            setattr(self, f"conv{n}", layer)

    def forward(self, x: Tensor) -> Tensor:
        """[N, features, ...] to the same shape."""
        maps = [x]
        for n in range(1, 5):
            maps.append(functional.leaky_relu(getattr(self, f"conv{n}")(torch.cat(maps, 1)), LEAK, inplace=True))
        branch: Tensor = self.conv5(torch.cat(maps, 1))
        return x + RESIDUAL_SCALE * branch


class RRDB(nn.Module):
    """Residual in residual dense block: three dense blocks inside equation 1, ``y = x + 0.2 F(x)``."""

    def __init__(self, spatial_dims: int, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(spatial_dims, features, growth)
        self.rdb2 = DenseBlock(spatial_dims, features, growth)
        self.rdb3 = DenseBlock(spatial_dims, features, growth)

    def forward(self, x: Tensor) -> Tensor:
        """[N, features, ...] to the same shape."""
        return x + RESIDUAL_SCALE * self.rdb3(self.rdb2(self.rdb1(x)))


def upsampling_stages(factors: Sequence[int]) -> list[tuple[int, ...]]:
    """Per-axis factors as a list of stages, each a prime per axis or 1: (4, 2) gives [(2, 2), (2, 1)]."""
    left = list(factors)
    stages = []
    while max(left) > 1:
        stage = tuple(next((p for p in range(2, n + 1) if n % p == 0), 1) for n in left)
        stages.append(stage)
        left = [n // s for n, s in zip(left, stage, strict=True)]
    return stages


class RRDBGenerator(nn.Module):
    """RRDB generator: conv_first, ``blocks`` RRDBs, conv_body, upsampling, conv_hr, conv_last; no batch norm.

    Parameter names are BasicSR's, so ESRGAN weights load with ``upsampler="nearest"``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input (neighbouring slices count as channels).
        out_channels: channels of the output.
        factors: whole-number upsampling per spatial axis, in tensor order; all 1 gives a generator of scale 1.
        features: channels of the trunk.
        blocks: number of RRDBs.
        growth: channels each dense convolution adds.
        upsampler: "pixelshuffle" (ICNR-initialised, ours) or "nearest" (ESRGAN's: nearest neighbour and convolution).
        unshuffle: the input goes through ``pixel_unshuffle`` with this factor per axis first, so the trunk works on
            fewer, richer voxels; sizes that are no multiple are padded by repeating the border and cropped again.
        predicts_residual: the last layer starts at zero, so that the untrained model is its interpolation.

    Raises:
        ValueError: ``factors`` does not have one positive whole number per axis.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        factors: Sequence[int] = (2, 2),
        features: int = 64,
        blocks: int = 23,
        growth: int = 32,
        upsampler: Literal["pixelshuffle", "nearest"] = "pixelshuffle",
        unshuffle: int = 1,
        predicts_residual: bool = False,
    ) -> None:
        super().__init__()
        if len(factors) != spatial_dims or min(factors) < 1:
            raise ValueError(f"factors {tuple(factors)} must be {spatial_dims} positive whole numbers")
        conv = convolution(spatial_dims)
        self.factors = tuple(int(f) for f in factors)
        self.features = features
        self.unshuffle = (unshuffle,) * spatial_dims
        self.upsampler = upsampler
        self.stages = upsampling_stages([f * unshuffle for f in self.factors])
        self.blocks = blocks

        self.conv_first = conv(in_channels * unshuffle**spatial_dims, features, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(spatial_dims, features, growth) for _ in range(blocks)))
        self.conv_body = conv(features, features, 3, padding=1)
        for n, stage in enumerate(self.stages, start=1):
            shuffled = math.prod(stage) if upsampler == "pixelshuffle" else 1
            layer = conv(features, features * shuffled, 3, padding=1)
            if upsampler == "pixelshuffle":
                icnr_(layer.weight, stage, _initialise)
                nn.init.zeros_(layer.bias)
            setattr(self, f"conv_up{n}", layer)
        self.conv_hr = conv(features, features, 3, padding=1)
        self.conv_last = conv(features, out_channels, 3, padding=1)
        if predicts_residual:
            nn.init.zeros_(self.conv_last.weight)
            nn.init.zeros_(self.conv_last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, (D,) H, W] to [N, out_channels, (D f,) H f, W f]."""
        size = x.shape[2:]
        if self.unshuffle[0] > 1:
            x = pixel_unshuffle(self._pad(x), self.unshuffle)
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        for n, stage in enumerate(self.stages, start=1):
            layer = getattr(self, f"conv_up{n}")
            if self.upsampler == "pixelshuffle":
                x = PixelShuffle(stage)(layer(x))
            else:
                x = layer(functional.interpolate(x, scale_factor=[float(s) for s in stage], mode="nearest"))
            x = functional.leaky_relu(x, LEAK, inplace=True)
        x = self.conv_last(functional.leaky_relu(self.conv_hr(x), LEAK, inplace=True))
        crop: tuple[Any, ...] = (..., *(slice(0, n * f) for n, f in zip(size, self.factors, strict=True)))
        return x[crop]

    def _pad(self, x: Tensor) -> Tensor:
        padding = [amount for n in reversed(x.shape[2:]) for amount in (0, -n % self.unshuffle[0])]
        return functional.pad(x, padding, mode="replicate") if any(padding) else x

    def receptive_radius(self) -> int:
        """Input voxels that an output voxel can see in each direction, from the layers alone (an upper bound).

        A convolution reaches one voxel of its own grid, so less far where an axis has been upsampled more: the axis
        with the smallest factor reaches furthest. An unshuffled input is seen in whole blocks.
        """
        trunk = 1 + 15 * self.blocks + 1
        furthest = 0
        for axis in range(len(self.factors)):
            radius, scale = Fraction(trunk), 1
            for stage in self.stages:
                upsampled = scale * stage[axis]
                radius += Fraction(1, scale if self.upsampler == "pixelshuffle" else upsampled)
                scale = upsampled
            furthest = max(furthest, math.ceil(radius + Fraction(2, scale)))
        return furthest * self.unshuffle[0] + (self.unshuffle[0] - 1)
