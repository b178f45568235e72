"""Training: the configuration is checked, pairs are what enhancement will meet, and a killed run resumes exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OBLIQUE, make_tiny_model

from MedSRLib.acquisition.interpolation import back_project, interpolate
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.commands.main import main
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.errors import EnhancementCancelled, InputError, UsageError
from MedSRLib.models.catalogue import Model, resources_folder
from MedSRLib.networks.build import build_generator
from MedSRLib.training.config import DataConfig, OptimiserConfig, PairsConfig, TrainingConfig, load_config
from MedSRLib.training.fidelity_stage import learning_rate, take_over
from MedSRLib.training.in_plane import InPlaneSampler
from MedSRLib.training.pairs import TrainingVolume
from MedSRLib.training.run import read_data, train
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.volume import Volume

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
        assert load_config(path, changes={"data.train": ["volumes"]}).name == path.stem


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


def sampler(volume: Volume, seed: int = 0, *, is_stack: bool = False, **pairs: Any) -> InPlaneSampler:
    settings = {"patch": 12, "margin": 2, "noise_share": 0.0, "nominal_share": 1.0, "gamma": (1.0, 1.0), **pairs}
    config = TrainingConfig(
        name="tiny", slices=3, base_iterations=2, pairs=PairsConfig(**settings), data=DataConfig(train=("any",))
    )
    return InPlaneSampler([TrainingVolume.of(volume, 24, is_stack=is_stack)], config, np.random.default_rng(seed))


def test_a_pair_has_the_shapes_the_formula_needs() -> None:
    pair = sampler(read_volume(OBLIQUE)).draw()
    assert (pair.low.shape, pair.base.shape, pair.high.shape) == ((3, 12, 12), (1, 24, 24), (1, 24, 24))
    assert {array.dtype for array in (pair.low, pair.base, pair.high)} == {np.dtype(np.float32)}


def test_the_measurement_is_the_acquired_anatomy() -> None:
    """Away from the border, where the surround that was cut away has its say, y = A x of the pair."""
    pair = sampler(read_volume(OBLIQUE)).draw()
    again = AcquisitionModel((2, 2, 1)).apply(pair.high[0])
    assert np.abs(again - pair.low[1])[3:-3, 3:-3].max() < 1e-4


def test_the_base_is_what_enhancement_adds_the_residual_to() -> None:
    pair = sampler(read_volume(OBLIQUE), patch=32, margin=2).draw()
    nominal, centre = AcquisitionModel((2, 2, 1)), pair.low[1]
    base = back_project(interpolate(centre, (64, 64)), centre, nominal, 2)
    assert np.abs(base - pair.base[0])[20:-20, 20:-20].max() < 1e-3


def test_the_slices_of_a_stack_have_no_neighbours() -> None:
    draws = sampler(read_volume(OBLIQUE), is_stack=True, neighbour_dropout=0.0)
    for _ in range(5):
        low = draws.draw().low
        assert np.array_equal(low[0], low[1])


def test_the_slices_of_a_volume_have_neighbours() -> None:
    draws = sampler(read_volume(OBLIQUE), neighbour_dropout=0.0)
    assert not all(np.array_equal(low[0], low[1]) for low in (draws.draw().low for _ in range(5)))


def test_equal_random_states_draw_equal_pairs() -> None:
    volume = read_volume(OBLIQUE)
    one, other, third = (sampler(volume, seed).draw().low for seed in (4, 4, 5))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)


def test_noise_and_point_spread_vary_when_asked() -> None:
    volume = read_volume(OBLIQUE)
    clean = sampler(volume, 2).draw().low
    noisy = sampler(volume, 2, noise_share=1.0, noise=0.05).draw().low
    wide = sampler(volume, 2, nominal_share=0.0, kspace_share=0.0, fwhm=(2.0, 2.0)).draw().low
    assert 0.001 < np.abs(noisy - clean).mean() < 0.1
    assert wide[1].std() < clean[1].std()


def test_the_learning_rate_falls_along_half_a_cosine() -> None:
    settings = OptimiserConfig(iterations=100, learning_rate=1.0, final_learning_rate=0.0)
    assert learning_rate(settings, 0) == 1.0
    assert learning_rate(settings, 50) == pytest.approx(0.5)
    assert learning_rate(settings, 100) == pytest.approx(0.0)


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


def test_a_killed_and_resumed_run_gives_the_same_losses_and_weights(workplace: Path) -> None:
    """Cancelled at iteration 7: the last regular checkpoint is of iteration 4, the one of cancelling of 7."""
    straight = train(config_of(workplace), workplace)
    expected, weights = losses(workplace), straight.load_generator().state_dict()
    (workplace / "runs").rename(workplace / "runs_straight")
    with pytest.raises(EnhancementCancelled, match="--resume"):
        train(config_of(workplace), workplace, cancelled=stop_after(3 + 7))
    resumed = train(config_of(workplace), workplace, resume=True)
    assert losses(workplace)[-2:] == expected[-2:]
    assert {
        name: torch.equal(value, weights[name]) for name, value in resumed.load_generator().state_dict().items()
    } == dict.fromkeys(weights, True)


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
    start = make_tiny_model(workplace / "start", slices=3, arguments={"predicts_residual": True}).load_generator()
    rates = ("optimiser.learning_rate=0.0", "optimiser.final_learning_rate=0.0")
    tuned = train(config_of(workplace, "start=start", *rates), workplace).load_generator()
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in tuned.state_dict().items())


def test_only_the_layers_before_the_first_that_differs_are_taken_over(workplace: Path) -> None:
    """x4 from x2: the trunk and the first upsampling are the same; the second one is new, and all after it."""
    double = make_tiny_model(workplace / "start", slices=3).load_generator().state_dict()
    config = config_of(workplace, "factors=[4, 4, 1]")
    quadruple = build_generator(config.architecture, config.generator_arguments())
    fresh = {name: value.clone() for name, value in quadruple.state_dict().items()}
    take_over(quadruple, double)
    for name, value in quadruple.state_dict().items():
        same_as = fresh if name.startswith(("conv_up2", "conv_hr", "conv_last")) else double
        assert torch.equal(value, same_as[name]), name


def test_a_start_whose_first_layer_differs_is_refused(workplace: Path) -> None:
    make_tiny_model(workplace / "start", slices=1)
    with pytest.raises(UsageError, match="the first layer"):
        train(config_of(workplace, "start=start"), workplace)


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
