"""Point spread and noise of an unknown scanner are estimated from the whole volume; who knows them says them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_tiny_model
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from MedSRLib.acquisition.conditions import CONDITIONS, told
from MedSRLib.acquisition.interpolation import back_project, beyond_noise, interpolate
from MedSRLib.acquisition.noise import add_gaussian
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.estimation import estimate_acquisition, flat_noise, take_patches
from MedSRLib.enhancement.request import Options
from MedSRLib.enhancement.restorations import RESTORATIONS
from MedSRLib.errors import ModelError, UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.models.estimator import load_estimator
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.intensity import IntensityScaling
from MedSRLib.volumes.volume import Volume

MakeVolume = Callable[..., Volume]
NAMES = ("width", "kspace", "noise")


def anatomy(*shape: int) -> np.ndarray:
    """Blobs with sharp edges and a texture, in 0..1."""
    random = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    blobs = ndimage.gaussian_filter(random, (0, 5, 5)) > 0
    return (0.3 + 0.5 * blobs + 0.8 * ndimage.gaussian_filter(random, (0, 1.5, 1.5))).clip(0, 1).astype(np.float32)


def measured(acquisition: AcquisitionModel, sigma: float = 0.0, modality: str = "MR") -> Volume:
    y = add_gaussian(acquisition.apply(anatomy(4, 256, 256)), sigma, np.random.default_rng(0))
    return Volume(np.rint(1000 * y).astype(np.int16), np.eye(4), modality)


def estimate(volume: Volume) -> object:
    return estimate_acquisition(volume, IntensityScaling.fit(volume.voxels, volume.modality))


def test_a_wider_point_spread_is_estimated_wider() -> None:
    widths = [
        estimate(measured(AcquisitionModel((2, 2, 1), in_plane_fwhm=width), modality="CT")).point_spread
        for width in (0.6, 1.0, 1.4)
    ]
    assert widths == sorted(widths)
    assert widths[2] - widths[0] > 0.15


@pytest.mark.parametrize("sigma", [0.02, 0.04])
def test_noise_is_told_from_texture_within_two_fifths(sigma: float) -> None:
    found = estimate(measured(AcquisitionModel((2, 2, 1)), sigma)).noise
    assert found == pytest.approx(1000 * sigma, rel=0.4)


def test_flat_regions_show_noise_and_neither_steps_nor_slopes() -> None:
    j, i = np.mgrid[:96, :96]
    anatomy = (np.where((j // 24 + i // 24) % 2, 0.3, 0.6) + 0.001 * i)[None].astype(np.float32)
    scaling = IntensityScaling(0.0, 1.0)
    assert flat_noise(anatomy, scaling) < 1e-6
    noisy = anatomy + np.random.default_rng(0).normal(0, 0.02, anatomy.shape).astype(np.float32)
    assert 0.014 < flat_noise(noisy, scaling) < 0.02
    assert flat_noise(np.zeros((1, 96, 96), np.float32), scaling) == 0.0


def test_the_grain_of_a_kernel_is_taken_for_noise_in_ct() -> None:
    """Smooth noise looks like anatomy to a network that learnt from scans which have it."""
    hu = 1000 * anatomy(4, 128, 128).round(0)
    grain = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(hu.shape), (0, 1.2, 1.2))
    volume = Volume(np.rint(hu + 15 * grain / grain.std()).astype(np.int16), np.eye(4), "CT")
    assert 5 < estimate(volume).noise < 20


def test_truncated_k_space_is_found_in_mr_only() -> None:
    """A CT has no k-space: there a sharp image is a narrow point spread."""
    truncated = AcquisitionModel((2, 2, 1), in_plane_profile="kspace")
    assert isinstance(estimate(measured(truncated, modality="CT")).point_spread, float)


def test_a_blank_image_shows_nothing_and_is_taken_for_clean_and_nominal() -> None:
    found = estimate(Volume(np.zeros((2, 24, 24), np.int16), np.eye(4), "MR"))
    assert (found.point_spread, found.noise, found.width_deviation) == (1.0, 0.0, float("inf"))


@given(rows=st.integers(9, 200), columns=st.integers(9, 200), count=st.integers(1, 9))
def test_patches_lie_inside_the_slices(rows: int, columns: int, count: int) -> None:
    voxels = np.random.default_rng(0).uniform(0.2, 1, (count, rows, columns)).astype(np.float32)
    patches = take_patches(voxels, IntensityScaling(0.0, 1.0))
    assert patches.shape[1:] == (1, min(64, rows), min(64, columns))
    assert len(patches) >= min(count, 6)
    assert np.isin(patches[0], voxels).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 6), (2, 1, 40)])
def test_images_of_a_few_voxels_get_an_estimate_too(shape: tuple[int, int, int]) -> None:
    voxels = np.random.default_rng(0).integers(100, 1000, shape).astype(np.int16)
    found = estimate(Volume(voxels, np.eye(4), "MR"))
    assert np.isfinite(found.noise)


def test_an_estimator_that_was_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        '{"arguments": {}, "weights": {"file": "weights.safetensors", "sha256": "' + 64 * "0" + '"}}'
    )
    (tmp_path / "weights.safetensors").write_bytes(b"something else")
    with pytest.raises(ModelError, match="SHA-256"):
        load_estimator(tmp_path)


def test_a_generator_is_told_in_the_order_of_its_manifest() -> None:
    acquisition = AcquisitionModel((2, 2, 1), in_plane_fwhm=0.7, slice_thickness=1.3, slice_profile="box")
    assert told(("noise", "width", "kspace"), acquisition, 0.01) == (pytest.approx(0.2), 0.7, 0.0)
    assert told(("thickness", "box"), acquisition, 0.01) == (1.3, 1.0)
    assert told(NAMES, acquisition.with_point_spread("kspace"), 0.0) == (0.0, 1.0, 0.0)
    assert set(NAMES) < set(CONDITIONS)


def test_a_manifest_tells_only_what_there_is(tiny_model: Model) -> None:
    content = {**tiny_model.manifest.to_json(), "conditions": ["weather"]}
    with pytest.raises(ModelError, match="conditions"):
        Manifest.from_json(content)


@pytest.fixture
def told_model(tmp_path: Path) -> Model:
    return make_tiny_model(tmp_path / "told", conditions=NAMES, arguments={"in_channels": 4})


def test_what_a_generator_is_told_changes_its_result(told_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume()
    results = [
        enhance(volume, told_model, consistency=False, **known).volume.voxels
        for known in ({"noise": 0.0}, {"noise": 40.0}, {"point_spread": 0.6, "noise": 0.0})
    ]
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_blank_parts_are_answered_anew_when_something_else_is_told(told_model: Model) -> None:
    """The answer to air is remembered, but not for another acquisition."""
    air = Volume(np.full((2, 24, 24), 7, np.int16), np.eye(4), "MR")
    first, second, again = (
        enhance(air, told_model, consistency=False, force=True, point_spread=1.0, noise=noise).volume.voxels
        for noise in (0.0, 5.0, 0.0)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_the_report_says_how_noisy_the_input_was_taken_to_be(told_model: Model, smooth_volume: MakeVolume) -> None:
    estimated, given_ = enhance(smooth_volume(), told_model), enhance(smooth_volume(), told_model, noise=12.5)
    assert estimated.report.noise_source == "estimated"
    assert (given_.report.noise, given_.report.noise_source) == (12.5, "given")
    share = 100 * 12.5 / given_.report.intensity_range
    assert f"noise of {share:.2g} % of the range (given)" in given_.report.acquisition_text


def test_a_model_that_cannot_be_told_the_noise_says_so(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    assert enhance(smooth_volume(), tiny_model).report.noise is None
    with pytest.raises(UsageError, match="cannot be told how noisy"):
        enhance(smooth_volume(), tiny_model, noise=3.0)


@pytest.mark.parametrize("wrong", [{"noise_reduction": 1.5}, {"noise_reduction": -0.1}, {"noise": -1.0}])
def test_noise_that_cannot_be_is_refused(told_model: Model, wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="noise"):
        Options(**wrong).check(told_model.manifest)


def test_agreement_is_exact_without_and_within_the_noise_with_reduction() -> None:
    acquisition = AcquisitionModel((2, 2, 1))
    x = ndimage.gaussian_filter(anatomy(1, 128, 128), (0, 2, 2))
    sigma = 0.05
    y = add_gaussian(acquisition.apply(x), sigma, np.random.default_rng(2)).astype(np.float32)
    exact, within = (back_project(x, y, acquisition, 6, noise=noise) for noise in (0.0, sigma))
    left = [float(np.std(acquisition.apply(estimate) - y)) for estimate in (exact, within)]
    assert left[0] < 0.2 * sigma
    assert left[1] == pytest.approx(sigma, rel=0.15)
    assert np.std(within - x) < 0.35 * np.std(exact - x)


def test_what_noise_does_not_explain_is_put_back() -> None:
    """A missing structure is far above the noise around it."""
    acquisition = AcquisitionModel((2, 2, 1))
    y = np.zeros((1, 64, 64), np.float32)
    y[0, 20:40, 20:40] = 1.0
    x = back_project(np.zeros((1, 128, 128), np.float32), y, acquisition, 6, noise=0.02)
    assert np.abs(acquisition.apply(x) - y).max() < 0.1


@given(scale=st.floats(0.01, 100))
def test_beyond_the_noise_is_the_same_in_any_unit(scale: float) -> None:
    residual = np.random.default_rng(1).standard_normal((2, 20, 30)).astype(np.float64)
    acquisition = AcquisitionModel((1, 1, 3))
    one, other = beyond_noise(residual, 0.7, acquisition), beyond_noise(scale * residual, scale * 0.7, acquisition)
    assert np.allclose(scale * one, other, rtol=1e-9, atol=1e-12 * scale)
    assert np.abs(one).max() <= np.abs(residual).max()


def test_rows_of_a_through_plane_result_do_not_know_each_other() -> None:
    """They are finished in slabs, which may not change the result."""
    acquisition = AcquisitionModel((1, 1, 2))
    y = np.random.default_rng(0).random((8, 6, 12))
    x = interpolate(y, (16, 6, 12))
    whole = back_project(x, y, acquisition, 3, noise=0.1)
    part = back_project(x[:, 2:3], y[:, 2:3], acquisition, 3, noise=0.1)
    assert np.allclose(whole[:, 2:3], part)


@pytest.mark.parametrize("roi", [(30, 50, 40, 60, 1, 2)])
def test_a_region_of_a_noisy_volume_equals_that_part_of_the_whole(
    told_model: Model, smooth_volume: MakeVolume, roi: tuple[int, ...]
) -> None:
    volume = smooth_volume((3, 100, 100))
    volume = volume.with_voxels(volume.voxels.astype(np.float32))
    known = {"point_spread": 1.0, "noise": 0.02 * float(np.ptp(volume.voxels))}
    whole, part = enhance(volume, told_model, **known), enhance(volume, told_model, roi=roi, **known)
    box = whole.volume.voxels[1:2, 80:120, 60:100]
    assert np.allclose(part.volume.voxels, box, atol=1e-4 * np.ptp(volume.voxels))


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
    assert estimated.report.point_spread == "kspace" or 0.4 <= estimated.report.point_spread <= 1.5
    assert (given.report.point_spread, given.report.point_spread_source) == (0.77, "given")


@pytest.mark.parametrize(
    ("stated", "given_", "profile"), [(3.0, None, "box"), (None, None, "gaussian"), (3.0, 1.0, "gaussian")]
)
def test_slices_of_a_stated_thickness_are_taken_for_boxes(
    tmp_path: Path, smooth_volume: MakeVolume, stated: float | None, given_: float | None, profile: str
) -> None:
    """Unless the width of a Gaussian is said, or the generator cannot be told."""
    conditions = ("thickness", "box", "noise")
    changes = {"task": "through-plane", "factors": (1, 1, 2), "factor_range": (1.5, 8), "conditions": conditions}
    manifest = make_tiny_model(tmp_path / "thick", arguments={"in_channels": 4}, **changes).manifest
    volume = replace(smooth_volume((4, 20, 20)), slice_thickness=stated)
    options = Options(point_spread=given_, factor=2.0)
    restoration = RESTORATIONS["through-plane"]
    assert restoration.acquisition(volume, manifest, options).slice_profile == profile
    untold = replace(manifest, conditions=())
    assert restoration.acquisition(volume, untold, options).slice_profile == "gaussian"
