"""The acquisition operator A, interpolation, back-projection and noise, by their mathematical properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, special

from MedSRLib.acquisition.interpolation import back_project, bspline_matrix, interpolate, interpolate_consistently
from MedSRLib.acquisition.noise import add_gaussian, add_rician
from MedSRLib.acquisition.operator import PROFILES, AcquisitionModel, Profile, along_axis, profile_matrix
from MedSRLib.errors import UsageError

FACTOR = st.sampled_from([1.0, 1.5, 2.0, 2.7, 3.0, 4.0])
WIDTH = st.floats(0.3, 2.0)
quickly = settings(max_examples=50, deadline=None)


@st.composite
def acquisitions(draw: st.DrawFn) -> AcquisitionModel:
    return AcquisitionModel(
        (draw(FACTOR), draw(FACTOR), draw(FACTOR)),
        in_plane_fwhm=draw(WIDTH),
        slice_thickness=draw(WIDTH),
        slice_profile=draw(st.sampled_from(PROFILES)),
        in_plane_profile=draw(st.sampled_from(PROFILES)),
    )


SHAPE = st.tuples(st.integers(4, 13), st.integers(4, 13), st.integers(4, 13))


@quickly
@given(acquisition=acquisitions(), shape=SHAPE, seed=st.integers(0, 2**16))
def test_the_adjoint_is_the_adjoint(acquisition: AcquisitionModel, shape: tuple[int, int, int], seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape)
    y = random.standard_normal(acquisition.low_shape(shape))
    left = np.vdot(acquisition.apply(x), y)
    right = np.vdot(x, acquisition.adjoint(y, shape))
    assert left == pytest.approx(right, abs=1e-9)


@quickly
@given(acquisition=acquisitions(), shape=SHAPE, value=st.floats(-3000, 3000))
def test_a_constant_is_measured_as_itself(
    acquisition: AcquisitionModel, shape: tuple[int, int, int], value: float
) -> None:
    y = acquisition.apply(np.full(shape, value))
    assert y.shape == acquisition.low_shape(shape)
    np.testing.assert_allclose(y, value, atol=1e-9)


@quickly
@given(profile=st.sampled_from(PROFILES), n_high=st.integers(4, 60), factor=FACTOR, width=WIDTH)
def test_rows_sum_to_one_and_are_mirror_symmetric(profile: Profile, n_high: int, factor: float, width: float) -> None:
    matrix = profile_matrix(n_high, max(1, round(n_high / factor)), width, profile)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)


@quickly
@given(acquisition=acquisitions(), shape=SHAPE)
def test_torch_and_numpy_agree(acquisition: AcquisitionModel, shape: tuple[int, int, int]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 1, *shape))
    y = acquisition.apply(x)
    np.testing.assert_allclose(acquisition.apply(torch.from_numpy(x)).numpy(), y, atol=1e-12)
    np.testing.assert_allclose(
        acquisition.adjoint(torch.from_numpy(y), shape).numpy(), acquisition.adjoint(y, shape), atol=1e-12
    )
    if y.shape != x.shape:
        low, high = torch.from_numpy(y), interpolate(y, shape)
        np.testing.assert_allclose(interpolate(low, shape).numpy(), high, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_flow_through_a(dtype: torch.dtype) -> None:
    acquisition = AcquisitionModel((2, 2, 1.5))
    x = torch.zeros(6, 8, 8, dtype=dtype, requires_grad=True)
    acquisition.apply(x).sum().backward()
    assert x.grad is not None
    ones = np.ones(acquisition.low_shape((6, 8, 8)))
    np.testing.assert_allclose(x.grad.numpy(), acquisition.adjoint(ones, (6, 8, 8)), atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_box_of_the_spacing_is_the_block_mean(factor: int) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 5 * factor))
    y = AcquisitionModel((factor, 1, 1), in_plane_profile="box").apply(x)
    np.testing.assert_allclose(y, x.reshape(2, 3, 5, factor).mean(axis=-1), atol=1e-12)


def test_a_box_over_a_fraction_of_voxels_weighs_them_by_their_overlap() -> None:
    matrix = profile_matrix(6, 4, 1.0, "box")
    np.testing.assert_allclose(matrix[0, :3], np.array([1.0, 0.5, 0.0]) / 1.5)
    np.testing.assert_allclose(matrix[1, :4], np.array([0.0, 0.5, 1.0, 0.0]) / 1.5)


def test_a_gaussian_has_the_stated_full_width_at_half_maximum() -> None:
    matrix = profile_matrix(25 * 5, 25, 1.2, "gaussian")
    row, centre = matrix[12], 62
    assert row.argmax() == centre
    assert row[centre + 3] / row[centre] == pytest.approx(0.5)  # 1.2 * 5 / 2 = 3 high-resolution voxels


def test_an_slr_profile_is_flat_within_has_the_stated_full_width_at_half_maximum_and_ends() -> None:
    row, centre = profile_matrix(25 * 21, 25, 1.0, "slr")[12], 262
    half = (row[centre + 10] + row[centre + 11]) / 2  # 21 / 2 high-resolution voxels from the centre
    assert half / row[centre] == pytest.approx(0.5, abs=0.01)
    assert row[centre + 4] / row[centre] > 0.99
    assert row[centre + 17] / row[centre] < 0.01


@pytest.mark.parametrize("profile", ["gaussian", "box", "slr"])
def test_thick_slices_blur_more_than_thin_ones_at_the_same_spacing(profile: Profile) -> None:
    x = np.sin(2 * np.pi * np.arange(48) / 12)[:, None, None] * np.ones((1, 2, 2))
    swings = [
        np.ptp(AcquisitionModel((1, 1, 3), slice_thickness=t, slice_profile=profile).apply(x)[3:-3])
        for t in (0.5, 1.0, 2.0)
    ]
    assert swings[0] > swings[1] > swings[2] > 0


def test_slices_with_a_gap_do_not_see_what_lies_in_it() -> None:
    x = np.zeros((12, 2, 2))
    x[[0, 3, 4, 7, 8, 11]] = 1  # the outer voxel on each side of every block of four
    gapped = AcquisitionModel((1, 1, 4), slice_thickness=0.5, slice_profile="box")
    touching = AcquisitionModel((1, 1, 4), slice_thickness=1.0, slice_profile="box")
    overlapping = AcquisitionModel((1, 1, 4), slice_thickness=1.5, slice_profile="box")
    np.testing.assert_allclose(gapped.apply(x), 0)
    np.testing.assert_allclose(touching.apply(x), 0.5)
    np.testing.assert_allclose(overlapping.apply(x)[1], 4 / 6)


def test_axes_of_factor_one_are_untouched() -> None:
    x = np.random.default_rng(2).standard_normal((5, 6, 8))
    y = AcquisitionModel((2, 1, 1), in_plane_fwhm=1.7, slice_thickness=1.9).apply(x)
    for k in range(5):
        for j in range(6):
            np.testing.assert_allclose(y[k, j], profile_matrix(8, 4, 1.7, "gaussian") @ x[k, j], atol=1e-12)
    same = AcquisitionModel((1, 1, 1), in_plane_fwhm=1.7, slice_thickness=1.9)
    np.testing.assert_array_equal(same.apply(x), x)


@pytest.mark.parametrize(("n_high", "n_low"), [(12, 6), (15, 5), (16, 7), (9, 6), (12, 4)])
def test_kspace_truncation_is_fourier_cropping_at_the_low_resolution_centres(n_high: int, n_low: int) -> None:
    x = np.random.default_rng(3).standard_normal(n_high)
    frequency = np.fft.fftfreq(n_high, 1 / n_high)
    spectrum = np.fft.fft(x)
    spectrum[np.abs(frequency) > n_low / 2] = 0
    spectrum[np.abs(frequency) * 2 == n_low] /= 2  # the edge frequency is shared between its two signs
    factor = n_high / n_low
    centres = (np.arange(n_low) + 0.5) * factor - 0.5
    cropped = (spectrum * np.exp(2j * np.pi * centres[:, None] * frequency / n_high)).sum(axis=1) / n_high
    np.testing.assert_allclose(profile_matrix(n_high, n_low, 1.0, "kspace") @ x, cropped.real, atol=1e-12)
    np.testing.assert_allclose(cropped.imag, 0, atol=1e-9)


@quickly
@given(acquisition=acquisitions(), shape=SHAPE)
def test_shapes_go_down_and_up_by_the_factors(acquisition: AcquisitionModel, shape: tuple[int, int, int]) -> None:
    assert acquisition.low_shape(acquisition.high_shape(shape)) == shape


@pytest.mark.parametrize(
    "wrong",
    [{"factors": (0.5, 1, 1)}, {"factors": (2, 2)}, {"in_plane_fwhm": 0.0}, {"slice_thickness": -1.0}],
)
def test_impossible_acquisitions_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        AcquisitionModel(**{"factors": (2, 2, 1), **wrong})


@quickly
@given(n_low=st.integers(1, 20), n_high=st.integers(1, 60), value=st.floats(-3000, 3000))
def test_interpolation_keeps_constants(n_low: int, n_high: int, value: float) -> None:
    np.testing.assert_allclose(interpolate(np.full((1, 1, n_low), value), (1, 1, n_high)), value, atol=1e-8)


@pytest.mark.parametrize("factor", [1.5, 2, 3, 4])
def test_interpolation_keeps_ramps_in_the_interior(factor: float) -> None:
    n_low = 32
    n_high = round(n_low * factor)
    centres = (np.arange(n_high) + 0.5) / factor - 0.5
    x = interpolate(np.arange(n_low, dtype=np.float64), (n_high,))
    inside = slice(n_high // 3, -(n_high // 3))
    np.testing.assert_allclose(x[inside], centres[inside], atol=1e-4)


def test_interpolation_passes_through_the_samples_where_centres_meet() -> None:
    y = np.random.default_rng(4).standard_normal((3, 4, 5))
    x = interpolate(y, (9, 12, 15))
    np.testing.assert_allclose(x[1::3, 1::3, 1::3], y, atol=1e-12)


def test_interpolation_to_the_same_size_is_the_identity() -> None:
    y = np.random.default_rng(5).standard_normal((3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(interpolate(y, y.shape), y)
    np.testing.assert_allclose(bspline_matrix(7, 7), np.eye(7), atol=1e-12)


def test_interpolation_agrees_with_scipy_on_a_volume() -> None:
    y = np.random.default_rng(6).standard_normal((6, 7, 8))
    grid = np.meshgrid(*(np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1) for n in y.shape), indexing="ij")
    expected = ndimage.map_coordinates(y, grid, order=3, mode="mirror")
    np.testing.assert_allclose(interpolate(y, (12, 14, 16)), expected, atol=1e-10)


def test_leading_axes_are_kept() -> None:
    y = np.random.default_rng(7).standard_normal((2, 3, 4, 5, 6))
    x = interpolate(y, (4, 10, 12))
    np.testing.assert_allclose(x[1, 2], interpolate(y[1, 2], (4, 10, 12)), atol=1e-12)


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_a_matrix_acts_on_the_named_axis_only(axis: int) -> None:
    x = np.random.default_rng(8).standard_normal((4, 5, 6))
    matrix = np.random.default_rng(9).standard_normal((3, x.shape[axis]))
    expected = np.moveaxis(np.tensordot(matrix, x, (1, x.ndim + axis)), 0, axis)
    np.testing.assert_allclose(along_axis(matrix, x, axis), expected, atol=1e-12)


@pytest.mark.parametrize("factors", [(2, 2, 1), (4, 4, 1), (1, 1, 3), (2, 2, 2), (1.5, 1.5, 2.5)])
def test_back_projection_drives_the_disagreement_down(factors: tuple[float, float, float]) -> None:
    acquisition = AcquisitionModel(factors)
    shape = acquisition.high_shape((10, 12, 12))
    truth = ndimage.gaussian_filter(np.random.default_rng(10).standard_normal(shape), 1.0)
    y = acquisition.apply(truth)
    start = interpolate(y, shape)

    def disagreement(x: np.ndarray) -> float:
        return float(np.linalg.norm(acquisition.apply(x, y.shape) - y))

    after = [disagreement(back_project(start, y, acquisition, steps)) for steps in (0, 3, 20)]
    assert after[1] < 0.5 * after[0]
    assert after[2] < 0.1 * after[0]


def test_back_projection_leaves_a_volume_that_already_agrees() -> None:
    acquisition = AcquisitionModel((2, 2, 1))
    truth = np.random.default_rng(11).standard_normal((3, 12, 12))
    np.testing.assert_allclose(back_project(truth, acquisition.apply(truth), acquisition, 5), truth, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([2, 4]))
def test_back_projection_never_goes_below_a_floor_and_still_agrees(seed: int, factor: int) -> None:
    """A bright object on air: without a floor every step undershoots beside its edges."""
    acquisition = AcquisitionModel((factor, factor, 1))
    truth = np.random.default_rng(seed).random((1, 6, 6)).round().repeat(factor * 2, 1).repeat(factor * 2, 2)
    y = acquisition.apply(truth)
    start = interpolate(y, truth.shape)
    free, bounded = (back_project(start, y, acquisition, 10, floor=floor) for floor in (None, 0.0))
    assert bounded.min() >= 0.0
    assert np.abs(acquisition.apply(bounded) - y).max() < np.abs(acquisition.apply(start) - y).max() + 1e-12
    assert np.linalg.norm(bounded - truth) <= np.linalg.norm(free - truth) + 1e-9


def test_gaussian_noise_has_the_stated_deviation_and_no_bias() -> None:
    noise = add_gaussian(np.zeros(200_000, np.float32), 3.0, np.random.default_rng(12))
    assert noise.mean() == pytest.approx(0, abs=0.03)
    assert noise.std() == pytest.approx(3.0, rel=0.01)
    assert noise.dtype == np.float32


@pytest.mark.parametrize("signal", [0.0, 1.0, 3.0, 20.0])
def test_rician_noise_has_the_theoretical_mean(signal: float) -> None:
    sigma = 2.0
    noisy = add_rician(np.full(400_000, signal * sigma, np.float32), sigma, np.random.default_rng(13))
    q = -(signal**2) / 2  # sigma sqrt(pi/2) L_{1/2}(-A^2 / 2 sigma^2), exponentially scaled Bessel functions
    laguerre = (1 - q) * special.ive(0, -q / 2) - q * special.ive(1, -q / 2)
    assert noisy.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2) * laguerre, rel=0.005)
    assert noisy.min() >= 0


def test_the_same_seed_draws_the_same_noise() -> None:
    y = np.ones((3, 4), np.float32)
    for add in (add_gaussian, add_rician):
        np.testing.assert_array_equal(add(y, 1.0, np.random.default_rng(15)), add(y, 1.0, np.random.default_rng(15)))


@pytest.mark.parametrize("iterations", [0, 1, 3, 7])
@pytest.mark.parametrize(
    ("acquisition", "shape"),
    [
        (AcquisitionModel((2, 2, 1)), (3, 18, 22)),
        (AcquisitionModel((2, 2, 1), in_plane_profile="kspace"), (2, 18, 22)),
        (AcquisitionModel((4, 4, 1), in_plane_fwhm=0.7), (2, 20, 24)),
        (AcquisitionModel((1, 1, 2.5), slice_thickness=1.3, slice_profile="box"), (15, 7, 6)),
        (AcquisitionModel((1, 1, 1.2)), (1, 7, 6)),
        (AcquisitionModel((2, 2, 2)), (8, 12, 14)),
    ],
)
def test_back_projection_without_noise_and_floor_needs_the_fine_grid_once(
    acquisition: AcquisitionModel, shape: tuple[int, int, int], iterations: int
) -> None:
    y = np.random.default_rng(4).random(acquisition.low_shape(shape))
    expected = back_project(interpolate(y, shape), y, acquisition, iterations)
    found = interpolate_consistently(y, shape, acquisition, iterations)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    single = interpolate_consistently(torch.from_numpy(y).float(), shape, acquisition, iterations)
    np.testing.assert_allclose(single.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize(("n_high", "n_low"), [(12, 6), (15, 5), (14, 7), (9, 9), (8, 8), (20, 9), (21, 10), (5, 1)])
def test_the_kernel_of_truncated_k_space_is_the_sum_of_its_frequencies(n_high: int, n_low: int) -> None:
    distance = np.arange(n_high) - ((np.arange(n_low)[:, None] + 0.5) * n_high / n_low - 0.5)
    total = np.ones_like(distance)
    for frequency in range(1, n_low // 2 + 1):
        share = 1.0 if 2 * frequency == n_low else 2.0
        total += share * np.cos(2 * np.pi * frequency * distance / n_high)
    expected = total / total.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(profile_matrix(n_high, n_low, 1.0, "kspace"), expected, atol=1e-12)
