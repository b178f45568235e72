"""Phantoms: anatomy that no patient has, for the generator not to learn patients by heart."""

from __future__ import annotations

import pytest
import torch

from MedSRLib.training.randomness import Random
from MedSRLib.training.synthetic import draw_bone, draw_shapes


def plain(images: torch.Tensor) -> float:
    """Share of neighbouring pixels that are equal."""
    return (images.diff(dim=-1).abs() < 1e-3).float().mean().item()


def test_shapes_are_plain_and_their_edges_hold_parts_of_both_materials() -> None:
    images = draw_shapes(12, 64, Random(1))
    assert images.shape == (12, 64, 64)
    assert images.min() >= 0
    assert 0.3 < images.max() <= 1
    assert plain(images) > 0.4
    steps = images.diff(dim=-1).abs()
    assert (steps > 0.3).any()
    assert ((steps > 0.02) & (steps < 0.3)).float().mean() > 0.01


def test_bone_has_plates_a_cortex_and_soft_tissue_in_the_normalised_hounsfield_scale() -> None:
    images = draw_bone(24, 64, Random(2))
    assert images.shape == (24, 64, 64)
    assert bool(torch.isfinite(images).all())
    assert images.min() > -0.1
    assert 1.0 < images.max() < 1.9
    dense = (images > 0.65).float().mean((1, 2))
    assert 0.02 < dense.mean() < 0.8


@pytest.mark.parametrize("draw", [draw_shapes, draw_bone])
def test_phantoms_differ_and_follow_the_state_that_makes_a_run_resumable(draw) -> None:  # type: ignore[no-untyped-def]
    random = Random(5)
    state = random.state()
    first = draw(2, 32, random)
    assert not torch.equal(first[0], first[1])
    random.restore(state)
    assert torch.equal(draw(2, 32, random), first)
