"""A_s T_s measures a known anatomy as a thick series at any place would, and has its exact transpose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fusion_fixtures import AXIAL, CORONAL, SAGITTAL, SIDE, THICKNESS, Blobs, stack, truth, turn
from hypothesis import given, settings
from hypothesis import strategies as st

from MedSRLib.acquisition.slice_profiles import PROFILES, profile_reach, profile_weights
from MedSRLib.errors import UsageError
from MedSRLib.fusion.refinement import reduced
from MedSRLib.fusion.series import Series, SeriesOperator
from MedSRLib.fusion.solver import JointOperator
from MedSRLib.fusion.spline import SplineGrid, resample
from MedSRLib.volumes.volume import Volume

CPU = torch.device("cpu")
ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL}
angles = st.tuples(*[st.floats(-30, 30)] * 3)
shifts = st.tuples(*[st.floats(-6, 6)] * 3)


def small_series(directions: np.ndarray, pixel: float, motion: np.ndarray, profile: str) -> Series:
    shape = (5, 11, 12)
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array([pixel, pixel, 3.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Series(Volume(np.zeros(shape, np.float32), affine, "MR", 3.5), profile, motion)


@settings(max_examples=15, deadline=None)
@given(
    degrees=angles,
    millimetres=shifts,
    name=st.sampled_from(sorted(ORIENTATIONS)),
    pixel=st.sampled_from([0.8, 1.0, 1.9]),
    profile=st.sampled_from(PROFILES),
    by_slice=st.booleans(),
)
def test_the_transpose_is_exact(
    degrees: tuple[float, float, float],
    millimetres: tuple[float, float, float],
    name: str,
    pixel: float,
    profile: str,
    by_slice: bool,
) -> None:
    random = np.random.default_rng(1)
    motion = turn(degrees, millimetres)
    if by_slice:
        motion = np.stack(
            [motion @ turn(tuple(random.normal(0, 3, 3)), tuple(random.normal(0, 1, 3))) for _ in range(5)]
        )
    affine = np.eye(4)
    affine[:3, 3] = (-8.0, -7.0, -6.0)
    joint = JointOperator([small_series(ORIENTATIONS[name], pixel, motion, profile)], affine, (13, 15, 16), CPU)
    x = torch.from_numpy(random.standard_normal((13, 15, 16)).astype(np.float32))
    y = torch.from_numpy(random.standard_normal((5, 11, 12)).astype(np.float32))
    forth, back = joint.apply(x)[0], joint.adjoint([y])
    left, right = float((forth.double() * y).sum()), float((x.double() * back).sum())
    scale = float(forth.norm() * y.norm()) + 1e-6
    assert abs(left - right) < 1e-5 * scale


@pytest.mark.parametrize("name", sorted(ORIENTATIONS))
def test_a_known_anatomy_is_measured_as_its_thick_slices_are(name: str) -> None:
    blobs = Blobs()
    motion = turn((4.0, -7.0, 12.0), (1.3, -2.2, 0.7))
    measured = stack(blobs, ORIENTATIONS[name], motion=motion, side=28.0)
    x = truth(blobs)
    grid = SplineGrid(x.shape, CPU)
    operator = SeriesOperator(Series(measured, "gaussian", motion), x.affine, grid)
    simulated = operator.apply(grid.coefficients(torch.from_numpy(x.voxels))).numpy()
    whole = operator.weight.numpy() > 0
    assert whole.mean() > 0.9
    # Slices at the box's border lose the part of their profile that lies outside it.
    error = (simulated - measured.voxels)[1:-1][whole[1:-1]]
    assert np.abs(error).max() < 0.01 * x.voxels.max()


def test_slices_with_motions_of_their_own_are_measured_where_they_were() -> None:
    blobs = Blobs()
    moved = {k: turn((k - 3.0, 2.0, 3.0 - k), (0.5 * k, 1.0, -1.0)) for k in range(7)}
    measured = stack(blobs, SAGITTAL, moved=moved, side=28.0)
    x = truth(blobs)
    grid = SplineGrid(x.shape, CPU)
    series = Series(measured, "gaussian", np.stack([moved[k] for k in range(7)]))
    simulated = SeriesOperator(series, x.affine, grid).apply(grid.coefficients(torch.from_numpy(x.voxels))).numpy()
    assert np.abs(simulated - measured.voxels)[1:-1].max() < 0.01 * x.voxels.max()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_constant_anatomy_is_measured_as_constant_up_to_the_border(profile: str) -> None:
    affine = np.eye(4)
    affine[:3, 3] = (-8.0, -7.0, -6.0)
    grid = SplineGrid((13, 15, 16), CPU)
    operator = SeriesOperator(small_series(CORONAL, 1.9, turn((3, 9, -5), (1, 0, 2)), profile), affine, grid)
    measured = operator.apply(grid.coefficients(torch.full((13, 15, 16), 7.0)))
    assert torch.allclose(measured, 7.0 * operator.weight, atol=1e-4)
    assert 0 < float(operator.weight.mean()) < 1


def test_the_spline_goes_through_the_voxels() -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 7, 8)).astype(np.float32))
    values, depth = resample(x, np.eye(4), x.shape)
    assert torch.allclose(values, x, atol=1e-5)
    assert float(depth.min()) == 0.5
    outside = np.eye(4)
    outside[0, 3] = 20.0
    values, depth = resample(x, outside, x.shape)
    assert not values.any()
    assert not depth.any()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_half_its_height_at_the_thickness_and_ends_at_its_reach(profile: str) -> None:
    step = 0.01
    distance = np.arange(-1000, 1001) * step
    weights = profile_weights(distance, step, profile, THICKNESS)
    half = np.abs(distance[weights >= weights.max() / 2 - 1e-12])
    assert half.max() == pytest.approx(THICKNESS / 2, abs=2 * step)
    inside = np.abs(distance) <= profile_reach(profile, THICKNESS)
    assert weights[inside].sum() > 0.985 * weights.sum()


def test_an_unknown_profile_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="triangle"):
        profile_reach("triangle", 3.0)


def test_a_series_with_larger_pixels_lies_where_it_did() -> None:
    measured = stack(Blobs(), AXIAL, pixel=0.5)
    low = reduced(Series(measured, "gaussian", np.eye(4)), 2.0)
    assert low.volume.shape == (round(SIDE / THICKNESS), 22, 22)
    expected = stack(Blobs(), AXIAL, pixel=2.0)
    assert np.allclose(low.volume.affine, expected.affine)
    assert np.abs(low.volume.voxels - expected.voxels).max() < 0.1 * expected.voxels.max()
