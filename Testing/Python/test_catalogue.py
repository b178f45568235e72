"""Models are found by name or folder, verified before they are loaded, and their weights interpolate."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from MedSRLib.errors import ModelError, UsageError
from MedSRLib.models import catalogue
from MedSRLib.models.catalogue import FULL, LITE, Model, available_models, find_model, resolve_model, save_model
from MedSRLib.models.manifest import Manifest
from MedSRLib.networks.build import Generator, build_generator

ARGUMENTS = {"factors": [2, 2], "features": 4, "blocks": 1, "growth": 2}


def tiny(name: str = "tiny") -> Manifest:
    return Manifest(
        name=name,
        version="1.0",
        task="inplane",
        factors=(2, 2, 1),
        spatial_dims=2,
        slices=1,
        predicts="residual",
        architecture="RRDBGenerator",
        arguments=ARGUMENTS,
        halo=18,
        domain={"modalities": ["MR"], "spacing_mm": [0.5, 2.0]},
        licence="Apache-2.0",
        description="a test",
    )


def network(seed: int) -> Generator:
    torch.manual_seed(seed)
    return build_generator("RRDBGenerator", ARGUMENTS)


def install(root: Path, name: str = "tiny", seed: int = 0) -> Model:
    return save_model(root / name, tiny(name), network(seed).state_dict())


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's models folder, and no shipped models."""
    monkeypatch.setenv("MEDSR_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(catalogue, "resources_folder", lambda: tmp_path / "Resources")
    return tmp_path / "models"


def test_a_saved_generator_loads_with_identical_output_in_evaluation_mode(shelf: Path) -> None:
    generator = network(3)
    model = save_model(shelf / "tiny", tiny(), generator.state_dict())
    loaded = model.load_generator()
    x = torch.rand(1, 1, 9, 7)
    assert torch.equal(loaded(x), generator(x))
    assert not loaded.training
    assert Model.read(shelf / "tiny") == model
    model.manifest.verify(model.folder)


def test_loading_draws_no_random_numbers(shelf: Path) -> None:
    model = install(shelf)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model.load_generator()
    assert torch.equal(torch.rand(3), expected)


def test_half_precision_on_disk_is_half_the_size_and_float32_in_memory(shelf: Path) -> None:
    generator = network(0)
    whole = save_model(shelf / "whole", tiny("whole"), generator.state_dict())
    half = save_model(shelf / "half", tiny("half"), generator.state_dict(), half=True)
    sizes = [(m.folder / "fidelity.safetensors").stat().st_size for m in (whole, half)]
    assert sizes[1] < 0.75 * sizes[0]
    loaded = half.load_generator()
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for name, value in generator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())


def test_a_weight_that_half_precision_cannot_hold_is_refused(shelf: Path) -> None:
    state = network(0).state_dict()
    state["conv_last.weight"][0, 0, 0, 0] = 1e6
    with pytest.raises(ModelError, match="store full precision"):
        save_model(shelf / "tiny", tiny(), state, half=True)
    assert not (shelf / "tiny").exists()


@pytest.mark.parametrize("damage", ["drop", "add", "shape"])
def test_weights_that_do_not_fit_are_not_saved(shelf: Path, damage: str) -> None:
    state = dict(network(0).state_dict())
    if damage == "drop":
        del state["conv_body.bias"]
    elif damage == "add":
        state["conv_extra.weight"] = torch.zeros(1)
    else:
        state["conv_last.bias"] = torch.zeros(3)
    with pytest.raises(ModelError, match="do not fit"):
        save_model(shelf / "tiny", tiny(), state)
    assert not (shelf / "tiny").exists()


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_fidelity_interpolates_the_weights(shelf: Path, alpha: float) -> None:
    faithful, pleasing = network(1).state_dict(), network(2).state_dict()
    model = save_model(shelf / "tiny", tiny(), faithful)
    model = save_model(model.folder, model.manifest, pleasing, weights="perceptual")
    state = model.load_generator(fidelity=alpha).state_dict()
    for name, value in state.items():
        torch.testing.assert_close(value, alpha * faithful[name] + (1 - alpha) * pleasing[name], rtol=0, atol=1e-7)
    default = model.load_generator().state_dict()
    assert all(torch.equal(default[name], faithful[name]) for name in faithful)


def test_a_name_may_say_the_fidelity(shelf: Path) -> None:
    faithful, pleasing = network(1).state_dict(), network(2).state_dict()
    model = save_model(shelf / "tiny", tiny(), faithful)
    save_model(model.folder, model.manifest, pleasing, weights="perceptual")
    for word, alpha, hashes in (("tiny@0", 0.0, {"perceptual"}), ("tiny@0.5", 0.5, {"fidelity", "perceptual"})):
        found = find_model(word)
        assert (found.title, found.fidelity, set(found.hashes_in_use)) == (word, alpha, hashes)
        state, same = found.load_generator().state_dict(), found.load_generator(fidelity=alpha).state_dict()
        assert all(torch.equal(state[name], same[name]) for name in state)
    assert (find_model("tiny").title, set(find_model("tiny").hashes_in_use)) == ("tiny", {"fidelity"})
    with pytest.raises(ModelError, match="no model 'tiny@best'"):
        find_model("tiny@best")


def test_less_fidelity_without_perceptual_weights_is_refused(shelf: Path) -> None:
    model = install(shelf)
    with pytest.raises(ModelError, match="no perceptual weights: use fidelity 1"):
        model.load_generator(fidelity=0.5)
    model.load_generator(fidelity=1.0)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_fidelity_lies_between_0_and_1(shelf: Path, alpha: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        install(shelf).load_generator(fidelity=alpha)


def test_tampered_weights_are_not_loaded(shelf: Path) -> None:
    model = install(shelf)
    path = model.folder / "fidelity.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="does not match the SHA-256"):
        model.load_generator()


def test_missing_weights_are_named(shelf: Path) -> None:
    model = install(shelf)
    (model.folder / "fidelity.safetensors").unlink()
    with pytest.raises(ModelError, match=r"fidelity\.safetensors cannot be read"):
        model.load_generator()


def test_a_model_is_found_by_name_and_by_folder(shelf: Path) -> None:
    model = install(shelf)
    assert find_model("tiny") == model
    assert find_model(model.folder) == model
    assert find_model(str(model.folder)) == model
    assert available_models() == [model]


def test_an_unknown_name_lists_the_models_there_are(shelf: Path) -> None:
    install(shelf, "b")
    install(shelf, "a")
    with pytest.raises(ModelError, match="'c': choose one of a, b"):
        find_model("c")


def test_without_any_model_the_sentence_says_so(shelf: Path) -> None:
    assert available_models() == []
    with pytest.raises(ModelError, match="none installed"):
        find_model("tiny")


def test_several_folders_of_models_can_be_named(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "one", "a")
    install(tmp_path / "two", "b")
    monkeypatch.setenv("MEDSR_MODELS", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
    assert [m.manifest.name for m in available_models()] == ["a", "b"]


def test_without_a_named_folder_models_are_in_the_home_folder(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDSR_MODELS")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    install(tmp_path / ".medsr" / "models", "mine")
    assert [m.manifest.name for m in available_models()] == ["mine"]


def test_the_users_model_hides_a_shipped_one_of_the_same_name(shelf: Path, tmp_path: Path) -> None:
    install(tmp_path / "Resources" / "Models", "tiny")
    assert find_model("tiny").folder == tmp_path / "Resources" / "Models" / "tiny"
    install(shelf, "tiny")
    assert find_model("tiny").folder == shelf / "tiny"


def test_a_folder_with_another_models_name_is_refused(shelf: Path) -> None:
    install(shelf).folder.rename(shelf / "renamed")
    with pytest.raises(ModelError, match="holds the model tiny"):
        find_model("renamed")


def test_a_damaged_model_does_not_hide_the_others(shelf: Path) -> None:
    install(shelf, "good")
    damaged = install(shelf, "bad").folder / "manifest.json"
    damaged.write_text(json.dumps({"format": 1}))
    assert find_model("good").manifest.name == "good"
    with pytest.raises(ModelError, match="bad"):
        available_models()


@pytest.mark.parametrize(
    ("installed", "device", "chosen"),
    [([LITE], "cpu", LITE), ([LITE], "cuda", LITE), ([LITE, FULL], "cpu", LITE), ([LITE, FULL], "cuda:1", FULL)],
)
def test_auto_suits_the_device(shelf: Path, installed: list[str], device: str, chosen: str) -> None:
    for name in installed:
        install(shelf, name)
    assert resolve_model("auto", device).manifest.name == chosen


def test_a_named_model_is_taken_on_any_device(shelf: Path) -> None:
    install(shelf, "tiny")
    assert resolve_model("tiny", "cuda").manifest.name == "tiny"


def test_resources_stand_beside_the_package() -> None:
    assert catalogue.resources_folder().name == "Resources"
    assert (catalogue.resources_folder().parent / "MedSRLib").is_dir()


def test_saving_again_replaces_weights_and_hash(shelf: Path) -> None:
    first = install(shelf, seed=1)
    second = save_model(first.folder, replace(first.manifest, version="1.1"), network(2).state_dict())
    assert second.manifest.weights != first.manifest.weights
    assert torch.equal(second.load_generator().state_dict()["conv_first.weight"], network(2).conv_first.weight)
    with pytest.raises(ModelError, match="SHA-256"):
        first.load_generator()
