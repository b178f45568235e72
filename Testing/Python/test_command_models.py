"""``medsr models``: results on stdout, messages on stderr, one sentence and an exit code for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from MedSRLib.commands.main import main
from MedSRLib.models import catalogue
from MedSRLib.models.catalogue import Model
from MedSRLib.networks.build import build_generator

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's models folder, and no shipped models."""
    monkeypatch.setenv("MEDSR_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(catalogue, "resources_folder", lambda: tmp_path / "Resources")
    return tmp_path / "models"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    arguments = {"in_channels": 3, "out_channels": 3, "features": 4, "blocks": 1, "growth": 2, "upsampler": "nearest"}
    torch.save({"params_ema": build_generator("RRDBGenerator", arguments).state_dict()}, tmp_path / "network.pth")
    return tmp_path / "network.pth"


def run(*words: str | Path) -> int:
    return main(["models", *map(str, words)])


def test_an_imported_model_is_listed_shown_and_verified(shelf: Path, checkpoint: Path, capsys: Captured) -> None:
    assert run("import", checkpoint, "--name", "mine", "--licence", "CC0-1.0") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(shelf / "mine")]
    assert "never a default" in err

    assert run("list") == 0
    out, err = capsys.readouterr()
    header, line = out.splitlines()
    assert header.split() == ["NAME", "VERSION", "TASK", "FACTORS", "FOR", "LICENCE"]
    assert line.split() == ["mine", "1.0", "inplane", "2", "x", "2", "x", "1", "natural", "images", "CC0-1.0"]
    assert err == ""

    assert run("show", "mine") == 0
    out, _ = capsys.readouterr()
    assert str(shelf / "mine") in out
    assert Model.read(shelf / "mine").manifest.weights["fidelity"]["sha256"][:12] in out

    assert run("verify") == 0
    assert capsys.readouterr().out == "mine: verified\n"


def test_the_list_says_which_shipped_configurations_have_no_model_yet(
    checkpoint: Path, shelf: Path, tmp_path: Path, capsys: Captured
) -> None:
    training = tmp_path / "Resources" / "Training"
    training.mkdir(parents=True)
    for name in ("mine", "large"):
        (training / f"{name}.toml").write_text(f'name = "{name}"\ndescription = "The {name} one."\n')
    assert run("import", checkpoint, "--name", "mine") == 0
    capsys.readouterr()
    assert run("list") == 0
    before, after = capsys.readouterr().out.split("\n\n")
    assert "mine" in before
    assert "medsr train" in after
    assert after.splitlines()[1:] == [str(training / "large.toml"), "    The large one."]
    assert run("list", "--json") == 0
    assert [model["name"] for model in json.loads(capsys.readouterr().out)] == ["mine"]


def test_json_is_machine_readable(shelf: Path, checkpoint: Path, capsys: Captured) -> None:
    run("import", checkpoint, "--name", "mine")
    capsys.readouterr()
    assert run("list", "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["factors"], entry["folder"]) == ("mine", [2, 2, 1], str(shelf / "mine"))
    assert run("show", "mine", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    on_disk = json.loads((shelf / "mine" / "manifest.json").read_text(encoding="utf-8"))
    assert {key: shown[key] for key in on_disk} == on_disk


def test_without_models_json_is_an_empty_list_and_the_table_a_message(shelf: Path, capsys: Captured) -> None:
    assert run("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run("list") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "no models are installed" in err


def test_the_output_folder_can_be_chosen(shelf: Path, checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run("import", checkpoint, "--name", "mine", "--output", tmp_path / "elsewhere") == 0
    assert not shelf.exists()
    assert run("verify", tmp_path / "elsewhere" / "mine") == 0
    assert "mine: verified" in capsys.readouterr().out


def test_an_existing_model_needs_overwrite(shelf: Path, checkpoint: Path, capsys: Captured) -> None:
    assert run("import", checkpoint, "--name", "mine") == 0
    capsys.readouterr()
    assert run("import", checkpoint, "--name", "mine") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run("import", checkpoint, "--name", "mine", "--overwrite") == 0


def test_verify_goes_on_after_a_damaged_model_and_returns_3(shelf: Path, checkpoint: Path, capsys: Captured) -> None:
    for name in ("a", "b", "c"):
        run("import", checkpoint, "--name", name)
    weights = shelf / "b" / "fidelity.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    (shelf / "a" / "manifest.json").write_text("{")
    capsys.readouterr()
    assert run("verify") == 3
    out, err = capsys.readouterr()
    assert out == "c: verified\n"
    assert [str(weights) in line or "manifest.json" in line for line in err.splitlines()] == [True, True]


def test_list_names_the_damaged_model_and_lists_the_others(shelf: Path, checkpoint: Path, capsys: Captured) -> None:
    for name in ("a", "b"):
        run("import", checkpoint, "--name", name)
    (shelf / "a" / "manifest.json").write_text("{")
    capsys.readouterr()
    assert run("list") == 3
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "b"]
    assert str(shelf / "a") in err


def test_an_unknown_model_is_one_sentence_that_lists_the_others(
    shelf: Path, checkpoint: Path, capsys: Captured
) -> None:
    run("import", checkpoint, "--name", "mine")
    capsys.readouterr()
    for action in ("show", "verify"):
        assert run(action, "other") == 3
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines() == ["medsr: there is no model 'other': choose one of mine, or give a model's folder"]


@pytest.mark.parametrize("words", [["import", "absent.pth", "--name", "x"], ["show", "absent"]])
def test_mistakes_leave_nothing_behind(words: list[str], shelf: Path, capsys: Captured) -> None:
    assert run(*words) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert not shelf.exists()


@pytest.mark.parametrize("words", [[], ["--help"], ["import", "--help"], ["paint"], ["import", "x.pth"]])
def test_help_has_examples_and_wrong_usage_returns_2(words: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == (0 if "--help" in words else 2)
    if "--help" in words:
        assert "medsr models import" in capsys.readouterr().out.partition("example")[2]
