"""The comparative study: a fair measurement, the right place, and rows that say what they were computed with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import make_tiny_model
from scipy import ndimage

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.errors import EnhancementCancelled, InputError, ModelError, UsageError
from MedSRLib.evaluation import metrics, protocol
from MedSRLib.evaluation.protocol import (
    acquire_low,
    crop_to_multiple,
    evaluate_volume,
    fits_task,
    models_for_task,
    noisy,
    parse_task,
    truly,
)
from MedSRLib.evaluation.scores import mean_scores
from MedSRLib.models.catalogue import Model
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.geometry import field_of_view_corners, upsampled_affine
from MedSRLib.volumes.volume import Volume

OBLIQUE = np.array([[0.7, -0.5, 0.3, -40.0], [0.4, 0.8, -0.6, 12.5], [-0.1, 0.45, 2.4, 7.25], [0, 0, 0, 1]])


def anatomy(shape: tuple[int, int, int] = (9, 25, 31), modality: str = "MR", seed: int = 0) -> Volume:
    """Smooth random structure with air around it, int16."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.2)
    voxels = 400 + 400 * noise / np.abs(noise).max()
    voxels[:, :4] = 0
    if modality == "CT":
        voxels -= 1000
    return Volume(np.rint(voxels).astype(np.int16), OBLIQUE, modality)


def a_model(tmp_path: Any, **changes: Any) -> Model:
    """A manifest as a shipped in-plane x2 model has it; no weights are read in these tests."""
    content: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "task": "inplane",
        "factors": (2, 2, 1),
        "spatial_dims": 2,
        "slices": 1,
        "predicts": "residual",
        "architecture": "compact",
        "arguments": {},
        "halo": 2,
        "domain": {"modalities": ["MR"], "spacing_mm": None},
        "licence": "Apache-2.0",
        "description": "for tests",
        "weights": {"fidelity": {"file": "fidelity.safetensors", "sha256": "a" * 64}},
    }
    return Model(tmp_path, Manifest(**{**content, **changes}))


@pytest.fixture
def enhance_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Puts a function in the place of ``enhance``."""

    def put(enhance: Callable[..., Any]) -> None:
        monkeypatch.setitem(sys.modules, "MedSRLib.enhancement.enhancer", SimpleNamespace(enhance=enhance))

    return put


def doubled(volume: Volume, model: Any = None, **options: Any) -> Any:
    """What a model without skill returns: each voxel four times."""
    voxels = volume.voxels.repeat(2, axis=1).repeat(2, axis=2)
    return SimpleNamespace(volume=volume.with_voxels(voxels))


@pytest.mark.parametrize(
    ("task", "factors"),
    [
        ("inplane-x2", (2, 2, 1)),
        ("inplane-x4", (4, 4, 1)),
        ("volumetric-x2", (2, 2, 2)),
        ("through-plane:3", (1, 1, 3)),
        ("through-plane:2.5", (1, 1, 2.5)),
    ],
)
def test_a_task_names_its_factors(task: str, factors: tuple[float, float, float]) -> None:
    acquisition = parse_task(task)
    assert acquisition.factors == factors
    assert acquisition == AcquisitionModel(factors)


@pytest.mark.parametrize("task", ["inplane", "inplane-x3", "through-plane", "through-plane:1", "through-plane:x", ""])
def test_an_unknown_task_is_answered_with_those_there_are(task: str) -> None:
    with pytest.raises(UsageError, match="inplane-x2"):
        parse_task(task)


def test_the_reference_is_cropped_at_the_end_only() -> None:
    volume = anatomy()
    cropped = crop_to_multiple(volume, AcquisitionModel((2, 2, 1)))
    np.testing.assert_array_equal(cropped.voxels, volume.voxels[:, :24, :30])
    np.testing.assert_array_equal(cropped.affine, volume.affine)


@pytest.mark.parametrize(("slices", "kept", "low"), [(25, 25, 10), (27, 25, 10), (9, 8, 3)])
def test_a_fractional_factor_keeps_whole_low_resolution_slices(slices: int, kept: int, low: int) -> None:
    volume = anatomy((slices, 12, 12))
    acquisition = AcquisitionModel((1, 1, 2.5))
    assert crop_to_multiple(volume, acquisition).shape[0] == kept
    assert acquire_low(volume, acquisition).shape[0] == low


@pytest.mark.parametrize("factors", [(2, 2, 1), (4, 4, 1), (1, 1, 3), (1, 1, 2.5), (2, 2, 2)])
def test_the_measurement_covers_the_field_of_view_of_the_cropped_reference(factors: tuple[float, ...]) -> None:
    acquisition = AcquisitionModel(factors)
    volume = anatomy()
    reference, low = crop_to_multiple(volume, acquisition), acquire_low(volume, acquisition)
    np.testing.assert_allclose(
        field_of_view_corners(low.affine, low.shape),
        field_of_view_corners(reference.affine, reference.shape),
        atol=1e-9,
    )
    np.testing.assert_allclose(upsampled_affine(low.affine, low.shape, reference.shape), volume.affine, atol=1e-9)


def test_the_measurement_is_a_x_rounded_to_the_source_type() -> None:
    volume = anatomy()
    low = acquire_low(volume, AcquisitionModel((2, 2, 1)))
    exact = AcquisitionModel((2, 2, 1)).apply(volume.voxels[:, :24, :30].astype(np.float64))
    assert low.voxels.dtype == np.int16
    assert np.abs(low.voxels - exact).max() <= 0.5 + 1e-3


def test_the_measurement_knows_its_slice_thickness() -> None:
    volume = anatomy((12, 16, 16))
    low = acquire_low(volume, truly(AcquisitionModel((1, 1, 3)), 1.2, "gaussian"))
    assert low.slice_thickness == pytest.approx(1.2 * 3 * volume.spacing[2])
    assert acquire_low(volume, AcquisitionModel((2, 2, 1))).slice_thickness is None


@pytest.mark.parametrize(
    ("shape", "factors", "says"),
    [((1, 32, 32), (1, 1, 3), "1 voxels along k"), ((9, 3, 32), (2, 2, 1), "along j"), ((9, 10, 32), (2, 2, 1), "11")],
)
def test_a_reference_that_is_too_small_is_refused(
    shape: tuple[int, int, int], factors: tuple[float, float, float], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        crop_to_multiple(Volume(np.zeros(shape, np.int16), np.eye(4)), AcquisitionModel(factors))


def test_a_reference_with_nan_is_refused() -> None:
    voxels = anatomy().voxels.astype(np.float32)
    voxels[3, 3, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        evaluate_volume(Volume(voxels, np.eye(4), "MR"), AcquisitionModel((2, 2, 1)), methods=["bspline"])


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_every_score_is_that_of_the_rounded_estimate(modality: str) -> None:
    from MedSRLib.evaluation.classical import METHODS

    volume = anatomy(modality=modality)
    acquisition = AcquisitionModel((2, 2, 1))
    result = evaluate_volume(volume, acquisition, methods=["bspline", "bspline-ibp"])
    reference, low = crop_to_multiple(volume, acquisition), acquire_low(volume, acquisition)
    assert [score.name for score in result.scores] == ["bspline", "bspline-ibp"]
    assert (result.shape, result.low_shape, result.factors) == (reference.shape, low.shape, (2, 2, 1))
    estimate = np.rint(METHODS["bspline"](low.voxels, reference.shape, acquisition)).astype(np.int16)
    first = result.scores[0]
    assert first.psnr == metrics.psnr(reference.voxels, estimate, result.rule)
    assert (first.ssim, first.ssim_foreground) == metrics.ssim(reference.voxels, estimate, result.rule)
    assert first.consistency == metrics.consistency_rmse(estimate, low.voxels, acquisition)
    assert first.consistency_share == pytest.approx(first.consistency / result.rule.range)
    assert result.scores[1].psnr > first.psnr
    assert result.scores[1].consistency < 0.5 < first.consistency


def test_methods_are_not_told_the_true_width() -> None:
    volume, acquisition = anatomy(), AcquisitionModel((2, 2, 1))
    told = evaluate_volume(volume, acquisition, methods=["bspline-ibp"])
    wrong = evaluate_volume(volume, acquisition, methods=["bspline-ibp"], true_width=1.3)
    assert wrong.scores[0].consistency > 5 * told.scores[0].consistency


def test_a_model_gets_the_measurement_and_is_scored_with_its_sha(tmp_path: Any, enhance_with: Any) -> None:
    seen: list[tuple[Volume, Model, dict[str, Any]]] = []

    def enhance(volume: Volume, model: Model, **options: Any) -> Any:
        seen.append((volume, model, options))
        return doubled(volume)

    enhance_with(enhance)
    volume, acquisition = anatomy(), AcquisitionModel((2, 2, 1))
    result = evaluate_volume(
        volume, acquisition, methods=["nearest"], models=[a_model(tmp_path)], device="cpu", true_width=0.9
    )
    nearest, tiny = result.scores
    assert (tiny.name, tiny.model_sha256) == ("tiny", {"fidelity": "a" * 64})
    assert nearest.model_sha256 is None
    assert tiny.psnr == nearest.psnr
    low, model, options = seen[0]
    np.testing.assert_array_equal(low.voxels, acquire_low(volume, truly(acquisition, 0.9, "gaussian")).voxels)
    assert model.manifest.name == "tiny"
    assert options["device"] == "cpu"


@pytest.mark.parametrize(("told", "thickness"), [(True, 0.7), (False, None)])
def test_the_true_thickness_of_slices_is_told_or_nothing_of_it(
    tmp_path: Any, enhance_with: Any, told: bool, thickness: float | None
) -> None:
    seen: list[float | None] = []

    def enhance(volume: Volume, model: Model, **options: Any) -> Any:
        seen.append(volume.slice_thickness)
        return SimpleNamespace(volume=volume.with_voxels(volume.voxels.repeat(2, 0).repeat(2, 1).repeat(2, 2)))

    enhance_with(enhance)
    volume = anatomy((8, 24, 24))
    models = [a_model(tmp_path)]
    evaluate_volume(volume, AcquisitionModel((2, 2, 2)), methods=[], models=models, true_width=0.7, told=told)
    assert seen == [None if thickness is None else pytest.approx(thickness * 2 * volume.spacing[2])]


@pytest.mark.parametrize("told", [True, False])
def test_models_that_can_be_told_are_told_the_true_width_and_noise(
    tmp_path: Any, enhance_with: Any, told: bool
) -> None:
    seen: list[Any] = []

    def enhance(volume: Volume, model: Model, **options: Any) -> Any:
        seen.append((options["point_spread"], options.get("noise")))
        return doubled(volume)

    enhance_with(enhance)
    models = [a_model(tmp_path, conditions=("width", "kspace", "noise")), a_model(tmp_path)]
    scores = evaluate_volume(
        anatomy(), AcquisitionModel((2, 2, 1)), methods=[], models=models, true_width=0.7, noise=0.02, told=told
    )
    sigma = pytest.approx(0.02 * scores.rule.range)
    assert seen == ([(0.7, sigma), (0.7, None)] if told else [(None, None), (None, None)])


@pytest.mark.parametrize("modality", ["CT", "MR", "US"])
def test_the_measurement_gets_the_noise_that_was_asked_for_and_the_same_each_time(modality: str) -> None:
    clean = anatomy((9, 64, 64), modality)
    first, second = (noisy(clean, 20.0).voxels.astype(float) for _ in range(2))
    inside = clean.voxels > clean.voxels.min() + 200
    assert np.std((first - clean.voxels)[inside]) == pytest.approx(20.0, rel=0.03)
    assert np.array_equal(first, second)


def test_a_model_that_gives_another_shape_is_named(tmp_path: Any, enhance_with: Any) -> None:
    enhance_with(lambda volume, model, **options: SimpleNamespace(volume=volume))
    with pytest.raises(ModelError, match="tiny gave shape"):
        evaluate_volume(anatomy(), AcquisitionModel((2, 2, 1)), methods=[], models=[a_model(tmp_path)])


def test_models_fit_a_task_by_their_factors(tmp_path: Any) -> None:
    inplane = a_model(tmp_path)
    thick = a_model(tmp_path, task="through-plane", factors=(1, 1, 3), factor_range=(1.5, 8))
    assert fits_task(inplane, parse_task("inplane-x2"))
    assert not fits_task(inplane, parse_task("inplane-x4"))
    assert fits_task(thick, parse_task("through-plane:8"))
    assert not fits_task(thick, parse_task("through-plane:9"))
    assert not fits_task(thick, parse_task("volumetric-x2"))


def test_a_model_with_perceptual_weights_is_measured_with_both_sets(tmp_path: Any, monkeypatch: Any) -> None:
    plain, both = a_model(tmp_path), a_model(tmp_path)
    weights = {kind: {"file": f"{kind}.safetensors", "sha256": "a" * 64} for kind in ("fidelity", "perceptual")}
    both = replace(both, manifest=replace(both.manifest, name="both", weights=weights))
    monkeypatch.setattr(protocol, "available_models", lambda: [plain, both])
    assert [model.title for model in models_for_task(parse_task("inplane-x2"))] == ["tiny", "both", "both@0"]


def test_thin_slices_of_any_pixel_size_are_a_reference_for_a_through_plane_model(tmp_path: Any) -> None:
    """The factor is the task's, not the one that makes voxels isotropic."""
    reference = anatomy()
    assert len(set(reference.spacing)) > 1
    thick = make_tiny_model(tmp_path / "thick", task="through-plane", factors=(1, 1, 2), factor_range=(1.5, 8))
    scores = evaluate_volume(reference, parse_task("through-plane:2"), methods=["bspline"], models=[thick]).scores
    assert np.isfinite(scores[1].psnr)


@pytest.mark.parametrize(("told", "width", "thickness"), [(True, 1.0, 2.0), (False, None, None)])
def test_models_are_told_the_nominal_width_unless_asked_otherwise(
    tmp_path: Any, enhance_with: Any, told: bool, width: float | None, thickness: float | None
) -> None:
    """Classical methods know it, so models do too; untold they meet the volume as one of an unknown scanner."""
    seen: list[Any] = []

    def enhance(volume: Volume, model: Model, **options: Any) -> Any:
        seen.append((volume.slice_thickness, options["point_spread"], options["factor"]))
        return SimpleNamespace(volume=volume.with_voxels(volume.voxels.repeat(2, 0)))

    enhance_with(enhance)
    reference = anatomy((8, 25, 31)).with_voxels(anatomy((8, 25, 31)).voxels, np.eye(4))
    thick = a_model(tmp_path, task="through-plane", factors=(1, 1, 2), factor_range=(1.5, 8))
    evaluate_volume(reference, parse_task("through-plane:2"), methods=[], models=[thick], told=told)
    assert seen == [(thickness, width, 2.0)]


def test_the_true_profile_of_the_acquisition_can_be_another() -> None:
    volume, acquisition = anatomy(), AcquisitionModel((2, 2, 1))
    gaussian, box = (
        evaluate_volume(volume, acquisition, methods=["bspline-ibp"], true_profile=profile).scores[0].psnr
        for profile in ("gaussian", "box")
    )
    assert gaussian != box


def test_progress_runs_from_nothing_to_one_and_names_the_methods(tmp_path: Any, enhance_with: Any) -> None:
    def enhance(volume: Volume, model: Any, *, progress: Callable[[float, str], None], **options: Any) -> Any:
        progress(0.5, "tile 1 of 2")
        return doubled(volume)

    enhance_with(enhance)
    told: list[tuple[float, str]] = []
    evaluate_volume(
        anatomy(),
        AcquisitionModel((2, 2, 1)),
        methods=["nearest", "linear"],
        models=[a_model(tmp_path)],
        progress=lambda fraction, message: told.append((fraction, message)),
    )
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert (pytest.approx(2.5 / 3), "tiny: tile 1 of 2") in told


def test_cancelling_stops_before_the_next_method() -> None:
    told: list[str] = []
    with pytest.raises(EnhancementCancelled):
        evaluate_volume(
            anatomy(),
            AcquisitionModel((2, 2, 1)),
            methods=["nearest", "linear", "bspline"],
            progress=lambda fraction, message: told.append(message),
            cancelled=lambda: "linear" in told,
        )
    assert "bspline" not in told


def test_the_mean_row_is_the_mean_and_has_no_units() -> None:
    acquisition = AcquisitionModel((2, 2, 1))
    one = evaluate_volume(anatomy(), acquisition, methods=["linear", "bspline"])
    two = evaluate_volume(anatomy(modality="CT", seed=1), acquisition, methods=["linear", "bspline"])
    means = mean_scores([one, two])
    assert [mean.name for mean in means] == ["linear", "bspline"]
    assert means[1].psnr == pytest.approx((one.scores[1].psnr + two.scores[1].psnr) / 2)
    assert means[0].consistency_share == pytest.approx(
        (one.scores[0].consistency_share + two.scores[0].consistency_share) / 2
    )
    assert means[0].consistency is None
    assert mean_scores([]) == []


def test_scores_survive_json_with_range_mask_and_factors() -> None:
    result = evaluate_volume(anatomy(), AcquisitionModel((2, 2, 1)), methods=["bspline"])
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["range"] == result.rule.range
    assert content["foreground_above"] == result.rule.threshold
    assert content["factors"] == [2, 2, 1]
    assert content["scores"][0]["psnr"] == result.scores[0].psnr


def test_a_perfect_score_is_null_in_json(tmp_path: Any, enhance_with: Any) -> None:
    volume = anatomy((9, 24, 30))
    enhance_with(lambda low, model, **options: SimpleNamespace(volume=volume))
    result = evaluate_volume(volume, AcquisitionModel((2, 2, 1)), methods=[], models=[a_model(tmp_path)])
    assert result.scores[0].psnr == float("inf")
    assert result.scores[0].to_json()["psnr"] is None


def test_a_real_model_is_scored_through_the_enhancer(tmp_path: Any) -> None:
    from MedSRLib.models.catalogue import save_model
    from MedSRLib.networks.build import build_generator

    arguments = {"factors": [2, 2], "features": 4, "convolutions": 1, "predicts_residual": True}
    manifest = a_model(tmp_path, architecture="CompactGenerator", arguments=arguments, halo=3).manifest
    model = save_model(tmp_path, manifest, build_generator("CompactGenerator", arguments).state_dict())
    below_zero = anatomy().with_voxels(anatomy().voxels - 100)  # so that values have no floor
    result = evaluate_volume(
        below_zero, AcquisitionModel((2, 2, 1)), methods=["bspline", "bspline-ibp"], models=[model], device="cpu"
    )
    bspline, projected, untrained = result.scores
    assert untrained.model_sha256 == {"fidelity": model.manifest.weights["fidelity"]["sha256"]}
    assert bspline.psnr < untrained.psnr  # its residual is zero, and projection remains
    assert untrained.psnr == pytest.approx(projected.psnr, abs=0.5)
