"""Learning from a generator's images: from a teacher's, and from one's own without the grid that upsampling draws."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TOLD, make_tiny_model
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from MedSRLib.errors import EnhancementCancelled, UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.networks.build import build_generator
from MedSRLib.training.config import TrainingConfig, load_config
from MedSRLib.training.data import read_data
from MedSRLib.training.distillation import DegridStage, grid_part, grid_periods, load_teacher
from MedSRLib.training.fidelity_stage import FidelityStage
from MedSRLib.training.rehearsal import rehearse
from MedSRLib.training.run import train
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume

CPU = torch.device("cpu")
CONFIG = """
name = "tiny"
slices = 3
base_iterations = 2
modalities = ["MR"]
[generator]
features = 4
blocks = 1
growth = 4
[data]
train = ["volumes/one.nrrd"]
validation = ["volumes/held_out.nrrd"]
validation_slices = 2
[pairs]
patch = 16
margin = 2
[optimiser]
iterations = 4
batch = 2
[run]
device = "cpu"
threads = 1
log_every = 5
validate_every = 1000
checkpoint_every = 5
[gan]
iterations = 2
features = 2
perceptual = 0.0
largest_consistency = 1e6
largest_shift = 1.0
largest_loss = 100.0
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "volumes").mkdir()
    for seed, name in enumerate(("one", "held_out")):
        random = np.random.default_rng(seed).standard_normal((6, 64, 64)).astype(np.float32)
        voxels = 400 + 300 * (ndimage.gaussian_filter(random, (0, 4, 4)) > 0) + 300 * ndimage.gaussian_filter(random, 1)
        write_volume(
            Volume(np.rint(voxels).clip(0).astype(np.int16), np.eye(4), "MR"), tmp_path / f"volumes/{name}.nrrd"
        )
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return tmp_path


def config_of(folder: Path, *overrides: str) -> TrainingConfig:
    return load_config(folder / "tiny.toml", overrides)


def teacher_of(folder: Path) -> Model:
    arguments = {"predicts_residual": True}
    return make_tiny_model(folder / "teacher", slices=3, conditions=TOLD, arguments=arguments, predicts="residual")


@given(period=st.sampled_from([2, 4]), phase=st.integers(0, 3), side=st.sampled_from([32, 48, 64]))
def test_a_grid_is_found_whole_and_a_slope_is_none(period: int, phase: int, side: int) -> None:
    """Along one axis: what is smooth there has no part in it."""
    line = torch.arange(side)
    grid = 0.01 * ((line + phase) % period == 0).float()
    drawn = (grid - grid.mean()).expand(1, 1, side, side)
    slow = torch.cos(2 * torch.pi * 3 * line / side).expand(1, 1, side, side)
    assert torch.allclose(grid_part(drawn + slow, [period, period]), drawn, atol=1e-6)
    assert torch.allclose(grid_part(drawn.mT + 0.5, [period, period]), drawn.mT, atol=1e-6)


def test_a_grid_is_found_in_three_dimensions() -> None:
    checks = torch.ones(1, 1, 16, 16, 16)
    checks[..., ::2] = -1
    assert torch.allclose(grid_part(checks, [2, 2, 2]), checks, atol=1e-5)
    assert not grid_part(torch.ones(1, 1, 16, 16, 16), [2, 2, 2]).abs().max() > 1e-5


def test_the_grid_has_the_period_of_shuffled_pixels(workplace: Path) -> None:
    assert grid_periods(teacher_of(workplace).load_generator()) == [2, 2]


def drawn_grid(generator: torch.nn.Module) -> float:
    flat = torch.full((1, 3 + len(TOLD), 32, 32), 0.4)
    with torch.inference_mode():
        drawn = generator(flat)[0, 0, 16:-16, 16:-16]
    cells = drawn.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).mean((0, 2))
    return float(cells.std())


def test_a_generator_unlearns_its_grid_and_keeps_its_detail(workplace: Path) -> None:
    state = dict(teacher_of(workplace).load_generator().state_dict())
    phases = torch.tensor([1.0, -1.0, -1.0, 1.0])  # of the pixels that one of the input becomes
    state["conv_up1.bias"] = state["conv_up1.bias"] + 0.05 * phases.repeat(4)
    config = config_of(workplace, "degrid.iterations=60", "degrid.learning_rate=3e-3")
    stage = DegridStage(config, read_data(config, workplace).train, workplace / "run", start=state, device=CPU)
    before = drawn_grid(stage.generator)
    stage.run()
    assert before > 1e-4
    assert drawn_grid(stage.averaged) < 0.5 * before
    assert stage.history[-1]["grid"] < 0.5 * stage.history[0]["grid"]


@pytest.mark.parametrize(
    ("task", "periods"),
    [
        (("task='volumetric'", "factors=[2, 2, 2]", "slices=1"), [2, 2, 2]),
        (("task='through-plane'", "factors=[1, 1, 3]", "generator.unshuffle=2"), [2, 2]),
    ],
)
def test_every_task_can_be_rid_of_its_grid(workplace: Path, task: tuple[str, ...], periods: list[int]) -> None:
    random = np.random.default_rng(0).standard_normal((40, 40, 40)).astype(np.float32)
    voxels = 500 + 800 * ndimage.gaussian_filter(random, 1.5)
    write_volume(Volume(np.rint(voxels).clip(1).astype(np.int16), np.eye(4), "MR"), workplace / "volumes/cube.nrrd")
    config = config_of(
        workplace, *task, "degrid.iterations=1", "data.train=['volumes/cube.nrrd']", "data.validation=[]"
    )
    start = build_generator(config.architecture, config.generator_arguments()).state_dict()
    stage = DegridStage(config, read_data(config, workplace).train, workplace / "run", start=start, device=CPU)
    assert grid_periods(stage.generator) == periods
    assert bool(stage.step(stage.draw()).finite)


def test_a_run_ends_with_weights_of_the_last_stage_and_resumes_in_it(workplace: Path) -> None:
    plain = train(config_of(workplace, "name=plain"), workplace)
    asked = iter(range(10**6))
    config = config_of(workplace, "name=whole", "degrid.iterations=6")
    with pytest.raises(EnhancementCancelled, match=r"degrid stopped at iteration [1-5]"):
        train(config, workplace, cancelled=lambda: _stage_has(workplace / "runs/whole", asked))
    resumed = train(config, workplace, resume=True)
    once = train(config_of(workplace, "name=once", "degrid.iterations=6"), workplace)
    hashes = [model.manifest.weights for model in (plain, resumed, once)]
    assert hashes[1]["perceptual"]["sha256"] == hashes[2]["perceptual"]["sha256"]
    assert hashes[0]["perceptual"]["sha256"] != hashes[1]["perceptual"]["sha256"]
    assert hashes[0]["fidelity"]["sha256"] == hashes[1]["fidelity"]["sha256"]
    assert resumed.manifest.scores["perceptual"]["iteration"] == 6


def _stage_has(folder: Path, asked: object, iterations: int = 3) -> bool:
    """Cancels the last stage after some iterations: it runs once the GAN stage's checkpoint is final."""
    done = folder / "gan_checkpoint.pt"
    if not done.exists() or torch.load(done, weights_only=True)["part"] < 1:
        return False
    return next(asked) >= iterations + 1  # type: ignore[call-overload,no-any-return]


def test_the_dry_run_counts_the_stage(workplace: Path) -> None:
    plan = rehearse(config_of(workplace, "degrid.iterations=6"), workplace)
    assert [(stage.name, stage.iterations) for stage in plan.stages] == [("fidelity", 4), ("gan", 2), ("degrid", 6)]


def test_without_a_gan_stage_there_is_nothing_to_take_a_grid_out_of(workplace: Path) -> None:
    plan = rehearse(config_of(workplace, "degrid.iterations=6", "gan.iterations=0"), workplace)
    assert [stage.name for stage in plan.stages] == ["fidelity"]


def test_a_pupil_comes_nearer_to_its_teacher(workplace: Path) -> None:
    teacher = teacher_of(workplace)
    config = config_of(workplace, f"distil.teacher={teacher.folder}", "distil.share=1.0")
    config = replace(config, optimiser=replace(config.optimiser, iterations=60, learning_rate=3e-3))
    taught, data = load_teacher(config, teacher), read_data(config, workplace).train
    start = dict(taught.state_dict())
    start["conv_last.bias"] = start["conv_last.bias"] + 0.05
    stage = FidelityStage(config, data, workplace / "run", device=CPU, start=start, teacher=taught)
    low = stage.draw().low

    def error() -> float:
        with torch.inference_mode():
            return float((stage.generator(low) - taught(low)).abs().mean())

    assert error() == pytest.approx(0.05, abs=1e-4)
    stage.run()
    assert error() < 0.02


def test_a_run_with_a_teacher_says_its_name_and_not_its_place(workplace: Path) -> None:
    teacher = teacher_of(workplace)
    config = config_of(workplace, f"distil.teacher={teacher.folder}", "gan.iterations=0")
    configuration = train(config, workplace).manifest.training["configuration"]
    assert configuration["distil"] == {"teacher": "teacher", "share": 0.5}
    assert str(workplace) not in json.dumps(configuration)


def test_a_teacher_that_is_fed_something_else_is_refused(workplace: Path) -> None:
    config = config_of(workplace)
    with pytest.raises(UsageError, match="slices 1 and the configuration 3"):
        load_teacher(config, make_tiny_model(workplace / "other", conditions=TOLD, predicts="residual"))
