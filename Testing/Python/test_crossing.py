"""Through-plane training scores what enhancement makes: the mean of the planes of both kinds that cross."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OBLIQUE

from MedSRLib.errors import UsageError
from MedSRLib.training import samplers, through_plane
from MedSRLib.training.config import DataConfig, OptimiserConfig, PairsConfig, TrainingConfig
from MedSRLib.training.fidelity_stage import FidelityStage
from MedSRLib.training.gan import for_detail
from MedSRLib.training.halo import network_inputs
from MedSRLib.training.pairs import PairBatch
from MedSRLib.training.randomness import Random
from MedSRLib.training.training_volume import TrainingVolume
from MedSRLib.volumes.files import read_volume
from MedSRLib.volumes.volume import Volume

CROSSING = 4


def volume(slices: int = 24, spacing: float = 1.0) -> Volume:
    """A real volume, cut to some slices, whose spacing along k is made up."""
    voxels = read_volume(OBLIQUE).voxels[:slices, 16:48, 16:48]
    return Volume(np.ascontiguousarray(voxels), np.diag([1.0, 1.0, spacing, 1.0]), "MR")


def config_of(**pairs: Any) -> TrainingConfig:
    """A run that crosses planes, small."""
    settings = {"patch": 16, "margin": 0, "crossing": CROSSING, "noise_share": 0.0, "neighbour_dropout": 0.0, **pairs}
    return TrainingConfig(
        name="tiny",
        task="through-plane",
        factors=(1, 1, 4),
        slices=3,
        base_iterations=2,
        generator={"features": 4, "blocks": 1, "growth": 4},
        pairs=PairsConfig(**settings),
        optimiser=OptimiserConfig(iterations=2, batch=2 * CROSSING * 2),
        data=DataConfig(train=("any",)),
    )


def drawn(volumes: list[Volume], seed: int = 0, **pairs: Any) -> PairBatch:
    """A batch of a sampler that has these volumes."""
    config = config_of(**pairs)
    return samplers.make_sampler(prepared(volumes), config, Random(seed)).draw(config.optimiser.batch)


def prepared(volumes: list[Volume]) -> list[TrainingVolume]:
    """For a sampler."""
    return [TrainingVolume.of(one, 16) for one in volumes]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes cross wherever volumes allow it."""
    monkeypatch.setattr(through_plane, "_CROSSED_SHARE", 1.0)


def test_a_crossed_batch_holds_the_planes_of_both_kinds_of_each_block(always: None) -> None:
    batch = drawn([volume()])
    blocks = 2
    assert batch.low.shape == (blocks * 2 * CROSSING, 3 + 3, 16, 12)
    assert batch.base.shape == batch.high.shape == (blocks, 1, 16, CROSSING**2)


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_every_voxel_gets_the_mean_of_what_both_planes_through_it_say(always: None, dropout: float) -> None:
    """A generator that answers with what it sees in the middle gives the base twice over."""
    batch = drawn([volume()], neighbour_dropout=dropout)
    torch.testing.assert_close(batch.image(batch.low[:, 1:2]), 2 * batch.base, atol=0, rtol=0)


def test_planes_of_either_kind_have_their_own_neighbours(always: None) -> None:
    """Half of the differences across both axes of a block's middle, where the generator answers the one to its next."""
    batch = drawn([volume()])
    both = (batch.image(batch.low[:, 2:3] - batch.low[:, 1:2]) - batch.base).unflatten(-1, (CROSSING, CROSSING))
    middle = batch.base.unflatten(-1, (CROSSING, CROSSING))
    expected = (middle.diff(dim=-2)[..., :-1] + middle.diff(dim=-1)[..., :-1, :]) / 2
    torch.testing.assert_close(both[..., :-1, :-1], expected, atol=1e-6, rtol=0)


def test_slices_without_neighbours_are_their_own(always: None) -> None:
    low = drawn([volume()], neighbour_dropout=1.0).low
    assert torch.equal(low[:, 0], low[:, 1])
    assert torch.equal(low[:, 2], low[:, 1])


@pytest.mark.parametrize(
    ("one", "why"),
    [(volume(spacing=3.0), "slices are thick"), (volume(slices=8), "a block needs more slices")],
)
def test_planes_do_not_cross_where_one_kind_is_not_sharp(always: None, one: Volume, why: str) -> None:
    assert drawn([one]).crossing == 0, why


def test_volumes_whose_planes_cross_are_not_drawn_plane_by_plane_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, a plane would be told to answer everything, and half of it where it crosses another."""
    bright, dark = volume(), volume(spacing=3.0)
    dark = dark.with_voxels(np.zeros_like(dark.voxels), dark.affine)
    sampler = samplers.make_sampler(prepared([bright, dark]), config_of(), Random(0))
    seen = set()
    for batch in (sampler.draw(16) for _ in range(12)):
        seen.add((batch.crossing > 0, bool(batch.high.any())))
    assert seen == {(True, True), (False, False)}


def test_the_gan_stage_sees_whole_planes() -> None:
    assert for_detail(config_of()).pairs.crossing == 0


def test_a_margin_beside_crossing_planes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"make pairs\.margin 0"):
        config_of(margin=2)


def test_a_stage_learns_from_crossing_planes(always: None, tmp_path: Path) -> None:
    stage = FidelityStage(config_of(), prepared([volume()]), tmp_path / "run", device=torch.device("cpu"))
    before = [value.clone() for value in stage.generator.parameters()]
    stage.run()
    assert stage.iteration == 2
    assert not stage.skipped
    assert any(not torch.equal(old, new) for old, new in zip(before, stage.generator.parameters(), strict=True))


def test_without_crossing_each_image_is_of_its_own_plane() -> None:
    batch = drawn([volume()], crossing=0)
    assert batch.crossing == 0
    torch.testing.assert_close(batch.image(batch.low[:, 1:2]), 2 * batch.base)


def test_halos_are_measured_on_whole_planes() -> None:
    images = network_inputs(config_of(), prepared([volume()]), 4, 16**2)
    assert {image.shape[-2:] for image in images} == {(16, 16)}
