"""The figures in a shipped model's card are those that medsr evaluate printed."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from conftest import OBLIQUE

from MedSRLib.commands.main import main
from MedSRLib.models.card import write_card
from MedSRLib.models.catalogue import Model

SCRIPT = Path(__file__).parents[2] / "Utilities/card_figures.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("card_figures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tiny_model: Model, tmp_path: Path) -> Path:
    """A copy of the model with a card that ends in a section of its own."""
    copy = tmp_path / tiny_model.manifest.name
    shutil.copytree(tiny_model.folder, copy)
    card = write_card(tiny_model.manifest, copy)
    card.write_text(card.read_text() + "\n## Sources\n\nours\n")
    return copy


def evaluate(folder: Path, name: str, *options: str) -> Path:
    path = folder.parent / name
    assert (
        main(["evaluate", str(OBLIQUE), "--task", "inplane-x2", "--model", str(folder), "--json", str(path), *options])
        == 0
    )
    return path


def test_the_card_holds_the_figures_and_keeps_what_else_it_says(script: ModuleType, folder: Path) -> None:
    told, untold = evaluate(folder, "told.json"), evaluate(folder, "untold.json", "--untold", "--profile", "kspace")
    card = folder / "MODEL_CARD.md"
    before = card.read_text()
    assert script.main([str(folder), str(told), "--robustness", str(untold)]) == 0
    text = card.read_text()
    assert text.startswith(before.partition("## Scores")[0])
    assert text.endswith("\n## Sources\n\nours\n")
    scores = {score["name"]: score for score in json.loads(told.read_text())["volumes"][0]["scores"]}
    model = scores[folder.name]
    assert f"{model['psnr']:.2f} / {model['ssim']:.4f} | {model['psnr'] - scores['bspline-ibp']['psnr']:+.2f} |" in text
    assert "| k-space truncation | mr_t1_oblique_64x64x24.nrrd |" in text
    assert script.main([str(folder), str(told), "--robustness", str(untold)]) == 0
    assert card.read_text() == text, "figures are replaced, not added"


def test_sections_after_the_figures_stay(script: ModuleType, folder: Path) -> None:
    told = evaluate(folder, "told.json")
    card = folder / "MODEL_CARD.md"
    script.main([str(folder), str(told)])
    card.write_text(card.read_text() + "\n## Sources\n\nours\n")
    script.main([str(folder), str(told)])
    assert card.read_text().endswith("\n## Sources\n\nours\n")
    assert card.read_text().count(script.HEADING) == 1


def test_the_manifest_and_the_card_say_what_is_gained_by_kind_of_image(
    script: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, untold = evaluate(folder, "told.json"), evaluate(folder, "untold.json", "--untold")
    contents = [json.loads(path.read_text()) for path in (told, untold)]
    for content in contents:  # as if it were several volumes of two kinds
        volume = content["volumes"][0]
        content["volumes"] = [
            {**volume, "reference": f"x/{name}.nii.gz"} for name in ("us_a", "mr_t1_prostate", "mr_t2_prostate")
        ]
    baseline, model = (
        next(score for score in contents[0]["volumes"][2]["scores"] if score["name"] == name)
        for name in ("bspline-ibp", folder.name)
    )
    contents[0]["volumes"][2]["scores"] = [
        {**score, "psnr": baseline["psnr"] - 0.5} if score["name"] == folder.name else score
        for score in contents[0]["volumes"][2]["scores"]
    ]
    told.write_text(json.dumps(contents[0]))
    untold.write_text(json.dumps(contents[1]))
    assert script.main([str(folder), str(told), "--robustness", str(untold)]) == 0
    gain = model["psnr"] - baseline["psnr"]
    kinds = Model.read(folder).manifest.scores["kinds"]
    assert [(row["kind"], row["modality"], row["volumes"]) for row in kinds] == [
        ("MR of the prostate", "MR", 2),
        ("ultrasound", "US", 1),
    ]
    assert kinds[0]["gain"] == pytest.approx((gain - 0.5) / 2, abs=0.01)
    assert kinds[0]["least_gain"] == pytest.approx(min(gain, -0.5), abs=0.01)
    assert kinds[1]["untold_gain"] is not None
    assert kinds[1]["perceptual_gain"] is None
    row = f"| ultrasound | 1 | {baseline['psnr']:.2f} | {gain:+.2f} |"
    assert row in (folder / "MODEL_CARD.md").read_text()
    capsys.readouterr()
    assert main(["models", "show", str(folder)]) == 0
    assert f"{baseline['psnr']:.2f}" in capsys.readouterr().out.splitlines()[-1]


def test_one_command_measures_a_model_and_writes_its_card(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    measuring = importlib.import_module("measure_models")
    out = tmp_path / "evaluations"
    out.mkdir()
    reference = tmp_path / "mr_t1_prostate.nrrd"
    shutil.copy(OBLIQUE, reference)
    measuring.measure(Model.read(folder), [reference], out)
    assert Model.read(folder).manifest.scores["kinds"][0]["kind"] == "MR of the prostate"
    text = (folder / "MODEL_CARD.md").read_text()
    assert "| gaussian of 1 voxels, noise 3 % | mr_t1_prostate.nrrd |" in text
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    measuring.measure(Model.read(folder), [reference], out)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times, "nothing is measured twice"
