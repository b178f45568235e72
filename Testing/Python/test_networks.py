"""Generators have the right sizes, start without artefacts, and see exactly as far as they say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from MedSRLib.errors import ModelError
from MedSRLib.networks.build import Generator, build_generator
from MedSRLib.networks.compact import CompactGenerator
from MedSRLib.networks.pixel_shuffle import icnr_, pixel_shuffle, pixel_unshuffle
from MedSRLib.networks.rrdb import RRDBGenerator, upsampling_stages

SMALL: dict[str, Any] = {"features": 4, "blocks": 1, "growth": 2}


@st.composite
def shuffles(draw: st.DrawFn) -> tuple[Tensor, list[int]]:
    dims = draw(st.integers(2, 3))
    factors = draw(st.lists(st.integers(1, 4), min_size=dims, max_size=dims))
    size = draw(st.lists(st.integers(1, 4), min_size=dims, max_size=dims))
    channels = draw(st.integers(1, 3)) * math.prod(factors)
    shape = (draw(st.integers(1, 2)), channels, *size)
    return torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape), factors


@settings(max_examples=60, deadline=None)
@given(shuffles())
def test_unshuffling_undoes_shuffling(case: tuple[Tensor, list[int]]) -> None:
    x, factors = case
    shuffled = pixel_shuffle(x, factors)
    assert shuffled.shape[2:] == tuple(n * f for n, f in zip(x.shape[2:], factors, strict=True))
    assert torch.equal(pixel_unshuffle(shuffled, factors), x)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_pixel_shuffle_of_equal_factors_is_torchs(factor: int) -> None:
    x = torch.rand(2, 3 * factor**2, 5, 7)
    assert torch.equal(pixel_shuffle(x[:, :, None], (1, factor, factor))[:, :, 0], functional.pixel_shuffle(x, factor))
    assert torch.equal(pixel_shuffle(x, (factor, factor)), functional.pixel_shuffle(x, factor))
    high = torch.rand(2, 3, 5 * factor, 7 * factor)
    assert torch.equal(pixel_unshuffle(high, (factor, factor)), functional.pixel_unshuffle(high, factor))


def test_pixel_shuffle_follows_the_equation_with_one_factor_per_axis() -> None:
    rd, rh, rw = factors = (2, 3, 1)
    x = torch.rand(1, 2 * math.prod(factors), 3, 2, 4)
    out = pixel_shuffle(x, factors)
    for c, d, h, w in [(0, 0, 0, 0), (1, 5, 4, 3), (1, 2, 3, 1), (0, 3, 5, 2)]:
        channel = c * rd * rh * rw + ((d % rd) * rh + h % rh) * rw + w % rw
        assert out[0, c, d, h, w] == x[0, channel, d // rd, h // rh, w // rw]


def test_sizes_that_cannot_be_shuffled_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        pixel_shuffle(torch.zeros(1, 3, 2, 2), (2, 2))
    with pytest.raises(ValueError, match="pad it first"):
        pixel_unshuffle(torch.zeros(1, 1, 3, 2), (2, 2))


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (2, 1), (2, 1, 3)])
def test_icnr_starts_as_nearest_neighbour_upsampling(factors: tuple[int, ...]) -> None:
    dims = len(factors)
    conv = (nn.Conv2d, nn.Conv3d)[dims - 2](3, 4 * math.prod(factors), 3, padding=1, bias=False)
    icnr_(conv.weight, factors, nn.init.kaiming_normal_)
    with torch.no_grad():
        convolved = conv(torch.rand(1, 3, *(6,) * dims))
    out = pixel_shuffle(convolved, factors)
    cells = convolved[:, :: math.prod(factors)]
    expected = functional.interpolate(cells, scale_factor=[float(f) for f in factors], mode="nearest")
    torch.testing.assert_close(out, expected)
    assert float(cells.std()) > 0.01


@pytest.mark.parametrize(("spatial_dims", "factors"), [(2, (2, 2)), (2, (3, 3)), (2, (4, 2)), (3, (1, 2, 2))])
def test_an_untrained_generator_puts_no_checkerboard_on_a_flat_image(
    spatial_dims: int, factors: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    generator = RRDBGenerator(spatial_dims, factors=factors, **SMALL)
    n = 2 * generator.receptive_radius() + 2
    size = (n,) * spatial_dims
    with torch.no_grad():
        out = generator(torch.full((1, 1, *size), 0.5))
    inside = out[(..., *(slice(n // 2 * f - f, n // 2 * f + f) for f in factors))]
    assert float(out.abs().max()) > 1e-3
    assert float(inside.max() - inside.min()) < 1e-5 * float(out.abs().max())


def test_stages_multiply_to_the_factors() -> None:
    assert upsampling_stages((4, 2)) == [(2, 2), (2, 1)]
    assert upsampling_stages((1, 1)) == []
    assert upsampling_stages((6, 1, 3)) == [(2, 1, 3), (3, 1, 1)]


@pytest.mark.parametrize("upsampler", ["pixelshuffle", "nearest"])
@pytest.mark.parametrize("factors", [(1, 1), (2, 2), (4, 4), (3, 3), (4, 2), (1, 2, 2), (2, 2, 2)])
def test_the_output_has_factor_times_the_input_size(factors: tuple[int, ...], upsampler: str) -> None:
    generator = build_generator(
        "RRDBGenerator",
        {"spatial_dims": len(factors), "in_channels": 3, "factors": factors, "upsampler": upsampler, **SMALL},
    )
    size = (5, 7, 6)[: len(factors)]
    out = generator(torch.rand(2, 3, *size))
    assert out.shape == (2, 1, *(n * f for n, f in zip(size, factors, strict=True)))


@pytest.mark.parametrize("factors", [(2, 2), (1, 2, 2), (1, 1)])
def test_the_compact_generator_has_the_right_size(factors: tuple[int, ...]) -> None:
    generator = CompactGenerator(len(factors), factors=factors, features=4, convolutions=2)
    size = (5, 7, 6)[: len(factors)]
    out = generator(torch.rand(2, 1, *size))
    assert out.shape == (2, 1, *(n * f for n, f in zip(size, factors, strict=True)))


@pytest.mark.parametrize(("factors", "unshuffle"), [((2, 2), 2), ((1, 1), 4), ((4, 4), 2), ((2, 2, 2), 2)])
def test_odd_sizes_pass_through_an_unshuffled_input_by_repeating_the_border(
    factors: tuple[int, ...], unshuffle: int
) -> None:
    generator = RRDBGenerator(len(factors), factors=factors, unshuffle=unshuffle, **SMALL)
    size = (9, 6, 7)[: len(factors)]
    x = torch.rand(1, 1, *size)
    out = generator(x)
    assert out.shape[2:] == tuple(n * f for n, f in zip(size, factors, strict=True))
    padding = [p for n in reversed(size) for p in (0, -n % unshuffle)]
    whole = generator(functional.pad(x, padding, mode="replicate"))
    crop = (..., *(slice(0, n) for n in out.shape[2:]))
    assert torch.equal(out, whole[crop])


@pytest.mark.parametrize(
    "generator",
    [
        RRDBGenerator(factors=(2, 2), predicts_residual=True, **SMALL),
        RRDBGenerator(3, factors=(1, 2, 2), predicts_residual=True, upsampler="nearest", **SMALL),
        RRDBGenerator(factors=(2, 2), unshuffle=2, predicts_residual=True, **SMALL),
        CompactGenerator(in_channels=3, features=4, convolutions=2, predicts_residual=True),
    ],
    ids=["pixelshuffle", "nearest 3D", "unshuffled", "compact"],
)
def test_a_residual_starts_at_exactly_zero(generator: Generator) -> None:
    channels = 3 if isinstance(generator, CompactGenerator) else 1
    out = generator(torch.rand(1, channels, *(6,) * len(generator.factors)))
    assert torch.count_nonzero(out) == 0
    out.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())


def test_the_compact_generator_adds_the_nearest_neighbour_image() -> None:
    generator = CompactGenerator(features=4, convolutions=1)
    with torch.no_grad():
        generator.body[-1].weight.zero_()  # type: ignore[union-attr, operator]
        generator.body[-1].bias.zero_()  # type: ignore[union-attr, operator]
    x = torch.rand(1, 1, 3, 4)
    assert torch.equal(generator(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("generator", [RRDBGenerator(**SMALL), CompactGenerator(features=4, convolutions=1)])
def test_there_is_no_normalisation_layer(generator: Generator) -> None:
    assert not [m for m in generator.modules() if "Norm" in type(m).__name__]
    x = torch.rand(2, 1, 6, 6)
    both = generator(x)
    torch.testing.assert_close(generator(x[:1]), both[:1])


@pytest.mark.parametrize(
    "generator",
    [
        RRDBGenerator(factors=(2, 2), **SMALL),
        RRDBGenerator(factors=(2, 2), upsampler="nearest", **SMALL),
        RRDBGenerator(factors=(3, 3), upsampler="nearest", **SMALL),
        RRDBGenerator(factors=(4, 1), **SMALL),
        RRDBGenerator(factors=(1, 1), **SMALL),
        RRDBGenerator(factors=(2, 2), unshuffle=2, **SMALL),
        RRDBGenerator(factors=(1, 1), unshuffle=4, upsampler="nearest", features=2, blocks=1, growth=1),
        RRDBGenerator(3, factors=(1, 1, 2), features=2, blocks=1, growth=1),
        CompactGenerator(factors=(3, 3), features=4, convolutions=3),
    ],
    ids=["x2", "x2 nearest", "x3 nearest", "x4 x1", "x1", "x2 unshuffled", "x1 unshuffled", "3D x1 x1 x2", "compact"],
)
def test_the_receptive_radius_is_reached_and_never_passed(generator: Generator) -> None:
    """Positive weights cannot cancel, so the gradient of an output voxel is positive wherever it can see. Which part
    of an unshuffled block is seen depends on the voxel, so there the bound is tight to within one block."""
    torch.manual_seed(0)
    generator.double()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.1)
    radius, factors, dims = generator.receptive_radius(), generator.factors, len(generator.factors)
    step = generator.unshuffle[0] if isinstance(generator, RRDBGenerator) else 1
    cell = -(-(radius + 1) // step) * step
    size = cell + step + radius + 1
    furthest = 0
    x = torch.rand(1, 1, *(size,) * dims, dtype=torch.float64, requires_grad=True)
    out = generator(x)
    for first in (True, False):
        centre = [cell if first else cell + step - 1] * dims
        voxel = [c * f + (0 if first else f - 1) for c, f in zip(centre, factors, strict=True)]
        gradient = torch.autograd.grad(out[(0, 0, *voxel)], x, retain_graph=True)[0]
        seen = gradient[0, 0].nonzero()
        furthest = max(furthest, int((seen - torch.tensor(centre)).abs().max()))
    assert radius - step < furthest <= radius


def test_a_voxel_changes_nothing_beyond_the_receptive_radius() -> None:
    torch.manual_seed(0)
    generator = RRDBGenerator(factors=(2, 2), **SMALL)
    radius = generator.receptive_radius()
    n = 2 * radius + 11
    x = torch.rand(1, 1, n, n)
    changed = x.clone()
    changed[0, 0, n // 2, n // 2] += 1
    with torch.no_grad():
        differs = (generator(x) != generator(changed))[0, 0].nonzero() // 2 - n // 2
    assert 0 < int(differs.abs().max()) <= radius


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("UNet", {}),
        ("RRDBGenerator", {"colour": True}),
        ("RRDBGenerator", {"factors": [2, 2, 2]}),
        ("CompactGenerator", {"factors": [0, 2]}),
        ("CompactGenerator", {"in_channels": 3}),
    ],
)
def test_a_network_that_cannot_be_built_is_one_sentence(architecture: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as error:
        build_generator(architecture, arguments)
    assert "\n" not in str(error.value)
