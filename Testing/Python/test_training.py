"""Training: the configuration is checked, pairs are what enhancement will meet, and a killed run resumes exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OBLIQUE, TOLD, make_tiny_model

from MedSRLib.commands.main import main
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.errors import EnhancementCancelled, InputError, UsageError
from MedSRLib.models.catalogue import Model, resources_folder
from MedSRLib.networks.build import build_generator
from MedSRLib.training import run
from MedSRLib.training.arguments import load_run
from MedSRLib.training.config import OptimiserConfig, TrainingConfig, load_config
from MedSRLib.training.fidelity_stage import learning_rate, take_over
from MedSRLib.training.run import read_data, train
from MedSRLib.volumes.files import read_volume, write_volume

CONFIG = """
name = "tiny"
slices = 3
base_iterations = 1
modalities = ["MR"]
[generator]
features = 4
blocks = 1
growth = 4
[data]
train = ["volumes/*.nrrd"]
validation = ["volumes/held_out.nrrd"]
validation_slices = 2
[pairs]
patch = 12
margin = 2
[optimiser]
iterations = 12
batch = 2
learning_rate = 1e-3
[run]
device = "cpu"
threads = 1
log_every = 2
validate_every = 6
checkpoint_every = 4
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration beside a folder of three real volumes, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    volume = read_volume(OBLIQUE)
    (tmp_path / "volumes").mkdir()
    for name, part in (("one", slice(0, 9)), ("two", slice(9, 18)), ("held_out", slice(18, 24))):
        write_volume(volume.with_voxels(volume.voxels[part].copy()), tmp_path / "volumes" / f"{name}.nrrd")
    return tmp_path


def config_of(folder: Path, *overrides: str) -> TrainingConfig:
    return load_config(folder / "tiny.toml", overrides)


def without_time(folder: Path) -> list[dict[str, Any]]:
    """The history of the fidelity stage."""
    lines = (folder / "runs" / "tiny" / "history.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "runs" / "tiny" / "history.jsonl").read_text().splitlines()
    return [(entry["iteration"], entry["loss"]) for entry in map(json.loads, lines) if "loss" in entry]


def stop_after(iterations: int) -> Callable[[], bool]:
    asked = iter(range(10**6))
    return lambda: next(asked) >= iterations


def test_the_shipped_configurations_are_valid() -> None:
    paths = sorted((resources_folder() / "Training").glob("*.toml"))
    assert paths
    for path in paths:
        assert load_run(path, changes={"data.train": ["volumes"]}).name == path.stem


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.batch=2", "optimizer"),
        ("optimiser.batch=two", "optimiser.batch"),
        ("slices=2", "odd"),
        ("pairs.margin=6", "margin"),
        ("factors=[2, 2]", "factors"),
        ("task=through-plane", "through-plane"),
        ("data.train=[]", "data.train"),
        ('modalities=["Xray"]', "Xray"),
        ("optimiser.batch", "key=value"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(workplace: Path, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        config_of(workplace, override)


def test_settings_can_be_changed_from_the_command_line(workplace: Path) -> None:
    config = config_of(workplace, "optimiser.batch=5", "optimiser.learning_rate=1", "name=other")
    assert (config.optimiser.batch, config.optimiser.learning_rate, config.name) == (5, 1.0, "other")


def test_held_out_volumes_are_not_trained_on(workplace: Path) -> None:
    data = read_data(config_of(workplace), workplace)
    assert data.names == ["one.nrrd", "two.nrrd"]
    assert list(data.validation) == ["held_out.nrrd"]


def test_a_pattern_that_matches_nothing_is_an_error(workplace: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        read_data(config_of(workplace, 'data.train=["missing/*.nrrd"]'), workplace)


def test_a_volume_smaller_than_a_patch_is_an_error_that_says_what_to_do(workplace: Path) -> None:
    with pytest.raises(InputError, match=r"64 x 64.*pairs.patch"):
        read_data(config_of(workplace, "pairs.patch=40"), workplace)


def test_the_learning_rate_falls_along_half_a_cosine() -> None:
    settings = OptimiserConfig(learning_rate=1.0, final_learning_rate=0.0)
    assert learning_rate(settings, 0.0, 0) == 1.0
    assert learning_rate(settings, 0.5, 50) == pytest.approx(0.5)
    assert learning_rate(settings, 1.0, 100) == pytest.approx(0.0)


def test_the_learning_rate_rises_first_where_that_is_asked_for() -> None:
    settings = OptimiserConfig(learning_rate=1.0, final_learning_rate=0.0, warm_up=4)
    assert [learning_rate(settings, 0.0, n) for n in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_a_run_ends_in_a_model_that_enhance_takes_at_once(workplace: Path) -> None:
    model = train(config_of(workplace), workplace)
    assert model.folder == workplace / "runs" / "tiny" / "model"
    assert np.isfinite(model.manifest.scores["psnr"])
    assert model.manifest.training["volumes"] == ["one.nrrd", "two.nrrd"]
    assert enhance(read_volume(OBLIQUE), Model.read(model.folder)).volume.shape == (24, 128, 128)
    assert (workplace / "runs" / "tiny" / "history.png").stat().st_size > 5000


def test_training_learns(workplace: Path) -> None:
    """From its zero-initialised start, which is the base image, the generator gains on what it is trained on."""
    overrides = ["optimiser.iterations=60", "optimiser.ema=0.9", "pairs.nominal_share=1.0", "pairs.noise_share=0.0"]
    model = train(config_of(workplace, *overrides, "optimiser.learning_rate=3e-3", "pairs.gamma=[1.0, 1.0]"), workplace)
    first = [loss for _, loss in losses(workplace)][:8]
    last = [loss for _, loss in losses(workplace)][-8:]
    assert np.mean(last) < np.mean(first)
    assert any(
        bool((value != 0).any()) for name, value in model.load_generator().state_dict().items() if "last" in name
    )


def test_a_killed_and_resumed_run_gives_the_same_history_and_weights(workplace: Path) -> None:
    """Cancelled at iteration 7, between two lines of the history; the last regular checkpoint is of iteration 4."""
    everything = ("pairs.phantom_share=0.3", "pairs.softening_share=0.5", "pairs.zoom_share=0.4", "pairs.noise=0.05")
    straight = train(config_of(workplace, *everything), workplace)
    expected, weights = without_time(workplace), straight.load_generator().state_dict()
    (workplace / "runs").rename(workplace / "runs_straight")
    with pytest.raises(EnhancementCancelled, match="iteration 7"):
        train(config_of(workplace, *everything), workplace, cancelled=stop_after(3 + 7))
    resumed = train(config_of(workplace, *everything), workplace, resume=True)
    assert without_time(workplace) == expected
    assert {
        name: torch.equal(value, weights[name]) for name, value in resumed.load_generator().state_dict().items()
    } == dict.fromkeys(weights, True)


def test_a_run_in_small_checkpoints_resumes_the_same(workplace: Path) -> None:
    whole = train(config_of(workplace, "name=whole"), workplace)
    small = config_of(workplace, "name=small", "run.checkpoint_size=0.01")
    with pytest.raises(EnhancementCancelled):
        train(small, workplace, cancelled=stop_after(7))
    assert len(list((workplace / "runs" / "small").glob("checkpoint.pt.*"))) > 1
    resumed = train(small, workplace, resume=True)
    assert resumed.manifest.weights == whole.manifest.weights


def test_a_run_killed_without_warning_goes_on_from_its_last_checkpoint(workplace: Path) -> None:
    train(config_of(workplace), workplace)
    expected = losses(workplace)
    (workplace / "runs").rename(workplace / "runs_straight")

    def die(fraction: float, message: str) -> None:
        if fraction > 0.5:
            raise SystemExit("killed")

    with pytest.raises(SystemExit):
        train(config_of(workplace), workplace, progress=die)
    train(config_of(workplace), workplace, resume=True)
    assert losses(workplace) == expected


def test_a_run_is_not_overwritten_without_being_asked(workplace: Path) -> None:
    train(config_of(workplace), workplace)
    with pytest.raises(UsageError, match="--resume"):
        train(config_of(workplace), workplace)


def test_a_run_may_start_from_another_models_weights(workplace: Path) -> None:
    start = make_tiny_model(
        workplace / "start", slices=3, conditions=TOLD, arguments={"predicts_residual": True}
    ).load_generator()
    rates = ("optimiser.learning_rate=0.0", "optimiser.final_learning_rate=0.0")
    tuned = train(config_of(workplace, "start=start", *rates), workplace).load_generator()
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in tuned.state_dict().items())


def test_only_the_layers_before_the_first_that_differs_are_taken_over(workplace: Path) -> None:
    """x4 from x2: the trunk and the first upsampling are the same; the second one is new, and all after it."""
    double = make_tiny_model(workplace / "start", slices=3, conditions=TOLD).load_generator().state_dict()
    config = config_of(workplace, "factors=[4, 4, 1]")
    quadruple = build_generator(config.architecture, config.generator_arguments())
    fresh = {name: value.clone() for name, value in quadruple.state_dict().items()}
    take_over(quadruple, double)
    for name, value in quadruple.state_dict().items():
        same_as = fresh if name.startswith(("conv_up2", "conv_hr", "conv_last")) else double
        assert torch.equal(value, same_as[name]), name


def test_a_start_whose_first_layer_differs_is_refused(workplace: Path) -> None:
    make_tiny_model(workplace / "start", slices=3, conditions=TOLD, arguments={"features": 6})
    with pytest.raises(UsageError, match="the first layer"):
        train(config_of(workplace, "start=start"), workplace)


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_a_start_that_was_told_nothing_is_not_disturbed_by_what_it_is_told(unshuffle: int) -> None:
    """A first layer with fewer inputs is filled up with zeros, whatever the new maps hold."""
    arguments = {"factors": [2, 2], "features": 4, "blocks": 1, "growth": 4, "unshuffle": unshuffle}
    torch.manual_seed(2)
    untold = build_generator("RRDBGenerator", {**arguments, "in_channels": 3})
    told = build_generator("RRDBGenerator", {**arguments, "in_channels": 6})
    take_over(told, untold.state_dict())
    x, maps = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(told(torch.cat([x, maps], 1)), untold(x))


def test_a_run_of_an_older_version_is_not_resumed_but_said(workplace: Path) -> None:
    train(config_of(workplace), workplace)
    checkpoint = workplace / "runs" / "tiny" / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    del state["processes"]
    torch.save(state, checkpoint)
    with pytest.raises(UsageError, match="older version"):
        train(config_of(workplace), workplace, resume=True)


def test_the_train_command_prints_the_model_folder(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(workplace / "tiny.toml"), "--set", "optimiser.iterations=4"]) == 0
    assert Path(capsys.readouterr().out.strip()) == workplace / "runs" / "tiny" / "model"


def test_the_train_command_names_a_missing_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err


def test_tensorboard_is_written_when_asked(workplace: Path) -> None:
    pytest.importorskip("tensorboard", reason="the optional package tensorboard is not installed")
    train(config_of(workplace, "run.tensorboard=true", "optimiser.iterations=4"), workplace)
    assert list((workplace / "runs" / "tiny").glob("events.out.tfevents.*"))


def test_a_run_says_why_it_does_not_use_the_gpu(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "the CPU is used, because PyTorch cannot use the GPU: its driver is too old"
    monkeypatch.setattr(run, "device_notes", lambda name: (reason,) if name == "auto" else ())
    said: list[str] = []
    train(config_of(workplace, "run.device=auto", "optimiser.iterations=1"), workplace, warn=said.append)
    assert said[0] == reason
