"""Pairs of all tasks are exactly what enhancement feeds, with what it tells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OBLIQUE

from MedSRLib.acquisition.conditions import NOISE_GAIN
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.slabs import base_image
from MedSRLib.training import point_spread_sampler, sampler, samplers, through_plane
from MedSRLib.training.config import DataConfig, PairsConfig, TrainingConfig
from MedSRLib.training.pairs import PairBatch
from MedSRLib.training.randomness import Random
from MedSRLib.training.sampler import PairSampler
from MedSRLib.training.training_volume import TrainingVolume
from MedSRLib.volumes.files import read_volume
from MedSRLib.volumes.volume import Volume

IN_PLANE = {"task": "inplane", "factors": (2, 2, 1), "slices": 3}
THROUGH = {"task": "through-plane", "factors": (1, 1, 4), "slices": 3}
VOLUMETRIC = {"task": "volumetric", "factors": (2, 2, 2), "slices": 1}
KINDS = [(IN_PLANE, 8), (THROUGH, 16), (VOLUMETRIC, 6)]


def cube(side: int = 24) -> Volume:
    """A real volume, cut to a cube and called isotropic."""
    volume = read_volume(OBLIQUE)
    return Volume(np.ascontiguousarray(volume.voxels[:side, 20 : 20 + side, 20 : 20 + side]), np.eye(4), "MR")


def draws(volume: Volume, seed: int, kind: dict[str, Any], *, is_stack: bool = False, **pairs: Any) -> PairSampler:
    """A sampler of plain pairs: what is asked for besides is in ``pairs``."""
    settings = {
        "margin": 1,
        "noise_share": 0.0,
        "nominal_share": 1.0,
        "gamma": (1.0, 1.0),
        "neighbour_dropout": 0.0,
        **pairs,
    }
    config = TrainingConfig(
        name="tiny", base_iterations=2, pairs=PairsConfig(**settings), data=DataConfig(train=("any",)), **kind
    )
    prepared = TrainingVolume.of(volume, config.pairs.patch * config.scale[-1], is_stack=is_stack)
    return samplers.make_sampler([prepared], config, Random(seed))


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What is told is the truth, grey levels are not rounded, and no image is made darker or brighter."""
    monkeypatch.setattr(sampler, "_TOLD_WIDTH", 0.0)
    monkeypatch.setattr(PairSampler, "_round", lambda self, y, kinds: y)
    monkeypatch.setattr(sampler, "_GAIN", (1.0, 1.0))
    return monkeypatch


def told(batch: PairBatch, slices: int) -> torch.Tensor:
    """The conditions of each pair, [N, 3]; they are the same everywhere in an image."""
    maps = batch.low[:, slices:].flatten(2)
    assert torch.equal(maps, maps[..., :1].expand_as(maps))
    return maps[..., 0]


def edges(batch: PairBatch) -> float:
    """RMS gradient over the RMS of the anatomy."""
    x = batch.high[:, 0]
    squares = sum(x.diff(dim=axis).square().mean().item() for axis in range(1, x.ndim))
    return math.sqrt(squares / x.square().mean().item())


@pytest.mark.parametrize(
    ("kind", "patch", "low", "high"),
    [
        (IN_PLANE, 8, (6, 8, 8), (1, 16, 16)),
        (THROUGH, 16, (6, 16, 16), (1, 16, 16)),
        (VOLUMETRIC, 6, (4, 6, 6, 6), (1, 12, 12, 12)),
    ],
)
def test_a_batch_has_the_shapes_the_formula_needs(
    kind: dict[str, Any], patch: int, low: tuple[int, ...], high: tuple[int, ...]
) -> None:
    batch = draws(cube(), 0, kind, patch=patch, noise_share=0.5).draw(5)
    assert batch.low.shape == (5, *low)
    assert batch.base.shape == batch.high.shape == (5, *high)
    assert {x.dtype for x in (batch.low, batch.base, batch.high)} == {torch.float32}
    assert all(bool(torch.isfinite(x).all()) for x in (batch.low, batch.base, batch.high))


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_base_images_are_those_of_enhancement_for_what_the_generator_is_told(
    kind: dict[str, Any], patch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The told A, not the true one: that is all that enhancement knows."""
    module: Any = through_plane if kind is THROUGH else point_spread_sampler
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    back_projected = module.back_projected

    def spy(y: torch.Tensor, *rest: Any) -> torch.Tensor:
        base = back_projected(y, *rest)
        seen.append((y, base))
        return base

    monkeypatch.setattr(module, "back_projected", spy)
    maker = draws(cube(), 3, kind, patch=patch, nominal_share=0.1, kspace_share=0.5, noise_share=0.5, noise=0.03)
    batch = maker.draw(12)
    conditions = told(batch, 3 if kind is not VOLUMETRIC else 1).tolist()
    (y, bases) = seen[0]
    for low, base, (width, flag, _) in zip(y, bases, conditions, strict=True):
        if kind is THROUGH:
            rows = int((low.abs().sum(1) > 0).nonzero().max()) + 1
            profile: Any = "box" if flag else "gaussian"
            acquisition = AcquisitionModel((1, 1, len(base) / rows), slice_thickness=width, slice_profile=profile)
            measured, shape = low[:rows, None], (len(base), 1, base.shape[1])
        else:
            profile = "kspace" if flag else "gaussian"
            assert (width == 0) == bool(flag)
            acquisition = AcquisitionModel(
                kind["factors"],
                in_plane_fwhm=width or 1.0,
                slice_thickness=width or 1.0,
                slice_profile=profile,
                in_plane_profile=profile,
            )
            measured = low[0] if kind is VOLUMETRIC else low
            shape = tuple(base[0].shape) if kind is VOLUMETRIC else tuple(base.shape)
        expected = base_image(measured, shape, acquisition, 2)
        torch.testing.assert_close(base.reshape(shape), expected, atol=5e-5, rtol=0)


def test_an_in_plane_pair_is_the_acquired_anatomy(exact: pytest.MonkeyPatch) -> None:
    """Away from the border, where the surround that was cut away has its say."""
    batch = draws(read_volume(OBLIQUE), 1, IN_PLANE, patch=12).draw(4)
    again = AcquisitionModel((2, 2, 1)).apply(batch.high[:, 0])
    assert (again - batch.low[:, 1])[:, 3:-3, 3:-3].abs().max() < 1e-4


def test_a_volumetric_pair_is_the_acquired_anatomy(exact: pytest.MonkeyPatch) -> None:
    batch = draws(cube(), 1, VOLUMETRIC, patch=10).draw(3)
    again = AcquisitionModel((2, 2, 2)).apply(batch.high[:, 0])
    assert (again - batch.low[:, 0])[:, 3:-3, 3:-3, 3:-3].abs().max() < 1e-4


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_the_anatomy_of_a_plain_pair_are_voxels_of_the_volume(
    kind: dict[str, Any], patch: int, exact: pytest.MonkeyPatch
) -> None:
    volume = cube()
    normalised = TrainingVolume.of(volume, 8).scaling.normalise(volume.voxels)
    levels = torch.from_numpy(np.unique(normalised))
    high = draws(volume, 2, kind, patch=patch).draw(4).high.flatten()
    nearest = torch.searchsorted(levels, high).clamp(max=len(levels) - 1)
    below = (nearest - 1).clamp_min(0)
    off = torch.minimum((levels[nearest] - high).abs(), (levels[below] - high).abs())
    assert off.max() < 1e-5


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_the_measurement_is_that_of_the_anatomy_and_counts_a_shift(kind: dict[str, Any], patch: int) -> None:
    batch = draws(cube(), 5, kind, patch=patch, nominal_share=0.2, kspace_share=0.4, noise_share=1.0).draw(6)
    measurements = batch.measurements
    assert measurements.misfit(batch.high).item() < 1e-6
    assert measurements.misfit(batch.high + 0.1).item() == pytest.approx(0.1, abs=1e-4)
    x = batch.base.clone().requires_grad_(True)
    measurements.misfit(x).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_the_generator_is_told_the_truth_but_for_what_an_estimate_would_be_off(
    kind: dict[str, Any], patch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices = kind["slices"]
    sigmas = []
    add_noise = sampler.add_noise

    def spy(y: torch.Tensor, sigma: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        sigmas.append(sigma)
        return add_noise(y, sigma, *rest, **options)

    monkeypatch.setattr(sampler, "add_noise", spy)
    maker = draws(cube(), 4, kind, patch=patch, noise_share=1.0, noise=0.05)
    width, flag, noise = told(maker.draw(400), slices).unbind(1)
    assert (width - 1).abs().mean().item() == pytest.approx(0.04 * math.sqrt(2 / math.pi), rel=0.4)
    if kind is not THROUGH:
        assert not flag.any()
    true = sigmas[0].sort().values
    assert torch.corrcoef(torch.stack([true, (noise / NOISE_GAIN).sort().values]))[0, 1] > 0.98
    assert (noise / NOISE_GAIN).mean().item() == pytest.approx(true.mean().item(), rel=0.1)


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_clean_images_are_told_no_noise_or_very_little(kind: dict[str, Any], patch: int) -> None:
    noise = told(draws(cube(), 4, kind, patch=patch).draw(100), kind["slices"])[:, 2] / NOISE_GAIN
    assert noise.max() <= 0.003
    assert 0.5 < (noise == 0).float().mean() < 0.9


@pytest.mark.parametrize(("kind", "patch"), [(IN_PLANE, 8), (VOLUMETRIC, 6)])
def test_point_spreads_vary_within_their_range_and_k_space_has_no_width(kind: dict[str, Any], patch: int) -> None:
    maker = draws(cube(), 7, kind, patch=patch, nominal_share=0.0, kspace_share=0.5, fwhm=(0.6, 1.4))
    width, truncated, _ = told(maker.draw(300), kind["slices"]).unbind(1)
    assert set(truncated.tolist()) == {0.0, 1.0}
    assert 0.4 < truncated.mean() < 0.6
    assert not width[truncated == 1].any()
    widths = width[truncated == 0]
    assert 0.3 <= widths.min() < 0.7 < 1.3 < widths.max() < 1.8


def test_ct_is_never_truncated_in_k_space() -> None:
    volume = Volume(cube().voxels.astype(np.int16) - 1000, np.eye(4), "CT")
    maker = draws(volume, 7, IN_PLANE, patch=8, nominal_share=0.0, kspace_share=1.0)
    assert not told(maker.draw(20), 3)[:, 1].any()


def test_factors_and_thickness_vary_within_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[torch.Tensor] = []
    matrices = through_plane.profile_matrices

    def spy(n_high: int, n_low: torch.Tensor, *rest: Any) -> torch.Tensor:
        counted.append(n_high / n_low)
        return matrices(n_high, n_low, *rest)

    monkeypatch.setattr(through_plane, "profile_matrices", spy)
    monkeypatch.setattr(sampler, "_TOLD_WIDTH", 0.0)
    maker = draws(cube(), 2, {**THROUGH, "factor_range": (2.0, 6.0)}, patch=16, nominal_share=0.0, kspace_share=0.0)
    thickness, box, _ = told(maker.draw(200), 3).unbind(1)
    assert 1.9 < counted[0].min() < 2.3 < 5.3 < counted[0].max() < 6.4
    plain = thickness[thickness < 1.25]
    assert 0.7 <= plain.min() < 0.8 < 1.2 < plain.max()
    assert thickness.max() <= 2.2
    assert 0.1 < (thickness > 1.3).float().mean() < 0.3, "overlapping slices"
    assert 0.15 < box.mean() < 0.5


def test_only_the_rows_of_a_through_plane_pair_are_blurred() -> None:
    batch = draws(cube(), 3, {**THROUGH, "factor_range": (3.0, 8.0)}, patch=20).draw(8)
    rows, columns = ((batch.base.diff(dim=axis).std() / batch.high.diff(dim=axis).std()).item() for axis in (2, 3))
    assert rows < 0.85 * columns


def test_some_pairs_lie_at_the_first_or_last_slice_where_nothing_was_acquired_beyond() -> None:
    """A patch there is a part of the anatomy that no other patch of the same draw shows."""
    starts = {}
    for share in (0.0, 1.0):
        maker = draws(cube(), 6, THROUGH, patch=16, border_share=share)
        starts[share] = set(maker._starts(50).tolist())  # type: ignore[attr-defined]
    around = through_plane.AROUND
    assert starts == {0.0: {around}, 1.0: {0, 2 * around}}


def test_volumes_of_thick_slices_are_used_plane_by_plane() -> None:
    volume = read_volume(OBLIQUE)
    thick = Volume(volume.voxels[:4], np.diag([1.0, 1.0, 4.0, 1.0]), "MR")
    low = draws(thick, 0, THROUGH, patch=24).draw(4).low
    assert torch.equal(low[:, 0], low[:, 1])
    assert torch.equal(low[:, 2], low[:, 1])


@pytest.mark.parametrize(("is_stack", "dropout", "alone"), [(True, 0.0, True), (False, 1.0, True), (False, 0.0, False)])
def test_slices_have_neighbours_unless_they_are_a_stack_or_left_out(
    is_stack: bool, dropout: float, alone: bool, exact: pytest.MonkeyPatch
) -> None:
    maker = draws(read_volume(OBLIQUE), 0, IN_PLANE, patch=12, is_stack=is_stack, neighbour_dropout=dropout)
    low = maker.draw(5).low
    assert torch.equal(low[:, 0], low[:, 1]) == alone


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_equal_states_draw_equal_pairs_and_a_state_may_be_taken_anywhere(kind: dict[str, Any], patch: int) -> None:
    everything = {"noise_share": 0.5, "noise": 0.05, "nominal_share": 0.3, "phantom_share": 0.3, "softening_share": 0.5}
    one, other, third = (draws(cube(), seed, kind, patch=patch, **everything) for seed in (4, 4, 5))
    assert torch.equal(one.draw(3).low, other.draw(3).low)
    assert not torch.equal(one.draw(3).low, third.draw(3).low)
    state = one._random.state()
    expected = one.draw(3)
    third._random.restore(state)
    again = third.draw(3)
    assert torch.equal(again.low, expected.low)
    assert torch.equal(again.high, expected.high)


def test_noise_and_wider_point_spreads_show(exact: pytest.MonkeyPatch) -> None:
    volume = read_volume(OBLIQUE)
    clean, wide, noisy = (
        draws(volume, 2, IN_PLANE, patch=12, kspace_share=0.0, **settings).draw(8).low[:, :3]
        for settings in (
            {},
            {"nominal_share": 0.0, "fwhm": (2.0, 2.0)},
            {"noise_share": 1.0, "noise": 0.1},
        )
    )
    steps = [x.diff(dim=-1).std().item() for x in (clean, wide, noisy)]
    assert steps[1] < 0.9 * steps[0]
    assert steps[2] > 1.02 * steps[0]


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_phantoms_take_the_patients_place(kind: dict[str, Any], patch: int) -> None:
    """No voxel of a patient is left: phantoms hold grey levels between those of the volume."""
    shares = {}
    for share in (0.0, 0.5, 1.0):
        high = draws(cube(), 2, kind, patch=patch, phantom_share=share, softening=(0.1, 0.2)).draw(60).high
        steps = high.diff(dim=-1).abs().flatten(1)
        shares[share] = ((steps < 1e-4).float().mean(1) > 0.3).float().mean().item()
    assert shares[0.0] < 0.1
    assert shares[0.0] < shares[0.5] < shares[1.0]


@pytest.mark.parametrize("batch", [1, 4])
def test_small_batches_hold_their_share_of_phantoms_too(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    draw = PairSampler._draw_phantoms

    def spy(self: PairSampler, count: int, *rest: Any) -> torch.Tensor:
        counts.append(count)
        return draw(self, count, *rest)

    monkeypatch.setattr(PairSampler, "_draw_phantoms", spy)
    maker = draws(cube(), 1, IN_PLANE, patch=6, phantom_share=0.2)
    for _ in range(240 // batch):
        maker.draw(batch)
    assert sum(counts) / 240 == pytest.approx(0.2, abs=0.07)


@pytest.mark.parametrize(("kind", "patch"), KINDS)
def test_softened_anatomy_is_smoother_and_is_what_the_generator_has_to_restore(
    kind: dict[str, Any], patch: int
) -> None:
    """The measurement is made of the softened anatomy: sharper than that nothing was."""
    sharp, soft = (draws(cube(), 4, kind, patch=patch, softening_share=share).draw(30) for share in (0.0, 1.0))
    assert edges(soft) < 0.9 * edges(sharp)
    assert soft.measurements.misfit(soft.high).item() < 1e-6


def test_zoomed_anatomy_is_finer() -> None:
    wave = 500 + 400 * np.sin(2 * np.pi * np.arange(96) / 16)
    volume = Volume(np.broadcast_to(wave, (4, 96, 96)).astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0]), "MR")
    plain, zoomed = (draws(volume, 4, IN_PLANE, patch=8, zoom_share=share).draw(40) for share in (0.0, 1.0))
    assert edges(zoomed) > 1.1 * edges(plain)


@pytest.mark.parametrize("modality", ["MR", "CT", "US", "XR", "other"])
def test_every_kind_of_image_is_drawn(modality: str) -> None:
    volume = Volume(cube().voxels.astype(np.int16) - (1000 if modality == "CT" else 0), np.eye(4), modality)
    for kind, patch in KINDS:
        batch = draws(volume, 1, kind, patch=patch, noise_share=1.0, noise=0.05, phantom_share=0.3).draw(4)
        assert bool(torch.isfinite(batch.low).all())


def test_hounsfield_units_are_whole_and_mostly_left_as_they_are() -> None:
    volume = Volume(cube().voxels.astype(np.int16) - 1000, np.eye(4), "CT")
    batch = draws(volume, 1, IN_PLANE, patch=8, gamma=(0.5, 0.5)).draw(100)
    hounsfield = 2000 * batch.low[:, :3]
    assert (hounsfield - hounsfield.round()).abs().max() < 2e-3
    scaling = TrainingVolume.of(volume, 8).scaling
    levels = torch.from_numpy(scaling.normalise(np.unique(volume.voxels)))
    off = (levels[:, None] - batch.high[:, 0, 8, 8]).abs().min(0).values
    assert 0.4 < (off < 1e-5).float().mean() < 0.95
