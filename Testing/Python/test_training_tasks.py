"""Runs of every task end in models that work, and data that do not fit the task are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_samplers import cube

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.errors import InputError, UsageError
from MedSRLib.evaluation.protocol import acquire_low
from MedSRLib.training.config import DataConfig, PairsConfig, TrainingConfig, load_config
from MedSRLib.training.data import read_data
from MedSRLib.training.run import train
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume

CONFIG = """
name = "tiny"
task = "{task}"
factors = {factors}
slices = {slices}
base_iterations = 1
modalities = ["MR"]
[generator]
features = 4
blocks = 1
growth = 4
[data]
train = ["one.nrrd"]
validation = ["two.nrrd"]
validation_side = 16
[pairs]
patch = {patch}
margin = 1
[optimiser]
iterations = 3
batch = 2
[run]
device = "cpu"
threads = 1
"""


def workplace(folder: Path, task: str, factors: str, slices: int, patch: int) -> TrainingConfig:
    text = CONFIG.format(task=task, factors=factors, slices=slices, patch=patch)
    (folder / "tiny.toml").write_text(text)
    for name in ("one", "two"):
        write_volume(cube(), folder / f"{name}.nrrd")
    return load_config(folder / "tiny.toml")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made in the current folder."""
    monkeypatch.chdir(tmp_path)


def test_a_through_plane_run_ends_in_a_model_for_thick_slices(tmp_path: Path) -> None:
    model = train(workplace(tmp_path, "through-plane", "[1, 1, 4]", 3, 16), tmp_path)
    assert model.manifest.factor_range == (1.5, 8.0)
    assert np.isfinite(model.manifest.scores["psnr"])
    low = acquire_low(cube(), AcquisitionModel((1, 1, 3)))
    assert enhance(low, model).volume.shape == (24, 24, 24)


def test_a_volumetric_run_ends_in_a_3d_model(tmp_path: Path) -> None:
    model = train(workplace(tmp_path, "volumetric", "[2, 2, 2]", 1, 8), tmp_path)
    assert model.manifest.spatial_dims == 3
    assert np.isfinite(model.manifest.scores["psnr"])
    low = acquire_low(cube(), AcquisitionModel((2, 2, 2)))
    assert enhance(low, model).volume.shape == (24, 24, 24)


def test_an_in_plane_x4_run_ends_in_a_model(tmp_path: Path) -> None:
    config = workplace(tmp_path, "inplane", "[4, 4, 1]", 3, 6)
    model = train(config, tmp_path)
    assert enhance(acquire_low(cube(), AcquisitionModel((4, 4, 1))), model).volume.shape == (24, 24, 24)


def test_through_plane_training_is_not_validated_on_thick_slices(tmp_path: Path) -> None:
    config = workplace(tmp_path, "through-plane", "[1, 1, 4]", 1, 16)
    write_volume(Volume(cube().voxels, np.diag([1, 1, 3, 1]), "MR"), tmp_path / "two.nrrd", overwrite=True)
    with pytest.raises(InputError, match="isotropic"):
        read_data(config, tmp_path)


def test_a_volume_of_few_slices_is_refused_for_volumetric_training(tmp_path: Path) -> None:
    config = workplace(tmp_path, "volumetric", "[2, 2, 2]", 1, 12)
    write_volume(Volume(cube().voxels[:9], np.eye(4), "MR"), tmp_path / "one.nrrd", overwrite=True)
    with pytest.raises(InputError, match=r"9 slices.*pairs\.patch"):
        read_data(config, tmp_path)


def test_mixed_modalities_are_warned_about(tmp_path: Path) -> None:
    config = workplace(tmp_path, "inplane", "[2, 2, 1]", 1, 8)
    ct = Volume((cube().voxels.astype(np.int16) - 1000).clip(-1000, 1000), np.eye(4), "CT")
    write_volume(ct, tmp_path / "ct.nrrd")
    assert not read_data(config, tmp_path).warnings
    both = load_config(tmp_path / "tiny.toml", ['data.train=["*.nrrd"]'])
    assert "CT" in read_data(both, tmp_path).warnings[0]
    unsaid = read_data(load_config(tmp_path / "tiny.toml", ['data.train=["*.nrrd"]', "modalities=[]"]), tmp_path)
    assert "mixed" in unsaid.warnings[0]
    assert unsaid.modalities == ("CT", "other")


@pytest.mark.parametrize(
    ("task", "factors", "words"),
    [
        ("inplane", "[2, 3, 1]", "equal factors"),
        ("through-plane", "[1, 1, 12]", "factor_range"),
        ("volumetric", "[2, 2, 1]", "three equal"),
        ("sideways", "[2, 2, 1]", "volumetric"),
    ],
)
def test_factors_that_do_not_fit_the_task_are_refused(tmp_path: Path, task: str, factors: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        workplace(tmp_path, task, factors, 1, 8)


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"phantom_share": 1.5}, "phantom_share"), ({"softening_share": -0.1}, "softening_share")]
    + [({"softening": span}, "softening") for span in ((0.0, 1.0), (2.0, 1.0))],
)
def test_a_share_that_is_none_and_a_blur_without_width_are_refused(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError, match=f"pairs.{key}"):
        TrainingConfig(name="tiny", pairs=PairsConfig(**settings), data=DataConfig(train=("any",)))
