"""The panel's slider and button that fade and flicker between an input and its result."""

from __future__ import annotations

from typing import Any

import qt

from MedSRLib.scene.roles import SOURCE_ROLE

_FLICKER_MILLISECONDS = 600
"""Between two pictures: slow enough to look at each, quick enough for the eye to see what jumps."""
_AFTER = 100


class BeforeAfter:
    """Input and result at the same place, in the same grey levels: changing one's window and level changes both.

    Args:
        ui: the panel's widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self._button, self._slider = ui.flickerButton, ui.beforeAfterSlider
        self._labels = (ui.beforeLabel, ui.afterLabel)
        self._result: Any = None
        self._preview: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(_FLICKER_MILLISECONDS)
        self._timer.connect("timeout()", self._swap)
        ui.flickerButton.connect("toggled(bool)", self._flicker)
        ui.beforeAfterSlider.connect("valueChanged(int)", self._fade)

    def offer(self, result: Any) -> None:
        """Offers a result, or nothing.

        Args:
            result: vtkMRMLScalarVolumeNode, or None.
        """
        if result is not self._result:
            self._begin_anew()
        self._result = result
        self._show_controls()

    def show_preview(self, layer: Any) -> None:
        """Fades and flickers a preview, not the result, as long as there is one.

        Args:
            layer: ``PreviewLayer``, or None when it ends.
        """
        self._begin_anew()
        self._preview = layer
        self._show_controls()
        if layer is not None:
            self._link(layer.source, layer.node)

    def _begin_anew(self) -> None:
        self.stop()
        self._unlink()
        self._slider.value = _AFTER

    def _show_controls(self) -> None:
        result = self._result
        there = self._preview is not None or (result is not None and result.GetNodeReference(SOURCE_ROLE) is not None)
        for widget in (self._button, self._slider, *self._labels):
            widget.visible = there

    def stop(self) -> None:
        """Ends flickering."""
        self._button.checked = False

    def close(self) -> None:
        """Ends everything: the panel is closed, or the result is gone."""
        self.stop()
        self._unlink()
        self._result = self._preview = None

    def _flicker(self, on: bool) -> None:
        if on:
            self._timer.start()
        else:
            self._timer.stop()
            self._slider.value = _AFTER

    def _swap(self) -> None:
        self._slider.value = 0 if self._slider.value > _AFTER // 2 else _AFTER

    def _fade(self, value: int) -> None:
        from MedSRLib.scene.before_after import blend

        if self._preview is not None:
            self._preview.fade(value / _AFTER)
            return
        source = None if self._result is None else self._result.GetNodeReference(SOURCE_ROLE)
        if source is None:
            self.stop()
            return
        if blend(source, self._result, value / _AFTER) and not self._observed:
            self._link(source, self._result)

    def _link(self, source: Any, result: Any) -> None:
        """Window and level of both follow each other from now on."""
        from MedSRLib.scene.before_after import show_alike

        for node, other in ((source, result), (result, source)):
            display = node.GetScalarVolumeDisplayNode()
            if display is not None:
                tag = display.AddObserver("ModifiedEvent", lambda *_, a=other, b=node: show_alike(a, b))
                self._observed.append((display, tag))
        show_alike(result, source)

    def _unlink(self) -> None:
        for display, tag in self._observed:
            display.RemoveObserver(tag)
        self._observed.clear()
