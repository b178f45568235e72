"""The report tells what was taken off the input: noise, or detail, which is warned of; and how sure it is of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_model
from reports import report_of
from scipy import ndimage

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.enhancer import enhance, run_generator
from MedSRLib.enhancement.frames import join_reports
from MedSRLib.enhancement.report import FidelityTally, residual_warnings
from MedSRLib.enhancement.result import FidelityReport
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.intensity import IntensityScaling
from MedSRLib.volumes.volume import Volume

MakeVolume = Callable[..., Volume]
IN_PLANE = AcquisitionModel((2, 2, 1))
THROUGH_PLANE = AcquisitionModel((1, 1, 3))
NOISES = {
    "white": lambda white: white,
    "zero-filled": lambda white: ndimage.gaussian_filter(white, (0, 0.7, 0.7)) / 0.40,
    "sharpened": lambda white: (white - 0.6 * ndimage.gaussian_filter(white, (0, 0.7, 0.7))) / 0.83,
}


def anatomy(shape: tuple[int, ...]) -> np.ndarray:
    """Blobs with edges and a texture, all of it foreground, in 0..1000."""
    random = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    blobs = ndimage.gaussian_filter(random, 4) > 0
    texture = ndimage.gaussian_filter(random, 1.5)
    return (300 + 400 * blobs + 600 * texture).clip(100, 1000).astype(np.float32)


def tallied(acquisition: AcquisitionModel, x: np.ndarray, y: np.ndarray, sigma: float) -> dict[str, float | None]:
    tally = FidelityTally(acquisition, IntensityScaling(0.0, 1000.0), sigma)
    tally.add(torch.from_numpy(y), torch.from_numpy(x), torch.from_numpy(x), None)
    return tally.figures()


@pytest.mark.parametrize("acquisition", [IN_PLANE, THROUGH_PLANE])
@pytest.mark.parametrize("colour", NOISES)
@pytest.mark.parametrize("sigma", [0.0, 10.0, 30.0])
def test_detail_that_was_removed_is_warned_of_and_noise_is_not(
    acquisition: AcquisitionModel, colour: str, sigma: float
) -> None:
    x = anatomy((6, 96, 96) if acquisition is IN_PLANE else (48, 40, 40))
    clean = acquisition.apply(x)
    noise = NOISES[colour](np.random.default_rng(0).standard_normal(clean.shape))
    y = (clean + sigma * noise).astype(np.float32)
    blur = [0.45 * factor for factor in reversed(acquisition.factors)]
    good = tallied(acquisition, x, y, sigma)
    bad = tallied(acquisition, ndimage.gaussian_filter(x, [b if b > 0.45 else 0 for b in blur]), y, sigma)
    assert residual_warnings(good["missing_detail"]) == []
    assert "fine detail is missing" in residual_warnings(bad["missing_detail"])[0]


def test_the_residual_is_told_in_the_noise_and_its_correlation() -> None:
    x = anatomy((6, 96, 96))
    clean = IN_PLANE.apply(x)
    for colour, correlated in (("white", 0.0), ("zero-filled", 0.6)):
        noise = NOISES[colour](np.random.default_rng(0).standard_normal(clean.shape))
        figures = tallied(IN_PLANE, x, (clean + 20 * noise).astype(np.float32), 20.0)
        assert figures["residual_in_noise"] == pytest.approx(1.0, abs=0.1)
        assert figures["residual_correlation"] == pytest.approx(correlated, abs=0.12)
    assert tallied(IN_PLANE, x, clean, 0.0)["residual_in_noise"] is None


def test_noise_in_air_does_not_count() -> None:
    x = anatomy((4, 96, 96))
    x[:, :, 48:] = 0
    clean = IN_PLANE.apply(x)
    y = clean.copy()
    y[:, :, :22] += 20 * np.random.default_rng(0).standard_normal(y[:, :, :22].shape).astype(np.float32)
    assert tallied(IN_PLANE, x, y, 20.0)["residual_in_noise"] == pytest.approx(1.0, abs=0.1)


def test_nothing_is_said_of_detail_where_none_rises_above_the_noise() -> None:
    x = np.full((2, 40, 40), 500, np.float32)
    y = IN_PLANE.apply(x) + 20 * np.random.default_rng(0).standard_normal((2, 20, 20)).astype(np.float32)
    assert tallied(IN_PLANE, x, y.astype(np.float32), 20.0)["missing_detail"] is None
    assert residual_warnings(None) == []


def test_slabs_add_up_to_the_whole() -> None:
    x = anatomy((6, 96, 96))
    y = (IN_PLANE.apply(x) + np.random.default_rng(0).normal(0, 10, (6, 48, 48))).astype(np.float32)
    tally = FidelityTally(IN_PLANE, IntensityScaling(0.0, 1000.0), 10.0)
    for slab in (slice(0, 2), slice(2, 6)):
        tally.add(torch.from_numpy(y[slab]), torch.from_numpy(x[slab]), torch.from_numpy(x[slab]), None)
    whole = tallied(IN_PLANE, x, y, 10.0)
    assert tally.figures() == {name: pytest.approx(value, rel=1e-6) for name, value in whole.items()}


@pytest.fixture
def told_model(tmp_path: Path) -> Model:
    return make_tiny_model(tmp_path / "told", conditions=("width", "kspace", "noise"), arguments={"in_channels": 4})


def test_the_report_says_how_sure_it_is_and_who_said_it(told_model: Model, smooth_volume: MakeVolume) -> None:
    estimated = enhance(smooth_volume(), told_model).report
    told = enhance(smooth_volume(), told_model, point_spread=0.8, noise=7.0).report
    assert estimated.point_spread_deviation is not None
    assert 0 < estimated.point_spread_deviation < 1
    assert estimated.noise_deviation is not None
    assert (told.point_spread_deviation, told.noise_deviation) == (None, None)
    assert "point spread of 0.80 pixels (given)" in told.acquisition_text
    assert "\N{PLUS-MINUS SIGN}" not in told.acquisition_text


def test_interpolation_alone_lacks_detail_and_projected_onto_the_input_it_does_not(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "nothing", base_iterations=0)
    generator = model.load_generator()
    for parameter in generator.parameters():
        parameter.detach().zero_()
    y = IN_PLANE.apply(anatomy((4, 128, 128)))
    volume = Volume(np.rint(y).astype(np.int16), np.eye(4), "MR")
    known = {"point_spread": 1.0, "device": "cpu"}
    alone = run_generator(volume, model.manifest, generator, consistency=False, **known).report
    projected = run_generator(volume, model.manifest, generator, **known).report
    assert any("fine detail is missing" in warning for warning in alone.warnings)
    assert projected.warnings == ()


def test_a_blank_image_leaves_no_infinity_in_the_report(told_model: Model) -> None:
    report = enhance(Volume(np.full((2, 24, 24), 7, np.int16), np.eye(4), "MR"), told_model, force=True).report
    json.dumps(report.to_json(), allow_nan=False)


def test_the_acquisition_is_told_with_its_uncertainty() -> None:
    text = report_of((2, 2, 1)).acquisition_text
    assert "point spread of 0.85 \N{PLUS-MINUS SIGN} 0.06 pixels (estimated)" in text
    assert "noise of 0.8 \N{PLUS-MINUS SIGN} 0.1 % of the range (estimated)" in text
    assert "(from the header)" in report_of((1, 1, 3)).acquisition_text
    assert "(assumed)" in report_of((1, 1, 3), slice_thickness_source="assumed").acquisition_text


@pytest.mark.parametrize(("header", "width", "source"), [(2.0, None, "header"), (None, 0.9, "given")])
def test_the_report_says_who_said_how_thick_slices_are(
    told_model: Model, smooth_volume: MakeVolume, header: float | None, width: float | None, source: str
) -> None:
    from dataclasses import replace

    volume = replace(smooth_volume(), slice_thickness=header)
    assert enhance(volume, told_model, point_spread=width).report.slice_thickness_source == source
    assert enhance(smooth_volume(), told_model).report.slice_thickness_source == "assumed"


def test_the_text_says_where_it_cannot_be_told_whether_detail_is_missing() -> None:
    assert "2 % of fine detail is missing" in report_of().residual_text
    assert "too little detail above it to tell" in report_of(missing_detail=None).residual_text
    assert report_of(residual_in_noise=None, missing_detail=None).residual_text == "no noise"


def test_frames_report_the_one_that_lacks_the_most() -> None:
    whole = join_reports([report_of(missing_detail=one) for one in (0.01, None, 0.3)], ["a", "b", "c"])
    assert whole.missing_detail == 0.3
    assert FidelityReport.from_json(whole.to_json()) == whole
