"""The panel's Undo button: takes the latest results out of the scene, one a click."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

_RUNS = 8
"""That can be taken back; the voxels that they wrote over are held until then."""


class UndoTool:
    """Keeps the way back from the runs that the panel started.

    Args:
        ui: the panel's widgets by name.
        on_undone: called with the name of what was taken back, and the latest result that is left or None.
    """

    def __init__(self, ui: Any, on_undone: Callable[[str, Any], None]) -> None:
        self._button, self._on_undone = ui.undoButton, on_undone
        self._begun: Any = None
        self._runs: deque[tuple[Any, Any]] = deque(maxlen=_RUNS)
        ui.undoButton.connect("clicked(bool)", self._undo)

    def begin(self, output: Any) -> None:
        """A run begins.

        Args:
            output: vtkMRMLScalarVolumeNode that it will write over, or None.
        """
        from MedSRLib.scene.undo import Undo

        self._begun = Undo(output)

    def done(self, output: Any, shown: Any) -> None:
        """The run has ended well.

        Args:
            output: the result, a volume or a sequence.
            shown: the volume that shows it.
        """
        run, self._begun = self._begun, None
        if run is not None:
            run.made(output)
            self._runs.append((run, shown))

    def offer(self, *, working: bool) -> None:
        """Shows the button where there is something to take back.

        Args:
            working: something goes on.
        """
        self._drop_gone()
        self._button.visible = bool(self._runs)
        self._button.enabled = not working

    def forget(self) -> None:
        """The scene is closed."""
        self._begun = None
        self._runs.clear()

    def _drop_gone(self) -> None:
        while self._runs and not self._runs[-1][0].is_possible:
            self._runs.pop()

    def _undo(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("The result could not be taken back."), waitCursor=True):
            self._drop_gone()
            if not self._runs:
                return
            run, _shown = self._runs.pop()
            name = run.take_back()
            self._drop_gone()
            self._on_undone(name, self._runs[-1][1] if self._runs else None)
