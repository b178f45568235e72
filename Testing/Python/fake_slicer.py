"""A Slicer for the module file, without Slicer: real MRML (slicer-core), and doubles of what the application adds.

With ``SLICER_SOURCE`` naming a checkout of Slicer, its own parameter nodes, module base classes and translations are
used in place of the doubles, which are meant to differ in nothing the module can see.
"""

from __future__ import annotations

import enum
import importlib.util
import os
import sys
import typing
import unittest
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import fake_qt
import fake_widgets
from slicer_api import members, namespace


class Application:
    """``slicer.app``: with a main window unless told otherwise, never in testing mode."""

    applicationName = "Slicer"

    def __init__(self) -> None:
        self.main_window: Any = SimpleNamespace(objectName="qSlicerMainWindow", statusBar=lambda: None)
        self.layout_manager: Any = None
        self.temporaryPath = ""
        self.connected: dict[str, Callable[[], None]] = {}

    def testingEnabled(self) -> bool:
        return False

    def topLevelWidgets(self) -> list[Any]:
        return [] if self.main_window is None else [self.main_window]

    def connect(self, signature: str, slot: Callable[[], None]) -> None:
        assert signature.partition("(")[0] in members("slicer.app")
        self.connected[signature] = slot

    def moduleManager(self) -> Any:
        return SimpleNamespace(connect=lambda *_: True, disconnect=lambda *_: True)

    def translate(self, context: str, text: str) -> str:
        return text

    def setOverrideCursor(self, cursor: int) -> None:
        pass

    def restoreOverrideCursor(self) -> None:
        pass

    def processEvents(self, flags: int = 0) -> None:
        fake_qt.pump()

    def layoutManager(self) -> Any:
        return self.layout_manager

    def startupEnvironment(self) -> Any:
        """Without what Slicer's launcher has set for its own Python."""
        environment = fake_qt.QProcessEnvironment.systemEnvironment()
        environment.remove("PYTHONHOME")
        return environment


assert {name for name in vars(Application) if not name.startswith("_")} <= members("slicer.app")


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        import slicer

        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = parent.layout()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self.cleanup)

    def resourcePath(self, filename: str) -> str:
        import slicer

        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass

    def onReload(self) -> None:
        pass


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        import slicer

        scene = slicer.mrmlScene
        found = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if found is not None:
            return found
        node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(self.moduleName)
        return scene.AddNode(node)


class ScriptedLoadableModuleTest(unittest.TestCase):
    def delayDisplay(self, message: str) -> None:
        pass


class WithinRange:
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum


_WIDGETS: dict[type, set[type]] = {
    bool: {fake_widgets.QCheckBox},
    float: {fake_widgets.ctkSliderWidget, fake_widgets.QDoubleSpinBox},
    enum.Enum: {fake_widgets.QComboBox},
}
_SIGNALS = {
    fake_widgets.QCheckBox: "stateChanged",
    fake_widgets.ctkSliderWidget: "valueChanged",
    fake_widgets.QDoubleSpinBox: "valueChanged",
    fake_widgets.QComboBox: "currentIndexChanged",
    fake_widgets.qMRMLNodeComboBox: "currentNodeChanged",
}


class _Parameter:
    """One typed attribute, kept in the MRML node as Slicer keeps it: enums by name, nodes as references."""

    def __init__(self, name: str, kind: Any, default: Any) -> None:
        import slicer

        self.name = name
        self.kind, *self.notes = typing.get_args(kind) or (kind,)
        self.is_node = issubclass(self.kind, slicer.vtkMRMLNode)
        self.default = default

    def get(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if issubclass(self.kind, enum.Enum):
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)

    def set(self, node: Any, value: Any) -> None:
        assert value is None or isinstance(value, self.kind), f"{self.name} cannot be {value!r}"
        for note in self.notes:
            assert note.minimum <= value <= note.maximum
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, widget: Any) -> Any:
        match type(widget):
            case fake_widgets.QCheckBox:
                return widget.checked
            case fake_widgets.ctkSliderWidget | fake_widgets.QDoubleSpinBox:
                return widget.value
            case fake_widgets.qMRMLNodeComboBox:
                return widget.currentNode()
        return list(self.kind)[widget.currentIndex]

    def write(self, widget: Any, value: Any) -> None:
        match type(widget):
            case fake_widgets.QCheckBox:
                widget.checked = value
            case fake_widgets.ctkSliderWidget | fake_widgets.QDoubleSpinBox:
                widget.value = value
            case fake_widgets.qMRMLNodeComboBox:
                widget.setCurrentNode(value)
            case _:
                widget.currentIndex = list(self.kind).index(value)

    def prepare(self, widget: Any) -> None:
        wanted = enum.Enum if issubclass(self.kind, enum.Enum) else self.kind
        if self.is_node:
            assert type(widget) is fake_widgets.qMRMLNodeComboBox
            widget.nodeTypes = [self.kind.__name__]
            return
        assert type(widget) in _WIDGETS[wanted], f"{widget.name} cannot show a {wanted}"
        if wanted is enum.Enum:
            widget.clear()
            for one in self.kind:
                widget.addItem(one.label())
        for note in self.notes:
            widget.minimum, widget.maximum = note.minimum, note.maximum


def parameterNodeWrapper(cls: type) -> type:
    """Typed attributes over a vtkMRMLScriptedModuleNode, and their connection to widgets."""
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: _Parameter(name, kind, getattr(cls, name, None)) for name, kind in hints.items()}

    def init(self: Any, node: Any) -> None:
        self.parameterNode = node
        self._tags = {}
        self._updating = False
        for name, parameter in parameters.items():
            if not node.HasParameter(name):
                parameter.set(node, parameter.default)

    def connect_gui(self: Any, gui: Any) -> int:
        pairs = []
        for widget in vars(gui).values():
            name = widget.property("SlicerParameterName")
            if not name:
                continue
            parameters[name].prepare(widget)
            pairs.append((parameters[name], widget))

        def update(caller: Any = None, event: Any = None) -> None:
            if self._updating:
                return
            self._updating = True
            try:
                for parameter, widget in pairs:
                    parameter.write(widget, parameter.get(self.parameterNode))
            finally:
                self._updating = False

        def follow(parameter: _Parameter, widget: Any) -> Callable[[], None]:
            def changed() -> None:
                if not self._updating:
                    parameter.set(self.parameterNode, parameter.read(widget))

            return changed

        update()
        slots = [(widget, follow(parameter, widget)) for parameter, widget in pairs]
        for widget, slot in slots:
            getattr(widget, _SIGNALS[type(widget)]).connect(slot)
        tag = self.parameterNode.AddObserver("ModifiedEvent", update)
        self._tags[tag] = slots
        return tag

    def disconnect_gui(self: Any, tag: int) -> None:
        for widget, slot in self._tags.pop(tag, []):
            getattr(widget, _SIGNALS[type(widget)]).disconnect(slot)
        if tag is not None:
            self.parameterNode.RemoveObserver(tag)

    cls.__init__ = init
    cls.connectGui, cls.disconnectGui = connect_gui, disconnect_gui
    for name, parameter in parameters.items():
        setattr(
            cls,
            name,
            property(
                lambda self, p=parameter: p.get(self.parameterNode),
                lambda self, value, p=parameter: p.set(self.parameterNode, value),
            ),
        )
    for name in ("StartModify", "EndModify", "AddObserver", "RemoveObserver", "Modified"):
        setattr(cls, name, lambda self, *a, name=name: getattr(self.parameterNode, name)(*a))
    return cls


class SampleDataLogic:
    """Keeps what was registered, and gets it as Slicer does: copied to the cache by its URI, then loaded."""

    registered: typing.ClassVar[dict[str, dict[str, Any]]] = {}

    @staticmethod
    def registerCustomSampleDataSource(**source: Any) -> None:
        SampleDataLogic.registered[source["sampleName"]] = source


def download_sample(cache: Path) -> Callable[[str], Any]:
    def downloadSample(name: str) -> Any:
        import slicer

        source = SampleDataLogic.registered[name]
        target = cache / source["fileNames"]
        urllib.request.urlretrieve(source["uris"], target)
        algorithm, digest = slicer.util.extractAlgoAndDigest(source["checksums"])
        assert slicer.util.computeChecksum(algorithm, str(target)) == digest
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(target))
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", source["nodeNames"])
        assert storage.ReadData(node)
        node.CreateDefaultDisplayNodes()
        return node

    return downloadSample


def _module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


def install(patch: Any, cache: Path) -> Application:
    """Makes ``slicer``, ``qt``, ``ctk`` and their parts what a module file finds inside Slicer.

    Args:
        patch: pytest's monkeypatch, which undoes it.
        cache: folder for downloads.
    """
    import slicer

    app = Application()
    app.temporaryPath = "" if cache is None else str(cache / "Slicer-tmp")
    qt, ctk = ModuleType("qt"), ModuleType("ctk")
    fake_widgets.fill_module(qt, "qt", fake_qt.QProcess, fake_qt.QProcessEnvironment, fake_qt.QTimer)
    fake_widgets.fill_module(ctk, "ctk")
    patch.setitem(sys.modules, "qt", qt)
    patch.setitem(sys.modules, "ctk", ctk)
    for name in [name for name in namespace("slicer") if name.startswith("qMRML")]:
        cls = getattr(fake_widgets, name, None) or type(name, (fake_widgets.QWidget,), {})
        patch.setattr(slicer, name, cls, raising=False)
    patch.setattr(slicer, "app", app, raising=False)
    patch.setattr(slicer, "modules", SimpleNamespace(), raising=False)
    fakes = {
        "i18n": {"tr": lambda text: text, "translate": app.translate},
        "parameterNodeWrapper": {"parameterNodeWrapper": parameterNodeWrapper, "WithinRange": WithinRange},
        "ScriptedLoadableModule": {
            cls.__name__: cls
            for cls in (
                ScriptedLoadableModule,
                ScriptedLoadableModuleWidget,
                ScriptedLoadableModuleLogic,
                ScriptedLoadableModuleTest,
            )
        },
    }
    for name, content in fakes.items():
        full = f"slicer.{name}"
        source = os.environ.get("SLICER_SOURCE")
        made = _from_source(patch, full, Path(source)) if source else _module(full, **content)
        assert set(content) <= namespace(full) if name != "ScriptedLoadableModule" else True
        patch.setitem(sys.modules, full, made)
        patch.setattr(slicer, name, made, raising=False)
    SampleDataLogic.registered.clear()
    sample_data = _module("SampleData", SampleDataLogic=SampleDataLogic, downloadSample=download_sample(cache))
    patch.setitem(sys.modules, "SampleData", sample_data)
    fake_widgets.SETTINGS.clear()
    fake_widgets.BOXES.clear()
    fake_widgets.ANSWERS.clear()
    return app


def _from_source(patch: Any, name: str, source: Path) -> ModuleType:
    """Slicer's own Python file or package of that name."""
    place = source / "Base" / "Python" / Path(*name.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, name, made)
    spec.loader.exec_module(made)
    return made


def load_module(patch: Any, path: Path) -> ModuleType:
    """A scripted module's file, loaded as Slicer does, with its folder on the path.

    Args:
        patch: pytest's monkeypatch.
        path: of the .py file, whose name is the module's.
    """
    import slicer

    name = path.stem
    patch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    setattr(slicer.modules, name.lower(), SimpleNamespace(path=str(path)))
    return module
