"""A volume whose slices lie along i or j is enhanced as the same volume stored with its slices along k."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import make_tiny_model

from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.estimate import estimate
from MedSRLib.enhancement.turning import slice_axis, turned
from MedSRLib.errors import UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.geometry import field_of_view_corners
from MedSRLib.volumes.volume import Volume

MakeVolume = Callable[..., Volume]


def stored(volume: Volume, axis: int) -> Volume:
    """The same image with its slices along ``axis``: turned so often that k has come there."""
    return turned(volume, (1 - axis) % 3) if axis != 2 else volume


@pytest.fixture(scope="module")
def isotropic(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("models") / "tiny-iso"
    return make_tiny_model(folder, task="through-plane", factors=(1, 1, 3), factor_range=(1.5, 8))


class TestWhichAxis:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_is_the_one_along_which_voxels_are_far_longer(self, smooth_volume: MakeVolume, axis: int) -> None:
        assert slice_axis(stored(smooth_volume(), axis)) == axis

    @pytest.mark.parametrize(
        "spacing", [(1, 1, 1), (1.4, 1, 1), (1, 2, 2), (3, 1, 3), (0.9, 0.9, 0.3), (0.5, 1.2, 1.0)]
    )
    def test_is_k_where_no_axis_stands_out(self, spacing: tuple[float, float, float]) -> None:
        volume = Volume(np.zeros((4, 5, 6)), np.diag([*spacing, 1.0]))
        assert slice_axis(volume) == 2

    def test_is_k_where_the_file_says_how_thick_its_slices_are(self) -> None:
        affine = np.diag([3.0, 1, 1, 1])
        assert slice_axis(Volume(np.zeros((4, 5, 6)), affine)) == 0
        assert slice_axis(Volume(np.zeros((4, 5, 6)), affine, slice_thickness=2)) == 2
        assert slice_axis(Volume(np.zeros((4, 5, 6)), affine, "US")) == 2
        assert slice_axis(Volume(np.zeros((1, 5, 6)), affine)) == 2


@pytest.mark.parametrize("axis", [0, 1])
class TestEnhancing:
    @pytest.mark.parametrize("uncertainty", [False, True])
    def test_gives_what_the_volume_stored_along_k_gives(
        self, tiny_model: Model, smooth_volume: MakeVolume, axis: int, uncertainty: bool
    ) -> None:
        volume = smooth_volume()
        options = {"device": "cpu", "uncertainty": uncertainty}
        expected = enhance(volume, tiny_model, **options)
        result = enhance(stored(volume, axis), tiny_model, **options)
        np.testing.assert_array_equal(result.volume.voxels, stored(expected.volume, axis).voxels)
        np.testing.assert_allclose(result.volume.affine, stored(expected.volume, axis).affine, atol=1e-12)
        if uncertainty:
            assert expected.uncertainty is not None
            assert result.uncertainty is not None
            np.testing.assert_array_equal(result.uncertainty.voxels, stored(expected.uncertainty, axis).voxels)
        factors = [2.0, 2.0, 2.0]
        factors[axis] = 1.0
        assert list(result.report.factors) == factors
        assert any("lie along that axis" in note and f"along {'ijk'[axis]}" in note for note in result.report.notes)

    def test_isotropic_models_make_slices_along_it(
        self, isotropic: Model, smooth_volume: MakeVolume, axis: int
    ) -> None:
        volume = stored(smooth_volume((6, 20, 18)), axis)
        result = enhance(volume, isotropic, device="cpu").volume
        assert np.ptp(result.spacing) < 0.25
        corners = [field_of_view_corners(one.affine, one.shape) for one in (volume, result)]
        np.testing.assert_allclose(corners[0], corners[1], atol=1e-9)

    def test_a_region_is_that_part_of_the_whole(self, tiny_model: Model, smooth_volume: MakeVolume, axis: int) -> None:
        volume = stored(smooth_volume(), axis)
        whole = enhance(volume, tiny_model, device="cpu", point_spread=1.0).volume
        k, j, i = volume.shape
        roi = (1, i - 1, 0, j - 1, 1, k)
        part = enhance(volume, tiny_model, device="cpu", point_spread=1.0, roi=roi)
        fi, fj, fk = (int(factor) for factor in part.report.factors)
        expected = whole.voxels[fk:, : (j - 1) * fj, fi : (i - 1) * fi]
        np.testing.assert_array_equal(part.volume.voxels, expected)
        assert part.report.roi == roi

    def test_a_region_outside_is_named_by_the_axis_that_was_asked_about(
        self, tiny_model: Model, smooth_volume: MakeVolume, axis: int
    ) -> None:
        volume = stored(smooth_volume(), axis)
        with pytest.raises(UsageError, match="region's j range"):
            enhance(volume, tiny_model, device="cpu", roi=(0, 2, 0, 999, 0, 2))

    def test_the_estimate_knows_the_size(
        self, tiny_model: Model, smooth_volume: MakeVolume, axis: int, tmp_path: Path
    ) -> None:
        volume = stored(smooth_volume(), axis)
        expected = enhance(volume, tiny_model, device="cpu").volume.shape
        found = estimate(volume.shape, volume.voxels.dtype, tiny_model.manifest, "CPU", spacing=volume.spacing)
        assert found.shape == expected


def test_volumetric_models_turn_nothing(tmp_path: Path, smooth_volume: MakeVolume) -> None:
    model = make_tiny_model(tmp_path / "cube", task="volumetric", factors=(2, 2, 2), spatial_dims=3)
    volume = stored(smooth_volume((5, 12, 12)), 0)
    assert enhance(volume, model, device="cpu").report.notes == ()
