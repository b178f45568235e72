"""Collects what the module shows into a file for translators, as Qt Linguist and Weblate read it.

    python Utilities/collect_texts.py

Contexts are those that Slicer looks texts up by: the class of the .ui file, and of Python the folder, if it is a
package, and the file. Qt's own lupdate knows no ``_``.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
UI = ROOT / "MedSR" / "Resources" / "UI" / "MedSR.ui"
TARGET = ROOT / "MedSR" / "Resources" / "Translations" / "MedSR.ts"
PYTHON = [ROOT / "MedSR" / "MedSR.py", *sorted((ROOT / "MedSRLib" / "panel").glob("*.py"))]


def texts_of_ui(path: Path) -> list[str]:
    """Strings of a .ui file that are not marked as not for translation."""
    strings = ElementTree.parse(path).getroot().iter("string")
    return [str(one.text) for one in strings if one.text and one.get("notr") != "true"]


def texts_of_python(path: Path) -> list[str]:
    """Literals that are handed to ``_``."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_"
    ]
    found = [one.args[0] for one in sorted(calls, key=lambda one: (one.lineno, one.col_offset))]
    return [one.value for one in found if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def context_of(path: Path) -> str:
    """As ``slicer.i18n.getContext`` names it."""
    package = path.parent.name + "." if (path.parent / "__init__.py").is_file() else ""
    return package + path.stem


def collect() -> str:
    """The file's content; texts are in the order in which they are met."""
    contexts: dict[str, list[str]] = {"MedSR": texts_of_ui(UI)}
    for path in PYTHON:
        contexts.setdefault(context_of(path), []).extend(texts_of_python(path))
    root = ElementTree.Element("TS", version="2.1")
    for name, texts in contexts.items():
        if not texts:
            continue
        context = ElementTree.SubElement(root, "context")
        ElementTree.SubElement(context, "name").text = name
        for text in dict.fromkeys(texts):
            message = ElementTree.SubElement(context, "message")
            ElementTree.SubElement(message, "source").text = text
            ElementTree.SubElement(message, "translation", type="unfinished").text = ""
    ElementTree.indent(root, "    ")
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n{body}\n'


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(collect(), encoding="utf-8", newline="\n")
    sys.stdout.write(f"{TARGET.relative_to(ROOT)}\n")
