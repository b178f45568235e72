"""The compact generator (SRVGGNetCompact of Real-ESRGAN): a plain stack of convolutions and one pixel shuffle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MedSRLib.networks.convolution import convolution
from MedSRLib.networks.pixel_shuffle import PixelShuffle
from MedSRLib.networks.rrdb import LEAK


class CompactGenerator(nn.Module):
    """Convolutions at low resolution, one pixel shuffle at the end: the cheapest generator per voxel.

    Parameter names are BasicSR's flat ``body.{n}``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        factors: whole-number upsampling per spatial axis, in tensor order.
        features: channels of every hidden layer.
        convolutions: hidden convolutions after the first.
        activation: "prelu" (Real-ESRGAN's), "leakyrelu" or "relu".
        predicts_residual: True: the last layer starts at zero and the output is the residual alone;
            False: the nearest-neighbour upsampled input is added, as Real-ESRGAN does.

    Raises:
        ValueError: ``factors`` does not fit ``spatial_dims``, or the input cannot be added because
            ``in_channels`` differs from ``out_channels``.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        factors: Sequence[int] = (2, 2),
        features: int = 64,
        convolutions: int = 16,
        activation: Literal["prelu", "leakyrelu", "relu"] = "prelu",
        predicts_residual: bool = False,
    ) -> None:
        super().__init__()
        if len(factors) != spatial_dims or min(factors) < 1:
            raise ValueError(f"factors {tuple(factors)} must be {spatial_dims} positive whole numbers")
        if not predicts_residual and in_channels != out_channels:
            raise ValueError("in_channels must equal out_channels unless the generator predicts a residual")
        conv = convolution(spatial_dims)
        self.factors = tuple(int(f) for f in factors)
        self.features = features
        self.predicts_residual = predicts_residual
        self.convolutions = convolutions

        def activate() -> nn.Module:
            if activation == "prelu":
                return nn.PReLU(features)
            return nn.LeakyReLU(LEAK if activation == "leakyrelu" else 0.0)

        layers: list[nn.Module] = [conv(in_channels, features, 3, padding=1), activate()]
        for _ in range(convolutions):
            layers += [conv(features, features, 3, padding=1), activate()]
        last = conv(features, out_channels * math.prod(self.factors), 3, padding=1)
        if predicts_residual:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.body = nn.Sequential(*layers, last)
        self.shuffle = PixelShuffle(self.factors)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, (D,) H, W] to [N, out_channels, (D f,) H f, W f]."""
        out: Tensor = self.shuffle(self.body(x))
        if self.predicts_residual:
            return out
        size = [n * f for n, f in zip(x.shape[2:], self.factors, strict=True)]
        return out + functional.interpolate(x, size=torch.Size(size), mode="nearest")

    def receptive_radius(self) -> int:
        """Input voxels that an output voxel can see in each direction."""
        return self.convolutions + 2
