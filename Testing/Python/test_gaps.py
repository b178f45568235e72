"""Gaps, which are no tissue, are filled for the work and stand in the result as they stood in the input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedSRLib.volumes.gaps import find_gaps
from MedSRLib.volumes.geometry import cropped_affine, upsampled_affine
from MedSRLib.volumes.volume import Volume

AFFINE = np.array([[-0.7, 0.1, 0, 5], [0.1, -0.7, 0, 6], [0, 0, 2.5, 7], [0, 0, 0, 1]])


def circle(size: int = 40) -> np.ndarray:
    j, i = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return np.hypot(i, j)


def padded_ct(padding: float = -2000, dtype: type = np.int16) -> np.ndarray:
    """Tissue in air in a reconstruction circle, with noise, and padding around the circle."""
    radius = circle()
    voxels = np.where(radius < 0.6, 40, -1000) + np.random.default_rng(1).normal(0, 20, (3, *radius.shape))
    voxels[:, radius > 0.95] = padding
    return np.rint(voxels).astype(dtype)


class TestWhatIsAGap:
    @pytest.mark.parametrize("padding", [-2000, -3024, -32768])
    @pytest.mark.parametrize("dtype", [np.int16, np.float32])
    def test_the_value_around_the_circle_of_a_ct(self, padding: int, dtype: type) -> None:
        voxels = padded_ct(padding, dtype)
        gaps = find_gaps(Volume(voxels, AFFINE, "CT"))
        assert gaps is not None
        np.testing.assert_array_equal(gaps.mask, voxels == padding)
        assert f"padding ({padding})" in gaps.note

    def test_noise_in_air_is_none(self) -> None:
        voxels = np.random.default_rng(0).normal(-1000, 60, (4, 30, 30)).astype(np.int16)
        assert voxels.min() < -1100
        assert find_gaps(Volume(voxels, AFFINE, "CT")) is None

    def test_air_that_the_scanner_clips_is_none(self) -> None:
        assert find_gaps(Volume(padded_ct(-1024), AFFINE, "CT")) is None
        assert find_gaps(Volume(padded_ct(-1024), AFFINE, "CT", padding=(-1024, -1024))) is None

    def test_what_the_file_names_padding_is_one(self) -> None:
        voxels = padded_ct(-1500)
        voxels[0, 0, 0] = -1501
        gaps = find_gaps(Volume(voxels, AFFINE, "CT", padding=(-1501, -1500)))
        assert gaps is not None
        np.testing.assert_array_equal(gaps.mask, voxels <= -1500)

    def test_padding_of_other_modalities_counts_where_it_lies_apart(self) -> None:
        voxels = np.random.default_rng(0).integers(0, 900, (3, 20, 20)).astype(np.int16)
        voxels[:, :4] = -32768
        apart = find_gaps(Volume(voxels, AFFINE, "MR", padding=(-32768, -32768)))
        assert apart is not None
        assert apart.mask.sum() == 3 * 4 * 20
        voxels[:, :4] = 0
        assert find_gaps(Volume(voxels, AFFINE, "MR", padding=(0, 0))) is None

    def test_nan_is_one_only_where_that_is_asked_for(self) -> None:
        voxels = padded_ct(-1000, np.float32)
        voxels[:, :6] = np.nan
        voxels[1, 20, 20] = np.inf
        assert find_gaps(Volume(voxels, AFFINE, "MR")) is None
        gaps = find_gaps(Volume(voxels, AFFINE, "MR"), fill_nan=True)
        assert gaps is not None
        assert np.isfinite(gaps.filled.voxels).all()
        assert "NaN or infinite" in gaps.note

    def test_a_volume_of_nothing_else_is_left_to_other_checks(self) -> None:
        assert find_gaps(Volume(np.full((2, 3, 4), np.nan, np.float32), AFFINE), fill_nan=True) is None


class TestFilling:
    def test_no_value_is_made_up(self) -> None:
        voxels = padded_ct()
        gaps = find_gaps(Volume(voxels, AFFINE, "CT"))
        assert gaps is not None
        np.testing.assert_array_equal(gaps.filled.voxels[~gaps.mask], voxels[~gaps.mask])
        filled = gaps.filled.voxels[gaps.mask]
        assert filled.min() > -1100
        assert filled.max() < -900

    def test_a_slice_of_nothing_takes_the_nearest_slice(self) -> None:
        voxels = np.random.default_rng(0).normal(size=(4, 6, 7)).astype(np.float32)
        voxels[0] = np.nan
        gaps = find_gaps(Volume(voxels, AFFINE), fill_nan=True)
        assert gaps is not None
        np.testing.assert_array_equal(gaps.filled.voxels[0], voxels[1])

    def test_the_source_is_not_changed(self) -> None:
        voxels = padded_ct()
        find_gaps(Volume(voxels, AFFINE, "CT"))
        np.testing.assert_array_equal(voxels, padded_ct())


class TestPuttingBack:
    @given(
        factors=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 3])),
        start=st.tuples(*[st.integers(0, 3)] * 3),
    )
    def test_each_new_voxel_takes_what_the_voxel_it_lies_in_had(
        self, factors: tuple[int, int, int], start: tuple[int, int, int]
    ) -> None:
        voxels = np.random.default_rng(2).normal(size=(3, 5, 6)).astype(np.float32)
        voxels[np.random.default_rng(3).random(voxels.shape) < 0.4] = np.nan
        gaps = find_gaps(Volume(voxels, AFFINE), fill_nan=True)
        assert gaps is not None
        fine = np.kron(voxels, np.ones(factors, np.float32))
        affine = cropped_affine(upsampled_affine(AFFINE, voxels.shape, fine.shape), start)
        i, j, k = start
        expected = fine[k:, j:, i:]
        back = gaps.put_back(Volume(np.zeros(expected.shape, np.float32), affine))
        np.testing.assert_array_equal(back.voxels, np.where(np.isnan(expected), expected, 0))

    def test_factors_that_are_no_whole_numbers(self) -> None:
        voxels = np.ones((4, 3, 3), np.float32)
        voxels[1] = np.nan
        gaps = find_gaps(Volume(voxels, AFFINE), fill_nan=True)
        assert gaps is not None
        affine = upsampled_affine(AFFINE, (4, 3, 3), (10, 3, 3))
        back = gaps.put_back(Volume(np.zeros((10, 3, 3), np.float32), affine))
        # New slice v lies at (v + 1/2) 4/10 - 1/2 of the old ones: 2.5 new slices cover each.
        np.testing.assert_array_equal(np.isnan(back.voxels[:, 0, 0]), [0, 0, 1, 1, 1, 0, 0, 0, 0, 0])

    def test_a_map_of_something_else_is_nought_in_the_gaps(self) -> None:
        gaps = find_gaps(Volume(padded_ct(), AFFINE, "CT"))
        assert gaps is not None
        back = gaps.put_back(Volume(np.ones(gaps.mask.shape, np.float32), AFFINE), keep_values=False)
        np.testing.assert_array_equal(back.voxels, ~gaps.mask)
