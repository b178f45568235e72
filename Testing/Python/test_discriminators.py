"""Discriminators: their verdicts have the right shape in two and three dimensions, and no layer amplifies."""

from __future__ import annotations

import pytest
import torch

from MedSRLib.errors import UsageError
from MedSRLib.networks.discriminator import DISCRIMINATORS, UNetDiscriminator, VGGDiscriminator, build_discriminator


@pytest.mark.parametrize("size", [(16, 16), (17, 22), (16, 16, 16), (9, 12, 15)])
def test_the_unet_judges_every_voxel(size: tuple[int, ...]) -> None:
    network = UNetDiscriminator(len(size), features=4)
    assert network(torch.rand(2, 1, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("size", [(16, 16), (24, 19), (16, 16, 16)])
def test_the_vgg_style_one_judges_every_image(size: tuple[int, ...]) -> None:
    assert VGGDiscriminator(len(size), features=4)(torch.rand(3, 1, *size)).shape == (3, 1)


@pytest.mark.parametrize("kind", sorted(DISCRIMINATORS))
def test_an_image_is_judged_by_itself(kind: str) -> None:
    torch.manual_seed(0)
    network = build_discriminator(kind, 2, features=4, patch=16).eval()
    images = torch.rand(3, 1, 16, 16)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), alone, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(DISCRIMINATORS))
def test_normalised_layers_have_spectral_norm_one(kind: str) -> None:
    torch.manual_seed(0)
    network = build_discriminator(kind, 2, features=4, patch=16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(10.0)
        for _ in range(200):
            network(torch.rand(1, 1, 16, 16))
    network.eval()
    norms = [
        torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
        for module in network.modules()
        if hasattr(module, "parametrizations")
    ]
    assert len(norms) >= 8
    assert norms == pytest.approx([1.0] * len(norms), abs=0.02)


@pytest.mark.parametrize("kind", sorted(DISCRIMINATORS))
@pytest.mark.parametrize("dims", [2, 3])
def test_every_layer_learns_from_a_verdict(kind: str, dims: int) -> None:
    network = build_discriminator(kind, dims, features=2, patch=16)
    network(torch.rand(1, 1, *[16] * dims)).mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_an_unknown_kind_and_patches_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match="unet"):
        build_discriminator("patchgan", 2, features=4, patch=16)
    with pytest.raises(UsageError, match=r"pairs\.patch"):
        build_discriminator("vgg", 2, features=4, patch=12)
