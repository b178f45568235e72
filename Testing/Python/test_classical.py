"""Classical methods: grey levels kept, nothing moved, and back-projection agrees with the measurement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.evaluation import metrics
from MedSRLib.evaluation.classical import METHODS, PICTURE_ONLY, lanczos_matrix

FAITHFUL = [name for name in METHODS if name not in PICTURE_ONLY]
FACTORS = [(2, 2, 1), (4, 4, 1), (1, 1, 3), (1, 1, 2.5), (2, 2, 2)]


def blob(shape: tuple[int, int, int], centre: tuple[float, float, float], sigma: float) -> np.ndarray:
    """A Gaussian spot around ``centre`` [k, j, i], 0 to 100, float32."""
    grid = np.indices(shape, dtype=np.float64)
    distance = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))
    return (100 * np.exp(-0.5 * distance / sigma**2)).astype(np.float32)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_every_method_gives_float32_in_the_asked_shape(name: str, dtype: type) -> None:
    y = (50 * np.random.default_rng(0).random((3, 16, 14))).astype(dtype)
    before = y.copy()
    x = METHODS[name](y, (3, 32, 28), AcquisitionModel((2, 2, 1)))
    assert x.shape == (3, 32, 28)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize("name", FAITHFUL)
@pytest.mark.parametrize("factors", FACTORS)
def test_a_constant_stays_what_it_was(name: str, factors: tuple[float, float, float]) -> None:
    acquisition = AcquisitionModel(factors)
    y = np.full((6, 8, 10), -731, np.int16)
    x = METHODS[name](y, acquisition.high_shape(y.shape), acquisition)
    np.testing.assert_allclose(x, -731, atol=0.01)


@pytest.mark.parametrize("name", [name for name in FAITHFUL if name != "nearest"])
@pytest.mark.parametrize("factors", FACTORS)
def test_a_ramp_stays_a_ramp_at_its_place_in_the_interior(name: str, factors: tuple[float, float, float]) -> None:
    acquisition = AcquisitionModel(factors)
    shape = acquisition.high_shape((24, 24, 24))
    k, j, i = np.indices(shape, dtype=np.float32)
    ramp = k + 2 * j - i
    x = METHODS[name](acquisition.apply(ramp), shape, acquisition)
    inside = tuple(slice(size // 3, -(size // 3)) for size in shape)
    np.testing.assert_allclose(x[inside], ramp[inside], atol=0.2 if name == "lanczos4" else 0.03)


@pytest.mark.parametrize("name", FAITHFUL)
@pytest.mark.parametrize("factors", FACTORS)
def test_a_spot_stays_at_its_place(name: str, factors: tuple[float, float, float]) -> None:
    acquisition = AcquisitionModel(factors)
    shape = acquisition.high_shape((16, 16, 16))
    truth = blob(shape, tuple(size / 2 + 0.7 for size in shape), 3.0)
    x = METHODS[name](acquisition.apply(truth), shape, acquisition)
    # At factor 2.5 every fifth voxel centre lies halfway between two measured ones: nearest has to take a side.
    tolerance = 0.26 if name == "nearest" and 2.5 in factors else 0.05
    np.testing.assert_allclose(ndimage.center_of_mass(x), ndimage.center_of_mass(truth), atol=tolerance)


@pytest.mark.parametrize("name", ["nearest", "linear", "bspline", "lanczos4", "bspline-unsharp"])
def test_mirrored_input_gives_mirrored_output(name: str) -> None:
    y = np.random.default_rng(1).random((5, 9, 7), dtype=np.float32)
    acquisition = AcquisitionModel((2, 3, 1.5))
    shape = acquisition.high_shape(y.shape)
    flipped = METHODS[name](y[::-1, ::-1, ::-1].copy(), shape, acquisition)[::-1, ::-1, ::-1]
    np.testing.assert_allclose(METHODS[name](y, shape, acquisition)[1:-1], flipped[1:-1], atol=1e-4)


def test_nearest_repeats_the_measured_voxels() -> None:
    y = np.random.default_rng(2).integers(-1000, 1000, (2, 5, 4)).astype(np.int16)
    x = METHODS["nearest"](y, (2, 15, 8), AcquisitionModel((2, 3, 1)))
    np.testing.assert_array_equal(x, y.repeat(3, axis=1).repeat(2, axis=2))


def test_linear_halfway_weights_are_right() -> None:
    y = np.array([[[0.0, 4.0, 8.0]]], np.float32)
    x = METHODS["linear"](y, (1, 1, 6), AcquisitionModel((2, 1, 1)))
    np.testing.assert_allclose(x[0, 0], [0, 1, 3, 5, 7, 8], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(n_low=st.integers(1, 30), n_high=st.integers(1, 80))
def test_lanczos_rows_sum_to_one_and_equal_sizes_are_the_identity(n_low: int, n_high: int) -> None:
    np.testing.assert_allclose(lanczos_matrix(n_low, n_high).sum(axis=1), 1.0)
    np.testing.assert_allclose(lanczos_matrix(n_low, n_low), np.eye(n_low), atol=1e-12)


def test_lanczos_reproduces_a_wave_better_than_linear() -> None:
    low, high = (np.arange(64) + 0.5) / 64, (np.arange(128) + 0.5) / 128
    wave, truth = (np.cos(2 * np.pi * 12 * t)[None, None].astype(np.float32) for t in (low, high))
    acquisition = AcquisitionModel((2, 1, 1))
    errors = {
        name: np.abs(METHODS[name](wave, (1, 1, 128), acquisition) - truth)[..., 16:-16].max()
        for name in ("linear", "bspline", "lanczos4")
    }
    assert errors["lanczos4"] < 0.02 < errors["linear"]


@pytest.mark.parametrize("factors", FACTORS)
def test_back_projection_agrees_with_the_measurement_better_than_every_other_method(
    factors: tuple[float, float, float],
) -> None:
    acquisition = AcquisitionModel(factors)
    shape = acquisition.high_shape((8, 12, 12))
    truth = ndimage.gaussian_filter(np.random.default_rng(3).random(shape, dtype=np.float32), 0.8) * 1000
    y = acquisition.apply(truth)
    disagreement = {
        name: metrics.consistency_rmse(METHODS[name](y, shape, acquisition), y, acquisition) for name in FAITHFUL
    }
    best = disagreement.pop("bspline-ibp")
    assert best < 0.2 * min(disagreement.values())


def test_sharpening_leaves_axes_alone_that_were_not_blurred() -> None:
    y = np.zeros((5, 8, 8), np.float32)
    y[2] = 100
    x = METHODS["bspline-unsharp"](y, (5, 16, 16), AcquisitionModel((2, 2, 1)))
    np.testing.assert_allclose(x, np.broadcast_to(y[:, :1, :1], x.shape), atol=1e-3)


def test_histogram_equalisation_keeps_the_units_and_spreads_the_grey_levels() -> None:
    y = blob((2, 24, 24), (0.5, 11.5, 11.5), 5.0)
    x = METHODS["clahe"](y, (2, 48, 48), AcquisitionModel((2, 2, 1)))
    assert -1 <= x.min() < x.max() <= 101
    assert np.median(x) > np.median(y)
