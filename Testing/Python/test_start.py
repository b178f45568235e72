"""What an enhancement loads before its first tile, and what it says while it works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from MedSRLib.commands.main import main
from MedSRLib.commands.progress import log_lines, progress_bar
from MedSRLib.networks.convolution import convolution
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume

HEAVY = ("monai", "matplotlib", "skimage", "nibabel", "tensorboard")


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def volume_file(tmp_path: Path, smooth_volume: Callable[..., Volume]) -> Path:
    path = tmp_path / "input.nii.gz"
    write_volume(smooth_volume(), path)
    return path


def test_enhancing_imports_what_it_uses_alone(volume_file: Path, tmp_path: Path, models_folder: Path) -> None:
    code = (
        "import sys; from MedSRLib.commands.main import main; code = main(sys.argv[1:]); "
        f"print('loaded', code, *[name for name in {HEAVY} if name in sys.modules])"
    )
    output = tmp_path / "out.nrrd"
    command = [sys.executable, "-c", code, "enhance", str(volume_file), str(output), "--model", "tiny-x2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert output.is_file(), done.stderr
    assert done.stdout.splitlines()[-1] == "loaded 0"


@pytest.mark.usefixtures("models_folder")
def test_a_terminal_sees_each_piece_of_work_by_name(
    volume_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    arguments = ["--model", "tiny-x2", "--device", "cpu"]
    assert main(["enhance", str(volume_file), str(tmp_path / "out.nrrd"), *arguments]) == 0
    said = capsys.readouterr().err
    pieces = ("reading", "loading PyTorch", "estimating point spread and noise", "enhancing on CPU", "writing")
    places = [said.find(f"medsr {piece}") for piece in pieces]
    assert min(places) >= 0, said
    assert places == sorted(places)


def test_a_log_gets_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    report = log_lines("medsr", clock)
    for second in range(41):
        clock.now = float(second)
        report(second / 80, "enhancing on CPU")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[1].strip() for line in lines] == ["12%", "25%", "38%", "50%"]
    assert lines[-1] == "medsr: enhancing on CPU, 50%, about 00:40 left"


def test_the_lines_of_a_long_job_come_further_apart(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    report = log_lines("train head", clock)
    for minute in range(24 * 60):
        clock.now = 60.0 * minute
        report(minute / (24 * 60), "iteration")
    assert 10 < len(capsys.readouterr().err.splitlines()) < 200


def test_a_short_job_leaves_no_line_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with progress_bar("medsr") as progress:
        for step in range(101):
            progress(step / 100, "enhancing")
    assert capsys.readouterr().err == ""


def test_a_convolution_has_as_many_axes_as_its_image() -> None:
    assert (convolution(2), convolution(3)) == (nn.Conv2d, nn.Conv3d)
    with pytest.raises(ValueError, match="spatial_dims must be 2 or 3, not 1"):
        convolution(1)
