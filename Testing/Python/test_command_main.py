"""``medsr`` itself: help, version, and being part of a pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from MedSRLib import __version__
from MedSRLib.commands.main import COMMANDS, build_parser, main

ROOT = Path(__file__).parents[2]


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser(name).parse_args([name, "--help"])
    assert stop.value.code == 0
    assert f"medsr {name}" in capsys.readouterr().out.split("usage:", 1)[1].split("\n", 1)[1]


def test_no_command_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end differently on Windows")
def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """The pipe's reading end is closed before anything is written, as by ``| head -0``."""
    command = f"{sys.executable} -m MedSRLib.commands.main models list --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
