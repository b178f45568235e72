"""Slicer's layout manager over real MRML: who makes the slice views, and what it does to them afterwards.

As measured in a real Slicer 5.12.3: views that a layout names for the first time come up axial, at offset 0 and with a
field of view of their own, and the slice offset slider of each, which is connected through the event queue, puts the
view to offset 0 once more when the event loop runs; linked views follow. A view gets its size then, too.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fake_qt

FIRST_SIZE = (256, 256)
"""Pixels of a view before the window has been laid out."""


class LayoutManager:
    """``slicer.app.layoutManager()``.

    Args:
        scene: vtkMRMLScene.
        sizes: pixels of a view once it is laid out, by its name; (400, 300) where there is none.
    """

    def __init__(self, scene: Any, sizes: dict[str, tuple[int, int]] | None = None) -> None:
        import slicer

        self.sizes = sizes or {}
        self._scene = scene
        self._logics: dict[str, Any] = {}
        self.annotations: dict[str, dict[int, str]] = {}
        self._link = slicer.vtkMRMLSliceLinkLogic()
        self._link.SetMRMLScene(scene)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        self._layouts = slicer.vtkMRMLLayoutLogic()
        self._layouts.SetMRMLScene(scene)
        self.node = self._layouts.GetLayoutNode()
        self.node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._closed = False
        self._update()
        self._tag = self.node.AddObserver("ModifiedEvent", lambda *_: self._update())
        fake_qt.pump()

    def close(self) -> None:
        self._closed = True
        self.node.RemoveObserver(self._tag)

    @property
    def layout(self) -> int:
        return self.node.GetViewArrangement()

    def sliceViewNames(self) -> list[str]:
        return [name for name, logic in self._logics.items() if logic.GetSliceNode().IsMappedInLayout()]

    def sliceWidget(self, name: str) -> Any:
        logic = self._logics[name]
        corner = SimpleNamespace(SetText=self.annotations.setdefault(name, {}).__setitem__)
        view = SimpleNamespace(cornerAnnotation=lambda: corner, scheduleRender=lambda: None)
        return SimpleNamespace(
            sliceLogic=lambda: logic,
            sliceView=lambda: view,
            mrmlSliceNode=logic.GetSliceNode,
            mrmlSliceCompositeNode=logic.GetSliceCompositeNode,
        )

    def _update(self) -> None:
        import slicer

        described = self.node.GetCurrentLayoutDescription() or ""
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", self._scene):
            name = view.GetLayoutName()
            if name not in self._logics:
                self._take_over(view)
            view.SetMappedInLayout(f'singletontag="{name}"' in described)

    def _take_over(self, view: Any) -> None:
        import slicer

        logic = self._logics[view.GetLayoutName()] = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLScene(self._scene)
        logic.SetSliceNode(view)
        view.SetDimensions(*FIRST_SIZE, 1)
        view.SetOrientationToDefault()

        def laid_out() -> None:
            if self._closed:
                return
            width, height = self.sizes.get(view.GetLayoutName(), (400, 300))
            logic.ResizeSliceNode(width, height)
            logic.StartSliceOffsetInteraction()
            logic.SetSliceOffset(0.0)
            logic.EndSliceOffsetInteraction()

        fake_qt.post(laid_out)
