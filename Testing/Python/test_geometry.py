"""Resampling moves voxels, never the field of view."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from MedSRLib.volumes.geometry import LPS_TO_RAS, cropped_affine, field_of_view_corners, upsampled_affine

SHAPES = st.tuples(*[st.integers(1, 301)] * 3)
"""Old and new sizes are drawn apart from each other, so that scales are odd, fractional, and below 1 too."""


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Oblique, anisotropic, sheared, left- and right-handed affines with millimetre-sized numbers."""
    angles = [draw(st.floats(-np.pi, np.pi)) for _ in range(3)]
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        one, two = (axis + 1) % 3, (axis + 2) % 3
        turn[[one, two, one, two], [one, two, two, one]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    shear = np.eye(3)
    shear[[0, 0, 1], [1, 2, 2]] = [draw(st.floats(-0.5, 0.5)) for _ in range(3)]
    steps = np.diag([draw(st.floats(0.1, 10)) * draw(st.sampled_from([-1, 1])) for _ in range(3)])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ shear @ steps
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return affine


@given(affines(), SHAPES, SHAPES)
def test_the_field_of_view_stays_the_same_to_a_billionth(affine: np.ndarray, shape: tuple, new_shape: tuple) -> None:
    before = field_of_view_corners(affine, shape)
    after = field_of_view_corners(upsampled_affine(affine, shape, new_shape), new_shape)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)


@given(affines(), SHAPES, SHAPES)
def test_axes_keep_their_directions(affine: np.ndarray, shape: tuple, new_shape: tuple) -> None:
    new = upsampled_affine(affine, shape, new_shape)
    scale = np.array(new_shape[::-1]) / np.array(shape[::-1])
    np.testing.assert_allclose(new[:3, :3] * scale, affine[:3, :3], rtol=1e-12)
    assert np.sign(np.linalg.det(new[:3, :3])) == np.sign(np.linalg.det(affine[:3, :3]))


@given(affines(), SHAPES, SHAPES, SHAPES)
def test_two_resamplings_are_one(affine: np.ndarray, shape: tuple, middle: tuple, last: tuple) -> None:
    twice = upsampled_affine(upsampled_affine(affine, shape, middle), middle, last)
    np.testing.assert_allclose(twice, upsampled_affine(affine, shape, last), rtol=0, atol=1e-9)


@given(affines(), SHAPES, SHAPES, st.tuples(*[st.floats(-1, 400)] * 3))
def test_a_new_voxel_lies_where_its_old_index_says(
    affine: np.ndarray, shape: tuple, new_shape: tuple, new_index: tuple
) -> None:
    scale = np.array(new_shape[::-1]) / np.array(shape[::-1])
    old_index = (np.array(new_index) + 0.5) / scale - 0.5
    new = upsampled_affine(affine, shape, new_shape)
    expected = affine @ [*old_index, 1]
    np.testing.assert_allclose(new @ [*new_index, 1], expected, rtol=1e-12, atol=1e-9)


def test_the_mean_of_the_new_centres_in_an_old_voxel_is_its_centre() -> None:
    affine = np.array([[0.0, -2, 0, 7], [3, 0, 0.5, -8], [0, 0, 4, 9], [0, 0, 0, 1]])
    new = upsampled_affine(affine, (5, 6, 7), (10, 24, 21))
    children = [new @ [i, j, k, 1] for i in range(6, 9) for j in range(4, 8) for k in range(6, 8)]
    np.testing.assert_allclose(np.mean(children, axis=0), affine @ [2, 1, 3, 1], atol=1e-12)


@given(affines(), st.tuples(*[st.integers(-5, 50)] * 3), st.tuples(*[st.integers(0, 50)] * 3))
def test_a_crop_keeps_every_voxel_in_its_place(affine: np.ndarray, start: tuple, index: tuple) -> None:
    whole = affine @ [*np.add(start, index), 1]
    np.testing.assert_allclose(cropped_affine(affine, start) @ [*index, 1], whole, atol=1e-9)


def test_corners_are_voxel_edges_not_centres() -> None:
    corners = field_of_view_corners(np.diag([1.0, 2.0, 3.0, 1.0]), (4, 5, 6))
    np.testing.assert_allclose(corners.min(axis=0), [-0.5, -1, -1.5])
    np.testing.assert_allclose(corners.max(axis=0), [5.5, 9, 10.5])


def test_left_posterior_becomes_right_anterior_and_back() -> None:
    np.testing.assert_array_equal(LPS_TO_RAS @ [1, 2, 3, 1], [-1, -2, 3, 1])
    np.testing.assert_array_equal(LPS_TO_RAS @ LPS_TO_RAS, np.eye(4))
