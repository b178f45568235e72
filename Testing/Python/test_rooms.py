"""The house has an order: rooms import downward only, and no module, by however long a way, imports itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAP = ROOT / "CONTRIBUTING.md"
"""Holds the one list of rooms, from the top, that people read and this test goes by."""


def rooms() -> list[str]:
    """The rooms from the top to the bottom."""
    section = MAP.read_text(encoding="utf-8").partition("## The rooms")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)/` \|", section, re.MULTILINE)


def sources() -> dict[str, str]:
    """Every module of the library with its text."""
    found = {}
    for path in sorted((ROOT / "MedSRLib").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imports(text: str, modules: set[str], *, for_types: bool) -> Iterator[str]:
    """The library's own modules that a text imports, at file scope or within a function.

    Args:
        text: of a module.
        modules: all there are.
        for_types: those under ``if TYPE_CHECKING``, too.
    """
    tree = ast.parse(text)
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not for_types:
            hidden.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            yield from inner or {node.module}


def upward(texts: dict[str, str], order: list[str]) -> list[str]:
    """Imports that point to a room above, or from a room that nobody listed."""
    found = []
    for module, text in texts.items():
        room = module.split(".")[1] if module.count(".") > 1 else None
        for other in imports(text, set(texts), for_types=True):
            target = other.split(".")[1] if other.count(".") > 1 else None
            if target is None:
                continue  # beside the rooms, beneath all of them: errors, progress
            if room is None or room not in order or order.index(target) < order.index(room):
                found.append(f"{module} imports {other}")
    return found


def circle(texts: dict[str, str]) -> list[str]:
    """Modules that import each other in a ring; empty where there is none."""
    edges = {module: list(imports(text, set(texts), for_types=False)) for module, text in texts.items()}
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in edges[module]:
            if other != module and (ring := visit(other, [*way, module])):
                return ring
        done.add(module)
        return []

    return next((ring for module in edges if (ring := visit(module, []))), [])


def test_every_room_is_listed_once_and_every_listed_room_is_there() -> None:
    there = {path.parent.name for path in (ROOT / "MedSRLib").glob("*/__init__.py")}
    listed = rooms()
    assert len(listed) == len(set(listed))
    assert there == set(listed)


def test_imports_point_downward() -> None:
    assert upward(sources(), rooms()) == []


def test_no_module_imports_itself_by_any_way() -> None:
    assert circle(sources()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import MedSRLib.training.run",
        "from MedSRLib.models.catalogue import find_model",
        "from MedSRLib.models import catalogue",
        "def late():\n    from MedSRLib.models.catalogue import find_model",
        "if TYPE_CHECKING:\n    from MedSRLib.models.catalogue import Model",
    ],
)
def test_a_planted_upward_import_is_found(line: str) -> None:
    texts = sources()
    texts["MedSRLib.networks.vgg"] += f"\n{line}\n"
    assert [found.split()[0] for found in upward(texts, rooms())] == ["MedSRLib.networks.vgg"]


def test_a_planted_circle_is_found() -> None:
    texts = sources()
    texts["MedSRLib.volumes.geometry"] += "\nfrom MedSRLib.volumes.volume import Volume\n"
    texts["MedSRLib.volumes.volume"] += "\nfrom MedSRLib.volumes.geometry import upsampled_affine\n"
    ring = circle(texts)
    assert ring[0] == ring[-1]
    assert {"MedSRLib.volumes.geometry", "MedSRLib.volumes.volume"} <= set(ring)


def test_no_file_of_the_product_is_longer_than_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in (*(ROOT / "MedSRLib").rglob("*.py"), *(ROOT / "MedSR").rglob("*.py"))
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}
