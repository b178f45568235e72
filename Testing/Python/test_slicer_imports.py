"""What Slicer imports costs it nothing: no package that may be missing at file scope, and no installation before Apply.

"At file scope" is followed through MedSRLib: a module that is imported by what Slicer imports is imported by Slicer.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from module_fixtures import REPOSITORY

ALLOWED = {"slicer", "qt", "ctk", "vtk", "numpy", *sys.stdlib_module_names}
SLICER_FACING = sorted(
    path
    for pattern in ("MedSR/MedSR.py", "MedSRLib/panel/*.py", "MedSRLib/scene/*.py", "MedSRLib/jobs/*.py")
    for path in REPOSITORY.glob(pattern)
)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when a file is imported, apart from blocks for type checkers."""
    for node in body:
        yield node
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from statements(node.orelse)
            case ast.If() | ast.For() | ast.While():
                yield from statements([*node.body, *node.orelse])
            case ast.Try():
                handled = [one for handler in node.handlers for one in handler.body]
                yield from statements([*node.body, *handled, *node.orelse, *node.finalbody])
            case ast.With() | ast.ClassDef():
                yield from statements(node.body)


def imported_at_file_scope(source: str) -> set[str]:
    """Dotted names of the modules that a file imports when it is imported."""
    names: set[str] = set()
    for node in statements(ast.parse(source).body):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports are absolute here"
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


def files_of(name: str, root: Path) -> list[Path]:
    """The files below a root that ``import name`` runs, those of its packages included; none for a function."""
    parts = name.split(".")
    places = [root.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
    candidates = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return [file for file in candidates if file.is_file()]


def outsiders(path: Path, root: Path = REPOSITORY) -> dict[str, str]:
    """Packages outside ``ALLOWED`` that importing a file imports, each with the file that names it first."""
    found: dict[str, str] = {}
    seen, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for name in imported_at_file_scope(file.read_text(encoding="utf-8")):
            package = name.partition(".")[0]
            if package == "MedSRLib":
                waiting += files_of(name, root)
            elif package not in ALLOWED:
                found.setdefault(package, file.relative_to(root).as_posix())
    return found


@pytest.mark.parametrize("path", SLICER_FACING, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_only_the_standard_library_slicer_vtk_and_numpy_are_imported_at_file_scope(path: Path) -> None:
    assert outsiders(path) == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch", {"torch"}),
        ("try:\n    import monai\nexcept ImportError:\n    import skimage", {"monai", "skimage"}),
        ("if TYPE_CHECKING:\n    import torch", set()),
        ("def f():\n    import torch", set()),
        ("class C:\n    from torch import nn", {"torch", "torch.nn"}),
    ],
)
def test_what_counts_as_file_scope(source: str, names: set[str]) -> None:
    assert imported_at_file_scope(source) == names


def test_imports_are_followed_through_the_library(tmp_path: Path) -> None:
    library = tmp_path / "MedSRLib"
    library.mkdir()
    (library / "__init__.py").write_text("import json\n")
    (library / "near.py").write_text("from MedSRLib import far\n")
    (library / "far.py").write_text("import torch\nimport numpy\n")
    assert outsiders(library / "near.py", tmp_path) == {"torch": "MedSRLib/far.py"}


def callers(function: str) -> set[str]:
    """Where a function or method of that name is called in the product, as "file:function that calls"."""
    found = set()
    for path in sorted([*REPOSITORY.glob("MedSR/*.py"), *REPOSITORY.glob("MedSRLib/**/*.py")]):
        for outer in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(outer, ast.FunctionDef):
                continue
            for node in ast.walk(outer):
                if isinstance(node, ast.Call) and function in (
                    getattr(node.func, "attr", None),
                    getattr(node.func, "id", None),
                ):
                    found.add(f"{path.name}:{outer.name}")
    return found


def test_packages_are_installed_by_the_click_on_enhance_alone() -> None:
    """From the installers up to the button: nothing else on the way calls any of them."""
    for installer in ("installTorch", "pip_ensure", "pip_install"):
        assert {one.partition(":")[0] for one in callers(installer)} == {"packages.py"}
    assert callers("ensure_packages") == {"MedSR.py:installPackages"}
    assert callers("installPackages") == {"MedSR.py:_start"}
    assert callers("_start") >= {"MedSR.py:onEnhanceButton"}
    assert {one for one in callers("_start") if one.startswith("MedSR.py")} == {"MedSR.py:onEnhanceButton"}
