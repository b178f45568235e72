"""Phantoms and softened anatomy: what the generator is shown besides patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_samplers import THROUGH, VOLUMETRIC, cube, sampler

from MedSRLib.errors import UsageError
from MedSRLib.training.config import DataConfig, PairsConfig, TrainingConfig
from MedSRLib.training.pairs import Pair
from MedSRLib.training.phantoms import draw_phantom, soften

IN_PLANE = {"task": "inplane", "factors": (2, 2, 1), "slices": 3}
KINDS = [(IN_PLANE, 8), (THROUGH, 16), (VOLUMETRIC, 6)]


def edges(pair: Pair) -> float:
    """RMS gradient over the RMS of the anatomy."""
    x = pair.high[0]
    squares = [float((np.diff(x, axis=axis) ** 2).mean()) for axis in range(x.ndim)]
    return float(np.sqrt(sum(squares) / (x**2).mean()))


def test_a_phantom_is_plain_shapes_whose_edges_hold_parts_of_both_materials() -> None:
    phantom = draw_phantom((60, 80), np.random.default_rng(1))
    assert (phantom.shape, phantom.dtype) == ((60, 80), np.float32)
    assert phantom.min() >= 0
    assert 0.2 < phantom.max() <= 1
    levels, counts = np.unique(phantom, return_counts=True)
    assert counts[counts > 20].sum() > 0.7 * phantom.size
    assert (counts == 1).sum() > 10
    assert len(levels) > 15


def test_phantoms_differ_and_follow_the_generator_that_makes_a_run_resumable() -> None:
    generator = np.random.default_rng(5)
    state = generator.bit_generator.state
    first, second = (draw_phantom((40, 40), generator) for _ in range(2))
    generator.bit_generator.state = state
    assert np.array_equal(draw_phantom((40, 40), generator), first)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("fwhm", [2.0, 3.5])
def test_softening_has_the_width_it_says_and_leaves_other_axes_and_the_mean_alone(fwhm: float) -> None:
    block = np.zeros((3, 41, 41), np.float32)
    block[1, 20, 20] = 1.0
    soft = soften(block, fwhm, (1, 2))
    assert not soft[[0, 2]].any()
    assert soft.sum() == pytest.approx(1.0, abs=1e-4)
    profile, distance = soft[1, 20], np.arange(41) - 20.0
    variance = (profile * distance**2).sum() / profile.sum()
    assert np.sqrt(variance) * 2.3548 == pytest.approx(fwhm, rel=0.02)
    assert soften(block, fwhm, (0,))[:, 20, 20].argmax() == 1


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_a_phantom_takes_the_patients_place_without_noise(kind: dict[str, Any], patch: int) -> None:
    """Most of the patient's neighbouring voxels differ; most of a phantom's are equal."""

    def plain(share: float) -> float:
        draws = sampler(cube(), 2, kind, patch=patch, phantom_share=share, softening=(0.1, 0.2))
        steps = [np.diff(draws.draw().high[0], axis=-1) for _ in range(20)]
        return float(np.mean([np.mean(np.abs(step) < 1e-6) for step in steps]))

    assert plain(1.0) > 0.5
    assert plain(0.0) < 0.2


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_softened_anatomy_is_smoother_and_is_what_the_generator_has_to_restore(
    kind: dict[str, Any], patch: int
) -> None:
    """The measurement is made of the softened anatomy: sharper than that nothing was."""
    share = [
        np.mean([edges(draws.draw()) for _ in range(30)])
        for draws in (sampler(cube(), 4, kind, patch=patch, softening_share=share) for share in (0.0, 1.0))
    ]
    assert share[1] < 0.9 * share[0]


def test_without_them_pairs_stay_what_the_volume_shows() -> None:
    pair = sampler(cube(), 3, IN_PLANE, patch=8).draw()
    block = pair.high[0]
    levels = np.round(block / block.max() * 4096)
    assert len(np.unique(levels)) > 0.5 * levels.size


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"phantom_share": 1.5}, "phantom_share"), ({"softening_share": -0.1}, "softening_share")]
    + [({"softening": span}, "softening") for span in ((0.0, 1.0), (2.0, 1.0))],
)
def test_a_share_that_is_none_and_a_blur_without_width_are_refused(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError, match=f"pairs.{key}"):
        TrainingConfig(name="tiny", pairs=PairsConfig(**settings), data=DataConfig(train=("any",)))
