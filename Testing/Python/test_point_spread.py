"""The point spread of an unknown scanner is estimated through the generator, from the whole volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from MedSRLib.acquisition.operator import AcquisitionModel, PointSpread
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.point_spread import WIDTHS, estimate_point_spread, take_samples
from MedSRLib.enhancement.request import Options
from MedSRLib.errors import UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.intensity import IntensityScaling
from MedSRLib.volumes.volume import Volume

MakeVolume = Callable[..., Volume]


def anatomy(*shape: int) -> np.ndarray:
    """Smooth blobs with sharp edges, in 0..1."""
    x = np.random.default_rng(3).random(shape, np.float32)
    for axis in (-1, -2):
        x = (x + np.roll(x, 1, axis) + np.roll(x, 2, axis)) / 3
    return (x > x.mean()).astype(np.float32)


@pytest.mark.parametrize("width", [0.5, 0.7, 1.0, 1.2])
@pytest.mark.parametrize("side", [40, 512])
def test_a_generator_that_knows_the_anatomy_tells_the_width_with_a_tenth_of_caution(
    tiny_model: Model, width: float, side: int
) -> None:
    """Too wide rings, too narrow only leaves blur. With a side of 512 the measurement fills a sample, whose edges count
    as cut."""
    x = anatomy(1, side, side)
    y = AcquisitionModel((2, 2, 1), in_plane_fwhm=width).apply(x)
    manifest = replace(tiny_model.manifest, predicts="image", slices=1)
    assert estimate_point_spread([y[None]], manifest, lambda _: torch.from_numpy(x)) == round(width - 0.1, 2)


@pytest.mark.parametrize("side", [40, 512, 800])
def test_truncated_k_space_is_told_from_every_gaussian(tiny_model: Model, side: int) -> None:
    """Also in the middle of a larger slice, whose samples are cut and no longer periodic."""
    x = anatomy(1, side, side)
    y = AcquisitionModel((2, 2, 1), in_plane_profile="kspace").apply(x)
    middle = slice(max(0, (side - 512) // 2), (side + 512) // 2)
    x, y = x[:, middle, middle], take_samples(y, IntensityScaling(0.0, 1.0), 1)
    manifest = replace(tiny_model.manifest, predicts="image", slices=1)
    assert estimate_point_spread(y, manifest, lambda _: torch.from_numpy(x)) == "kspace"


@pytest.mark.parametrize(("share", "found"), [(0.5, "kspace"), (0.95, 0.7)])
def test_a_gaussian_has_to_fit_clearly_better_than_truncation(
    tiny_model: Model, share: float, found: PointSpread
) -> None:
    """A measurement between both: its misfits are to each other as its parts are."""
    x = anatomy(1, 96, 96)
    truncated, gaussian = (AcquisitionModel((2, 2, 1)).with_point_spread(s).apply(x) for s in ("kspace", 0.8))
    y = share * gaussian + (1 - share) * truncated
    manifest = replace(tiny_model.manifest, predicts="image", slices=1)
    assert estimate_point_spread([y[None]], manifest, lambda _: torch.from_numpy(x)) == found


def test_the_base_that_a_residual_was_trained_on_is_added_first(tiny_model: Model) -> None:
    """A residual of zero on the back-projected interpolation leaves the nominal width the best of all."""
    y = AcquisitionModel((2, 2, 1)).apply(anatomy(1, 64, 64))
    manifest = replace(tiny_model.manifest, base_iterations=20, slices=1)
    assert estimate_point_spread([y[None]], manifest, lambda _: torch.zeros(1, 64, 64)) == 0.9


def test_a_blank_image_fits_any_width_and_gets_the_models_own(tiny_model: Model) -> None:
    manifest = replace(tiny_model.manifest, in_plane_fwhm=0.85)
    blank = np.zeros((1, 3, 24, 24), np.float32)
    assert estimate_point_spread([blank], manifest, lambda _: torch.zeros(1, 48, 48)) == 0.85


@pytest.mark.parametrize(
    ("shape", "count", "size"),
    [((1, 20, 30), 1, (20, 30)), ((9, 300, 20), 4, (256, 20)), ((3, 24, 24), 3, (24, 24))],
)
def test_samples_are_middles_of_slices_spread_over_the_volume(
    shape: Sequence[int], count: int, size: tuple[int, int]
) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    samples = take_samples(voxels, IntensityScaling(0.0, 1.0), 3)
    assert [sample.shape for sample in samples] == [(1, 3, *size)] * count
    j, i = ((n - kept) // 2 for n, kept in zip(shape[1:], size, strict=True))
    for sample in samples:
        k = int(sample[0, 1, 0, 0]) // int(np.prod(shape[1:]))
        wanted = [max(0, k - 1), k, min(shape[0] - 1, k + 1)]
        assert np.array_equal(sample[0], voxels[wanted, j : j + size[0], i : i + size[1]])


def test_a_region_gets_the_width_of_the_whole_volume(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume((6, 40, 40))
    whole, part = enhance(volume, tiny_model), enhance(volume, tiny_model, roi=(2, 12, 3, 15, 0, 2))
    assert part.report.point_spread == whole.report.point_spread


def test_a_region_of_truncated_k_space_equals_that_part_of_the_whole_volume(
    tiny_model: Model, smooth_volume: MakeVolume
) -> None:
    """Every voxel was measured from the whole slice, so the whole slice is read."""
    volume = smooth_volume((3, 90, 80))
    volume = volume.with_voxels(volume.voxels.astype(np.float32))
    whole = enhance(volume, tiny_model, point_spread="kspace").volume.voxels
    part = enhance(volume, tiny_model, point_spread="kspace", roi=(2, 12, 3, 15, 1, 2))
    assert part.report.point_spread == "kspace"
    assert np.ptp(volume.voxels) > 0
    assert np.allclose(part.volume.voxels, whole[1:2, 6:30, 4:24], atol=1e-5 * np.ptp(volume.voxels))


def test_a_k_space_result_agrees_with_its_input_under_truncation(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume((2, 32, 32))
    volume = volume.with_voxels(volume.voxels.astype(np.float32))
    acquisition = AcquisitionModel((2, 2, 1), in_plane_profile="kspace")
    misfits = [
        np.abs(acquisition.apply(enhance(volume, tiny_model, point_spread=spread).volume.voxels) - volume.voxels).mean()
        for spread in ("kspace", 0.8)
    ]
    assert misfits[0] < 0.5 * misfits[1]


def test_k_space_is_refused_where_slices_are_not_sampled_anew(tiny_model: Model) -> None:
    manifest = replace(tiny_model.manifest, task="through-plane", factors=(1, 1, 3), factor_range=(1.5, 8))
    with pytest.raises(UsageError, match="as a number, the slice thickness"):
        Options(point_spread="kspace").check(manifest)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("inf"), float("nan"), "gibbs"])
def test_a_point_spread_that_is_none_is_refused(tiny_model: Model, smooth_volume: MakeVolume, wrong: float) -> None:
    with pytest.raises(UsageError, match="positive"):
        enhance(smooth_volume(), tiny_model, point_spread=wrong)


@pytest.mark.parametrize("modality", ["CT", "MR", "other"])
def test_every_modality_is_estimated(tiny_model: Model, smooth_volume: MakeVolume, modality: str) -> None:
    assert enhance(smooth_volume(modality=modality), tiny_model).report.point_spread_source == "estimated"


def test_the_report_says_where_the_width_comes_from(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    estimated, given = enhance(smooth_volume(), tiny_model), enhance(smooth_volume(), tiny_model, point_spread=0.77)
    assert estimated.report.point_spread_source == "estimated"
    assert estimated.report.point_spread in (*WIDTHS, "kspace")
    assert (given.report.point_spread, given.report.point_spread_source) == (0.77, "given")
