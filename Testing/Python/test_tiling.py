"""Tiles partition the image, change nothing, skip air, and survive running out of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from MedSRLib.enhancement.tiling import TiledGenerator, plan_tiles
from MedSRLib.errors import EnhancementCancelled, ModelError, OutOfMemoryError
from MedSRLib.networks.rrdb import RRDBGenerator

CPU = torch.device("cpu")


def random_generator(spatial_dims: int, **changes: Any) -> RRDBGenerator:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"features": 4, "blocks": 1, "growth": 4, "factors": (2,) * spatial_dims, **changes}
    return RRDBGenerator(spatial_dims, 1, 1, **arguments).eval()


def tiled_generator(generator: RRDBGenerator, voxels: int, **changes: Any) -> TiledGenerator:
    arguments = {"device": CPU, "dtype": torch.float32, "voxels": voxels, **changes}
    return TiledGenerator(generator, generator.receptive_radius(), **arguments)


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).random(shape, np.float32))


@given(
    size=st.lists(st.integers(1, 90), min_size=2, max_size=3),
    voxels=st.integers(1, 20000),
    halo=st.integers(0, 20),
    multiple=st.sampled_from([1, 2, 4]),
)
def test_cores_partition_the_image_and_lie_inside_their_padded_boxes(
    size: list[int], voxels: int, halo: int, multiple: int
) -> None:
    covered = np.zeros(size, int)
    for tile in plan_tiles(size, voxels, halo, multiple):
        covered[tile.core] += 1
        for n, core, padded in zip(size, tile.core, tile.padded, strict=True):
            assert 0 <= padded.start <= core.start < core.stop <= padded.stop <= n
            assert padded.start % multiple == 0
            assert core.start - padded.start >= min(halo, core.start)
            assert padded.stop - core.stop >= min(halo, n - core.stop)
    assert (covered == 1).all()


@given(size=st.lists(st.integers(64, 300), min_size=2, max_size=2))
def test_tiles_are_balanced(size: list[int]) -> None:
    plan = plan_tiles(size, 2000, 4)
    for axis in range(2):
        sides = [tile.core[axis].stop - tile.core[axis].start for tile in plan]
        assert max(sides) - min(sides) <= 1


def test_an_image_that_fits_is_one_tile() -> None:
    assert len(plan_tiles((33, 47), 10**6, 30)) == 1


@pytest.mark.parametrize("size", [(61, 75), (40, 90)])
def test_tiled_equals_untiled_in_two_dimensions(size: tuple[int, int]) -> None:
    generator = random_generator(2)
    x = noise(3, 1, *size)
    whole, parts = tiled_generator(generator, 10**7), tiled_generator(generator, 2500)
    difference = (whole(x) - parts(x)).abs().max()
    assert parts.tiles > whole.tiles
    assert difference < 2e-6


def test_tiled_equals_untiled_in_three_dimensions() -> None:
    generator = random_generator(3, growth=2, features=2, factors=(2, 1, 2))
    x = noise(1, 1, 37, 41, 39)
    whole, parts = tiled_generator(generator, 10**7), tiled_generator(generator, 36 * 41 * 39)
    assert (whole(x) - parts(x)).abs().max() < 2e-6
    assert parts.tiles > 1


def test_tiled_equals_untiled_for_an_unshuffled_input_of_odd_size() -> None:
    generator = random_generator(2, unshuffle=2)
    x = noise(1, 1, 151, 133)
    whole, parts = tiled_generator(generator, 10**7), tiled_generator(generator, 12000)
    assert (whole(x) - parts(x)).abs().max() < 2e-6
    assert parts.tiles > 1


@settings(max_examples=10, deadline=None)
@given(height=st.integers(33, 70), width=st.integers(33, 70), voxels=st.integers(1500, 4000))
def test_any_size_of_image_and_tile_gives_the_same_result(height: int, width: int, voxels: int) -> None:
    generator = random_generator(2, features=2, growth=2)
    x = noise(1, 1, height, width)
    assert (tiled_generator(generator, 10**7)(x) - tiled_generator(generator, voxels)(x)).abs().max() < 2e-6


def test_air_is_answered_from_memory_without_changing_the_result() -> None:
    generator = random_generator(2)
    x = noise(6, 1, 30, 30)
    x[1:5] = -0.25
    tiled = tiled_generator(generator, 10**6)
    with torch.inference_mode():
        expected = generator(x)[:, 0]
    assert (tiled(x) - expected).abs().max() < 2e-6
    assert (tiled.tiles, tiled.skipped) == (6, 3)


def test_different_constants_are_not_mixed_up() -> None:
    generator = random_generator(2)
    x = torch.stack([torch.full((1, 20, 20), value) for value in (0.1, 0.2, 0.1, 0.3)])
    with torch.inference_mode():
        expected = generator(x)[:, 0]
    assert (tiled_generator(generator, 10**6)(x) - expected).abs().max() < 2e-6


def counted(generator: RRDBGenerator) -> list[int]:
    """Voxels of each run of a generator from now on."""
    runs: list[int] = []
    generator.register_forward_pre_hook(lambda _, given: runs.append(given[0].numel()))
    return runs


@settings(max_examples=10, deadline=None)
@given(top=st.integers(1, 150), left=st.integers(0, 150), images=st.integers(2, 3), unshuffle=st.sampled_from([1, 2]))
def test_air_around_the_anatomy_is_left_out_without_changing_the_result(
    top: int, left: int, images: int, unshuffle: int
) -> None:
    generator = random_generator(2, features=2, growth=2, unshuffle=unshuffle, factors=(1, 2))
    x = torch.full((images, 1, 160 * unshuffle, 163 * unshuffle), -0.25)
    x[:, :, top : top + 9, left : left + 11] = noise(images, 1, 9, 11)
    with torch.inference_mode():
        expected = generator(x)[:, 0]
    runs = counted(generator)
    torch.testing.assert_close(tiled_generator(generator, 10**7)(x), expected, atol=2e-6, rtol=0)
    assert sum(runs) < 0.9 * x.numel()


def test_images_that_reach_everywhere_are_run_once_as_they_are() -> None:
    generator = random_generator(2)
    runs = counted(generator)
    tiled_generator(generator, 10**7)(x := noise(3, 1, 60, 60))
    assert runs == [x.numel()]


def test_one_image_is_not_worth_finding_out_what_air_gives() -> None:
    generator = random_generator(2)
    x = torch.zeros(1, 1, 200, 200)
    x[:, :, 90:100, 90:100] = 1.0
    runs = counted(generator)
    tiled_generator(generator, 10**7)(x)
    assert runs == [x.numel()]


def failing_above(limit: int, error: Callable[[], Exception], generator: RRDBGenerator) -> RRDBGenerator:
    """The generator with a forward pass that runs out of memory above ``limit`` voxels."""
    forward = generator.forward

    def limited(x: torch.Tensor) -> torch.Tensor:
        if x.numel() > limit:
            raise error()
        return forward(x)

    generator.forward = limited  # type: ignore[method-assign]
    return generator


@pytest.mark.parametrize(
    "error",
    [
        lambda: torch.OutOfMemoryError("CUDA out of memory"),
        lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_makes_the_tiles_smaller_and_says_so(error: Callable[[], Exception]) -> None:
    x = noise(2, 1, 90, 90)
    expected = tiled_generator(random_generator(2), 10**7)(x)
    tiled = tiled_generator(failing_above(5000, error, random_generator(2)), 10**7)
    assert (tiled(x) - expected).abs().max() < 2e-6
    assert tiled.notes == ["memory ran out, smaller tiles were used"]


def test_no_memory_for_the_smallest_tile_is_an_error_that_says_what_to_do() -> None:
    generator = failing_above(0, lambda: torch.OutOfMemoryError("CUDA out of memory"), random_generator(2))
    with pytest.raises(OutOfMemoryError, match="--roi"):
        tiled_generator(generator, 10**5)(noise(1, 1, 40, 40))


def test_other_runtime_errors_are_not_taken_for_lack_of_memory() -> None:
    def broken() -> Exception:
        return RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        tiled_generator(failing_above(0, broken, random_generator(2)), 10**5)(noise(1, 1, 40, 40))


def test_a_tile_that_overflows_in_float16_is_repeated_in_float32() -> None:
    generator = random_generator(2)
    with torch.no_grad():
        generator.conv_last.weight.mul_(1e6)
    x = noise(1, 1, 24, 24)
    tiled = tiled_generator(generator, 10**6, dtype=torch.float16)
    expected = tiled_generator(generator, 10**6)(x)
    assert torch.isfinite(tiled(x)).all()
    assert torch.allclose(tiled(x), expected)
    assert any("float32" in note for note in tiled.notes)


def test_half_precision_is_close_to_float32() -> None:
    generator = random_generator(2)
    x = noise(1, 1, 24, 24)
    half = tiled_generator(generator, 10**6, dtype=torch.bfloat16)
    assert (half(x) - tiled_generator(generator, 10**6)(x)).abs().max() < 0.05
    assert half.notes == []


def test_output_that_is_not_finite_in_float32_is_an_error() -> None:
    generator = random_generator(2)
    with torch.no_grad():
        generator.conv_last.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        tiled_generator(generator, 10**6)(noise(1, 1, 20, 20))


def test_cancelling_is_asked_before_every_tile() -> None:
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise EnhancementCancelled("cancelled")

    with pytest.raises(EnhancementCancelled):
        tiled_generator(random_generator(2), 2500, check=check)(noise(1, 1, 120, 120))
    assert len(asked) == 3


@pytest.mark.parametrize("changes", [{}, {"unshuffle": 2}])
def test_a_border_is_mirrored_around_the_image_and_cut_away_again(changes: dict[str, Any]) -> None:
    """With a border of the receptive radius a constant image has a constant answer, up to its very edge."""
    generator = random_generator(2, **changes)
    radius = generator.receptive_radius()
    flat = torch.full((1, 1, 10, 12), 0.7)
    plain, bordered = (tiled_generator(generator, 10**6, border=border)(flat) for border in (0, radius))
    assert bordered.shape == plain.shape == (1, 20, 24)
    assert plain.max() - plain.min() > 1e-3
    assert bordered[0, ::2, ::2].max() - bordered[0, ::2, ::2].min() < 1e-5
    image = noise(1, 1, 10, 12)
    with torch.no_grad():
        wide = generator(torch.from_numpy(np.pad(image, [(0, 0), (0, 0), (4, 4), (4, 4)], mode="symmetric")))[:, 0]
    torch.testing.assert_close(tiled_generator(generator, 10**6, border=4)(image), wide[:, 8:-8, 8:-8])
