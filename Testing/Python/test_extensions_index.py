"""What Slicer's Extensions Index checks of a submitted description and of the clone behind it, as far as no network
is needed. What it looks up on the web (that the images load, that the repository has the topic "3d-slicer-extension")
stands in CONTRIBUTING.md.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from module_fixtures import REPOSITORY

DESCRIPTION = REPOSITORY / "MedSR.json"
ENTRY = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
CMAKE = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
ADDRESS = "https://github.com/MedSR/SlicerMedSR"
RAW = "https://raw.githubusercontent.com/MedSR/SlicerMedSR/main/"
MEBIBYTE = 1024**2

KINDS = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
"""The keys that version 1.0.2 of the schema knows, and the type of each; it takes no others."""


def git(*arguments: str) -> str:
    """The output of a git command in the repository, or a skipped test where this is not a whole clone."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a git clone")
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, encoding="utf-8", check=True
    )
    return done.stdout


def extension_variable(name: str) -> str:
    """The value of a ``set()`` in CMakeLists.txt, which the index reads with a pattern and not with CMake."""
    values = re.findall(rf'set\s*\({name}\s*"([^"]+)"\)', CMAKE)
    assert len(values) == 1
    return values[0]


def test_the_description_is_what_version_1_0_2_of_the_schema_takes() -> None:
    assert urlsplit(ENTRY["$schema"]).path.endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json")
    assert {"$schema", "category", "scm_url"} <= set(ENTRY) <= set(KINDS)
    assert {key: type(value) for key, value in ENTRY.items()} == {key: KINDS[key] for key in ENTRY}
    assert all(isinstance(one, str) for one in ENTRY["build_dependencies"])
    assert 1 <= ENTRY["tier"] <= 5


def test_the_description_ends_its_lines_with_lf() -> None:
    assert b"\r" not in DESCRIPTION.read_bytes()


def test_the_extension_is_medsr_and_its_repository_slicermedsr() -> None:
    name = DESCRIPTION.stem
    assert not name.lower().startswith("slicer")
    assert re.search(r"project\s*\(\s*([^\s)]+)", CMAKE).group(1) == name  # type: ignore[union-attr]
    address = urlsplit(ENTRY["scm_url"])
    assert address.scheme == "https"
    assert Path(address.path).stem == f"Slicer{name}"


def test_the_category_is_one_of_slicers_own() -> None:
    assert ENTRY["category"] == extension_variable("EXTENSION_CATEGORY") == "Filtering"


def test_icon_and_screenshots_are_on_one_line_and_come_with_the_clone() -> None:
    tracked = git("ls-files").splitlines()
    for address in (
        extension_variable("EXTENSION_ICONURL"),
        *extension_variable("EXTENSION_SCREENSHOTURLS").split(),
    ):
        assert "\n" not in address
        assert address.startswith(RAW)
        assert address.endswith(".png")
        assert address.removeprefix(RAW) in tracked


def test_every_address_of_the_repository_is_slicermedsr() -> None:
    """In every text file that a clone holds, the history of changes included."""
    seen = 0
    for name in git("ls-files").splitlines():
        content = (REPOSITORY / name).read_bytes()
        for found in re.findall(rb"(?:github|githubusercontent)\.com/MedSR/([\w-]+)", content):
            assert found == b"SlicerMedSR", name
            seen += 1
    assert seen > 5


def test_the_licence_is_in_the_root_and_named_where_the_homepage_leads() -> None:
    assert (REPOSITORY / "LICENSE.txt").read_text(encoding="utf-8").lstrip().startswith("Apache License")
    assert extension_variable("EXTENSION_HOMEPAGE") == ADDRESS
    assert "Apache-2.0" in README


def test_the_homepage_says_what_the_index_asks_of_it() -> None:
    """Name, what it is for, a picture, its module, its limits as a medical product."""
    assert README.startswith("# MedSR\n")
    assert re.search(r"!\[[^\]]+\]\([^)]+\.png\)", README)
    assert re.search(r"module \*MedSR\*", README)
    assert "Not for primary diagnosis" in README


def test_a_clone_with_its_history_is_under_100_mb() -> None:
    """The index counts every file of a full clone: the working tree, and the packed history beside it."""
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.skip("a shallow clone says nothing about the history")
    tree = sum(int(line.split()[3]) for line in git("ls-tree", "-r", "-l", "HEAD").splitlines())
    history = int(git("rev-list", "--objects", "--disk-usage", "HEAD"))
    assert (tree + history) / MEBIBYTE < 100
