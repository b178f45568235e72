"""MedSR.ui as Slicer will read it: bound widgets, scenes, names, and words that can be translated."""

from __future__ import annotations

import ast
import enum
import importlib.util
import re
import typing
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from module_fixtures import MODULE_FILE, REPOSITORY

UI_FILE = MODULE_FILE.parent / "Resources" / "UI" / "MedSR.ui"
ROOT = ElementTree.parse(UI_FILE).getroot()
WIDGETS = {str(widget.get("name")): widget for widget in ROOT.iter("widget")}
BINDABLE = {bool: {"QCheckBox"}, float: {"ctkSliderWidget", "QDoubleSpinBox"}, int: {"QSpinBox"}, str: {"QLineEdit"}}
UNBOUND = {"model", "resultVolume"}
"""Parameters without a widget of their own: a list that depends on another, and what the Trust section is about."""


def bound() -> dict[str, str]:
    """Parameter name to the class of its widget."""
    found = {}
    for widget in WIDGETS.values():
        for one in widget.iterfind("property[@name='SlicerParameterName']"):
            assert one.get("stdset") == "0"
            text = one.find("string")
            assert text is not None
            assert text.get("notr") == "true"
            found[str(text.text)] = str(widget.get("class"))
    return found


def test_root_is_a_mrml_widget_and_names_are_unique() -> None:
    root = ROOT.find("widget")
    assert root is not None
    assert root.get("class") == "qMRMLWidget"
    names = [widget.get("name") for widget in ROOT.iter("widget")]
    assert len(names) == len(set(names))


def test_every_bound_widget_fits_a_field_of_the_parameter_node(module: ModuleType) -> None:
    import slicer

    hints = typing.get_type_hints(module.MedSRParameterNode, include_extras=False)
    assert set(bound()) == set(hints) - UNBOUND
    for name, kind in bound().items():
        wanted = hints[name]
        if issubclass(wanted, slicer.vtkMRMLNode):
            assert kind == "qMRMLNodeComboBox"
        elif issubclass(wanted, enum.Enum):
            assert kind == "QComboBox"
        else:
            assert kind in BINDABLE[wanted]


def test_node_selectors_offer_the_fields_node_class_and_no_others(module: ModuleType) -> None:
    hints = typing.get_type_hints(module.MedSRParameterNode, include_extras=False)
    for widget in WIDGETS.values():
        if widget.get("class") != "qMRMLNodeComboBox":
            continue
        field = widget.findtext("property[@name='SlicerParameterName']/string")
        types = [one.text for one in widget.iterfind("property[@name='nodeTypes']/stringlist/string")]
        assert types == [hints[str(field)].__name__]
        if types == ["vtkMRMLScalarVolumeNode"]:  # label maps, colour and tensor volumes are its children
            assert widget.findtext("property[@name='showChildNodeTypes']/bool") == "false"


def test_an_enums_items_are_left_to_slicer() -> None:
    assert list(WIDGETS["improvementComboBox"].iterfind("item")) == []


def test_every_mrml_widget_gets_the_scene() -> None:
    given = {
        one.findtext("receiver")
        for one in ROOT.iterfind("connections/connection")
        if one.findtext("sender") == "MedSR"
        and one.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and one.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    wanted = {name for name, widget in WIDGETS.items() if str(widget.get("class")).startswith("qMRML")} - {"MedSR"}
    assert given == wanted


def test_every_custom_class_is_declared() -> None:
    declared = {one.findtext("class") for one in ROOT.iterfind("customwidgets/customwidget")}
    used = {str(widget.get("class")) for widget in WIDGETS.values()}
    assert declared == {name for name in used if not re.match("Q[A-Z]", name)}


def test_every_widget_the_code_names_exists_and_every_button_is_connected() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for path in (MODULE_FILE, *(REPOSITORY / "MedSRLib" / "panel").glob("*.py"))
    )
    named = set(re.findall(r"\bui\.(\w+)", code))
    assert named <= set(WIDGETS)
    for name, widget in WIDGETS.items():
        if widget.get("class") in ("QPushButton", "QToolButton"):
            assert re.search(rf'\bui\.{name}\.connect\("(clicked|toggled)\(bool\)"', code), name
        if str(widget.get("class")) == "QComboBox":
            assert f"ui.{name}" in code or widget.find("property[@name='SlicerParameterName']") is not None


def test_sections_are_collapsed_and_the_order_is_the_designs() -> None:
    order = list(WIDGETS)
    wanted = [
        "inputSelector",
        "outputSelector",
        "improvementComboBox",
        "estimateLabel",
        "enhanceButton",
        "progressBar",
        "verdictLabel",
        "trustCollapsibleButton",
        "advancedCollapsibleButton",
    ]
    assert sorted(wanted, key=order.index) == wanted
    for name in wanted[-2:]:
        assert WIDGETS[name].findtext("property[@name='collapsed']/bool") == "true"


def test_what_users_read_can_be_translated() -> None:
    for widget in ROOT.iter("widget"):
        for one in widget.iterfind("property"):
            text = one.find("string")
            if text is not None and one.get("name") in ("text", "toolTip", "title", "noneDisplay"):
                assert text.get("notr") is None
    for path in (MODULE_FILE, *(REPOSITORY / "MedSRLib" / "panel").glob("*.py")):
        for literal in shown_literals(path):
            assert literal.isspace() or not re.search("[a-z]{3}", literal), f"{path.name}: {literal!r} is not in _()"


def test_the_file_for_translators_holds_every_text_that_is_shown() -> None:
    """After a change of words: python Utilities/collect_texts.py."""
    spec = importlib.util.spec_from_file_location("collect_texts", REPOSITORY / "Utilities" / "collect_texts.py")
    assert spec is not None
    assert spec.loader is not None
    collector = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(collector)
    assert collector.TARGET.read_text(encoding="utf-8") == collector.collect()


def shown_literals(path: Path) -> list[str]:
    """String literals that are assigned to a text or tooltip as they stand, without ``_``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            if node.targets[0].attr not in ("text", "toolTip", "title"):
                continue
            if isinstance(node.value, ast.Constant | ast.JoinedStr):
                found.append(ast.unparse(node.value))
    return found


@pytest.mark.parametrize("path", sorted((REPOSITORY / "MedSR").rglob("*.py")), ids=lambda path: path.name)
def test_nothing_but_the_module_lies_in_its_folder(path: Path) -> None:
    assert path == MODULE_FILE
    assert not path.read_bytes().startswith(b"#!")  # would be taken for a command-line module
