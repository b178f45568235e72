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
    assert text.startswith(before.removesuffix("\n## Sources\n\nours\n").rstrip())
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
