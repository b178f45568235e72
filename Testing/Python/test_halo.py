"""The halo is measured on the network's own weights: with it, tiling changes less than the tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MedSRLib.enhancement.tiling import TiledGenerator
from MedSRLib.networks.build import Generator, build_generator
from MedSRLib.training.receptive_field import TOLERANCE, measure_halo

NETWORKS = {
    "x2": {"factors": (2, 2)},
    "x4": {"factors": (4, 4)},
    "unshuffled": {"factors": (1, 1), "unshuffle": 2},
    "3D": {"factors": (2, 1, 2), "spatial_dims": 3, "features": 2, "growth": 1},
}


def random_generator(**changes: object) -> Generator:
    """A tiny RRDB network whose weights and biases are all random."""
    arguments = {"spatial_dims": 2, "features": 4, "blocks": 1, "growth": 4, **changes}
    torch.manual_seed(0)
    generator = build_generator("RRDBGenerator", arguments).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return generator


def image(generator: Generator, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 1, *[side] * len(generator.factors)), np.float32)


def largest_change(generator: Generator, halo: int, x: np.ndarray, voxels: int) -> float:
    """By tiles of at most ``voxels``, or the smallest there are."""
    whole, tiled = (
        TiledGenerator(generator, halo, device=torch.device("cpu"), dtype=torch.float32, voxels=size)
        for size in (x.size, voxels)
    )
    difference = float((whole(torch.from_numpy(x)) - tiled(torch.from_numpy(x))).abs().max())
    assert tiled.tiles > whole.tiles == 1
    return difference


def spread(generator: Generator, taps: float) -> Generator:
    """Scales every tap of the convolutions but the one in the middle."""
    with torch.no_grad():
        for weight in generator.parameters():
            if weight.ndim > 2:
                middle = (..., *[1] * (weight.ndim - 2))
                kept = weight[middle].clone()
                weight.mul_(taps)
                weight[middle] = kept
    return generator


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_with_the_measured_halo_stay_within_the_tolerance(name: str) -> None:
    """Also of images that it was not measured on, and at the smallest tiles, which are cut on all sides."""
    generator = random_generator(**NETWORKS[name])
    side = 33 if name == "3D" else 51
    halo = measure_halo(generator, [image(generator, side)], TOLERANCE)
    assert 0 < halo < generator.receptive_radius()
    for voxels in (1, side ** len(generator.factors) // 2):
        assert largest_change(generator, halo, image(generator, side, seed=1), voxels) <= TOLERANCE


def test_a_halo_below_the_measured_one_would_change_the_result() -> None:
    generator = random_generator(factors=(2, 2))
    x = image(generator, 51)
    halo = measure_halo(generator, [x], TOLERANCE)
    assert largest_change(generator, halo // 2, x, 1) > TOLERANCE


def test_the_image_that_needs_most_decides() -> None:
    generator = random_generator(factors=(2, 2))
    dim, bright = 1e-3 * image(generator, 48), 10 * image(generator, 48)
    needed = [measure_halo(generator, [one], 1e-3) for one in (dim, bright)]
    assert needed[0] < needed[1] == measure_halo(generator, [dim, bright], 1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_weaker_outer_taps_need_a_smaller_halo_and_none_need_none(name: str) -> None:
    side = 24 if name == "3D" else 48
    generator = random_generator(**NETWORKS[name])
    x = image(generator, side)
    full = measure_halo(generator, [x], TOLERANCE)
    assert measure_halo(spread(generator, 0.1), [x], TOLERANCE) < full
    assert measure_halo(spread(generator, 0.0), [x], TOLERANCE) == 0


def test_images_that_show_too_little_leave_the_receptive_radius() -> None:
    """In 9 voxels nothing is further than 6 from a cut: what lies beyond is not known."""
    generator = random_generator(factors=(2, 2))
    assert measure_halo(generator, [image(generator, 9)], TOLERANCE) == generator.receptive_radius()
