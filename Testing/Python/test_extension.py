"""The extension: its descriptions agree, CMake configures and installs it, and what is installed enhances."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_slicer
import numpy as np
import pytest
from module_fixtures import REPOSITORY
from scene_fixtures import blob, bounds

from MedSRLib import __version__
from MedSRLib.models.catalogue import Model

FIELDS = {
    "depends": "EXTENSION_DEPENDS",
    "build_subdirectory": "EXTENSION_BUILD_SUBDIRECTORY",
    "homepage": "EXTENSION_HOMEPAGE",
    "contributors": "EXTENSION_CONTRIBUTORS",
    "category": "EXTENSION_CATEGORY",
    "iconurl": "EXTENSION_ICONURL",
    "status": "EXTENSION_STATUS",
    "tier": "EXTENSION_TIER",
    "description": "EXTENSION_DESCRIPTION",
    "screenshoturls": "EXTENSION_SCREENSHOTURLS",
    "enabled": "EXTENSION_ENABLED",
    "keywords": "EXTENSION_KEYWORDS",
}
INSTALLED = Path("lib", "Slicer-5.12", "qt-scripted-modules")


def description(path: Path) -> dict[str, str]:
    """Keyword and rest of every line that is no comment."""
    lines = (line.partition(" ") for line in path.read_text(encoding="utf-8").splitlines())
    return {keyword: value.strip() for keyword, _, value in lines if keyword and not keyword.startswith("#")}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The installed extension's folder of modules, and what CMake says of it."""
    cmake, ninja = shutil.which("cmake"), shutil.which("ninja")
    compilers = shutil.which("cc") and shutil.which("c++")  # "project(MedSR)" looks for them, as in every extension
    if cmake is None or not compilers or not (ninja or shutil.which("make")):
        pytest.skip("CMake, a build tool and a C++ compiler are needed to configure the extension")
    folder = tmp_path_factory.mktemp("extension")
    build, target = folder / "build", folder / "install"
    config = Path(__file__).parent / "fake_slicer_config"
    generator = "Ninja" if ninja else "Unix Makefiles"
    configure = [cmake, "-S", str(REPOSITORY), "-B", str(build), "-G", generator, f"-DSlicer_DIR={config}"]
    for command in (
        [*configure, f"-DCMAKE_INSTALL_PREFIX={target}", "-DBUILD_TESTING=ON"],
        [cmake, "--install", str(build)],
    ):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "CMake Warning" not in ran.stderr
    return target / INSTALLED, description(build / "description.txt")


def test_s4ext_has_every_field_once_and_in_order() -> None:
    lines = (REPOSITORY / "MedSR.s4ext").read_text(encoding="utf-8").splitlines()
    keywords = [line.split(" ")[0] for line in lines if line and not line.startswith("#")]
    assert " ".join(keywords) == (
        "scm scmurl scmrevision depends recommends build_subdirectory homepage contributors category iconurl "
        "status tier description screenshoturls enabled dicom_support_rule keywords"
    )


def test_cmake_and_s4ext_agree(installed: tuple[Path, dict[str, str]]) -> None:
    cmake, s4ext = installed[1], description(REPOSITORY / "MedSR.s4ext")
    assert cmake["name"] == "MedSR"
    assert {field: cmake[variable] for field, variable in FIELDS.items()} == {f: s4ext[f] for f in FIELDS}


def test_json_is_what_the_extensions_index_takes_and_agrees() -> None:
    content = (REPOSITORY / "MedSR.json").read_bytes()
    assert b"\r" not in content
    entry, s4ext = json.loads(content), description(REPOSITORY / "MedSR.s4ext")
    allowed = {"$schema", "category", "scm_url", "scm_revision", "build_dependencies", "build_subdirectory", "tier"}
    assert {"$schema", "category", "scm_url"} <= set(entry) <= allowed
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert entry["category"] == s4ext["category"]
    assert entry["scm_url"] == s4ext["scmurl"]
    assert entry["scm_revision"] == s4ext["scmrevision"]
    assert entry["build_dependencies"] == s4ext["depends"].split() == ["PyTorch"]
    assert entry["build_subdirectory"] == s4ext["build_subdirectory"]
    assert entry["tier"] == int(s4ext["tier"])


def test_each_extension_variable_is_one_quoted_string_on_one_line() -> None:
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert len(re.findall(r'^set\(EXTENSION_[A-Z]+(?:_[A-Z]+)? "[^"\n]*"\)$', text, re.MULTILINE)) == len(FIELDS)
    assert text.count("set(EXTENSION_") == len(FIELDS)


def test_what_the_addresses_name_is_in_the_repository() -> None:
    said = description(REPOSITORY / "MedSR.s4ext")
    icon, *screenshots = (
        (REPOSITORY / address.partition("/main/")[2]).read_bytes()
        for address in (said["iconurl"], *said["screenshoturls"].split())
    )
    for content in (icon, *screenshots):
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(icon[16:20]) == int.from_bytes(icon[20:24]) == 128


def test_the_installed_tree_is_the_library_the_module_and_the_resources(
    installed: tuple[Path, dict[str, str]],
) -> None:
    folder = installed[0]
    for pattern in ("MedSRLib/**/*.py", "Resources/Scripts/*.py", "Resources/SampleData/*", "Resources/Training/*"):
        source = {path.relative_to(REPOSITORY) for path in REPOSITORY.glob(pattern)}
        assert source
        assert source == {path.relative_to(folder) for path in folder.glob(pattern)}
    assert [path.name for path in folder.glob("*.py")] == ["MedSR.py"]  # each would be taken for a module
    for name in ("UI/MedSR.ui", "Icons/MedSR.png", "requirements.txt"):
        assert (folder / "Resources" / name).is_file()
    weights = {path.relative_to(REPOSITORY) for path in REPOSITORY.glob("Resources/Models/**/*") if path.is_file()}
    assert weights == {path.relative_to(folder) for path in folder.glob("Resources/Models/**/*") if path.is_file()}


@pytest.mark.parametrize("tree", ["source", "installed"])
def test_only_the_module_folder_is_on_the_path_and_the_command_line_finds_its_resources(
    installed: tuple[Path, dict[str, str]], tree: str, tmp_path: Path
) -> None:
    folder = REPOSITORY / "MedSR" if tree == "source" else installed[0]
    program = (
        "import sys, types\n"
        "from importlib.util import module_from_spec, spec_from_file_location\n"
        f"sys.path.append({str(folder)!r})\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import pytest, slicer, slicer.util, fake_slicer\n"
        "from pathlib import Path\n"
        "patch = pytest.MonkeyPatch()\n"
        "fake_slicer.install(patch, None)\n"
        f"module = fake_slicer.load_module(patch, Path({str(folder / 'MedSR.py')!r}))\n"
        "import MedSRLib\n"
        "from MedSRLib.models.catalogue import resources_folder\n"
        "print(Path(MedSRLib.__file__).parent.parent)\n"
        "print(resources_folder() / 'requirements.txt', (resources_folder() / 'requirements.txt').is_file())\n"
        "print(MedSRLib.__version__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    home, requirements, version = ran.stdout.splitlines()
    assert Path(home) == (REPOSITORY if tree == "source" else folder)
    assert requirements == f"{Path(home) / 'Resources' / 'requirements.txt'} True"
    assert version == __version__


def test_the_installed_module_enhances(
    installed: tuple[Path, dict[str, str]],
    application: Any,
    tiny_model: Model,
    add_volume: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "MedSRLib"}
    for name in kept:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(installed[0]), *sys.path])
    module = fake_slicer.load_module(monkeypatch, installed[0] / "MedSR.py")
    import MedSRLib

    assert Path(MedSRLib.__file__ or "").parents[1] == installed[0]
    try:
        source = add_volume(blob())
        result = module.MedSRLogic().process(source, model=str(tiny_model.folder), device="cpu")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "MedSRLib"]:
            del sys.modules[name]
    np.testing.assert_allclose(bounds(result), bounds(source), atol=1e-6)
    assert result.GetImageData().GetDimensions() == (52, 60, 12)
