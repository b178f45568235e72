"""Streams that are closed, full, or of another code page cost neither the work nor a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_fixtures import noise, oblique, write_nifti

from MedSRLib.commands.main import main
from MedSRLib.errors import UsageError
from MedSRLib.volumes.files import read_volume, write_volume

pytestmark = pytest.mark.usefixtures("models_folder")


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A shell command in which ``medsr`` stands for the command line."""
    medsr = f"{sys.executable} -m MedSRLib.commands.main"
    return subprocess.run(
        command.replace("medsr", medsr),
        shell=True,
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_nifti(tmp_path / "in.nii.gz", noise(3, 20, 24), sform=oblique())
    return tmp_path


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-", "> /dev/full"])
def test_the_result_is_written_whatever_becomes_of_the_summary(folder: Path, closed: str) -> None:
    done = run(f"medsr enhance in.nii.gz out.nrrd --model tiny-x2 {closed}", folder)
    assert b"Traceback" not in done.stderr
    assert done.returncode == (3 if "full" in closed else 0)
    assert read_volume(folder / "out.nrrd").shape == (3, 40, 48)


def test_a_name_that_the_code_page_does_not_have_is_printed_escaped(folder: Path) -> None:
    done = run("medsr enhance in.nii.gz ö头.nrrd --model tiny-x2 --report ö.json", folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"\\xf6\\u5934.nrrd" in done.stdout


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_names_that_are_no_utf8_are_read_and_written(folder: Path, suffix: str) -> None:
    (folder / "in.nii.gz").rename(folder / "K\udcf6pf.nii.gz")
    output, report = folder / f"\udce4us{suffix}", folder / "\udce4.json"
    arguments = ["enhance", folder / "K\udcf6pf.nii.gz", output, "--model", "tiny-x2", "--report", report]
    assert main([str(argument) for argument in arguments]) == 0
    assert read_volume(output).shape == (3, 40, 48)
    assert json.loads(report.read_text())["output"] == str(output)
    assert len(list(folder.iterdir())) == 3


def test_a_detached_header_refuses_such_a_name(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"\.mha"):
        write_volume(read_volume(folder / "in.nii.gz"), folder / "\udce4.mhd")


def test_a_home_that_may_not_be_written_is_no_matter(folder: Path) -> None:
    done = run(
        "medsr enhance in.nii.gz out.nrrd --model tiny-x2", folder, HOME="/proc/nowhere", XDG_CACHE_HOME="/proc/x"
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    np.testing.assert_array_equal(read_volume(folder / "out.nrrd").shape, (3, 40, 48))
