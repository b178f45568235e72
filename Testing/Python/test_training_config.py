"""A training configuration: found by name, fed by options, and every value checked before anything is loaded."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OBLIQUE, make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_dicom import write_slice

from MedSRLib.commands.main import main
from MedSRLib.errors import InputError, UsageError
from MedSRLib.models.catalogue import resources_folder
from MedSRLib.networks.vgg import VGGTrunk
from MedSRLib.training.arguments import load_run, shipped_configurations
from MedSRLib.training.config import PairsConfig, TrainingConfig, load_config
from MedSRLib.training.discovery import find_volumes
from MedSRLib.training.network_rules import require_fitting_networks
from MedSRLib.training.rules import type_hints
from MedSRLib.training.run import find_start
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.storage import sha256_of

TINY = """
name = "tiny"
modalities = ["MR"]
[generator]
features = 4
blocks = 1
growth = 4
[pairs]
patch = 12
margin = 2
[optimiser]
iterations = 2
batch = 1
[run]
device = "cpu"
threads = 1
"""
BAD = {
    "optimiser.batch=-3": "optimiser.batch = -3 must be a whole number of at least 1",
    "pairs.noise_share=7.0": "pairs.noise_share = 7.0 must be a share between 0 and 1",
    "optimiser.learning_rate=-1": "optimiser.learning_rate = -1.0 must be a number of at least 0",
    "architecture=Nope": "architecture = 'Nope' must be RRDBGenerator or CompactGenerator",
    "run.checkpoint_every=0": "run.checkpoint_every = 0 must be a whole number of at least 1",
    "factor_range=[8,1.5]": "factor_range = [8.0, 1.5] must be [smallest, largest], both above 1",
    "pairs.phantom_share=1.5": "pairs.phantom_share = 1.5 must be a share between 0 and 1",
    "losses.perceptual.layers=[]": "losses.perceptual.layers = [] must be one layer or more, each with its weight in "
    "layer_weights",
    "generator.unshuffle=8": "pairs.patch = 12 must be a multiple of 8, the side of the blocks that "
    "generator.unshuffle makes",
    "optimiser.bach=4": "unknown setting optimiser.bach: did you mean optimiser.batch?",
}
WORSE = {
    "name=../../elsewhere": "name",
    "optimiser.batch=2.5": "optimiser.batch = 2.5 must be a whole number",
    "optimiser.batch=true": "optimiser.batch",
    "optimiser.learning_rate=nan": "optimiser.learning_rate",
    "optimiser.learning_rate=inf": "optimiser.learning_rate",
    "optimiser.betas=[0.9, 1.0]": "optimiser.betas",
    "optimiser.betas=[0.9]": "optimiser.betas",
    "optimiser.ema=1.0": "optimiser.ema",
    "optimiser=4": "optimiser = 4 must be a table",
    "run.tensorboard=1": "run.tensorboard = 1 must be true or false",
    "run.device=toaster": "toaster",
    "pairs.gamma=[1.4, 0.7]": "pairs.gamma",
    "pairs.fwhm=[0.0, 1.0]": "pairs.fwhm",
    "factors=[2, 2, 0]": "factors",
    "modalities=['Xray']": "modalities",
    'data.validation=[""]': "data.validation",
    "generator.features=0": "generator.features = 0 must be a whole number of at least 1",
    "generator.features=wide": "generator.features",
    "generator.factors=[3, 3]": "generator.factors",
    "generator.upsampler=magic": "generator.upsampler = 'magic' must be 'pixelshuffle' or 'nearest'",
    "generator.groth=4": "did you mean generator.growth",
    "losses.perceptual.sha256=abc": "losses.perceptual.sha256",
    "losses.perceptual.trunk=vgg11": "losses.perceptual.trunk = 'vgg11' must be 'vgg16' or 'vgg19'",
}


def leaves(kind: Any) -> Iterator[str]:
    """The dotted keys of every setting."""
    for name, hint in type_hints(kind).items():
        if is_dataclass(hint):
            yield from leaves(hint)
        elif name != "table":
            yield kind.key(name)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made in the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A configuration that names no data."""
    path = tmp_path / "configurations" / "tiny.toml"
    path.parent.mkdir()
    path.write_text(TINY)
    return path


def write_head(path: Path, part: slice = slice(0, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = read_volume(OBLIQUE)
    write_volume(volume.with_voxels(volume.voxels[part].copy()), path)


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
@pytest.mark.parametrize(("override", "sentence"), BAD.items())
def test_a_bad_value_is_one_sentence_that_names_the_key(
    tiny: Path, override: str, sentence: str, dry_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is loaded: the volumes do not exist, which nobody comes to notice."""
    assert main(["train", str(tiny), "--data", "missing.nrrd", "--set", override, *dry_run]) == 2
    assert capsys.readouterr().err == f"medsr: {sentence}\n"


@pytest.mark.parametrize(("override", "words"), WORSE.items())
def test_what_no_run_could_use_is_refused_too(
    tiny: Path, override: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tiny), "--data", "missing.nrrd", "--set", override]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_tables_made_in_python_are_checked_too() -> None:
    with pytest.raises(UsageError, match=r"pairs\.noise_share"):
        PairsConfig(noise_share=7.0)


def test_layers_and_patches_must_fit_the_perceptual_trunk(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", str(tiny), "--data", "missing.nrrd", "--set", "gan.iterations=2", "--set", "pairs.margin=4"]
    assert main([*command, "--set", 'losses.perceptual.layers=["conv6_1"]']) == 2
    assert "losses.perceptual.layers: 'conv6_1' is none of vgg19's" in capsys.readouterr().err
    assert main([*command, "--set", 'losses.perceptual.layers=["conv5_4"]']) == 2
    assert "pairs.patch = 12 leaves 8 voxels a side to be scored and conv5_4" in capsys.readouterr().err


@pytest.mark.parametrize("name", shipped_configurations())
def test_a_shipped_configuration_names_no_place_of_this_machine(name: str) -> None:
    text = (resources_folder() / "Training" / f"{name}.toml").read_text()
    table = tomllib.loads(text)
    assert "data" not in table
    assert "output" not in table
    assert not re.search(r"\.\./|/home|/tmp", text)
    assert load_run(resources_folder() / "Training" / f"{name}.toml", changes={"data.train": ["x"]}).name == name


def test_a_configuration_of_an_unknown_name_is_answered_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "inplane-x3", "--data", "x"]) == 2
    assert "inplane-x2-lite" in capsys.readouterr().err


def test_a_run_without_data_says_how_to_name_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "inplane-x2-lite"]) == 2
    assert "--data" in capsys.readouterr().err


def test_data_and_runs_of_the_options_are_in_the_current_folder(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        write_head(tmp_path / "volumes" / f"{name}.nrrd")
    command = ["train", "configurations/tiny.toml", "--data", "volumes", "--validation", "volumes/b*", "volumes/c.nrrd"]
    assert main(command) == 0
    model = tmp_path / "runs" / "tiny" / "model"
    assert Path(capsys.readouterr().out.strip()) == model
    assert main([*command, "--output", "elsewhere", "--stacks", "volumes/a.nrrd"]) == 0
    training = find_start("model", tmp_path / "elsewhere" / "tiny").manifest.training
    assert (training["volumes"], training["held_out"]) == (["a.nrrd"], ["b.nrrd", "c.nrrd"])
    assert training["stacks"] == ["a.nrrd"]
    assert not list(tiny.parent.glob("*/"))


def test_the_manifest_says_what_a_model_was_trained_on_and_not_where_it_lay(tiny: Path, tmp_path: Path) -> None:
    write_head(tmp_path / "volumes" / "a.nrrd")
    make_tiny_model(tmp_path / "start", arguments={"predicts_residual": True})
    command = ["train", str(tiny), "--data", str(tmp_path / "volumes"), "--set", f"start={tmp_path / 'start'}"]
    assert main([*command, "--set", "version=1.2.0"]) == 0
    manifest = find_start("model", tmp_path / "runs" / "tiny").manifest
    assert manifest.version == "1.2.0"
    assert manifest.training["volumes"] == ["a.nrrd"]
    assert manifest.training["configuration"]["start"] == "start"
    assert str(tmp_path) not in str(manifest.to_json())
    assert "`a.nrrd`" in (tmp_path / "runs" / "tiny" / "model" / "MODEL_CARD.md").read_text()


def test_a_gan_stage_without_a_vgg_is_refused_and_says_what_to_do(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_head(tmp_path / "a.nrrd")
    command = ["train", str(tiny), "--data", "a.nrrd", "--set", "gan.iterations=1", "--set", "gan.features=2"]
    command += ["--set", 'losses.perceptual.layers=["conv1_2"]']
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "--vgg FILE" in said
    assert "gan.iterations=0" in said


def test_a_dry_run_plans_the_gan_stage_also_without_a_vgg(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_head(tmp_path / "a.nrrd")
    command = ["train", str(tiny), "--data", "a.nrrd", "--set", "gan.iterations=1", "--set", "gan.features=2"]
    assert main([*command, "--set", 'losses.perceptual.layers=["conv1_2"]', "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "--vgg FILE" in said.err
    assert "gan        1 iterations" in said.out
    assert not (tmp_path / "runs").exists()


def test_a_vgg_by_option_is_used_and_named_by_its_hash(tiny: Path, tmp_path: Path) -> None:
    write_head(tmp_path / "a.nrrd")
    save_file(VGGTrunk("vgg16", ["conv1_2"]).state_dict(), tmp_path / "vgg.safetensors")
    command = ["train", str(tiny), "--data", "a.nrrd", "--vgg", "vgg.safetensors"]
    for setting in ("gan.iterations=1", "gan.features=2", "losses.perceptual.trunk=vgg16"):
        command += ["--set", setting]
    assert main([*command, "--set", 'losses.perceptual.layers=["conv1_2"]']) == 0
    used = find_start("model", tmp_path / "runs" / "tiny").manifest.training["configuration"]["losses"]["perceptual"]
    assert (used["weights"], used["sha256"]) == ("vgg.safetensors", sha256_of(tmp_path / "vgg.safetensors"))


def test_a_vgg_may_lie_on_the_web_where_its_hash_is_given(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", str(tiny), "--data", "missing.nrrd", "--set", "gan.iterations=1", "--set", "gan.features=2"]
    command += ["--set", 'losses.perceptual.layers=["conv1_2"]', "--vgg", "https://weights.example/vgg.pth"]
    assert main(command) == 2
    assert "give losses.perceptual.sha256 for https://weights.example/vgg.pth" in capsys.readouterr().err


def test_a_run_that_would_be_overwritten_is_refused_before_anything_is_read(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_head(tmp_path / "a.nrrd")
    assert main(["train", str(tiny), "--data", "a.nrrd"]) == 0
    assert main(["train", str(tiny), "--data", "missing.nrrd"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_folder_of_runs_that_cannot_be_made_is_one_sentence(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_head(tmp_path / "a.nrrd")
    assert main(["train", str(tiny), "--data", "a.nrrd", "--output", "a.nrrd"]) == 3
    assert re.fullmatch(r"medsr: .*a\.nrrd/tiny cannot be made .*--output\n", capsys.readouterr().err)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_a_checkpoint_that_cannot_be_written_is_one_sentence_and_leaves_the_one_before(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    write_head(tmp_path / "a.nrrd")
    assert main(["train", str(tiny), "--data", "a.nrrd"]) == 0
    checkpoint = tmp_path / "runs" / "tiny" / "checkpoint.pt"
    before = checkpoint.read_bytes()

    def fill_the_disk(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fill_the_disk)
    capsys.readouterr()
    assert main(["train", str(tiny), "--data", "a.nrrd", "--resume", "--set", "optimiser.iterations=4"]) == 3
    assert "--resume" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
    assert not list(checkpoint.parent.glob("*.part"))


def test_a_stack_that_is_not_trained_on_is_named(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_head(tmp_path / "a.nrrd")
    write_head(tmp_path / "b.nrrd")
    assert main(["train", str(tiny), "--data", "a.nrrd", "--stacks", "b.nrrd"]) == 3
    assert "b.nrrd, which is not among data.train" in capsys.readouterr().err


def test_a_start_is_a_folder_beside_the_configuration_or_a_name(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "mine")
    assert find_start("mine", tmp_path).folder == tmp_path / "mine"
    assert find_start("inplane-x2-lite", tmp_path).folder == resources_folder() / "Models" / "inplane-x2-lite"


def test_a_folder_stands_for_every_volume_below_it(tmp_path: Path) -> None:
    for name in ("a.nrrd", "deep/b.nii.gz", ".hidden/c.nrrd", "deep/.d.nrrd"):
        write_head(tmp_path / "volumes" / name)
    (tmp_path / "volumes" / "notes.txt").write_text("scanned on Monday")
    series = tmp_path / "volumes" / "series" / "T1"
    series.mkdir(parents=True)
    for index in range(3):
        write_slice(series / f"{index}", np.zeros((8, 8), np.uint16), (0, 0, 2.0 * index), Modality="MR")
    write_head(tmp_path / "volumes" / "series" / "T1" / "beside.nrrd")
    found = find_volumes(["volumes"], tmp_path)
    names = [path.relative_to(tmp_path / "volumes").as_posix() for path in found]
    assert names == ["a.nrrd", "deep/b.nii.gz", "series/T1/beside.nrrd", "series/T1"]


def test_a_name_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    write_head(tmp_path / "old [1]" / "a [2].nrrd")
    for pattern in ("old [1]/a [2].nrrd", "old [1]/*.nrrd", "old [1]"):
        assert find_volumes([pattern], tmp_path) == [tmp_path / "old [1]" / "a [2].nrrd"]
    with pytest.raises(InputError, match="no volume matches"):
        find_volumes(["old [1]/*.mha"], tmp_path)


def test_several_processes_take_the_same_options(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "MedSRLib.training", "inplane-x2-lite", "--data", "a.nrrd", "--set", "run.skips=0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (2, "medsr: run.skips = 0 must be a whole number of at least 1\n")


ODD = st.one_of(
    st.integers(-2, 3),
    st.floats(-2, 9) | st.sampled_from([math.nan, math.inf, -math.inf]),
    st.booleans(),
    st.sampled_from(["", "x", "cpu", "inplane", "through-plane", "volumetric", "vgg", "l2"]),
    st.lists(st.one_of(st.integers(-1, 3), st.floats(0, 9), st.text(max_size=3)), max_size=3),
    st.just({}),
)


@given(key=st.sampled_from(sorted(leaves(TrainingConfig))), value=ODD)
@settings(max_examples=300, deadline=None)
def test_any_value_of_any_setting_is_taken_or_refused_in_one_sentence(key: str, value: Any) -> None:
    path = resources_folder() / "Training" / "quickstart.toml"
    changes = {"data.train": ["volumes"], key: value}
    said = key
    try:
        require_fitting_networks(load_config(path, changes=changes))
    except UsageError as error:
        said = str(error)
    assert "\n" not in said
    assert key.rpartition(".")[2] in said
