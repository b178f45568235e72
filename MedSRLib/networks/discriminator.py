"""Discriminators in two or three dimensions: VGG-style (ESRGAN) and U-Net (Real-ESRGAN), both spectrally normalised.

Neither has batch norm: with it an image's verdict depends on the other images, and several processes disagree.
Outputs are raw (no sigmoid), as the relativistic loss wants them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from MedSRLib.errors import UsageError
from MedSRLib.networks.convolution import convolution
from MedSRLib.networks.rrdb import LEAK

_LINEAR = {2: "bilinear", 3: "trilinear"}


def _normalised_convolutions(spatial_dims: int) -> Callable[..., nn.Module]:
    conv = convolution(spatial_dims)

    def make(*arguments: Any, **options: Any) -> nn.Module:
        return spectral_norm(conv(*arguments, **options))

    return make


class VGGDiscriminator(nn.Module):
    """One verdict an image: pairs of convolutions that halve the image and double the channels, then two linear layers.

    ESRGAN's, except that the last feature map is averaged, so that patches of any size fit.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        features: channels of the first convolution; at most eight times as many are used.
        stages: times the image is halved.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, *, features: int = 64, stages: int = 4) -> None:
        super().__init__()
        conv = _normalised_convolutions(spatial_dims)
        layers: list[nn.Module] = []
        channels = in_channels
        for stage in range(stages):
            wide = features * min(8, 2**stage)
            layers += [conv(channels, wide, 3, padding=1), nn.LeakyReLU(LEAK)]
            layers += [conv(wide, wide, 4, stride=2, padding=1), nn.LeakyReLU(LEAK)]
            channels = wide
        self.body = nn.Sequential(*layers)
        self.hidden = spectral_norm(nn.Linear(channels, features))
        self.verdict = spectral_norm(nn.Linear(features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, (D,) H, W] to [N, 1]."""
        pooled = self.body(x).flatten(2).mean(2)
        verdict: Tensor = self.verdict(functional.leaky_relu(self.hidden(pooled), LEAK))
        return verdict


class UNetDiscriminator(nn.Module):
    """One verdict a voxel, from a U-Net with skip connections (Schonfeld et al. 2020; Real-ESRGAN, section 3.3).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        features: channels at full resolution; at most eight times as many are used.
        stages: times the image is halved.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, *, features: int = 64, stages: int = 3) -> None:
        super().__init__()
        conv = _normalised_convolutions(spatial_dims)
        widths = [features * min(8, 2**stage) for stage in range(stages + 1)]
        self.mode = _LINEAR[spatial_dims]
        self.first = convolution(spatial_dims)(in_channels, features, 3, padding=1)
        self.down = nn.ModuleList(conv(a, b, 4, stride=2, padding=1, bias=False) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(
            conv(b, a, 3, padding=1, bias=False) for a, b in reversed(list(itertools.pairwise(widths)))
        )
        self.refine = nn.Sequential(
            *(
                layer
                for _ in range(2)
                for layer in (conv(features, features, 3, padding=1, bias=False), nn.LeakyReLU(LEAK))
            )
        )
        self.verdict = convolution(spatial_dims)(features, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, (D,) H, W] to [N, 1, (D,) H, W]."""
        maps = [functional.leaky_relu(self.first(x), LEAK)]
        for layer in self.down:
            maps.append(functional.leaky_relu(layer(maps[-1]), LEAK))
        x = maps.pop()
        for layer in self.up:
            skip = maps.pop()
            x = functional.interpolate(x, size=skip.shape[2:], mode=self.mode, align_corners=False)
            x = functional.leaky_relu(layer(x), LEAK) + skip
        verdict: Tensor = self.verdict(self.refine(x))
        return verdict


DISCRIMINATORS: dict[str, type[VGGDiscriminator] | type[UNetDiscriminator]] = {
    "vgg": VGGDiscriminator,
    "unet": UNetDiscriminator,
}


def build_discriminator(kind: str, spatial_dims: int, *, features: int, patch: int) -> nn.Module:
    """An untrained discriminator for patches of one channel.

    Args:
        kind: "vgg" or "unet".
        spatial_dims: 2 or 3.
        features: channels at full resolution.
        patch: smallest side of the patches it will see.

    Raises:
        UsageError: the kind is not known, or patches are too small to be halved as often as it does.
    """
    if kind not in DISCRIMINATORS:
        raise UsageError(f"the discriminator {kind!r} is not one of {', '.join(DISCRIMINATORS)}")
    discriminator = DISCRIMINATORS[kind](spatial_dims, 1, features=features)
    halved = sum(1 for module in discriminator.modules() if getattr(module, "stride", (1,))[0] == 2)
    if patch < 2**halved:
        raise UsageError(
            f"the {kind} discriminator halves its patches {halved} times and they have {patch} voxels a side: "
            f"make pairs.patch larger"
        )
    return discriminator
