"""Through-plane and volumetric training: pairs are exactly what enhancement feeds, and runs end in models that work."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OBLIQUE

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.slabs import base_image, neighbourhoods
from MedSRLib.errors import InputError, UsageError
from MedSRLib.evaluation.protocol import acquire_low
from MedSRLib.training import samplers, through_plane
from MedSRLib.training.config import DataConfig, PairsConfig, TrainingConfig, load_config
from MedSRLib.training.data import read_data
from MedSRLib.training.losses import consistency_loss
from MedSRLib.training.pairs import PairSampler, TrainingVolume
from MedSRLib.training.run import train
from MedSRLib.volumes.files import read_volume, write_volume
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
THROUGH = {"task": "through-plane", "factors": (1, 1, 4), "slices": 3}
VOLUMETRIC = {"task": "volumetric", "factors": (2, 2, 2), "slices": 1}


def cube(side: int = 24) -> Volume:
    """A real volume, cut to a cube and called isotropic."""
    volume = read_volume(OBLIQUE)
    return Volume(np.ascontiguousarray(volume.voxels[:side, 20 : 20 + side, 20 : 20 + side]), np.eye(4), "MR")


def sampler(volume: Volume, seed: int, kind: dict[str, Any], **pairs: Any) -> PairSampler:
    settings = {
        "margin": 1,
        "noise_share": 0.0,
        "nominal_share": 1.0,
        "gamma": (1.0, 1.0),
        "neighbour_dropout": 0.0,
        **pairs,
    }
    config = TrainingConfig(
        name="tiny", base_iterations=2, pairs=PairsConfig(**settings), data=DataConfig(train=("any",)), **kind
    )
    prepared = TrainingVolume.of(volume, config.pairs.patch * config.scale[-1])
    return samplers.make_sampler([prepared], config, np.random.default_rng(seed))


def shading(array: np.ndarray) -> np.ndarray:
    """Up to a factor: MR pairs are drawn brighter or darker."""
    return array / np.abs(array).mean()


def test_a_through_plane_pair_is_what_enhancement_feeds_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch as large as the volume, so that enhancement can be asked for the same planes."""
    monkeypatch.setattr(through_plane, "SURROUND", 0)
    volume = cube()
    normalised = TrainingVolume.of(volume, 24).scaling.normalise(volume.voxels)
    acquisition = AcquisitionModel((1, 1, 4))
    fed = []
    for order, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        x = np.ascontiguousarray(normalised.transpose(order)[:: flips[0], :: flips[1], :: flips[2]])
        y = acquisition.apply(x)
        base = base_image(torch.from_numpy(y), x.shape, acquisition, 2).numpy()
        fed.append(neighbourhoods(np.moveaxis(base, 1, 0), 0, 24, 3))
    known = shading_of(np.concatenate(fed))
    draws = sampler(volume, 1, {**THROUGH, "factor_range": (3.99, 4.0)}, patch=24)
    for _ in range(3):
        pair = draws.draw()
        assert pair.low.shape == (3, 24, 24)
        nearest = np.abs(known - shading(pair.low)).max(axis=(1, 2, 3)).min()
        assert nearest < 1e-4
        assert np.array_equal(pair.base, pair.low[1:2])


def shading_of(stack: np.ndarray) -> np.ndarray:
    return stack / np.abs(stack).mean(axis=(1, 2, 3), keepdims=True)


def test_some_pairs_lie_at_the_first_or_last_slice_where_nothing_was_acquired_beyond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows that are measured around a patch are left out on one side, as at the end of a volume."""
    measured = []
    apply = AcquisitionModel.apply

    def spy(self: AcquisitionModel, x: Any, low_shape: Any = None) -> Any:
        measured.append(x.shape[-3])
        return apply(self, x, low_shape)

    monkeypatch.setattr(AcquisitionModel, "apply", spy)
    rows = {}
    for share in (0.0, 1.0):
        draws = sampler(cube(), 6, {**THROUGH, "factor_range": (3.99, 4.0)}, patch=16, border_share=share)
        measured.clear()
        assert draws.draw().low.shape == (3, 16, 16)
        rows[share] = measured[0]
    assert rows == {0.0: 16 + 2 * 4 * through_plane.SURROUND, 1.0: 16 + 4 * through_plane.SURROUND}


def test_factors_and_thickness_vary_within_their_ranges() -> None:
    draws = sampler(cube(), 2, {**THROUGH, "factor_range": (2.0, 6.0)}, patch=16, nominal_share=0.0, fwhm=(1.0, 1.0))
    drawn = [draws.draw().measurement.acquisition for _ in range(30)]
    factors = [acquisition.factors[2] for acquisition in drawn]
    widths = [acquisition.slice_thickness for acquisition in drawn]
    assert 1.8 <= min(factors) < 3 < 5 < max(factors) <= 6.6
    assert 0.7 <= min(widths) < 0.9 < 1.1 < max(widths) <= 1.3


def test_only_the_rows_of_a_through_plane_pair_are_blurred() -> None:
    draws = sampler(cube(), 3, {**THROUGH, "factor_range": (3.0, 8.0)}, patch=20)
    lost = []
    for _ in range(8):
        pair = draws.draw()
        lost.append([np.diff(pair.base, axis=a).std() / np.diff(pair.high, axis=a).std() for a in (1, 2)])
    rows, columns = np.mean(lost, axis=0)
    assert rows < 0.85 * columns


def test_volumes_of_thick_slices_are_used_plane_by_plane() -> None:
    volume = read_volume(OBLIQUE)
    thick = Volume(volume.voxels[:4], np.diag([1.0, 1.0, 4.0, 1.0]), "MR")
    draws = sampler(thick, 0, THROUGH, patch=24)
    for _ in range(4):
        pair = draws.draw()
        assert np.array_equal(pair.low[0], pair.low[1])


@pytest.mark.parametrize(("kind", "patch"), [(THROUGH, 16), (VOLUMETRIC, 8)])
def test_the_measurement_is_the_acquired_anatomy(kind: dict[str, Any], patch: int) -> None:
    pair = sampler(cube(), 5, kind, patch=patch, margin=2).draw()
    estimate = torch.from_numpy(pair.high[None])
    assert consistency_loss(estimate, [pair.measurement]).item() < 1e-4
    assert consistency_loss(estimate + 0.1, [pair.measurement]).item() == pytest.approx(0.1, abs=1e-4)


def test_a_volumetric_pair_has_the_shapes_the_formula_needs() -> None:
    pair = sampler(cube(), 0, VOLUMETRIC, patch=8).draw()
    assert (pair.low.shape, pair.base.shape, pair.high.shape) == ((1, 8, 8, 8), (1, 16, 16, 16), (1, 16, 16, 16))


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
