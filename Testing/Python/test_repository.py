"""What the repository says of itself in several places is the same everywhere."""

from __future__ import annotations

import re
import tomllib

from module_fixtures import REPOSITORY

from MedSRLib import __version__

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = {"3.11", "3.12", "3.13"}


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_version_changelog_and_citation_agree() -> None:
    assert re.search(rf"^## (?:Unreleased \()?{re.escape(__version__)}\b", text("CHANGELOG.md"), re.MULTILINE)
    assert f"\nversion: {__version__}\n" in text("CITATION.cff")


def test_the_pythons_that_are_checked_are_those_that_are_promised() -> None:
    promised = {one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)}
    checked = re.search(r"python: \[(.*)\]", text(".github/workflows/checks.yml"))
    assert checked is not None
    assert {one.strip(' "') for one in checked[1].split(",")} == promised == PYTHONS
    assert PROJECT["requires-python"] == ">=3.11"


def test_linux_windows_and_macos_are_checked() -> None:
    systems = re.search(r"os: \[(.*)\]", text(".github/workflows/checks.yml"))
    assert systems is not None
    assert {one.strip().partition("-")[0] for one in systems[1].split(",")} == {"ubuntu", "windows", "macos"}


def test_types_are_part_of_the_package() -> None:
    assert (REPOSITORY / "MedSRLib" / "py.typed").is_file()
