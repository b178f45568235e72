"""What the panel offers once there is a result: to judge it, to see it beside its input, to take it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from MedSRLib.panel.before_after import BeforeAfter
from MedSRLib.panel.trust import TrustSection
from MedSRLib.panel.undoing import UndoTool


class ResultTools:
    """``trust``, ``before_after`` and ``undo``, which always speak of the same result.

    Args:
        ui: the panel's widgets by name.
        on_undone: as for ``UndoTool``.
    """

    def __init__(self, ui: Any, on_undone: Callable[[str, Any], None]) -> None:
        self.trust = TrustSection(ui)
        self.before_after = BeforeAfter(ui)
        self.undo = UndoTool(ui, on_undone)

    def show(self, result: Any, *, working: bool) -> None:
        """Shows the tools for a result.

        Args:
            result: vtkMRMLScalarVolumeNode, or None.
            working: something goes on.
        """
        self.trust.show(result, working=working)
        self.before_after.offer(result)
        self.undo.offer(working=working)

    def forget(self) -> None:
        """The scene is closed."""
        self.trust.forget()
        self.before_after.offer(None)
        self.undo.forget()
