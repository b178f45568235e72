"""The scoring protocol: range, foreground and every figure against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.errors import InputError
from MedSRLib.evaluation import metrics
from MedSRLib.evaluation.metrics import ScoringRule
from MedSRLib.volumes.volume import Volume

RULE = ScoringRule(100.0, 0.0, "MR")


def texture(shape: tuple[int, int, int] = (3, 24, 20), seed: int = 0) -> np.ndarray:
    """Smooth structure, 1 to 101, float32."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    noise -= noise.min()
    return (1 + 100 * noise / noise.max()).astype(np.float32)


def test_mr_range_is_between_the_percentiles_and_the_foreground_starts_five_percent_above_the_lower_one() -> None:
    voxels = np.arange(10_000, dtype=np.float32).reshape(10, 50, 20)
    rule = ScoringRule.of(Volume(voxels, np.eye(4), "MR"))
    low, high = np.percentile(voxels, [0.1, 99.9])
    assert rule.range == pytest.approx(high - low)
    assert rule.foreground(voxels).sum() == np.count_nonzero(voxels > low + 0.05 * (high - low))


def test_ct_range_and_foreground_are_fixed_in_hounsfield_units() -> None:
    voxels = np.full((2, 12, 12), -1000, np.int16)
    voxels[0, :6] = -950
    voxels[1, :3] = -949
    rule = ScoringRule.of(Volume(voxels, np.eye(4), "CT"))
    assert rule.range == 2000
    assert rule.foreground(voxels).sum() == 3 * 12


@pytest.mark.parametrize(("value", "modality"), [(7, "MR"), (-1000, "CT"), (0, "other")])
def test_a_reference_without_anatomy_is_refused(value: int, modality: str) -> None:
    with pytest.raises(InputError, match="choose a volume"):
        ScoringRule.of(Volume(np.full((2, 12, 12), value, np.int16), np.eye(4), modality))


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_rule_says_its_range_and_mask(modality: str) -> None:
    text = ScoringRule(2000.0, -950.0, modality).describe()
    assert "2000" in text
    assert "-950" in text
    assert ("HU" in text) == (modality == "CT")


def test_a_uniform_error_of_a_tenth_of_the_range_is_twenty_decibels() -> None:
    reference = texture()
    assert metrics.psnr(reference, reference + 10, RULE) == pytest.approx(20.0, abs=1e-4)
    assert metrics.nrmse(reference, reference - 10, RULE) == pytest.approx(0.1, abs=1e-6)
    assert metrics.mean_shift(reference, reference - 10, RULE) == pytest.approx(-10, abs=1e-4)


def test_identical_volumes_are_perfect_by_every_figure() -> None:
    reference = texture()
    assert metrics.psnr(reference, reference, RULE) == float("inf")
    assert metrics.ssim(reference, reference, RULE) == pytest.approx((1.0, 1.0))
    assert metrics.hfen(reference, reference, RULE) == 0
    assert metrics.mean_shift(reference, reference, RULE) == 0


def test_errors_in_the_background_do_not_count() -> None:
    reference = texture()
    reference[:, :, 10:] = 0
    wrong = reference.copy()
    wrong[:, :, 10:] = 50
    assert metrics.psnr(reference, wrong, RULE) == float("inf")
    assert metrics.mean_shift(reference, wrong, RULE) == 0
    far = reference.copy()
    far[:, :, 18:] = 5  # beyond the reach of the SSIM window and the edge filter, seen from the foreground
    whole, foreground = metrics.ssim(reference, far, RULE)
    assert foreground == pytest.approx(1.0, abs=1e-9)
    assert whole < 0.999
    assert metrics.hfen(reference, far, RULE) == pytest.approx(0.0, abs=1e-9)


def test_unsigned_voxels_do_not_wrap() -> None:
    reference = np.full((1, 12, 12), 200, np.uint8)
    reference[0, 0, 0] = 0
    estimate = np.full((1, 12, 12), 190, np.uint8)
    rule = ScoringRule(100.0, 100.0, "MR")
    assert metrics.mean_shift(reference, estimate, rule) == pytest.approx(-10)
    assert metrics.psnr(reference, estimate, rule) == pytest.approx(20.0)


def test_ssim_is_the_mean_over_every_twelfth_part_of_the_slices() -> None:
    reference, estimate = texture((30, 16, 16)), texture((30, 16, 16), seed=1)
    slices = [
        structural_similarity(
            reference[k], estimate[k], gaussian_weights=True, use_sample_covariance=False, data_range=100.0
        )
        for k in range(0, 30, 2)
    ]
    assert metrics.ssim(reference, estimate, RULE).whole == pytest.approx(np.mean(slices), abs=1e-5)


def test_hfen_is_one_without_edges_and_grows_with_blur() -> None:
    reference = texture((2, 48, 48))
    flat = np.zeros_like(reference)
    little, much = (ndimage.gaussian_filter(reference, (0, s, s)) for s in (0.5, 1.0))
    assert metrics.hfen(reference, flat, RULE) == pytest.approx(1.0)
    assert 0 < metrics.hfen(reference, little, RULE) < metrics.hfen(reference, much, RULE) < 1


def test_edge_energy_falls_with_blur_and_grows_with_false_edges() -> None:
    truth = np.random.default_rng(4).normal(size=(3, 20, 20)).cumsum(1).cumsum(2)
    noise = np.random.default_rng(5).normal(size=truth.shape)
    blurred, noisy = ndimage.gaussian_filter(truth, (0, 1, 1)), truth + noise
    assert metrics.edge_energy(blurred) < metrics.edge_energy(truth) < metrics.edge_energy(noisy)
    assert metrics.edge_energy(2 * truth + 5) == pytest.approx(2 * metrics.edge_energy(truth))


def test_the_edge_filter_spans_fifteen_pixels() -> None:
    impulse = np.zeros((1, 41, 41), np.float32)
    impulse[0, 20, 20] = 1.0
    response = metrics._laplacian_of_gaussian(impulse[0])
    assert np.flatnonzero(np.abs(response).max(axis=0) > 0)[[0, -1]].tolist() == [13, 27]


def test_consistency_is_the_rms_disagreement_with_the_measurement() -> None:
    acquisition = AcquisitionModel((2, 2, 1))
    anatomy = texture()
    measurement = acquisition.apply(anatomy)
    assert metrics.consistency_rmse(anatomy, measurement, acquisition) == pytest.approx(0, abs=1e-4)
    assert metrics.consistency_rmse(anatomy + 3, measurement, acquisition) == pytest.approx(3, abs=1e-4)
