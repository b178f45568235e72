"""Every name that the Slicer-facing code touches is one that a real Slicer 5.12.3 offers (``slicer_api``)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from module_fixtures import REPOSITORY
from slicer_api import classes, members, namespace

vtk = pytest.importorskip("vtk", reason="slicer-core is not installed")

FILES = sorted(
    path
    for pattern in (
        "MedSR/MedSR.py",
        "MedSRLib/scene/*.py",
        "MedSRLib/panel/*.py",
        "Resources/Scripts/*.py",
        "Testing/Slicer/*.py",
    )
    for path in REPOSITORY.glob(pattern)
)
OURS = {"slicer.modules.medsr"}
VTK_CLASSES = (
    "vtkImageData",
    "vtkPointData",
    "vtkShortArray",
    "vtkMatrix4x4",
    "vtkGeneralTransform",
    "vtkCommand",
    "vtkCornerAnnotation",
    "vtkTransform",
    "vtkRenderWindow",
    "vtkWindowToImageFilter",
)
UNLISTED = {
    "vtkCodedEntry": ("GetAsString", "SetFromString", "GetCodingSchemeDesignator", "GetCodeValue"),
    "vtkMRMLMarkupsROIDisplayNode": ("SetFillVisibility", "GetFillVisibility"),
    "vtkMRMLColorLegendDisplayNode": ("SetTitleText",),
    "vtkMRMLSubjectHierarchyConstants": ("GetDICOMAttributePrefix", "GetDICOMFrameOfReferenceUIDAttributeName"),
}
"""Classes the list leaves out, asked of slicer-core in ``test_unlisted_names_are_in_slicer_core``."""
OTHERS = ("GetDICOMSeriesModalityAttributeName", "UpdateProxyNodesFromSequences", "GetTransformBetweenNodes")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for such an expression, "" for any other."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""


def chains(path: Path) -> Iterator[str]:
    """Dotted names that begin with a module of Slicer, and what is imported from one."""
    for node in ast.walk(tree(path)):
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        if name.partition(".")[0] in ("slicer", "qt", "ctk"):
            yield name
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("slicer", "qt", "ctk"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    text = path.read_text(encoding="utf-8")
    if "from slicer import util" in text or "from slicer import packaging" in text:
        for node in ast.walk(tree(path)):
            name = dotted(node) if isinstance(node, ast.Attribute) else ""
            if name.partition(".")[0] in ("util", "packaging"):
                yield f"slicer.{name}"


def is_known(name: str) -> bool:
    """Whether the list has a dotted name, as far as the list goes."""
    parts = name.split(".")
    if parts[0] in ("qt", "ctk"):
        first = ".".join(parts[:2])
        return parts[1] in namespace(parts[0]) and (len(parts) < 3 or parts[2] in members(first))
    for length in (2, 1):
        owner = ".".join(parts[:length])
        if len(parts) <= length:
            continue
        if owner in ("slicer.app", "slicer.mrmlScene") or owner in classes():
            return parts[length] in members(owner)
        if owner in ("slicer.ScriptedLoadableModule",):
            return f"{owner}.{parts[length]}" in classes()
        if owner.count(".") == 0 or owner in ("slicer.util", "slicer.packaging", "slicer.modules", "slicer.i18n"):
            return parts[length] in namespace(owner)
        if owner == "slicer.parameterNodeWrapper":
            return parts[length] in namespace(owner)
        if parts[1].startswith("vtk"):
            return parts[1] in namespace("slicer")
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_names_of_slicers_modules_are_known(path: Path) -> None:
    unknown = {name for name in chains(path) if name not in OURS and not name.startswith(tuple(f"{o}." for o in OURS))}
    assert {name for name in unknown if not is_known(name)} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_methods_of_mrml_and_vtk_objects_are_known(path: Path) -> None:
    known = {name for cls in classes() if "vtk" in cls for name in members(cls)} | members("slicer.mrmlScene")
    known |= {name for cls in VTK_CLASSES for name in dir(getattr(vtk, cls))}
    known |= {name for names in UNLISTED.values() for name in names} | set(OTHERS)
    parsed = tree(path)
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(parsed)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    called = {
        node.func.attr
        for node in ast.walk(parsed)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr[:1].isupper()
        and dotted(node.func).partition(".")[0] not in imported
    }
    assert called - known == set()


def test_unlisted_names_are_in_slicer_core() -> None:
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)
    for cls, names in UNLISTED.items():
        assert cls in namespace("slicer")
        assert set(names) <= set(dir(getattr(slicer, cls)))
    for cls, name in zip(
        ("vtkMRMLSubjectHierarchyConstants", "vtkSlicerSequencesLogic", "vtkMRMLTransformNode"), OTHERS, strict=True
    ):
        assert name in dir(getattr(slicer, cls))


def test_what_is_done_with_a_widget_its_class_can() -> None:
    ui = ElementTree.parse(REPOSITORY / "MedSR" / "Resources" / "UI" / "MedSR.ui").getroot()
    kinds = {widget.get("name"): str(widget.get("class")) for widget in ui.iter("widget")}
    seen = 0
    for path in FILES:
        for node in ast.walk(tree(path)):
            name = dotted(node) if isinstance(node, ast.Attribute) else ""
            if ".ui." not in f".{name}":
                continue
            widget, _, attribute = f".{name}".partition(".ui.")[2].partition(".")
            assert widget in kinds, f"{path.name}: no widget {widget}"
            kind = kinds[widget]
            full = next(cls for cls in classes() if cls.rpartition(".")[2] == kind)
            seen += 1
            for one in attribute.split(".")[:1]:
                assert not one or one in members(full), f"{path.name}: {kind} has no {one}"
    assert seen > 30
