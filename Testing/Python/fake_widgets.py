"""Widgets as Python sees them inside Slicer: properties are attributes, signals are connected by signature or by name.

A double has the real class's names and no others (``slicer_api``): touching anything else is an AttributeError. What a
name does is written out only where the panel depends on it; every other property merely keeps what it is given.
"""

from __future__ import annotations

import inspect
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from slicer_api import classes, members, namespace

SETTINGS: dict[str, Any] = {}
"""The application's settings; a test starts with none."""
BOXES: list[Any] = []
"""Message boxes that were shown."""
ANSWERS: list[int] = []
"""Buttons that the user will click in the next message boxes; Cancel where there is none."""


class Signal:
    """A signal of one object. A slot gets as many of the arguments as it takes."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        self._slots.remove(slot)

    def emit(self, *arguments: Any) -> None:
        for slot in list(self._slots):
            taken = [p for p in inspect.signature(slot).parameters.values() if p.kind is not p.KEYWORD_ONLY]
            slot(*arguments[: len(taken)])


class Object:
    """A QObject. ``signals`` are those that can be connected, ``initial`` the properties' first values."""

    api: ClassVar[str] = "qt.QWidget"
    signals: ClassVar[tuple[str, ...]] = ()
    initial: ClassVar[dict[str, Any]] = {}

    def __init__(self, *arguments: Any) -> None:
        hidden = self.__dict__
        hidden["_values"] = {}
        for base in reversed(type(self).__mro__):
            hidden["_values"].update(getattr(base, "initial", {}))
        hidden["_signals"] = {}
        hidden["_children"] = []
        hidden["_dynamic"] = {}
        hidden["name"] = ""  # Slicer's own alias of objectName

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self.signals:
            return self._signals.setdefault(name, Signal())
        if name not in members(self.api):
            raise AttributeError(f"a real {self.api} has no {name}")
        if name not in self._values:
            raise AttributeError(f"the double of {self.api} does not know {name}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        assert name == "name" or name in members(self.api), f"a real {self.api} has no {name}"
        known = getattr(type(self), name, None)
        assert not callable(known), f"{name} of {self.api} is a method"
        if isinstance(known, property):
            known.__set__(self, value)
        elif name == "name":
            self.__dict__["name"] = value
        else:
            self._values[name] = value

    def connect(self, signature: str, slot: Callable[..., Any]) -> bool:
        name = signature.partition("(")[0]
        assert signature.endswith(")"), f"{signature} is no signature"
        assert name in self.signals, f"the double of {self.api} has no signal {signature}"
        getattr(self, name).connect(slot)
        return True

    def disconnect(self, signature: str, slot: Callable[..., Any]) -> bool:
        getattr(self, signature.partition("(")[0]).disconnect(slot)
        return True

    def property(self, name: str) -> Any:
        return self._dynamic.get(name)

    def setProperty(self, name: str, value: Any) -> None:
        self._dynamic[name] = value

    def children(self) -> list[Any]:
        return self._children

    def deleteLater(self) -> None:
        pass


class QWidget(Object):
    initial: ClassVar[dict[str, Any]] = {"enabled": True, "visible": True, "toolTip": ""}

    def layout(self) -> Any:
        return next((child for child in self._children if isinstance(child, QLayout)), None)

    def setLayout(self, layout: Any) -> None:
        self._children.append(layout)

    def isWidgetType(self) -> bool:
        return True

    def show(self) -> None:
        self.visible = True

    def hide(self) -> None:
        self.visible = False


class QLayout(Object):
    api = "qt.QVBoxLayout"

    def addWidget(self, widget: Any) -> None:
        self._children.append(widget)


class QVBoxLayout(QLayout):
    pass


class QFormLayout(QLayout):
    api = "qt.QFormLayout"


class QHBoxLayout(QLayout):
    api = "qt.QHBoxLayout"


class QLabel(QWidget):
    api = "qt.QLabel"
    signals = ("linkActivated",)
    initial: ClassVar[dict[str, Any]] = {"text": ""}


class QPushButton(QWidget):
    """A button forgets its shortcut when it gets another text, as QAbstractButton does."""

    api = "qt.QPushButton"
    signals = ("pressed", "clicked", "toggled")
    initial: ClassVar[dict[str, Any]] = {"checkable": False, "shortcut": ""}
    _checked, _text = False, ""

    @property
    def text(self) -> str:
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        if text != self._text:
            self.__dict__["_text"] = text
            self.shortcut = ""

    def setShortcut(self, key: Any) -> None:
        assert isinstance(key, QKeySequence)
        self.shortcut = key.key

    def press(self, keys: str) -> None:
        """What a user does at the keyboard."""
        assert keys == self.shortcut, f"{self.name} does not listen to {keys}"
        self.click()

    @property
    def checked(self) -> bool:
        return self._checked

    @checked.setter
    def checked(self, value: bool) -> None:
        if self._checked != bool(value):
            self.__dict__["_checked"] = bool(value)
            self.toggled.emit(self._checked)

    def click(self) -> None:
        if self.enabled:
            self.pressed.emit()
            if self.checkable:
                self.checked = not self.checked
            self.clicked.emit(self.checked)


class QToolButton(QPushButton):
    api = "qt.QToolButton"


class QSlider(QWidget):
    api = "qt.QSlider"
    signals = ("valueChanged",)
    initial: ClassVar[dict[str, Any]] = {"minimum": 0, "maximum": 99}
    _value = 0

    @property
    def value(self) -> int:
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        value = min(max(int(value), self.minimum), self.maximum)
        if value != self._value:
            self.__dict__["_value"] = value
            self.valueChanged.emit(value)


class QProgressBar(QWidget):
    api = "qt.QProgressBar"
    initial: ClassVar[dict[str, Any]] = {"value": 0, "maximum": 100}


class QCheckBox(QWidget):
    api = "qt.QCheckBox"
    signals = ("stateChanged", "toggled")
    initial: ClassVar[dict[str, Any]] = {"text": ""}
    _checked = False

    @property
    def checked(self) -> bool:
        return self._checked

    @checked.setter
    def checked(self, value: bool) -> None:
        if self._checked != bool(value):
            self.__dict__["_checked"] = bool(value)
            self.stateChanged.emit(2 if value else 0)


class QComboBox(QWidget):
    api = "qt.QComboBox"
    signals = ("currentIndexChanged", "activated")
    _USER_ROLE = 256

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.__dict__["_items"] = []
        self.__dict__["_index"] = -1

    @property
    def count(self) -> int:
        return len(self._items)

    @property
    def currentIndex(self) -> int:
        return self._index

    @currentIndex.setter
    def currentIndex(self, index: int) -> None:
        if index != self._index:
            self.__dict__["_index"] = index
            self.currentIndexChanged.emit(index)

    @property
    def currentText(self) -> str:
        return self._items[self._index][0] if self._index >= 0 else ""

    def setCurrentIndex(self, index: int) -> None:
        self.currentIndex = index

    def clear(self) -> None:
        self._items.clear()
        self.currentIndex = -1

    def addItem(self, text: str, data: Any = None) -> None:
        assert isinstance(text, str)
        self._items.append((text, {self._USER_ROLE: data}))
        if self._index < 0:
            self.currentIndex = 0

    def itemText(self, index: int) -> str:
        return self._items[index][0]

    def itemData(self, index: int, role: int = _USER_ROLE) -> Any:
        return self._items[index][1].get(role)

    def setItemData(self, index: int, value: Any, role: int = _USER_ROLE) -> None:
        self._items[index][1][role] = value

    def findData(self, data: Any) -> int:
        return next((n for n, (_, roles) in enumerate(self._items) if roles[self._USER_ROLE] == data), -1)

    def choose(self, text: str) -> None:
        """What a user does: only an item that is not greyed out can be chosen."""
        index = [item for item, _ in self._items].index(text)
        assert self._items[index][1].get(self._USER_ROLE - 1) != 0, f"{text} is greyed out"
        self.currentIndex = index
        self.activated.emit(index)


class ctkSliderWidget(QWidget):
    api = "ctk.ctkSliderWidget"
    signals = ("valueChanged",)
    initial: ClassVar[dict[str, Any]] = {"minimum": 0.0, "maximum": 99.0, "decimals": 2, "singleStep": 1.0}
    _value = 0.0

    @property
    def value(self) -> float:
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        value = min(max(float(value), self.minimum), self.maximum)
        if value != self._value:
            self.__dict__["_value"] = value
            self.valueChanged.emit(value)


class QDoubleSpinBox(ctkSliderWidget):
    api = "qt.QDoubleSpinBox"


class ctkPathLineEdit(QWidget):
    api = "ctk.ctkPathLineEdit"
    signals = ("currentPathChanged",)
    initial: ClassVar[dict[str, Any]] = {"filters": ""}
    _path = ""

    @property
    def currentPath(self) -> str:
        return self._path

    @currentPath.setter
    def currentPath(self, path: str) -> None:
        if path != self._path:
            self.__dict__["_path"] = path
            self.currentPathChanged.emit(path)


class ctkCollapsibleButton(QWidget):
    api = "ctk.ctkCollapsibleButton"
    signals = ("contentsCollapsed",)
    initial: ClassVar[dict[str, Any]] = {"text": ""}
    _collapsed = False

    @property
    def collapsed(self) -> bool:
        return self._collapsed

    @collapsed.setter
    def collapsed(self, value: bool) -> None:
        if value != self._collapsed:
            self.__dict__["_collapsed"] = value
            self.contentsCollapsed.emit(value)


class ctkMessageBox(QWidget):
    api = "ctk.ctkMessageBox"
    initial: ClassVar[dict[str, Any]] = dict.fromkeys(
        ("text", "windowTitle", "detailedText", "icon", "standardButtons")
    )

    def exec_(self) -> int:
        BOXES.append(self)
        return ANSWERS.pop(0) if ANSWERS else QMessageBox.Cancel


class qMRMLWidget(QWidget):
    api = "slicer.qMRMLWidget"
    signals = ("mrmlSceneChanged",)

    def setMRMLScene(self, scene: Any) -> None:
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QWidget):
    api = "slicer.qMRMLNodeComboBox"
    signals = ("currentNodeChanged",)
    initial: ClassVar[dict[str, Any]] = {"nodeTypes": [], "noneEnabled": False}
    _node = None
    _scene = None

    def setMRMLScene(self, scene: Any) -> None:
        self.__dict__["_scene"] = scene

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        assert self._scene is not None, f"{self.name} was given no scene"
        if node is not None:
            assert node.GetScene() is self._scene
            assert any(node.IsA(kind) for kind in self.nodeTypes)
        if node is not self._node:
            self.__dict__["_node"] = node
            self.currentNodeChanged.emit(node)


class QFile:
    ReadOnly = 1

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def exists(self) -> bool:
        return self.path.is_file()

    def open(self, mode: int) -> bool:
        return self.exists()


class QSettings:
    def value(self, key: str) -> Any:
        return SETTINGS.get(key)

    def contains(self, key: str) -> bool:
        return key in SETTINGS

    def setValue(self, key: str, value: Any) -> None:
        SETTINGS[key] = value


class QApplication:
    @staticmethod
    def overrideCursor() -> None:
        return None


class QKeySequence:
    def __init__(self, key: str) -> None:
        self.key = key


class QIcon:
    def __init__(self, path: str) -> None:
        assert Path(path).is_file()


class QEventLoop:
    ExcludeUserInputEvents = 1


class Qt:
    UserRole = QComboBox._USER_ROLE
    ToolTipRole = 3
    WaitCursor = 3


class QMessageBox:
    Ok, Cancel, Critical, Warning, Information, Question = 1024, 0x400000, 3, 2, 1, 4


class QUiLoader:
    """Builds what a .ui file says, with the doubles."""

    def load(self, file: QFile) -> Any:
        root = ElementTree.parse(file.path).getroot()
        by_name: dict[str, Any] = {}
        widget = _build(root.find("widget"), by_name)
        for one in root.iterfind("connections/connection"):
            sender, signal, receiver, slot = (one.findtext(tag) for tag in ("sender", "signal", "receiver", "slot"))
            by_name[sender].connect(signal, getattr(by_name[receiver], str(slot).partition("(")[0]))
        return widget


def _build(element: Any, by_name: dict[str, Any]) -> Any:
    kind = globals()[str(element.get("class"))]
    made = kind()
    made.name = element.get("name", "")
    by_name[made.name] = made
    for one in element.iterfind("property"):
        value = _value(one[0])
        if one.get("stdset") == "0":
            made.setProperty(one.get("name"), value)
        elif one.get("name") != "geometry":
            setattr(made, one.get("name"), value)
    for tag in ("layout", "item", "widget"):
        for child in element.iterfind(tag):
            inner = child if tag != "item" else next((c for c in child if c.tag in ("widget", "layout")), None)
            if inner is not None:
                made.children().append(_build(inner, by_name))
    return made


def _value(element: Any) -> Any:
    text = element.text or ""
    match element.tag:
        case "bool":
            return text == "true"
        case "number":
            return int(text)
        case "double":
            return float(text)
        case "stringlist":
            return [one.text for one in element]
    return text


def fill_module(module: Any, prefix: str, *more: type) -> None:
    """Puts the doubles of a namespace into a module; any other class that the real one has is an empty widget there.

    Args:
        module: named as the namespace.
        prefix: "qt" or "ctk".
        more: doubles that are defined elsewhere.
    """
    known = {**globals(), **{cls.__name__: cls for cls in more}}
    for name in namespace(prefix):
        if isinstance(known.get(name), type):
            setattr(module, name, known[name])

    def other(name: str) -> Any:
        if name not in namespace(prefix):
            raise AttributeError(f"Slicer's {prefix} has no {name}")
        return type(name, (QWidget,), {})

    module.__getattr__ = other


def _check_doubles() -> None:
    """A double that defines a public name its real class lacks is an error of this file."""
    helpers = {"api", "signals", "initial", "emit", "choose", "press", "path", "exec_", "isWidgetType"}
    for cls in [value for value in globals().values() if isinstance(value, type)]:
        real = next((name for name in classes() if name.rpartition(".")[2] == cls.__name__), None)
        if real is not None:
            invented = {name for name in vars(cls) if not name.startswith("_")} - members(real) - helpers
            assert not invented, f"{real} has no {invented}"
            assert set(vars(cls).get("signals", ())) <= members(real)
            assert set(vars(cls).get("initial", ())) <= members(real), f"{real}: {set(cls.initial) - members(real)}"


_check_doubles()
