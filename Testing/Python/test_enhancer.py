"""Enhancing keeps the place, the grey levels and the type of a volume, and says how far to trust the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import OBLIQUE, UINT16, make_tiny_model

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.enhancer import enhance, run_generator
from MedSRLib.errors import EnhancementCancelled, InputError, ModelError, UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.files import read_volume
from MedSRLib.volumes.geometry import field_of_view_corners
from MedSRLib.volumes.volume import Volume

MakeVolume = Callable[..., Volume]


@pytest.fixture(scope="module")
def through_plane_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("models") / "tiny-isotropic"
    return make_tiny_model(folder, task="through-plane", factors=(1, 1, 3), factor_range=(1.5, 8))


@pytest.fixture(scope="module")
def volumetric_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("models") / "tiny-3d"
    return make_tiny_model(
        folder, task="volumetric", factors=(2, 2, 2), spatial_dims=3, arguments={"features": 2, "growth": 2}
    )


def same_field_of_view(one: Volume, other: Volume) -> bool:
    return np.allclose(
        field_of_view_corners(one.affine, one.shape),
        field_of_view_corners(other.affine, other.shape),
        atol=1e-6,
        rtol=0,
    )


def test_an_oblique_anisotropic_odd_sized_volume_keeps_its_field_of_view(
    tiny_model: Model, smooth_volume: MakeVolume
) -> None:
    volume = smooth_volume((3, 23, 17))
    enhanced = enhance(volume, tiny_model).volume
    assert enhanced.shape == (3, 46, 34)
    assert same_field_of_view(volume, enhanced)


def test_a_sheared_left_handed_volume_keeps_its_field_of_view(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume()
    affine = volume.affine @ np.array([[-1, 0.2, 0.1, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    sheared = volume.with_voxels(volume.voxels, affine)
    assert same_field_of_view(sheared, enhance(sheared, tiny_model).volume)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_the_data_type_is_kept(tiny_model: Model, smooth_volume: MakeVolume, dtype: type) -> None:
    volume = smooth_volume(dtype=np.float64)
    scaled = volume.with_voxels((volume.voxels - volume.voxels.min()).clip(0, 255).astype(dtype))
    assert enhance(scaled, tiny_model, force=True).volume.voxels.dtype == dtype


def test_a_real_full_range_uint16_volume_never_wraps(tiny_model: Model) -> None:
    volume = read_volume(UINT16)
    stretched = volume.voxels.astype(np.float64) - volume.voxels.min()
    full = volume.with_voxels(np.rint(stretched / stretched.max() * 65535).astype(np.uint16))
    assert (full.voxels.min(), full.voxels.max()) == (0, 65535)
    result = enhance(full, tiny_model).volume.voxels
    blocks = AcquisitionModel((2, 2, 1), in_plane_profile="box").apply(result.astype(np.float32))
    # A wrapped voxel would be off by the whole range of 65536.
    assert np.abs(blocks - full.voxels).max() < 20000


def test_ct_stays_in_hu(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume((4, 40, 40), modality="CT")
    enhanced = enhance(volume, tiny_model)
    assert enhanced.volume.voxels.dtype == np.int16
    assert enhanced.report.intensity_range == 2000
    assert abs(enhanced.volume.voxels.mean() - volume.voxels.mean()) < 2.0
    assert enhanced.report.mean_shift == pytest.approx(enhanced.volume.voxels.mean() - volume.voxels.mean(), abs=1e-3)


def test_the_input_is_not_changed(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume()
    before = volume.voxels.copy()
    enhance(volume, tiny_model, uncertainty=True)
    assert np.array_equal(volume.voxels, before)


def test_consistency_brings_the_result_nearer_to_the_measurement(tiny_model: Model) -> None:
    volume = read_volume(OBLIQUE)
    free = enhance(volume, tiny_model, consistency=False).report.lr_consistency_rmse
    projected = enhance(volume, tiny_model).report.lr_consistency_rmse
    assert projected < free / 3


def test_the_reported_consistency_is_that_of_the_returned_voxels(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume()
    enhanced = enhance(volume, tiny_model)
    acquisition = AcquisitionModel((2, 2, 1)).with_point_spread(enhanced.report.point_spread)
    again = acquisition.apply(enhanced.volume.voxels.astype(np.float32))
    expected = float(np.sqrt(np.mean((again - volume.voxels) ** 2)))
    assert enhanced.report.lr_consistency_rmse == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("roi", [(4, 13, 3, 12, 1, 4), (0, 18, 0, 21, 2, 3), (10, 18, 15, 21, 0, 5)])
def test_a_region_equals_that_part_of_the_whole(
    tiny_model: Model, smooth_volume: MakeVolume, roi: tuple[int, ...]
) -> None:
    volume = smooth_volume()
    whole, part = enhance(volume, tiny_model).volume, enhance(volume, tiny_model, roi=roi).volume
    i0, i1, j0, j1, k0, k1 = roi
    expected = whole.voxels[k0:k1, 2 * j0 : 2 * j1, 2 * i0 : 2 * i1]
    assert np.abs(part.voxels.astype(int) - expected).max() <= 1
    first = whole.affine @ (2 * i0, 2 * j0, k0, 1)
    assert np.allclose(part.affine[:, 3], first, atol=1e-9)


def test_a_small_region_of_a_large_slice_equals_that_part_of_the_whole(tiny_model: Model) -> None:
    volume = read_volume(OBLIQUE)
    whole = enhance(volume, tiny_model).volume.voxels
    part = enhance(volume, tiny_model, roi=(28, 36, 28, 36, 10, 12)).volume.voxels
    assert np.abs(part.astype(int) - whole[10:12, 56:72, 56:72]).max() <= 1


@pytest.mark.parametrize("start", [33, 34])
@pytest.mark.parametrize("uncertainty", [False, True])
def test_a_region_begins_where_an_unshuffling_network_groups_its_voxels(
    start: int, uncertainty: bool, tmp_path: Path, smooth_volume: MakeVolume
) -> None:
    """From an odd voxel on, or turned round from an odd number before the end, it would see other groups of four."""
    model = make_tiny_model(tmp_path / "unshuffled", arguments={"unshuffle": 2, "blocks": 0})
    volume = smooth_volume((2, 68, 69))
    roi = (start, start + 3, start - 2, start + 2, 0, 2)
    whole, part = (enhance(volume, model, roi=box, uncertainty=uncertainty).volume.voxels for box in (None, roi))
    expected = whole[:, 2 * start - 4 : 2 * start + 4, 2 * start : 2 * start + 6]
    assert np.abs(part.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("roi", [(0, 0, 0, 5, 0, 5), (0, 19, 0, 5, 0, 5), (-1, 4, 0, 5, 0, 5)])
def test_a_region_outside_the_volume_is_refused(
    tiny_model: Model, smooth_volume: MakeVolume, roi: tuple[int, ...]
) -> None:
    with pytest.raises(UsageError, match="region"):
        enhance(smooth_volume(), tiny_model, roi=roi)


def test_thick_slices_become_isotropic_over_the_same_field_of_view(
    through_plane_model: Model, smooth_volume: MakeVolume
) -> None:
    volume = smooth_volume((7, 20, 24))
    enhanced = enhance(volume, through_plane_model)
    assert enhanced.volume.shape == (round(7 * 3.0 / 0.9), 20, 24)
    assert same_field_of_view(volume, enhanced.volume)
    assert enhanced.report.factors[2] == pytest.approx(3.0 / 0.9)


def test_slice_thickness_and_spacing_are_both_honoured(through_plane_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume((7, 20, 24))
    overlapping = Volume(volume.voxels, volume.affine, volume.modality, slice_thickness=3.6)
    report = enhance(overlapping, through_plane_model).report
    assert report.slice_thickness == pytest.approx(1.2)
    assert not np.array_equal(
        enhance(overlapping, through_plane_model).volume.voxels, enhance(volume, through_plane_model).volume.voxels
    )


def test_a_region_of_a_through_plane_result_equals_that_part_of_the_whole(
    through_plane_model: Model, smooth_volume: MakeVolume
) -> None:
    volume = smooth_volume((7, 20, 24))
    whole = enhance(volume, through_plane_model).volume
    part = enhance(volume, through_plane_model, roi=(2, 9, 3, 11, 2, 5)).volume
    first = int(np.floor(2 * whole.shape[0] / 7))
    expected = whole.voxels[first : first + part.shape[0], 3:11, 2:9]
    assert np.abs(part.voxels.astype(int) - expected).max() <= 1
    assert np.allclose(part.affine[:, 3], whole.affine @ (2, 3, first, 1), atol=1e-9)


def test_a_volume_of_one_slice_is_refused_by_a_through_plane_model(
    through_plane_model: Model, smooth_volume: MakeVolume
) -> None:
    with pytest.raises(InputError, match="has one"):
        enhance(smooth_volume((1, 20, 20)), through_plane_model)


def test_an_isotropic_volume_is_refused_by_a_through_plane_model(
    through_plane_model: Model, smooth_volume: MakeVolume
) -> None:
    volume = smooth_volume((6, 20, 20))
    with pytest.raises(InputError, match="isotropic already"):
        enhance(volume.with_voxels(volume.voxels, np.eye(4)), through_plane_model)


def test_a_volumetric_model_doubles_every_axis(volumetric_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume((7, 11, 9))
    enhanced = enhance(volume, volumetric_model)
    assert enhanced.volume.shape == (14, 22, 18)
    assert same_field_of_view(volume, enhanced.volume)


def test_one_slice_is_enhanced_in_plane(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    assert enhance(smooth_volume((1, 20, 20)), tiny_model).volume.shape == (1, 40, 40)


def test_the_uncertainty_lies_on_the_results_grid_in_the_volumes_units(
    tiny_model: Model, smooth_volume: MakeVolume
) -> None:
    enhanced = enhance(smooth_volume(), tiny_model, uncertainty=True)
    assert enhanced.uncertainty is not None
    assert enhanced.uncertainty.shape == enhanced.volume.shape
    assert np.array_equal(enhanced.uncertainty.affine, enhanced.volume.affine)
    assert enhanced.uncertainty.voxels.max() > 0
    assert enhanced.uncertainty.voxels.min() >= 0
    assert enhanced.report.uncertain_share_percent is not None
    assert 0 <= enhanced.report.uncertain_share_percent <= 100


def test_the_generators_turns_average_to_a_result_that_turns_with_the_image(
    tiny_model: Model, smooth_volume: MakeVolume
) -> None:
    """With all flips and transpositions averaged, enhancing a flipped image gives the flipped result."""
    volume = smooth_volume((1, 20, 20))
    flipped = volume.with_voxels(np.ascontiguousarray(volume.voxels[:, ::-1]))
    one = enhance(volume, tiny_model, uncertainty=True).volume.voxels
    other = enhance(flipped, tiny_model, uncertainty=True).volume.voxels
    assert np.abs(one.astype(int) - other[:, ::-1]).max() <= 1


def test_a_through_plane_generator_never_sees_the_slice_axis_turned(
    through_plane_model: Model, smooth_volume: MakeVolume
) -> None:
    """It has learnt that rows lie along the slice axis: averaging over transpositions would cost, not gain."""
    volume = smooth_volume((4, 19, 23))
    rows: set[int] = set()
    generator = through_plane_model.load_generator()
    generator.register_forward_pre_hook(lambda _, inputs: rows.add(inputs[0].shape[-2]))
    run_generator(volume, through_plane_model.manifest, generator, uncertainty=True, factor=3)
    assert rows == {12}


def test_the_point_spread_width_can_be_given(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume()
    narrow = enhance(volume, tiny_model, point_spread=0.7)
    assert narrow.report.point_spread == 0.7
    assert not np.array_equal(narrow.volume.voxels, enhance(volume, tiny_model).volume.voxels)


@pytest.mark.parametrize(("modality", "floor"), [("MR", 0), ("CT", -1024)])
def test_values_do_not_fall_below_what_is_possible(
    tiny_model: Model, smooth_volume: MakeVolume, modality: str, floor: int
) -> None:
    """A bright square beside air or padding: projection alone undershoots there."""
    volume = smooth_volume((3, 24, 24), modality=modality)
    voxels = np.full(volume.shape, floor, np.int16)
    voxels[:, 6:18, 6:18] = floor + 1500 + np.arange(12)
    square = volume.with_voxels(voxels)
    assert enhance(square, tiny_model, consistency=False).volume.voxels.min() < floor
    assert enhance(square, tiny_model).volume.voxels.min() == floor


def test_slices_of_unknown_thickness_have_the_models_own_width(tmp_path: Path, smooth_volume: MakeVolume) -> None:
    narrow = make_tiny_model(
        tmp_path / "narrow", task="through-plane", factors=(1, 1, 3), factor_range=(1.5, 8), in_plane_fwhm=0.8
    )
    volume = smooth_volume((5, 20, 20))
    assert enhance(volume, narrow).report.slice_thickness == 0.8
    assert enhance(volume, narrow, point_spread=1.1).report.slice_thickness == 1.1
    stated = replace(volume, slice_thickness=2.7)
    assert enhance(stated, narrow).report.slice_thickness == pytest.approx(0.9)


def test_the_factor_of_a_through_plane_result_can_be_chosen(
    through_plane_model: Model, smooth_volume: MakeVolume
) -> None:
    volume = smooth_volume((6, 20, 20))
    enhanced = enhance(volume, through_plane_model, factor=2.5)
    assert enhanced.volume.shape == (15, 20, 20)
    assert enhanced.report.factors == (1, 1, 2.5)
    assert same_field_of_view(volume, enhanced.volume)


@pytest.mark.parametrize("factor", [1.2, 9])
def test_a_factor_the_model_was_not_made_for_is_refused(
    through_plane_model: Model, smooth_volume: MakeVolume, factor: float
) -> None:
    with pytest.raises(UsageError, match=r"takes factors from 1\.5 to 8"):
        enhance(smooth_volume(), through_plane_model, factor=factor)


def test_a_model_with_a_factor_of_its_own_takes_no_other(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    with pytest.raises(UsageError, match="a factor of its own"):
        enhance(smooth_volume(), tiny_model, factor=3)


def test_an_image_predicting_model_is_not_added_to_the_interpolation(tmp_path: Path, smooth_volume: MakeVolume) -> None:
    """Equal weights, told to predict the image: without projection the result is the generator's output alone."""
    model = make_tiny_model(tmp_path / "image", predicts="image")
    volume = smooth_volume(dtype=np.float32)
    enhanced = enhance(volume, model, consistency=False).volume.voxels
    both = enhance(volume, make_tiny_model(tmp_path / "residual", base_iterations=0), consistency=False).volume.voxels
    assert np.abs(both - enhanced).mean() > 10


def test_progress_rises_to_one(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    told: list[tuple[float, str]] = []
    enhance(smooth_volume(), tiny_model, progress=lambda fraction, message: told.append((fraction, message)))
    seen = [fraction for fraction, _ in told]
    assert seen == sorted(seen)
    assert told[0] == (0.0, "estimating point spread and noise")
    assert len(set(seen[1:])) == 5, "one step a slice, for a volume of five"
    assert seen[-1] == 1.0


def test_cancelling_raises(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    with pytest.raises(EnhancementCancelled):
        enhance(smooth_volume(), tiny_model, cancelled=lambda: True)


def test_the_report_is_json_and_names_model_hash_and_version(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    report = json.loads(json.dumps(enhance(smooth_volume(), tiny_model).report.to_json()))
    assert report["model"]["sha256"]["fidelity"] == tiny_model.manifest.weights["fidelity"]["sha256"]
    assert report["version"]
    assert "not for primary diagnosis" in report["notice"]


def test_an_input_outside_the_models_domain_is_named(tmp_path: Path, smooth_volume: MakeVolume) -> None:
    domain = {"modalities": ["CT"], "spacing_mm": [1.5, 2.0]}
    warnings = enhance(smooth_volume(), make_tiny_model(tmp_path / "ct", domain=domain)).report.warnings
    assert any("not on MR" in warning for warning in warnings)
    assert any("1.5 to 2 mm" in warning for warning in warnings)


def test_an_input_inside_the_models_domain_has_no_warning(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    assert enhance(smooth_volume(), tiny_model).report.warnings == ()


def test_a_modality_that_is_not_known_is_no_warning(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    assert enhance(smooth_volume(modality="other"), tiny_model).report.warnings == ()


@pytest.mark.parametrize(("share", "warned"), [(0.1, False), (0.4, True)])
def test_dense_bone_is_warned_of_where_the_model_saw_none(
    tmp_path: Path, smooth_volume: MakeVolume, share: float, warned: bool
) -> None:
    domain = {"modalities": ["CT"], "spacing_mm": None, "dense_bone": 0.03}
    volume = smooth_volume(modality="CT")
    voxels = np.random.default_rng(0).normal(40, 10, volume.shape).astype(np.int16)
    voxels[..., : round(share * voxels.shape[-1])] = 1300
    found = enhance(volume.with_voxels(voxels), make_tiny_model(tmp_path / "ct", domain=domain)).report.warnings
    assert any("dense bone" in warning for warning in found) == warned
    unstated = make_tiny_model(tmp_path / "any", domain={"modalities": ["CT"], "spacing_mm": None})
    assert not any("dense bone" in w for w in enhance(volume.with_voxels(voxels), unstated).report.warnings)


@pytest.mark.parametrize(("gain", "noted"), [(0.05, True), (1.2, False)])
def test_little_that_was_gained_for_such_images_is_a_note(
    tmp_path: Path, smooth_volume: MakeVolume, gain: float, noted: bool
) -> None:
    rows = [{"modality": "US", "volumes": 2, "gain": gain}, {"modality": "MR", "volumes": 9, "gain": 3 - 2.9 * noted}]
    domain = {"modalities": ["US"], "spacing_mm": None}
    model = make_tiny_model(tmp_path / "us", domain=domain, scores={"kinds": rows})
    report = enhance(smooth_volume(modality="US"), model).report
    assert any(f"{gain:+.1f} dB" in note for note in report.notes) == noted
    assert report.warnings == ()


def test_tampered_weights_are_refused(tmp_path: Path, smooth_volume: MakeVolume) -> None:
    model = make_tiny_model(tmp_path / "tampered")
    weights = model.folder / "fidelity.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256"):
        enhance(smooth_volume(), model)


def test_voxels_that_are_not_finite_are_refused(tiny_model: Model, smooth_volume: MakeVolume) -> None:
    volume = smooth_volume(dtype=np.float32)
    volume.voxels[2, 3, 4] = np.nan
    with pytest.raises(InputError, match=r"1 of .* NaN"):
        enhance(volume, tiny_model)


@pytest.mark.parametrize("option", [{"device": "abacus"}, {"precision": "float8"}, {"fidelity": 1.5}])
def test_wrong_option_values_are_refused(
    tiny_model: Model, smooth_volume: MakeVolume, option: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        enhance(smooth_volume(), tiny_model, **option)  # type: ignore[arg-type]


class TestThroughPlaneWarnings:
    @pytest.mark.parametrize(
        ("step", "factor", "words"),
        [
            (12.0, None, "not isotropic: tiny-iso makes 8 slices of each at most"),
            (1.3, None, "1.30 slices are made of each"),
            (4.0, None, ""),
            (12.0, 4.0, ""),
        ],
    )
    def test_what_a_factor_range_leaves_undone_is_said(
        self, tmp_path: Path, smooth_volume: MakeVolume, step: float, factor: float | None, words: str
    ) -> None:
        model = make_tiny_model(tmp_path / "tiny-iso", task="through-plane", factors=(1, 1, 3), factor_range=(1.5, 8))
        volume = Volume(smooth_volume((3, 12, 12)).voxels, np.diag([1.0, 1.0, step, 1.0]), "MR")
        warnings = enhance(volume, model, device="cpu", factor=factor).report.warnings
        assert [words in warning for warning in warnings] == ([True] if words else [])

    @pytest.mark.parametrize(("thickness", "said"), [(4.0, False), (5.0, False), (8.0, True), (None, False)])
    def test_slices_that_overlap_are_taken_as_thick_as_they_are_apart_and_said(
        self, tmp_path: Path, smooth_volume: MakeVolume, thickness: float | None, said: bool
    ) -> None:
        model = make_tiny_model(tmp_path / "tiny-iso", task="through-plane", factors=(1, 1, 3), factor_range=(1.5, 8))
        affine = np.diag([1.0, 1.0, 4.0, 1.0])
        volume = Volume(smooth_volume((3, 12, 12)).voxels, affine, "MR", slice_thickness=thickness)
        report = enhance(volume, model, device="cpu").report
        assert any("2.00 times as thick as they are apart" in warning for warning in report.warnings) == said
        taken = {4.0: 1.0, 5.0: 1.25, 8.0: 1.0, None: model.manifest.in_plane_fwhm}
        assert report.slice_thickness == pytest.approx(taken[thickness])
