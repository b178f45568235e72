"""The volumes of a run: files and DICOM folders are read side by side, and what is no image is refused by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conftest import OBLIQUE
from test_dicom import write_slice
from tqdm import TMonitor

from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.errors import EnhancementCancelled, InputError, UsageError
from MedSRLib.models.catalogue import Model, resources_folder
from MedSRLib.training.config import DataConfig, OptimiserConfig, PairsConfig, RunConfig, TrainingConfig, load_config
from MedSRLib.training.data import read_data
from MedSRLib.training.run import train
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.threads import shared_by_threads
from MedSRLib.volumes.volume import Volume


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made in the current folder."""
    monkeypatch.chdir(tmp_path)


def write_head(folder: Path) -> None:
    """Five slices of a real head as a DICOM series of MR."""
    folder.mkdir(parents=True)
    for index, pixels in enumerate(head().voxels[8:13].astype(np.uint16)):
        write_slice(folder / f"{index}.dcm", pixels, (0, 0, 2.5 * index), Modality="MR", RescaleIntercept=0)


def config_of(*patterns: str, validation: tuple[str, ...] = (), stacks: tuple[str, ...] = ()) -> TrainingConfig:
    return TrainingConfig(
        name="tiny",
        generator={"features": 4, "blocks": 1, "growth": 4},
        data=DataConfig(train=patterns, validation=validation, stacks=stacks, validation_slices=2),
        pairs=PairsConfig(patch=8, margin=1),
        optimiser=OptimiserConfig(iterations=2, batch=2),
        run=RunConfig(device="cpu", threads=1),
    )


def head() -> Volume:
    return read_volume(OBLIQUE)


def test_a_pattern_may_match_dicom_folders_and_files(tmp_path: Path) -> None:
    for name in ("one", "two", "slices", "held_out"):
        write_head(tmp_path / "series" / name)
    write_volume(head(), tmp_path / "head.nrrd")
    data = read_data(config_of("series/*", "*.nrrd", validation=("series/held*",), stacks=("series/sl*",)), tmp_path)
    assert data.names == ["one", "slices", "two", "head.nrrd"]
    assert [volume.is_stack for volume in data.train] == [False, True, False, False]
    assert [volume.modality for volume in data.train] == ["MR", "MR", "MR", "other"]
    series = read_volume(tmp_path / "series" / "one")
    np.testing.assert_array_equal(data.train[0].voxels, series.voxels)
    assert data.train[0].spacing == series.spacing
    np.testing.assert_array_equal(data.validation["held_out"].voxels, series.voxels[1:3])


def test_dicom_folders_are_trained_and_validated_on(tmp_path: Path) -> None:
    write_head(tmp_path / "one")
    write_head(tmp_path / "held_out")
    model = train(config_of("one", validation=("held_out",)), tmp_path)
    assert (model.manifest.training["volumes"], model.manifest.training["held_out"]) == (["one"], ["held_out"])
    assert model.manifest.domain["modalities"] == ["MR"]
    assert np.isfinite(model.manifest.scores["psnr"])
    assert enhance(read_volume(tmp_path / "one"), model).volume.shape == (5, 128, 128)


def test_the_quickstart_fine_tunes_the_shipped_model_on_a_few_volumes(tmp_path: Path) -> None:
    for name, part in (("a", slice(0, 9)), ("b", slice(9, 18)), ("c", slice(18, 24))):
        write_volume(head().with_voxels(np.tile(head().voxels[part], (1, 2, 2))), tmp_path / f"{name}.nii.gz")
    here = tmp_path.as_posix()
    overrides = [f'data.train=["{here}/*.nii.gz"]', f"output={here}", "optimiser.iterations=1"]
    quickstart = resources_folder() / "Training" / "quickstart.toml"
    tuned = train(load_config(quickstart, [*overrides, "run.device=cpu"]), quickstart.parent)
    assert tuned.manifest.training["volumes"] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    shipped = Model.read(resources_folder() / "Models" / "inplane-x2-lite").load_generator().state_dict()
    for name, value in tuned.load_generator().state_dict().items():
        known = value[:, : shipped[name].shape[1]] if value.ndim > 1 else value  # it may have been told less
        assert torch.allclose(known, shipped[name], atol=1e-3), name


def test_volumes_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for patient in ("a", "b", "c", "d"):
        write_head(tmp_path / patient / "T1")
    data = read_data(config_of("?/T1", validation=("c/T1", "d/T1")), tmp_path)
    assert data.names == ["a/T1", "b/T1"]
    assert list(data.validation) == ["c/T1", "d/T1"]


def test_many_volumes_stay_in_order(tmp_path: Path) -> None:
    """More than there are threads, the first ones the slowest to decode."""
    for index in range(12):
        side = 64 - 4 * index
        write_volume(head().with_voxels(head().voxels[:, :side, :side].copy()), tmp_path / f"{index:02d}.nii.gz")
    data = read_data(config_of("*.nii.gz"), tmp_path)
    assert [volume.voxels.shape[1] for volume in data.train] == list(range(64, 16, -4))


def cut_short(path: Path) -> None:
    write_volume(head(), path)
    os.truncate(path, path.stat().st_size // 2)


def not_a_number(path: Path) -> None:
    voxels = head().voxels.astype(np.float32)
    voxels[3, 4, 5] = np.nan
    write_volume(head().with_voxels(voxels), path)


def in_colour(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((9, 9, 9, 3), np.uint8), isVector=True), str(path))


def labels(path: Path) -> None:
    write_volume(head().with_voxels((head().voxels > 300).astype(np.uint8)), path)


@pytest.mark.parametrize(
    ("spoil", "suffix", "words"),
    [
        (cut_short, ".nii.gz", "cut short"),
        (cut_short, ".nrrd", "cut short"),
        (not_a_number, ".mha", "1 of 98304 voxels are NaN"),
        (in_colour, ".nrrd", "colour"),
        (labels, ".nii.gz", "label map"),
    ],
)
@pytest.mark.parametrize("role", ["train", "validation"])
def test_a_file_that_is_no_image_is_named(
    tmp_path: Path, spoil: Callable[[Path], None], suffix: str, words: str, role: str
) -> None:
    for name in ("a", "c"):
        write_volume(head(), tmp_path / f"{name}{suffix}")
    spoil(tmp_path / f"b{suffix}")
    validation = (f"b{suffix}",) if role == "validation" else ()
    with pytest.raises(InputError, match=words) as caught:
        read_data(config_of(f"*{suffix}", validation=validation), tmp_path)
    assert f"b{suffix}" in str(caught.value)
    assert "\n" not in str(caught.value)


def one_bad_among_large(folder: Path, spoil: Callable[[Path], None]) -> None:
    """A volume that is refused at once, and others that take a while."""
    spoil(folder / "a.nii.gz")
    write_volume(head().with_voxels(np.tile(head().voxels, (4, 3, 3))), folder / "b.nii.gz")
    for index in range(6):
        shutil.copy(folder / "b.nii.gz", folder / f"c{index}.nii.gz")


def too_small(path: Path) -> None:
    write_volume(head().with_voxels(head().voxels[:, :10, :10].copy()), path)


@pytest.mark.parametrize("spoil", [cut_short, too_small])
def test_no_file_is_read_any_more_when_another_was_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    one_bad_among_large(tmp_path, spoil)
    before = set(threading.enumerate())
    with pytest.raises(InputError, match=r"a\.nii\.gz"):
        read_data(config_of("*.nii.gz"), tmp_path)
    assert not [one for one in set(threading.enumerate()) - before if not isinstance(one, TMonitor)]


def test_reading_can_be_cancelled(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_volume(head(), tmp_path / f"{name}.nrrd")
    asked = iter((False, True))
    with pytest.raises(EnhancementCancelled, match="after 2 of 3 volumes"):
        train(config_of("*.nrrd"), tmp_path, cancelled=lambda: next(asked))
    assert not (tmp_path / "runs").exists()


def test_a_run_ends_in_one_sentence_while_other_files_are_being_read(tmp_path: Path) -> None:
    """In a process of its own, which a thread that is inside ITK at its end would abort."""
    one_bad_among_large(tmp_path, too_small)
    (tmp_path / "tiny.toml").write_text('name = "tiny"\n[data]\ntrain = ["*.nii.gz"]\n[run]\ndevice = "cpu"\n')
    command = [sys.executable, "-m", "MedSRLib.commands.main", "train", str(tmp_path / "tiny.toml")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert "a.nii.gz" in done.stderr


def test_a_damaged_slice_of_a_series_is_named(tmp_path: Path) -> None:
    write_head(tmp_path / "one")
    os.truncate(tmp_path / "one" / "2.dcm", 2000)
    with pytest.raises(InputError, match=r"one.*export"):
        read_data(config_of("one"), tmp_path)


def test_a_folder_of_several_series_is_answered_with_what_training_takes(tmp_path: Path) -> None:
    write_head(tmp_path / "both")
    for index, pixels in enumerate(head().voxels[8:13].astype(np.uint16)):
        tags = {"SeriesInstanceUID": "1.2.3.4", "Modality": "MR"}
        write_slice(tmp_path / "both" / f"other{index}.dcm", pixels, (0, 0, 2.5 * index), **tags)
    with pytest.raises(InputError, match="both holds 2 DICOM series: put each into a folder of its own"):
        read_data(config_of("both"), tmp_path)


def test_a_file_of_several_volumes_is_answered_with_what_training_takes(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(head().voxels)
    sitk.WriteImage(sitk.JoinSeries([image, image, image]), str(tmp_path / "time.nii.gz"))
    with pytest.raises(InputError, match=r"time\.nii\.gz holds 3 volumes: .*split it"):
        read_data(config_of("*.nii.gz"), tmp_path)


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no DICOM images"):
        read_data(config_of("empty"), tmp_path)


def test_a_file_that_is_no_volume_is_named(tmp_path: Path) -> None:
    write_head(tmp_path / "one")
    (tmp_path / "notes.txt").write_text("scanned on Monday")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        read_data(config_of("*"), tmp_path)


def test_holding_every_volume_out_is_an_error(tmp_path: Path) -> None:
    write_volume(head(), tmp_path / "a.nrrd")
    with pytest.raises(InputError, match="leave some"):
        read_data(config_of("*.nrrd", validation=("a.nrrd",)), tmp_path)


def test_a_held_out_volume_too_small_to_score_is_named_before_training(tmp_path: Path) -> None:
    for name, side in (("large", 64), ("small", 10)):
        write_volume(head().with_voxels(head().voxels[:, :side, :side].copy()), tmp_path / f"{name}.nrrd")
    with pytest.raises(InputError, match=r"small\.nrrd: .*11 x 11"):
        read_data(config_of("*.nrrd", validation=("small.nrrd",)), tmp_path)


def test_a_setting_that_threads_share_lasts_until_the_last_one_leaves() -> None:
    state = ["before"]

    @shared_by_threads
    @contextmanager
    def changed() -> Iterator[None]:
        state[0] = "changed"
        yield
        state[0] = "before"

    first, second = changed(), changed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert state == ["changed"]
    second.__exit__(None, None, None)
    assert state == ["before"]
