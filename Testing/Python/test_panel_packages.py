"""Packages are looked for without importing them, installed once asked for, and a failure says how to repeat it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from slicer_api import namespace

from MedSRLib.errors import MissingPackageError
from MedSRLib.panel import packages
from MedSRLib.panel.packages import (
    TORCH,
    InstallationDeclined,
    ensure_packages,
    missing_packages,
    needs_extension,
    read_requirements,
    requirements_file,
    torch_requirement,
)

REST = ["monai>=1.3", "scikit-image>=0.22", "safetensors", "tqdm"]


class Slicer:
    """Slicer's packaging, PyTorchUtils and find_spec, recording what was asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, old: bool) -> None:
        self.absent: set[str] = set()
        self.calls: list[tuple[str, Any]] = []
        self.agrees = True
        self.fault: Exception | None = None
        self.pins = ""
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in self.absent else SimpleNamespace(name=name)
        )
        slicer = ModuleType("slicer")
        util = self._module(
            "slicer.util", pip_install=self._pip_install, confirmOkCancelDisplay=lambda *_: self._ask("confirm")
        )
        slicer.util = util  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "slicer", slicer)
        monkeypatch.setitem(sys.modules, "slicer.util", util)
        if not old:
            slicer.packaging = self._module(  # type: ignore[attr-defined]
                "slicer.packaging", load_requirements=read_requirements, pip_ensure=self._pip_ensure
            )
        logic = type("PyTorchUtilsLogic", (), {"installTorch": self._install_torch})
        monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=logic))

    @staticmethod
    def _module(name: str, **functions: Callable[..., Any]) -> ModuleType:
        assert set(functions) <= namespace(name)
        module = ModuleType(name)
        vars(module).update(functions)
        return module

    def _ask(self, what: str) -> bool:
        self.calls.append((what, None))
        return self.agrees

    def _act(self, name: str, details: Any) -> None:
        self.calls.append((name, details))
        if self.fault is not None:
            print("Collecting monai\nERROR: No matching distribution found")
            raise self.fault

    def _install_torch(
        self, askConfirmation: bool = False, forceComputationBackend: Any = None, torchVersionRequirement: Any = None
    ) -> Any:
        self._act("torch", (askConfirmation, torchVersionRequirement))
        if not self.agrees:
            return None
        self.absent.discard("torch")
        return SimpleNamespace(__version__="2.9")

    def _pip_ensure(
        self,
        requirements: Any,
        constraints: Any = None,
        prompt_install: bool = True,
        prompt_restart: bool = True,
        requester: Any = None,
        show_progress: bool = True,
    ) -> None:
        self.pins = Path(constraints).read_text()
        self._act("pip_ensure", (requirements, prompt_install, prompt_restart, show_progress, requester))
        if not self.agrees:
            raise RuntimeError("User declined package installation")
        self.absent -= {"monai", "skimage", "safetensors", "tqdm"}

    def _pip_install(self, requirements: list[str]) -> None:
        assert requirements[-2] == "-c"
        self.pins = Path(requirements[-1]).read_text()
        self._act("pip_install", requirements[:-2])
        self.absent -= {"monai", "skimage", "safetensors", "tqdm"}


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch) -> Slicer:
    return Slicer(monkeypatch, old=False)


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> Slicer:
    return Slicer(monkeypatch, old=True)


def test_the_requirements_are_few_and_none_is_slicers_own() -> None:
    assert read_requirements(requirements_file()) == REST
    assert not {"numpy", "scipy", "simpleitk", "pydicom", "torch"} & {packages._distribution(one) for one in REST}


def test_the_requirements_are_dependencies_of_the_package_too() -> None:
    root = requirements_file().parents[1]
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    declared = set(re.findall(r'^    "([A-Za-z-]+)[>=]', text, re.MULTILINE))
    assert {packages._distribution(one) for one in [TORCH, *REST]} <= declared


@pytest.mark.parametrize(
    ("platform", "asked"),
    [("win32", "torch>=2.1,<2.13"), ("linux", "torch>=2.1"), ("darwin", "torch>=2.1")],
)
def test_torch_is_asked_for_below_2_13_on_windows_alone(platform: str, asked: str) -> None:
    assert torch_requirement(platform) == asked


def test_what_is_asked_of_torch_reaches_the_pytorch_extension(new: Slicer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "TORCH", torch_requirement("win32"))
    new.absent = {"torch"}
    ensure_packages(prompt=False)
    assert new.calls == [("torch", (False, ">=2.1,<2.13"))]


def test_missing_packages_are_named_without_importing_any(new: Slicer) -> None:
    assert missing_packages() == []
    new.absent = {"skimage", "torch"}
    before = set(sys.modules)
    assert missing_packages() == [TORCH, "scikit-image>=0.22"]
    assert not (set(sys.modules) - before) & {"torch", "monai", "skimage"}


def test_nothing_is_done_when_everything_is_there(new: Slicer) -> None:
    ensure_packages(prompt=True)
    assert new.calls == []


@pytest.mark.parametrize("prompt", [True, False])
def test_torch_comes_by_its_extension_and_the_rest_by_pip_ensure(new: Slicer, prompt: bool) -> None:
    new.absent = {"torch", "monai"}
    ensure_packages(prompt=prompt)
    assert new.calls == [
        ("torch", (prompt, TORCH.removeprefix("torch"))),
        ("pip_ensure", (REST, prompt, prompt, prompt, "MedSR")),
    ]


def test_slicers_own_packages_are_held_at_their_versions(new: Slicer) -> None:
    new.absent = {"monai"}
    ensure_packages(prompt=False)
    held = new.pins.splitlines()
    assert f"numpy=={importlib.metadata.version('numpy')}" in held
    assert {line.partition("==")[0] for line in held} >= {"numpy", "scipy", "SimpleITK", "pydicom", "torch"}


def test_slicer_5_10_has_only_pip_install(old: Slicer) -> None:
    old.absent = {"monai", "skimage"}
    ensure_packages(prompt=True)
    assert old.calls == [("confirm", None), ("pip_install", ["monai>=1.3", "scikit-image>=0.22"])]
    assert "numpy==" in old.pins


def test_nobody_is_asked_without_a_main_window(old: Slicer) -> None:
    old.absent = {"monai"}
    ensure_packages(prompt=False)
    assert [name for name, _ in old.calls] == ["pip_install"]


@pytest.mark.parametrize("which", ["new", "old"])
@pytest.mark.parametrize("absent", ["torch", "monai"])
def test_a_user_who_declines_is_told_what_is_missing_and_how_to_get_it(
    which: str, absent: str, request: pytest.FixtureRequest
) -> None:
    slicer: Slicer = request.getfixturevalue(which)
    slicer.absent, slicer.agrees = {absent}, False
    with pytest.raises(
        InstallationDeclined, match=rf"^{absent} was not installed: agree .* -m .* install \"{absent}>="
    ):
        ensure_packages(prompt=True)


@pytest.mark.parametrize("absent", ["torch", "monai"])
def test_a_failing_install_shows_the_end_of_pips_log_and_the_command(new: Slicer, absent: str) -> None:
    new.absent, new.fault = {absent}, CalledProcessError(1, "pip install")
    with pytest.raises(MissingPackageError) as caught:
        ensure_packages(prompt=True)
    sentence, _, log = str(caught.value).partition("\n\n")
    assert f"installing {absent} failed" in sentence
    assert f'install "{absent}>=' in sentence
    assert "\n" not in sentence
    assert log.endswith("ERROR: No matching distribution found")
    assert not isinstance(sys.stdout, packages._Tee)


def test_without_the_pytorch_extension_the_user_is_told_to_install_it(
    new: Slicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    new.absent = {"torch"}
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(MissingPackageError, match=r"PyTorch extension.*Extensions Manager"):
        ensure_packages(prompt=True)


def test_the_extension_is_needed_only_where_torch_is_missing_and_it_is_not_there(new: Slicer) -> None:
    new.absent = {"PyTorchUtils", "monai"}
    assert not needs_extension(missing_packages())
    new.absent = {"PyTorchUtils", "torch"}
    assert needs_extension(missing_packages())
    new.absent = {"torch"}
    assert not needs_extension(missing_packages())


def test_a_failing_install_is_no_declined_one(new: Slicer) -> None:
    new.absent, new.fault = {"monai"}, CalledProcessError(1, "pip install")
    with pytest.raises(MissingPackageError) as caught:
        ensure_packages(prompt=True)
    assert not isinstance(caught.value, InstallationDeclined)


def test_an_install_that_changes_nothing_is_not_taken_for_success(new: Slicer, monkeypatch: pytest.MonkeyPatch) -> None:
    new.absent = {"monai"}
    monkeypatch.setattr(sys.modules["slicer"].packaging, "pip_ensure", lambda *_, **__: None)
    with pytest.raises(MissingPackageError, match=r"^monai still cannot be found: start Slicer again"):
        ensure_packages(prompt=True)
