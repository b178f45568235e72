"""``medsr enhance``: every way it can fail gives one sentence, its exit code, and no output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import OBLIQUE, make_tiny_model
from image_fixtures import oblique, write_nifti

from MedSRLib.commands.main import main
from MedSRLib.enhancement.enhancer import enhance_all
from MedSRLib.enhancement.request import Input
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.files import read_sequence, read_volume, write_volume
from MedSRLib.volumes.geometry import field_of_view_corners
from MedSRLib.volumes.volume import Volume

pytestmark = pytest.mark.usefixtures("models_folder")
MakeVolume = Callable[..., Volume]


def write_voxels(path: Path, voxels: np.ndarray, *, vector: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=vector), str(path))
    return path


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, shape).astype(np.int16)


@pytest.fixture
def volume_file(tmp_path: Path, smooth_volume: MakeVolume) -> Path:
    path = tmp_path / "input.nii.gz"
    write_volume(smooth_volume(), path)
    return path


def fails(capsys: pytest.CaptureFixture[str], arguments: list[object], code: int, *words: str) -> None:
    """The call ends with ``code`` and one sentence that has all ``words``; the last argument but options is no file."""
    output = Path(str(arguments[1]))
    before = set(output.parent.iterdir()) if output.parent.is_dir() else set()
    assert main(["enhance", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    sentences = [line for line in captured.err.splitlines() if line.startswith("medsr: ")]
    assert len(sentences) == 1, captured.err
    for word in words:
        assert word in sentences[0]
    assert captured.out == ""
    assert (set(output.parent.iterdir()) if output.parent.is_dir() else set()) == before


def test_a_volume_is_enhanced_from_file_to_file(
    volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = volume_file.read_bytes()
    output, report, spread = tmp_path / "out.nrrd", tmp_path / "out.json", tmp_path / "spread.mha"
    arguments = ["--model", "tiny-x2", "--report", str(report), "--uncertainty", str(spread)]
    assert main(["enhance", str(volume_file), str(output), *arguments]) == 0
    low, high = read_volume(volume_file), read_volume(output)
    assert high.shape == (low.shape[0], 2 * low.shape[1], 2 * low.shape[2])
    assert high.voxels.dtype == low.voxels.dtype
    corners = [field_of_view_corners(volume.affine, volume.shape) for volume in (low, high)]
    assert np.abs(corners[0] - corners[1]).max() < 1e-6
    assert read_volume(spread).shape == high.shape
    assert json.loads(report.read_text())["model"]["name"] == "tiny-x2"
    assert volume_file.read_bytes() == content
    assert "not for primary diagnosis" in capsys.readouterr().out


def test_json_on_stdout_is_the_report(volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enhance", str(volume_file), str(tmp_path / "o.nrrd"), "--model", "tiny-x2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["factors"] == [2, 2, 1]


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [tmp_path / "none.nii.gz", tmp_path / "out.nrrd"], 3, "none.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_truncated_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], smooth_volume: MakeVolume, suffix: str
) -> None:
    whole = tmp_path / f"whole{suffix}"
    write_volume(smooth_volume((5, 60, 60)), whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    fails(capsys, [cut, tmp_path / "out.nrrd", "--model", "tiny-x2"], 3, cut.name)


def test_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.nii.gz").touch()
    fails(capsys, [tmp_path / "empty.nii.gz", tmp_path / "out.nrrd"], 3, "empty.nii.gz")


def test_a_blank_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blank = write_voxels(tmp_path / "blank.nrrd", np.zeros((4, 20, 20), np.int16))
    fails(capsys, [blank, tmp_path / "out.nrrd", "--model", "tiny-x2"], 3, "nothing to enhance")


def test_voxels_that_are_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voxels = noise(4, 20, 20).astype(np.float32)
    voxels[1, 2, 3] = np.nan
    path = write_voxels(tmp_path / "nan.nrrd", voxels)
    fails(capsys, [path, tmp_path / "out.nrrd", "--model", "tiny-x2"], 3, "NaN")


def test_a_label_map_is_refused_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.repeat(np.arange(4, dtype=np.uint8), 16)[None, None].repeat(40, 1).repeat(3, 0)
    path, output = write_voxels(tmp_path / "labels.nrrd", labels), tmp_path / "out.nrrd"
    fails(capsys, [path, output, "--model", "tiny-x2"], 3, "label map", "--force")
    assert main(["enhance", str(path), str(output), "--model", "tiny-x2", "--force"]) == 0


def test_a_colour_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_voxels(tmp_path / "colour.nrrd", np.zeros((3, 20, 20, 3), np.uint8), vector=True)
    fails(capsys, [path, tmp_path / "out.nrrd"], 3, "colour.nrrd")


class TestFrames:
    @pytest.fixture
    def frames(self, tmp_path: Path) -> Path:
        """A time series of three frames, the third one twice as bright, 2.5 s apart."""
        one = noise(3, 20, 24)
        return write_nifti(tmp_path / "frames.nii.gz", np.stack([one, one + 50, 2 * one]), sform=oblique(), step=2.5)

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
    def test_every_frame_is_enhanced_into_one_4d_output(self, frames: Path, tmp_path: Path, suffix: str) -> None:
        output, spread, report = tmp_path / f"out{suffix}", tmp_path / f"spread{suffix}", tmp_path / "out.json"
        arguments = ["--model", "tiny-x2", "--uncertainty", str(spread), "--report", str(report)]
        assert main(["enhance", str(frames), str(output), *arguments]) == 0
        low, high = read_sequence(frames), read_sequence(output)
        assert len(high) == len(read_sequence(spread)) == 3
        for one, other in zip(low.volumes, high.volumes, strict=True):
            assert other.shape == (3, 40, 48)
            blocks = other.voxels.reshape(3, 20, 2, 24, 2).mean(axis=(2, 4))
            assert np.abs(blocks - one.voxels).mean() < 0.1 * np.ptp(one.voxels)
            corners = [field_of_view_corners(volume.affine, volume.shape) for volume in (one, other)]
            assert np.abs(corners[0] - corners[1]).max() < 1e-4
        if suffix == ".nii.gz":
            assert high.step == pytest.approx(2.5)
        content = json.loads(report.read_text())
        assert len(content["frames"]) == 3
        assert content["lr_consistency_rmse"] == max(frame["lr_consistency_rmse"] for frame in content["frames"])

    def test_one_frame_is_chosen_by_its_number(self, frames: Path, tmp_path: Path) -> None:
        for output, arguments in (("all.nrrd", []), ("third.nrrd", ["--frame", "3"])):
            more = ["--model", "tiny-x2", "--point-spread", "1", *arguments]
            assert main(["enhance", str(frames), str(tmp_path / output), *more]) == 0
        third = read_volume(tmp_path / "third.nrrd").voxels
        np.testing.assert_array_equal(third, read_sequence(tmp_path / "all.nrrd").volumes[2].voxels)

    @pytest.mark.parametrize("frame", ["0", "4", "-1"])
    def test_a_frame_that_is_not_there(
        self, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], frame: str
    ) -> None:
        fails(capsys, [frames, tmp_path / "out.nrrd", "--frame", frame], 2, "3 frames, numbered from 1")

    def test_progress_runs_once_over_all_frames(self, frames: Path, tiny_model: Model) -> None:
        told: list[tuple[float, str]] = []
        inputs = [Input(volume) for volume in read_sequence(frames).volumes]
        list(enhance_all(inputs, tiny_model, progress=lambda fraction, message: told.append((fraction, message))))
        fractions = [fraction for fraction, _ in told]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1
        assert {message.split(":")[0] for _, message in told} == {f"frame {n} of 3" for n in (1, 2, 3)}

    def test_the_other_frames_are_told_the_point_spread_of_the_first(self, frames: Path, tiny_model: Model) -> None:
        reports = [one.report for one in enhance_all([Input(v) for v in read_sequence(frames).volumes], tiny_model)]
        assert [report.point_spread_source for report in reports] == ["estimated", "given", "given"]
        assert len({report.point_spread for report in reports}) == 1


def test_nan_outside_a_mask_is_filled_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = noise(3, 20, 24).astype(np.float32)
    voxels[:, :5] = np.nan
    path, output = write_voxels(tmp_path / "masked.nrrd", voxels), tmp_path / "out.nrrd"
    fails(capsys, [path, output, "--model", "tiny-x2"], 3, "NaN", "--fill-nan")
    assert main(["enhance", str(path), str(output), "--model", "tiny-x2", "--fill-nan"]) == 0
    assert "put back as they were" in capsys.readouterr().err
    np.testing.assert_array_equal(np.isnan(read_volume(output).voxels), np.kron(np.isnan(voxels), np.ones((1, 2, 2))))


@pytest.mark.parametrize(
    ("low", "width", "dtype"), [(2**30, 2000, np.int32), (127.74e6, 600, np.float64), (1e9, 50, np.float64)]
)
def test_grey_levels_far_from_nought_keep_their_differences(
    tmp_path: Path, smooth_volume: MakeVolume, low: float, width: float, dtype: type
) -> None:
    shape = smooth_volume(dtype=np.float64)
    unit = (shape.voxels - shape.voxels.min()) / np.ptp(shape.voxels)
    near = shape.with_voxels((width * unit).astype(dtype if dtype == np.float64 else np.int32))
    far = shape.with_voxels((low + near.voxels).astype(dtype))
    results = []
    for name, volume in (("near", near), ("far", far)):
        write_volume(volume, tmp_path / f"{name}.nrrd")
        arguments = ["--model", "tiny-x2", "--report", str(tmp_path / f"{name}.json")]
        assert main(["enhance", str(tmp_path / f"{name}.nrrd"), str(tmp_path / f"{name}2.nrrd"), *arguments]) == 0
        results.append(read_volume(tmp_path / f"{name}2.nrrd").voxels)
    assert results[1].dtype == dtype
    assert np.abs(results[1] - low - results[0]).mean() < 0.01 * width
    assert json.loads((tmp_path / "far.json").read_text())["lr_consistency_percent"] < 5


@pytest.mark.parametrize(("scale", "word"), [(1e60, "too large"), (1e-44, "too small")])
def test_grey_levels_that_float32_does_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scale: float, word: str
) -> None:
    path = write_voxels(tmp_path / "extreme.nrrd", noise(3, 20, 24) * scale)
    fails(capsys, [path, tmp_path / "out.nrrd", "--model", "tiny-x2"], 3, word)


def test_one_slice_for_a_through_plane_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_tiny_model(tmp_path / "iso", task="through-plane", factors=(1, 1, 3), factor_range=(1.5, 8))
    path = write_voxels(tmp_path / "slice.nrrd", noise(1, 20, 20))
    fails(capsys, [path, tmp_path / "out.nrrd", "--model", tmp_path / "iso"], 3, "this volume has one")


def test_an_unknown_model(volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [volume_file, tmp_path / "out.nrrd", "--model", "nonesuch"], 3, "nonesuch", "tiny-x2")


def test_tampered_weights(volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_tiny_model(tmp_path / "tampered")
    with (model.folder / "fidelity.safetensors").open("ab") as file:
        file.write(b"!")
    fails(capsys, [volume_file, tmp_path / "out.nrrd", "--model", model.folder], 3, "SHA-256")


def test_an_output_that_is_the_input(volume_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [volume_file, volume_file, "--overwrite"], 2, "never overwritten")


def test_an_output_that_is_a_link_to_the_input(
    volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "link.nii.gz"
    link.symlink_to(volume_file)
    fails(capsys, [volume_file, link, "--overwrite"], 2, "never overwritten")


def test_an_output_that_exists(volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.nrrd"
    output.write_text("mine")
    fails(capsys, [volume_file, output], 2, "--overwrite")
    assert output.read_text() == "mine"
    assert main(["enhance", str(volume_file), str(output), "--model", "tiny-x2", "--overwrite"]) == 0


def test_an_output_of_unknown_format(volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [volume_file, tmp_path / "out.docx"], 2, ".nrrd")


def test_an_output_folder_that_does_not_exist(
    volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, [volume_file, tmp_path / "nowhere" / "out.nrrd"], 3, "does not exist")


def test_one_file_for_two_outputs(volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.nrrd"
    fails(capsys, [volume_file, output, "--uncertainty", output], 2, "different files")


def test_a_full_disk(
    volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer fails as it does when the disk fills up in mid-write, after the whole result was computed."""

    def no_space(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("MedSRLib.volumes.files.write_image", no_space)
    fails(capsys, [volume_file, tmp_path / "out.nrrd", "--model", "tiny-x2"], 3, "No space left on device")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_what_to_expect_before_anything_runs(
    volume_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert main(["enhance", str(volume_file), str(tmp_path / "out.nrrd"), "--model", "tiny-x2", "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    assert ("medsr: 36 x 42 x 5 voxels, about" in said) == terminal
    assert ("of memory, about" in said) == terminal


def test_wrong_usage_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["enhance", "only-an-input.nii.gz"])
    assert stop.value.code == 2


def test_ctrl_c_in_mid_run_leaves_nothing(tmp_path: Path, models_folder: Path) -> None:
    slow = make_tiny_model(tmp_path / "slow", slices=1, arguments={"features": 32, "blocks": 4, "growth": 16})
    volume = read_volume(OBLIQUE)
    large = tmp_path / "large.nrrd"
    write_volume(volume.with_voxels(np.tile(volume.voxels, (8, 6, 6))), large)
    folder = tmp_path / "results"
    folder.mkdir()
    command = [sys.executable, "-m", "MedSRLib.commands.main", "enhance", large, folder / "o.nrrd"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*map(str, command), "--model", str(slow.folder)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    time.sleep(6)
    assert process.poll() is None, process.stderr.read() if process.stderr else ""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "medsr: cancelled"
    assert list(folder.iterdir()) == []


def test_help_is_quick_and_imports_no_torch() -> None:
    code = "import sys; import MedSRLib.commands.main as m; m.build_parser('enhance'); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "False"
