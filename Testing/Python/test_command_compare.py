"""``medsr compare``: a picture of what was asked for, or one sentence and no file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from scipy import ndimage

from MedSRLib.commands.main import main
from MedSRLib.errors import InputError
from MedSRLib.evaluation.comparison import enlarged_shape
from MedSRLib.evaluation.protocol import acquire_low, parse_task
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.volume import Volume


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue is empty; models are given by folder."""
    monkeypatch.setattr("MedSRLib.models.catalogue.catalogued_folders", lambda: [])


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A reference of odd size and its in-plane x2 measurement, as files."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((6, 27, 33)), 1.2)
    voxels = np.rint(500 + 400 * noise / np.abs(noise).max()).astype(np.int16)
    voxels[:, :5] = 0
    reference = Volume(voxels, np.diag([-0.9, -0.9, 3.0, 1.0]), "MR")
    high, low = tmp_path / "high.nrrd", tmp_path / "low.nii.gz"
    write_volume(reference, high)
    write_volume(acquire_low(reference, parse_task("inplane-x2")), low)
    return low, high


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``draw_comparison`` was asked to draw, beside drawing it."""
    from MedSRLib.evaluation import comparison

    calls: list[dict[str, Any]] = []
    real = comparison.draw_comparison

    def spy(panels: Any, path: Path, **options: Any) -> None:
        calls.append({"panels": panels, "path": path, **options})
        real(panels, path, **options)

    monkeypatch.setattr(comparison, "draw_comparison", spy)
    return calls


def test_the_picture_shows_input_methods_and_reference_with_their_psnr(
    pair: tuple[Path, Path], tmp_path: Path, drawn: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = pair
    png = tmp_path / "out.png"
    command = ["compare", str(low), "bspline", "bspline-ibp", "--png", str(png), "--reference", str(high)]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == str(png)
    assert imread(png).std() > 0.05
    titles = [title.splitlines() for title, _ in drawn[0]["panels"]]
    assert [title[0] for title in titles] == ["input", "bspline", "bspline-ibp", "reference"]
    values = [float(title[1].removesuffix(" dB")) for title in titles[:-1]]
    assert values == sorted(values)
    assert drawn[0]["against"] == 3
    assert drawn[0]["panels"][0][1].shape == (26, 32)
    np.testing.assert_array_equal(drawn[0]["panels"][3][1], read_volume(high).voxels[3, :26, :32])


def test_without_a_reference_differences_are_from_interpolation_at_twice_the_size(
    pair: tuple[Path, Path], tmp_path: Path, drawn: list[dict[str, Any]]
) -> None:
    assert main(["compare", str(pair[0]), "bspline-ibp", "--png", str(tmp_path / "out.png")]) == 0
    assert [title for title, _ in drawn[0]["panels"]] == ["input", "bspline", "bspline-ibp"]
    assert drawn[0]["against"] == 1
    assert drawn[0]["panels"][0][1].shape == (26, 32)


def test_an_enhanced_file_sets_the_enlargement(
    tmp_path: Path, pair: tuple[Path, Path], drawn: list[dict[str, Any]]
) -> None:
    volume = read_volume(pair[1])
    low = tmp_path / "thick.nrrd"
    write_volume(acquire_low(volume, parse_task("through-plane:3")), low)
    command = ["compare", str(low), str(pair[1]), "linear", "--png", str(tmp_path / "out.png"), "--slice", "11"]
    assert main(command) == 0
    assert [title for title, _ in drawn[0]["panels"]] == ["input", "bspline", "high.nrrd", "linear"]
    np.testing.assert_array_equal(drawn[0]["panels"][2][1], volume.voxels[::-1, 11])  # superior is up
    assert drawn[0]["letters"] == ("R", "S")


def test_a_model_is_run_on_the_input(
    pair: tuple[Path, Path], tmp_path: Path, drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    high = read_volume(pair[1])
    cropped = high.with_voxels(high.voxels[:, :26, :32])
    enhancer = SimpleNamespace(enhance=lambda low, model, progress: SimpleNamespace(volume=cropped))
    monkeypatch.setitem(sys.modules, "MedSRLib.enhancement.enhancer", enhancer)
    model = SimpleNamespace(title="tiny")
    monkeypatch.setattr("MedSRLib.models.catalogue.find_model", lambda name: model)
    assert main(["compare", str(pair[0]), "tiny", "--png", str(tmp_path / "out.png")]) == 0
    assert drawn[0]["panels"][2][0] == "tiny"
    np.testing.assert_array_equal(drawn[0]["panels"][2][1], cropped.voxels[3])


def test_slice_and_zoom_are_those_asked_for(
    pair: tuple[Path, Path], tmp_path: Path, drawn: list[dict[str, Any]]
) -> None:
    low, high = pair
    options = ["--reference", str(high), "--slice", "1", "--zoom", "20", "12", "6"]
    assert main(["compare", str(low), "linear", "--png", str(tmp_path / "out.png"), *options]) == 0
    np.testing.assert_array_equal(drawn[0]["panels"][-1][1], read_volume(high).voxels[1, :26, :32])
    assert drawn[0]["zoom"] == (9, 17, 6, 6)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["magic"], 2, "no file and no classical method"),
        (["linear", "--slice", "6"], 2, "0..5 along k"),
        (["linear", "--zoom", "40", "0", "5"], 2, "zoom"),
        (["linear", "--reference", "missing.nrrd"], 3, "does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence_and_no_file(
    pair: tuple[Path, Path],
    tmp_path: Path,
    options: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    png = tmp_path / "out.png"
    assert main(["compare", str(pair[0]), *options, "--png", str(png)]) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not png.exists()


def test_nothing_is_overwritten_unless_it_is_allowed(pair: tuple[Path, Path], tmp_path: Path) -> None:
    png = tmp_path / "out.png"
    png.write_bytes(b"mine")
    command = ["compare", str(pair[0]), "linear", "--png", str(png)]
    assert main(command) == 2
    assert png.read_bytes() == b"mine"
    assert main([*command, "--overwrite"]) == 0
    assert imread(png).size


def test_the_input_is_never_the_output(pair: tuple[Path, Path], tmp_path: Path) -> None:
    trap = tmp_path / "trap.png"
    trap.hardlink_to(pair[0])
    before = pair[0].read_bytes()
    assert main(["compare", str(pair[0]), "linear", "--png", str(trap), "--overwrite"]) == 2
    assert pair[0].read_bytes() == before


def test_volumes_of_another_place_are_refused() -> None:
    low = Volume(np.zeros((4, 8, 8)), np.diag([2.0, 2.0, 3.0, 1.0]))
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = [-0.5, -0.5, 0]
    assert enlarged_shape(low, Volume(np.zeros((4, 17, 16)), affine)) == (4, 16, 16)
    moved = affine.copy()
    moved[0, 3] += 1.0
    for wrong in (Volume(np.zeros((4, 16, 16)), moved), Volume(np.zeros((4, 15, 16)), affine)):
        with pytest.raises(InputError, match="same place"):
            enlarged_shape(low, wrong)


def test_a_volume_enlarged_by_other_factors_is_named(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = pair
    png = tmp_path / "out.png"
    assert main(["compare", str(low), str(low), "--png", str(png), "--reference", str(high)]) == 3
    assert "low.nii.gz enlarges to 16 x 13 x 6 voxels, the others to 32 x 26 x 6" in capsys.readouterr().err
    assert not png.exists()
