"""Noise on the device: it has the standard deviation that it says, whatever its kind and its spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MedSRLib.training import noise
from MedSRLib.training.noise import Kinds, add_noise, draw_sigma
from MedSRLib.training.randomness import Random

IMAGES, SIDE, SIGMA = 48, 40, 0.05


def kinds(name: str, count: int = IMAGES) -> Kinds:
    return Kinds(*(torch.full((count,), name == kind) for kind in ("CT", "MR", "US", "XR")))


def added(name: str, level: float, *, sigma: float = SIGMA, axes: int = 2, seed: int = 0) -> torch.Tensor:
    """What is added to images of one grey level, [N, 2, h, w]."""
    y = torch.full((IMAGES, 2, SIDE, SIDE), level)
    return add_noise(y, torch.full((IMAGES,), sigma), kinds(name), Random(seed), axes=axes) - y


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every image has the noise of its kind, evenly."""
    monkeypatch.setattr(Random, "chance", lambda self, size, probability: torch.full((size,), probability > 0.4))
    return monkeypatch


@pytest.mark.parametrize("name", ["MR", "CT", "US", "XR", "other"])
def test_noise_has_the_standard_deviation_it_says_in_the_middle_of_the_range(name: str) -> None:
    """Water, for CT; the magnitude of a signal ten times above the noise; plain for a part of each kind."""
    assert added(name, 0.5).std().item() == pytest.approx(SIGMA, rel=0.08 if name != "US" else 0.15)


@pytest.mark.parametrize("spectrum", [noise._SMOOTH, noise._BANDED, noise._SHARP])
@pytest.mark.parametrize("axes", [1, 2])
def test_correlated_noise_has_it_too_and_is_correlated(
    spectrum: int, axes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "_COLOURED", 1.0)
    monkeypatch.setattr(Random, "below", lambda self, limit: torch.full_like(limit, spectrum))
    x = added("other", 0.5, axes=axes)
    assert x.std().item() == pytest.approx(SIGMA, rel=0.08)
    white = SIGMA**2
    along = (x[..., 1:] * x[..., :-1]).mean().item() / white
    across = (x[..., 1:, :] * x[..., :-1, :]).mean().item() / white
    assert abs(along) > 0.05
    assert (abs(across) > 0.05) == (axes == 2)
    assert abs((x[:, 0] * x[:, 1]).mean().item()) < 0.05 * white, "slices are measured by themselves"


def test_white_noise_is_not_correlated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_COLOURED", 0.0)
    x = added("other", 0.5)
    assert abs((x[..., 1:] * x[..., :-1]).mean().item()) < 0.03 * SIGMA**2


def test_a_magnitude_without_signal_is_rayleigh(only: pytest.MonkeyPatch) -> None:
    x = added("MR", 0.0)
    assert x.min() >= 0
    assert x.mean().item() == pytest.approx(SIGMA * np.sqrt(np.pi / 2), rel=0.08)


def test_ct_is_noisier_behind_bone_than_in_air(only: pytest.MonkeyPatch) -> None:
    """The variance grows with the attenuation, 1 + HU / 1000: water is 0.5 of the normalised range, 1000 HU is 1."""
    air, water, bone = (added("CT", level).std().item() for level in (0.0, 0.5, 1.0))
    assert bone / water == pytest.approx(np.sqrt(2.0), rel=0.1)
    assert air / water == pytest.approx(np.sqrt(0.05), rel=0.1)


def test_radiographs_are_noisier_where_fewer_photons_came_through(only: pytest.MonkeyPatch) -> None:
    dark, bright = (added("XR", level).std().item() for level in (0.1, 0.9))
    assert bright / dark == pytest.approx(np.exp(1.5 * 0.8), rel=0.1)


def test_only_what_is_measured_in_k_space_is_truncated_there() -> None:
    truncating = {name: bool(kinds(name).truncates.all()) for name in ("CT", "MR", "US", "XR", "other")}
    assert truncating == {"CT": False, "MR": True, "US": False, "XR": False, "other": True}
    some = kinds("US").of(torch.tensor([3, 5]))
    assert (some.is_speckled.tolist(), some.is_radiograph.tolist()) == ([True, True], [False, False])


def test_speckle_grows_with_the_echo(only: pytest.MonkeyPatch) -> None:
    dark, bright = (added("US", level).std().item() for level in (0.0, 1.0))
    assert bright > 2 * dark


def test_some_noise_is_stronger_in_parts_of_the_image() -> None:
    x = added("other", 0.5)[:, 0]
    parts = x.unfold(1, SIDE // 2, SIDE // 2).unfold(2, SIDE // 2, SIDE // 2).std((-1, -2)).flatten(1)
    uneven = (parts.max(1).values / parts.min(1).values > 1.25).float().mean()
    assert 0.08 < uneven < 0.4


def test_standard_deviations_are_below_the_largest_and_half_of_them_far_below() -> None:
    sigma = draw_sigma(4000, 0.1, Random(1))
    assert 0 <= sigma.min() < sigma.max() <= 0.1
    assert (sigma < 0.02).float().mean().item() == pytest.approx(0.5 + 0.5 * 0.2, abs=0.03)


def test_equal_states_draw_equal_noise() -> None:
    random = Random(3)
    random.normal((5,))
    state = random.state()
    y, sigma = torch.rand(4, 1, 8, 8), torch.full((4,), 0.02)
    first = add_noise(y, sigma, kinds("MR", 4), random)
    random.restore(state)
    assert torch.equal(add_noise(y, sigma, kinds("MR", 4), random), first)
    assert not torch.equal(add_noise(y, sigma, kinds("MR", 4), random), first)
