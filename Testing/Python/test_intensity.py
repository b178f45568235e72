"""Grey levels survive the way into the network and back, and are never wrapped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from MedSRLib.volumes.intensity import IntensityScaling, cast_like, large_offset, smallest_possible

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
FLOATS = [np.float16, np.float32, np.float64]
VOLUMES = hnp.arrays(
    st.sampled_from([np.dtype(kind) for kind in (np.uint8, np.int16, np.uint16, np.int32, np.uint32)]),
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
) | hnp.arrays(
    st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)]),
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
)


def float32_rounding(scaling: IntensityScaling, voxels: np.ndarray) -> float:
    """A few units in the last place of the largest number that the round trip handles."""
    largest = np.abs(voxels.astype(np.float64)).max() + abs(scaling.offset) + scaling.width
    return 4 * float(np.finfo(np.float32).eps) * largest


@given(VOLUMES, st.sampled_from(["CT", "MR", "other"]))
def test_the_round_trip_loses_only_float32_rounding(voxels: np.ndarray, modality: str) -> None:
    scaling = IntensityScaling.fit(voxels, modality)
    normalised = scaling.normalise(voxels)
    assert normalised.dtype == np.float32
    back = scaling.restore(normalised).astype(np.float64)
    np.testing.assert_allclose(back, voxels, rtol=0, atol=float32_rounding(scaling, voxels))


@given(st.sampled_from([np.int8, np.uint8, np.int16, np.uint16]), st.sampled_from(["CT", "MR"]), st.data())
def test_16_bit_volumes_come_back_to_the_bit(kind: type, modality: str, data: st.DataObject) -> None:
    voxels = data.draw(hnp.arrays(kind, (3, 4, 5)))
    scaling = IntensityScaling.fit(voxels, modality)
    np.testing.assert_array_equal(cast_like(scaling.restore(scaling.normalise(voxels)), kind), voxels)


def test_the_full_range_of_uint16_survives() -> None:
    voxels = np.arange(2**16, dtype=np.uint16).reshape(16, 64, 64)
    scaling = IntensityScaling.fit(voxels, "MR")
    np.testing.assert_array_equal(cast_like(scaling.restore(scaling.normalise(voxels)), np.uint16), voxels)


def test_values_outside_the_fitted_range_survive() -> None:
    voxels = np.linspace(0, 1000, 8000).round().astype(np.int16).reshape(20, 20, 20)
    voxels[0, 0, :2] = -2000, 32767
    scaling = IntensityScaling.fit(voxels, "MR")
    normalised = scaling.normalise(voxels)
    assert normalised.min() < 0
    assert normalised.max() > 1
    np.testing.assert_array_equal(cast_like(scaling.restore(normalised), np.int16), voxels)


def test_robust_percentiles_are_not_moved_by_a_few_extreme_voxels() -> None:
    voxels = np.random.default_rng(0).normal(500, 100, (32, 32, 32)).astype(np.float32)
    plain = IntensityScaling.fit(voxels, "MR")
    voxels[0, 0, :5] = 1e6
    extreme = IntensityScaling.fit(voxels, "MR")
    assert extreme.width == pytest.approx(plain.width, rel=0.05)


@given(hnp.arrays(np.int16, (2, 3, 4)))
def test_ct_is_scaled_by_the_same_window_whatever_it_shows(voxels: np.ndarray) -> None:
    scaling = IntensityScaling.fit(voxels, "CT")
    np.testing.assert_allclose(scaling.normalise(np.array([-1000, 0, 1000], np.int16)), [0, 0.5, 1])


@given(hnp.arrays(np.uint8, (2, 3, 4)), st.sampled_from(["MR", "US", "XR", "other"]))
def test_8_bit_images_are_divided_by_255(voxels: np.ndarray, modality: str) -> None:
    scaling = IntensityScaling.fit(voxels, modality)
    np.testing.assert_allclose(scaling.normalise(voxels), voxels / 255, rtol=1e-6)


@pytest.mark.parametrize("value", [0, -3, 1e-300, 4095.5, 1e30])
def test_a_constant_volume_keeps_its_value(value: float) -> None:
    voxels = np.full((3, 3, 3), value)
    scaling = IntensityScaling.fit(voxels, "MR")
    normalised = scaling.normalise(voxels)
    assert np.isfinite(normalised).all()
    np.testing.assert_allclose(scaling.restore(normalised), voxels, rtol=1e-6, atol=1e-30)


def test_a_few_voxels_on_a_constant_background_set_the_range() -> None:
    voxels = np.zeros((32, 32, 32), np.int16)
    voxels[3, 4, 5] = 1000
    np.testing.assert_allclose(IntensityScaling.fit(voxels, "MR").normalise(voxels).max(), 1)


def test_a_huge_volume_is_sampled() -> None:
    huge = np.broadcast_to(np.arange(4096, dtype=np.int16), (16, 1024, 4096))
    scaling = IntensityScaling.fit(huge, "MR")
    assert scaling.offset == pytest.approx(4, abs=5)
    assert scaling.width == pytest.approx(4087, abs=10)


@pytest.mark.parametrize("kind", INTEGERS)
@given(st.sampled_from(FLOATS), st.data())
def test_casting_rounds_and_clips_and_never_wraps(kind: type, source: type, data: st.DataObject) -> None:
    limit = float(np.finfo(source).max) if source is not np.float64 else 1e30
    width = np.finfo(source).bits
    values = data.draw(hnp.arrays(source, (8,), elements=st.floats(-limit, limit, width=width)))
    cast = cast_like(values, kind)
    limits = np.iinfo(kind)
    assert cast.dtype == kind
    for value, result in zip(values, cast, strict=True):
        nearest = min(max(round(float(value)), limits.min), limits.max)
        # Above 2**24 float32 has no half steps, and the largest integer may lie between two of its numbers.
        assert abs(int(result) - nearest) <= np.finfo(np.float32).eps * abs(nearest)
        if limits.bits <= 16:
            assert int(result) == nearest


@pytest.mark.parametrize("kind", INTEGERS)
def test_the_largest_and_smallest_values_stay_at_the_limits(kind: type) -> None:
    low, high = cast_like(np.array([-1e38, 1e38], np.float32), kind)
    limits = np.iinfo(kind)
    assert int(low) == limits.min
    assert limits.max * (1 - 1e-7) <= int(high) <= limits.max


def test_anatomy_behind_magnitudes_is_not_negative_and_behind_hu_not_below_air() -> None:
    assert smallest_possible(np.array([3, 900]), "MR") == 0.0
    assert smallest_possible(np.array([-1.5, 900.0]), "MR") is None
    assert smallest_possible(np.array([-800, 900]), "CT") == -1024.0
    assert smallest_possible(np.array([-3024, 900]), "CT") == -3024.0


def test_floats_are_only_cast() -> None:
    values = np.array([0.25, -1e10, 7.5], np.float32)
    np.testing.assert_array_equal(cast_like(values, np.float64), values)
    assert cast_like(values, np.float64).dtype == np.float64


class TestLargeOffsets:
    @pytest.mark.parametrize(
        ("low", "width", "dtype"),
        [(2**30, 2000, np.int32), (127.74e6 - 300, 600, np.float64), (1e9, 50, np.float64), (-3e5, 10, np.float32)],
    )
    def test_are_taken_off_so_that_float32_keeps_the_differences(self, low: float, width: float, dtype: type) -> None:
        voxels = (low + width * np.linspace(0, 1, 1000)).astype(dtype)
        offset = large_offset(voxels)
        assert low <= offset <= low + width
        kept = (voxels.astype(np.float64) - offset).astype(np.float32)
        exact = voxels.astype(np.float64) - offset
        assert np.abs(kept - exact).max() <= 1e-6 * width

    @pytest.mark.parametrize(
        "voxels",
        [
            np.arange(-1024, 3071, dtype=np.int16),
            np.array([0, 4 * 10**9], np.uint32),
            np.array([1e5, 2e5], np.float32),
            np.array([60000, 60001], np.uint16),
            np.zeros(0, np.float32),
        ],
    )
    def test_are_none_where_float32_does(self, voxels: np.ndarray) -> None:
        assert large_offset(voxels) == 0

    def test_of_integers_are_whole_numbers(self) -> None:
        assert large_offset(np.array([2**30, 2**30 + 5], np.int32)).is_integer()
