"""A for a batch on the device: every matrix is the one that enhancement uses, whatever else is in the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from MedSRLib.acquisition import batched
from MedSRLib.acquisition.batched import (
    Interpolation,
    along_axes,
    back_projected,
    gaussian_matrices,
    profile_matrices,
    zoom_matrices,
)
from MedSRLib.acquisition.interpolation import bspline_matrix
from MedSRLib.acquisition.operator import PROFILES, AcquisitionModel, profile_matrix
from MedSRLib.enhancement.slabs import base_image

quickly = settings(max_examples=60, deadline=None)
CPU = torch.device("cpu")


def test_codes_are_in_the_order_of_the_profiles() -> None:
    codes = {name: getattr(batched, name.upper()) for name in PROFILES}
    assert [PROFILES[code] for code in codes.values()] == list(codes)


IMAGE = st.tuples(st.integers(2, 40), st.floats(0.3, 2.2), st.sampled_from(range(len(PROFILES))))


@quickly
@given(images=st.lists(IMAGE, min_size=1, max_size=4), more=st.integers(0, 30), beyond=st.integers(0, 5))
def test_profile_matrices_are_those_of_the_operator(
    images: list[tuple[int, float, int]], more: int, beyond: int
) -> None:
    counts, widths, codes = zip(*images, strict=True)
    high, rows = max(counts) + more, max(counts) + beyond
    matrices = profile_matrices(
        high, torch.tensor(counts), torch.tensor(widths, dtype=torch.float64), torch.tensor(codes), rows
    )
    for matrix, count, width, code in zip(matrices, *zip(*images, strict=True), strict=True):
        np.testing.assert_allclose(matrix[:count], profile_matrix(high, count, width, PROFILES[code]), atol=1e-6)
        assert not matrix[count:].any()


@quickly
@given(high=st.integers(4, 50), counts=st.lists(st.integers(2, 20), min_size=1, max_size=4))
def test_interpolation_matrices_are_those_of_the_spline(high: int, counts: list[int]) -> None:
    largest = max(counts)
    matrices = Interpolation(high, min(counts), largest, CPU)(torch.tensor(counts))
    assert matrices.shape == (len(counts), high, largest)
    for matrix, count in zip(matrices, counts, strict=True):
        np.testing.assert_allclose(matrix[:, :count], bspline_matrix(count, high), atol=1e-6)
        assert not matrix[:, count:].any()


@pytest.mark.parametrize(("factors", "axes"), [((2, 2, 1), (-2, -1)), ((2, 2, 2), (-3, -2, -1)), ((1, 1, 2), (-3,))])
@pytest.mark.parametrize("profile", PROFILES)
def test_back_projected_images_are_the_base_images_of_enhancement(
    factors: tuple[int, int, int], axes: tuple[int, ...], profile: str
) -> None:
    """Each with its own A, to float32 rounding."""
    y = torch.rand(3, 6, 6, 6, generator=torch.Generator().manual_seed(1))
    widths, high = (0.7, 1.0, 1.4), 12
    rows, code = torch.full((3,), 6), torch.full((3,), PROFILES.index(profile))  # type: ignore[arg-type]
    matrices = profile_matrices(high, rows, torch.tensor(widths), code, 6)
    images = back_projected(y, matrices, Interpolation(high, 6, 6, CPU)(rows), 3, axes)
    for image, low, width in zip(images, y, widths, strict=True):
        acquisition = AcquisitionModel(
            factors,
            in_plane_fwhm=width,
            slice_thickness=width,
            slice_profile=profile,  # type: ignore[arg-type]
            in_plane_profile=profile,  # type: ignore[arg-type]
        )
        shape = tuple(high if axis - 3 in axes else 6 for axis in range(3))
        torch.testing.assert_close(image, base_image(low, shape, acquisition, 3), atol=2e-5, rtol=0)


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_a_matrix_acts_on_the_axis_it_is_told(axis: int) -> None:
    generator = torch.Generator().manual_seed(2)
    matrix, x = torch.rand(2, 4, 7, generator=generator), torch.rand(2, 3, 7, 7, 7, generator=generator)
    expected = torch.einsum("nab,nc...b->nc...a", matrix, x.movedim(axis, -1)).movedim(-1, axis)
    torch.testing.assert_close(along_axes(matrix, x, (axis,)), expected)


@pytest.mark.parametrize("fwhm", [2.0, 3.5])
def test_a_gaussian_blur_has_the_width_it_says_and_keeps_the_mean(fwhm: float) -> None:
    profile = gaussian_matrices(41, torch.tensor([fwhm]))[0, :, 20].double()
    distance = torch.arange(41) - 20.0
    assert profile.sum().item() == pytest.approx(1.0, abs=1e-4)
    assert (profile * distance**2).sum().sqrt().item() * 2.3548 == pytest.approx(fwhm, rel=0.02)


def test_a_blur_of_no_width_changes_nothing() -> None:
    assert torch.equal(gaussian_matrices(9, torch.zeros(1))[0], torch.eye(9))


@pytest.mark.parametrize("factor", [1.2, 2.0])
def test_shrinking_is_about_the_centre_and_by_the_factor(factor: float) -> None:
    """A ramp stays a ramp, steeper by the factor, and its value at the centre stays."""
    ramp = torch.arange(40.0) - 19.5
    shrunk = zoom_matrices(16, 40, torch.tensor([factor]))[0] @ ramp
    expected = factor * (torch.arange(16.0) - 7.5)
    torch.testing.assert_close(shrunk, -shrunk.flip(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(shrunk, expected, atol=0.1, rtol=0)  # a narrow Gaussian leans to the nearest voxel
