"""``medsr evaluate``: tables on stdout, JSON on request, one sentence and an exit code when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from MedSRLib.commands.main import main
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The catalogue is empty, so that only classical methods run."""
    monkeypatch.setattr("MedSRLib.models.catalogue.catalogued_folders", lambda: [])


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "head.nii.gz"
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((6, 26, 29)), 1.2)
    voxels = np.rint(500 + 400 * noise / np.abs(noise).max()).astype(np.int16)
    voxels[:, :5] = 0
    write_volume(Volume(voxels, np.diag([1.0, 1.0, 3.0, 1.0]), "MR"), path)
    return path


def test_a_table_names_range_mask_factors_and_the_gain(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(reference), "--task", "inplane-x2", "--methods", "all"]) == 0
    out = capsys.readouterr().out
    assert "head.nii.gz: inplane-x2, 14 x 13 x 6 voxels restored to 28 x 26 x 6 (factors 2 x 2 x 1)" in out
    assert "p99.9 - p0.1" in out
    assert "foreground above" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    assert {"nearest", "linear", "bspline", "lanczos4", "bspline-unsharp", "bspline-ibp"} <= set(rows)
    assert "clahe" not in rows
    gain = float(rows["bspline"][1]) - float(rows["bspline-ibp"][1])
    assert float(rows["bspline"][2]) == pytest.approx(gain, abs=0.011)
    assert float(rows["bspline-ibp"][2]) == 0
    assert "mean of" not in out


def test_the_baseline_is_measured_even_when_it_is_not_named(
    reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(reference), "--task", "through-plane:2", "--methods", "linear", "clahe"]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[0] for line in out.splitlines() if line.split()]
    assert rows[-3:] == ["linear", "clahe", "bspline-ibp"]


def test_json_holds_every_volume_and_the_mean(reference: Path, tmp_path: Path, capsys: object) -> None:
    second = tmp_path / "second.nrrd"
    ct = np.random.default_rng(1).integers(-1000, 400, (6, 24, 24)).astype(np.int16)
    write_volume(Volume(ct, np.eye(4), "CT"), second)
    target = tmp_path / "scores.json"
    assert main(["evaluate", str(reference), str(second), "--task", "inplane-x2", "--json", str(target)]) == 0
    content = json.loads(target.read_text())
    first, other = content["volumes"]
    assert content["failed"] == []
    assert content["factors"] == [2, 2, 1]
    assert (other["modality"], other["range"], other["foreground_above"]) == ("CT", 2000, -950)
    by_name = [{score["name"]: score for score in volume["scores"]} for volume in (first, other)]
    for mean in content["mean"]:
        assert mean["psnr"] == pytest.approx(np.mean([scores[mean["name"]]["psnr"] for scores in by_name]))
    assert {mean["name"] for mean in content["mean"]} == {"bspline", "bspline-ibp"}


def test_one_bad_volume_is_told_and_the_rest_goes_on(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "scores.json"
    missing = tmp_path / "missing.nii"
    code = main(["evaluate", str(missing), str(reference), "--task", "inplane-x2", "--json", str(target)])
    captured = capsys.readouterr()
    assert code == 4
    assert "head.nii.gz" in captured.out
    assert captured.err.count("\n") == 1
    assert "does not exist" in captured.err
    assert json.loads(target.read_text())["failed"][0]["reference"] == str(missing)


def test_nothing_is_written_when_every_volume_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "scores.json"
    assert main(["evaluate", str(tmp_path / "no.nii"), "--task", "inplane-x2", "--json", str(target)]) == 3
    assert not target.exists()
    assert capsys.readouterr().out == ""


def test_an_existing_json_is_kept_unless_overwriting_is_allowed(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "scores.json"
    target.write_text("mine")
    command = ["evaluate", str(reference), "--task", "inplane-x2", "--json", str(target)]
    assert main(command) == 2
    assert target.read_text() == "mine"
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert json.loads(target.read_text())["task"] == "inplane-x2"


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--task", "sharper"], 2, "no task 'sharper'"),
        (["--task", "inplane-x2", "--methods", "magic"], 2, "no classical method 'magic'"),
        (["--task", "inplane-x2", "--model", "unheard-of"], 3, "no model 'unheard-of'"),
        (["--task", "inplane-x2", "--point-spread", "0"], 2, "must be a positive number"),
        (["--task", "inplane-x2", "--json", "scores.txt"], 2, ".json"),
    ],
)
def test_wrong_usage_is_one_sentence_and_no_table(
    reference: Path, options: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(reference), *options]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_the_true_width_is_stated(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(reference), "--task", "inplane-x2", "--point-spread", "0.8"]) == 0
    assert "true width 0.8 where methods assume 1" in capsys.readouterr().out


def test_it_is_stated_when_models_are_not_told_the_width(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(reference), "--task", "inplane-x2", "--untold"]) == 0
    assert "inplane-x2 (models are not told the acquisition)" in capsys.readouterr().out


def test_the_true_profile_is_stated(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(reference), "--task", "inplane-x2", "--profile", "kspace"]) == 0
    assert "truly a k-space truncation where methods assume gaussian of width 1" in capsys.readouterr().out
