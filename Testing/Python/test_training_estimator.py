"""``medsr train acquisition-estimator``: learns, resumes exactly, and ends in a folder that enhancement reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_model
from scipy import ndimage

from MedSRLib.commands.main import main
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.estimation import estimate_acquisition
from MedSRLib.errors import EnhancementCancelled, InputError, ModelError, UsageError
from MedSRLib.models.estimator import OWN, load_estimator
from MedSRLib.training.arguments import load_run
from MedSRLib.training.estimator import Drawn, loss_of, sampler_of, train_estimator
from MedSRLib.training.estimator_config import EstimatorConfig
from MedSRLib.training.randomness import Random
from MedSRLib.training.training_volume import TrainingVolume
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.intensity import IntensityScaling
from MedSRLib.volumes.volume import Volume

CONFIG = """
name = "tiny-estimator"
task = "acquisition"
features = 4
factors = [2]
patches = [20]
[data]
train = ["volumes/*.nrrd"]
validation = ["volumes/held_out.nrrd"]
[pairs]
fwhm = [0.5, 1.5]
noise_share = 0.8
noise = 0.05
[optimiser]
iterations = 60
batch = 8
learning_rate = 3e-3
[run]
device = "cpu"
threads = 1
log_every = 10
checkpoint_every = 10
"""


def anatomy(seed: int) -> Volume:
    random = np.random.default_rng(seed).standard_normal((4, 72, 72)).astype(np.float32)
    blobs = ndimage.gaussian_filter(random, (0, 4, 4)) > 0
    voxels = 300 + 500 * blobs + 400 * ndimage.gaussian_filter(random, (0, 1, 1))
    return Volume(np.rint(voxels).clip(0).astype(np.int16), np.eye(4), "MR")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(OWN, raising=False)
    (tmp_path / "volumes").mkdir()
    for seed, name in enumerate(("a", "b", "held_out")):
        write_volume(anatomy(seed), tmp_path / "volumes" / f"{name}.nrrd")
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return tmp_path


def config_of(folder: Path, *overrides: str) -> EstimatorConfig:
    config = load_run(folder / "tiny.toml", overrides)
    assert isinstance(config, EstimatorConfig)
    return config


def losses(folder: Path) -> list[float]:
    lines = (folder / "runs" / "tiny-estimator" / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def roughness(y: torch.Tensor) -> torch.Tensor:
    """RMS second difference of each patch."""
    return (y[..., 1:-1] - (y[..., :-2] + y[..., 2:]) / 2).square().mean((1, 2, 3)).sqrt()


def stop_after(iterations: int) -> Callable[[], bool]:
    asked = iter(range(iterations))
    return lambda: next(asked, None) is None


def test_training_lowers_the_loss_and_enhancement_reads_its_weights(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_estimator(config_of(workplace), workplace)
    found = losses(workplace)
    assert np.mean(found[-2:]) < found[0] - 0.3
    monkeypatch.setenv(OWN, str(folder))
    volume = read_volume(workplace / "volumes" / "held_out.nrrd")
    scaling = IntensityScaling.fit(volume.voxels, volume.modality)
    own = estimate_acquisition(volume, scaling)
    monkeypatch.delenv(OWN)
    assert own != estimate_acquisition(volume, scaling)
    network = load_estimator(folder)
    assert (network.width_mean, network.width_variance) == (1.0, pytest.approx(1 / 24, rel=1e-2))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["training"]["held_out"] == ["held_out.nrrd"]
    assert {"a.nrrd", "b.nrrd"} == set(manifest["training"]["volumes"])
    assert 0 < manifest["scores"]["width_error"] < 1
    assert str(workplace) not in json.dumps(manifest)


def test_a_stopped_and_resumed_run_gives_the_same_weights(workplace: Path) -> None:
    whole = train_estimator(config_of(workplace, "name=whole"), workplace)
    with pytest.raises(EnhancementCancelled, match="--resume"):
        train_estimator(config_of(workplace, "name=parts"), workplace, cancelled=stop_after(33))
    parts = train_estimator(config_of(workplace, "name=parts"), workplace, resume=True)
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()


def test_a_run_is_not_overwritten_without_being_asked(workplace: Path) -> None:
    train_estimator(config_of(workplace, "optimiser.iterations=2"), workplace)
    with pytest.raises(UsageError, match="--resume"):
        train_estimator(config_of(workplace, "optimiser.iterations=2"), workplace)


def test_the_command_trains_for_minutes_and_prints_the_folder(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "tiny.toml", "--minutes", "0.02"]) == 0
    printed = capsys.readouterr()
    assert Path(printed.out.strip()) == workplace / "runs" / "tiny-estimator" / "model"
    assert OWN in printed.err


def test_a_dry_run_writes_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "tiny.toml", "--dry-run"]) == 0
    assert "60 iterations" in capsys.readouterr().out
    assert not (workplace / "runs").exists()


def test_a_factor_that_no_volume_is_large_enough_for_is_left_out_and_said(workplace: Path) -> None:
    said: list[str] = []
    config = config_of(workplace, "factors=[2, 4]", "patches=[20, 20]", "optimiser.iterations=2")
    train_estimator(config, workplace, warn=said.append)
    assert said == ["factor 4 with patches of 20 is left out: no volume has slices of 80 voxels"]


def test_volumes_that_hold_no_patch_at_all_are_refused(workplace: Path) -> None:
    with pytest.raises(InputError, match="make patches smaller"):
        train_estimator(config_of(workplace, "patches=[40]"), workplace)


def test_several_processes_are_refused(workplace: Path) -> None:
    command = [sys.executable, "-m", "MedSRLib.training", "tiny.toml"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 2
    assert "medsr train tiny.toml" in done.stderr


def test_what_is_drawn_is_as_blurred_and_as_noisy_as_is_said(workplace: Path) -> None:
    config = config_of(workplace)
    sharp = anatomy(0)
    smooth = sharp.with_voxels(ndimage.gaussian_filter(sharp.voxels.astype(np.float32), (0, 6, 6)))
    noisy, blurred = (
        Drawn.by(sampler_of(config, 2, 20, [TrainingVolume.of(volume, 20)], Random(0)), 400)
        for volume in (smooth, sharp)
    )
    assert noisy.y.shape == (400, 1, 20, 20)
    assert np.corrcoef(roughness(noisy.y), noisy.sigma)[0, 1] > 0.8
    clean = (blurred.sigma == 0) & (blurred.truncated == 0)
    assert np.corrcoef(roughness(blurred.y)[clean], blurred.width[clean])[0, 1] < -0.3


def test_the_loss_is_least_for_the_truth() -> None:
    count = 64
    truth = Drawn(
        torch.zeros(count, 1, 8, 8),
        torch.tensor([[0.0, 1.0]]).expand(count, -1),
        torch.linspace(0.5, 1.5, count),
        (torch.arange(count) % 2).float(),
        torch.linspace(0, 0.05, count),
    )
    log_noise = torch.log(truth.sigma + 3e-4)
    sure = torch.full((count,), -4.0)
    right = torch.stack([truth.width, sure, 20 * (truth.truncated - 0.5), log_noise, sure], 1)
    for column in (0, 2, 3):
        wrong = right.clone()
        wrong[:, column] = -wrong[:, column] if column == 2 else wrong[:, column] + 0.5
        assert loss_of(wrong, truth) > loss_of(right, truth) + 1
    of_width = right.clone()
    of_width[truth.truncated > 0, 0] += 5  # truncated k-space has no width to be wrong about
    assert loss_of(of_width, truth) == pytest.approx(float(loss_of(right, truth)), abs=1e-5)


def test_the_report_says_that_an_own_estimator_was_used(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_tiny_model(workplace / "told")
    volume = read_volume(workplace / "volumes" / "held_out.nrrd")
    assert not any(OWN in note for note in enhance(volume, model).report.notes)
    monkeypatch.setenv(OWN, str(train_estimator(config_of(workplace, "optimiser.iterations=2"), workplace)))
    notes = " ".join(enhance(volume, model).report.notes)
    assert f"tiny-estimator 1.0.0, which {OWN} names" in notes
    assert str(workplace) not in notes
    monkeypatch.setenv(OWN, str(workplace / "nowhere"))
    with pytest.raises(ModelError, match=f"set {OWN} to the folder of one"):
        enhance(volume, model)


def test_patches_of_several_sides_take_turns_and_larger_ones_come_in_smaller_batches(workplace: Path) -> None:
    config = config_of(workplace, "factors=[2, 2]", "patches=[12, 24]")
    assert config.draws == [(2, 12), (2, 24)]
    assert [config.batch_of(patch) for _, patch in config.draws] == [8, 2]
    with pytest.raises(UsageError, match="give as many"):
        config_of(workplace, "factors=[2, 2]", "patches=[12]")
