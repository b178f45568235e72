"""The GAN stage: it starts from the fidelity weights, resumes exactly, and ships nothing that drifted."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OBLIQUE, TOLD, make_tiny_model
from safetensors.torch import save_file

from MedSRLib.commands.main import main
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.errors import EnhancementCancelled, TrainingError, UsageError
from MedSRLib.models.card import card_text
from MedSRLib.models.catalogue import Model
from MedSRLib.networks.vgg import VGGTrunk
from MedSRLib.training.config import TrainingConfig, load_config
from MedSRLib.training.data import read_data
from MedSRLib.training.gan import GanStage, edge_distance, refusal
from MedSRLib.training.gan_config import GanConfig
from MedSRLib.training.halo import network_inputs
from MedSRLib.training.pairs import PairBatch
from MedSRLib.training.receptive_field import TOLERANCE, measure_halo
from MedSRLib.training.run import load_perceptual, train
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
iterations = 4
batch = 2
[run]
device = "cpu"
threads = 1
log_every = 2
validate_every = 4
checkpoint_every = 3
[losses.perceptual]
trunk = "vgg16"
weights = "vgg.safetensors"
layers = ["conv1_2"]
layer_weights = [1.0]
[gan]
iterations = 8
features = 2
consistency = 0.1
largest_consistency = 1e6
largest_shift = 1.0
largest_loss = 100.0
"""
FIGURES = {"psnr": 30.0, "consistency": 0.01, "mean_shift": 0.0, "edge_energy": 1.0}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration beside two real volumes and a random perceptual trunk, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return prepared(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a run from beginning to end."""
    folder = prepared(tmp_path_factory.mktemp("finished"))
    with chdir(folder):
        train(config_of(folder), folder)
    return folder


def prepared(folder: Path) -> Path:
    (folder / "tiny.toml").write_text(CONFIG)
    volume = read_volume(OBLIQUE)
    (folder / "volumes").mkdir()
    for name, part in (("one", slice(0, 12)), ("held_out", slice(18, 24))):
        write_volume(volume.with_voxels(volume.voxels[part].copy()), folder / "volumes" / f"{name}.nrrd")
    torch.manual_seed(0)
    save_file(VGGTrunk("vgg16", ["conv1_2"]).state_dict(), folder / "vgg.safetensors")
    return folder


def model_of(folder: Path) -> Model:
    return Model.read(folder / "runs" / "tiny" / "model")


def config_of(folder: Path, *overrides: str) -> TrainingConfig:
    return load_config(folder / "tiny.toml", overrides)


def history(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "runs" / "tiny" / "gan_history.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]


def stop_after(iterations: int) -> Callable[[], bool]:
    asked = iter(range(10**6))
    return lambda: next(asked) >= iterations


def gan_stage(folder: Path, *overrides: str) -> GanStage:
    config = config_of(folder, *overrides)
    generator = make_tiny_model(
        folder / "start", slices=3, conditions=TOLD, arguments={"predicts_residual": True}
    ).load_generator()
    return GanStage(
        config,
        read_data(config, folder).train,
        folder / "stage",
        start=generator.state_dict(),
        device=torch.device("cpu"),
        perceptual=load_perceptual(config, folder),
    )


def test_a_run_ends_with_both_sets_of_weights_and_a_card(finished: Path) -> None:
    model = model_of(finished)
    assert set(model.manifest.weights) == {"fidelity", "perceptual"}
    fidelity, perceptual = model.load_generator(fidelity=1.0), model.load_generator(fidelity=0.0)
    changed = [not torch.equal(value, perceptual.state_dict()[name]) for name, value in fidelity.state_dict().items()]
    assert any(changed)
    curve = model.manifest.scores["fidelity_curve"]
    assert [point["fidelity"] for point in curve] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert curve[-1]["psnr"] == pytest.approx(model.manifest.scores["psnr"], abs=1e-6)
    assert curve[0]["psnr"] == pytest.approx(model.manifest.scores["perceptual"]["psnr"], abs=1e-6)
    card = (model.folder / "MODEL_CARD.md").read_text()
    assert card == card_text(model.manifest)
    for words in ("Not for primary diagnosis", "one.nrrd", "held_out.nrrd", "must not be used", "over `--fidelity`"):
        assert words in card


def test_the_halo_is_measured_on_both_sets_of_weights_and_their_mixture(finished: Path) -> None:
    model, config = model_of(finished), config_of(finished)
    radius = model.load_generator().receptive_radius()
    images = network_inputs(config, read_data(config, finished).train, radius, 10**5)
    halos = [measure_halo(model.load_generator(fidelity=alpha), images) for alpha in (1.0, 0.5, 0.0)]
    assert model.manifest.halo == max(halos) < radius
    assert model.manifest.tile_tolerance == TOLERANCE
    assert f"halo {max(halos)} voxels, measured" in card_text(model.manifest)
    assert enhance(read_volume(OBLIQUE), Model.read(model.folder), fidelity=0.3).volume.shape == (24, 128, 128)


def test_samples_are_drawn_at_every_validation(finished: Path) -> None:
    pytest.importorskip("matplotlib")
    names = {path.name for path in (finished / "runs" / "tiny" / "samples").glob("*.png")}
    assert {"fidelity_000004_held_out.png", "gan_000004_held_out.png", "gan_000008_held_out.png"} <= names


def test_the_stage_starts_from_the_fidelity_weights(workplace: Path) -> None:
    model = train(config_of(workplace, "gan.learning_rate=0.0"), workplace)
    fidelity, perceptual = (model.load_generator(fidelity=value).state_dict() for value in (1.0, 0.0))
    assert all(torch.equal(value, perceptual[name]) for name, value in fidelity.items())


def test_the_stage_may_start_from_another_model(workplace: Path) -> None:
    start = make_tiny_model(
        workplace / "start", slices=3, conditions=TOLD, arguments={"out_channels": 1, "predicts_residual": True}
    )
    model = train(config_of(workplace, "gan.start=start"), workplace)
    assert not (workplace / "runs" / "tiny" / "checkpoint.pt").exists()
    expected = start.load_generator().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.load_generator().state_dict().items())
    with pytest.raises(UsageError, match="features"):
        train(config_of(workplace, "gan.start=start", "generator.features=6", "name=other"), workplace)


def test_a_killed_and_resumed_run_gives_the_same_history_and_weights(workplace: Path, finished: Path) -> None:
    """Cancelled at iteration 6 of the GAN stage: both optimisers, the discriminator and all random states go on."""
    straight = model_of(finished)
    with pytest.raises(EnhancementCancelled, match="iteration 6"):
        train(config_of(workplace), workplace, cancelled=stop_after(2 + 4 + 6))
    resumed = train(config_of(workplace), workplace, resume=True)
    assert history(workplace) == history(finished)
    for value in (0.0, 1.0):
        weights = straight.load_generator(fidelity=value).state_dict()
        again = resumed.load_generator(fidelity=value).state_dict()
        assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_all_losses_are_reported_and_both_networks_learn(workplace: Path) -> None:
    stage = gan_stage(workplace)
    before = [parameter.clone() for parameter in stage._discriminator.network.parameters()]
    step = stage.step(stage.draw())
    assert step.finite
    losses = {name: value.item() for name, value in step.losses.items()}
    parts = ("pixel", "perceptual", "adversarial", "consistency_loss")
    assert losses["loss"] == pytest.approx(sum(losses[name] for name in parts), rel=1e-5)
    assert losses["discriminator"] == pytest.approx(np.log(2), abs=0.2)
    after = list(stage._discriminator.network.parameters())
    assert sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) > len(before) // 2
    assert all(parameter.grad is not None for parameter in stage.generator.parameters())


def test_a_discriminator_may_be_shown_the_added_detail_alone(workplace: Path) -> None:
    image, detail = gan_stage(workplace), gan_stage(workplace, "gan.sees=detail")
    batch = image.draw()
    assert image._shown(batch.high, batch.base) is batch.high
    torch.testing.assert_close(detail._shown(batch.high, batch.base), 10 * (batch.high - batch.base))
    assert not detail._shown(batch.base, batch.base).any()
    assert detail.step(detail.draw()).finite


def test_a_discriminator_learns_to_tell_real_from_generated(workplace: Path) -> None:
    stage = gan_stage(workplace, "gan.learning_rate=3e-3", "gan.milestones=[]")
    batch = stage.draw()
    real, fake = batch.high[stage.scored()], batch.base[stage.scored()]
    margins = [stage._teach(real, fake, 3e-3).losses["margin"].item() for _ in range(40)]
    assert margins[-1] > margins[0] + 0.1


def poisoned(batch: PairBatch) -> PairBatch:
    return PairBatch(batch.low, torch.full_like(batch.base, float("nan")), batch.high, batch.measurements)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(workplace: Path) -> None:
    stage = gan_stage(workplace)
    before = {name: value.clone() for name, value in stage.generator.state_dict().items()}
    assert not stage.step(poisoned(stage.draw())).finite
    assert all(torch.equal(value, before[name]) for name, value in stage.generator.state_dict().items())
    assert all(bool(torch.isfinite(p).all()) for p in stage._discriminator.network.parameters())
    assert stage.step(stage.draw()).finite


def test_a_run_that_stays_not_finite_is_given_up(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = gan_stage(workplace, "run.skips=3")
    draw = stage.draw
    monkeypatch.setattr(stage, "draw", lambda: poisoned(draw()))
    with pytest.raises(TrainingError, match="3 times in a row"):
        stage.run()
    assert stage.skipped == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"consistency": 0.0121}, "LR-consistency"),
        ({"mean_shift": -0.0011}, "mean intensity"),
        ({"psnr": 26.9}, "dB"),
        ({"psnr": float("nan")}, "finite"),
    ],
)
def test_a_checkpoint_that_drifted_is_refused_with_the_reason(changes: dict[str, float], words: str) -> None:
    reason = refusal({**FIGURES, **changes}, FIGURES, GanConfig())
    assert words in reason
    assert bool(reason) == bool(words)


def test_blurred_and_false_edges_are_equally_far_from_the_reference() -> None:
    distances = [edge_distance({"volumes": {"a": {"edge_energy": ratio}}}) for ratio in (0.8, 1.0, 1.25)]
    assert distances == pytest.approx([np.log(1.25), 0.0, np.log(1.25)])


def test_the_best_checkpoint_is_the_sharpest_that_was_not_refused(workplace: Path) -> None:
    stage = gan_stage(workplace, "gan.largest_shift=0.001", "gan.largest_consistency=1.2")
    stage.fidelity = FIGURES
    for iteration, (ratio, shift) in enumerate([(0.8, 0.0), (0.95, 0.0), (1.0, 0.01), (0.9, 0.0)], 1):
        stage.iteration = iteration
        figures: dict[str, Any] = {**FIGURES, "mean_shift": shift, "volumes": {"a": {"edge_energy": ratio}}}
        stage.judge(figures)
        assert bool(figures["refused"]) == bool(shift)
    assert stage.best is not None
    assert stage.best["figures"]["iteration"] == 2


def test_when_every_checkpoint_is_refused_only_fidelity_weights_are_shipped_and_it_is_said(workplace: Path) -> None:
    model = train(config_of(workplace, "gan.largest_loss=-100.0"), workplace)
    assert set(model.manifest.weights) == {"fidelity"}
    assert "dB" in model.manifest.scores["perceptual_refused"]
    assert "no perceptual weights" in (model.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("losses.pixel=l3", "charbonnier"),
        ("losses.perceptual.norm=l3", "norm"),
        ("losses.perceptual.layers=[]", "layer_weights"),
        ("gan.milestones=[400]", "milestones"),
        ("gan.discriminator=patch", "unet"),
        ("losses.perceptual.weights=''", "losses.perceptual.weights"),
        ("pairs.patch=5", "pairs.patch"),
        ("gan.sees=edges", "gan.sees"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(workplace: Path, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        train(config_of(workplace, override, "optimiser.iterations=1"), workplace)


def test_the_learning_rate_is_halved_at_every_milestone() -> None:
    settings = GanConfig(learning_rate=1.0, discriminator_learning_rate=4.0, milestones=(0.25, 0.5))
    halves = [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert [settings.rates(n / 100) for n in (0, 24, 25, 49, 50, 99)] == [(rate, 4 * rate) for rate in halves]


def test_the_stage_may_draw_fewer_pairs_a_step_than_the_first(workplace: Path) -> None:
    assert len(gan_stage(workplace).draw().low) == 2
    assert len(gan_stage(workplace, "gan.batch=1").draw().low) == 1


def test_the_stage_learns_from_patients_at_their_own_sharpness_only(workplace: Path) -> None:
    plain = gan_stage(workplace).draw()
    varied = gan_stage(workplace, "pairs.phantom_share=0.5", "pairs.softening_share=1.0").draw()
    assert torch.equal(plain.high, varied.high)


def test_charbonnier_and_consistency_can_be_chosen_for_the_fidelity_stage(workplace: Path) -> None:
    overrides = ("gan.iterations=0", "losses.pixel=charbonnier", "losses.consistency=0.5")
    model = train(config_of(workplace, *overrides), workplace)
    assert np.isfinite(model.manifest.scores["psnr"])


def test_a_dry_run_prints_the_plan_and_writes_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(workplace.rglob("*"))
    assert main(["train", str(workplace / "tiny.toml"), "--dry-run"]) == 0
    plan = capsys.readouterr().out
    for words in (
        "one.nrrd",
        "held_out.nrrd",
        "fidelity   4 iterations",
        "gan        8 iterations",
        "memory",
        "in all",
    ):
        assert words in plan
    assert sorted(workplace.rglob("*")) == before


def test_the_command_says_when_there_are_no_perceptual_weights(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["--set", "gan.largest_loss=-100.0", "--set", "gan.iterations=2", "--set", "optimiser.iterations=1"]
    assert main(["train", str(workplace / "tiny.toml"), *overrides]) == 0
    assert "no perceptual weights" in capsys.readouterr().err
