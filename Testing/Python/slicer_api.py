"""What a real Slicer 5.12.3 offers, by name (``data/slicer_api.json``): what the test doubles may offer at most."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

_API = json.loads((Path(__file__).parent / "data" / "slicer_api.json").read_text(encoding="utf-8"))


@cache
def members(name: str) -> frozenset[str]:
    """Attributes, properties, signals and slots of a class, such as "qt.QLabel", or of an object, "slicer.app"."""
    if name in _API["instances"]:
        return frozenset(_API["instances"][name].split())
    entry = _API["classes"][name]
    shared = (name for which in entry["sets"] for name in _API["sets"][which].split())
    return frozenset(entry["names"].split()) | frozenset(shared)


@cache
def namespace(name: str) -> frozenset[str]:
    """What a module offers, such as "qt" or "slicer.util"."""
    return frozenset(_API["namespaces"][name].split())


def classes() -> list[str]:
    """The classes whose members are known."""
    return sorted(_API["classes"])
