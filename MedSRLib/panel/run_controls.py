"""The panel's button, progress bar and status: what they show while something goes on."""

from __future__ import annotations

import enum
import time
from typing import Any

import qt
from slicer.i18n import tr as _

from MedSRLib.enhancement.estimate import duration

_DOUBLE_CLICK_SECONDS = 0.5
_SHORTCUT = "Ctrl+Shift+E"


class ProcessingState(enum.Enum):
    """What the panel is doing."""

    Idle = enum.auto()
    Installing = enum.auto()
    Running = enum.auto()
    Cancelling = enum.auto()


class RunControls:
    """The only place that decides what can be clicked and read while something goes on.

    Args:
        ui: the panel's widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self.state = ProcessingState.Idle
        self._began = 0.0
        self.show(self.state)

    def just_started(self) -> bool:
        """Whether a click belongs to the one that started the run, although the button says Cancel by now."""
        return time.monotonic() - self._began < _DOUBLE_CLICK_SECONDS

    def show(self, state: ProcessingState, status: str = "") -> None:
        """Another state begins.

        Args:
            state: what goes on now.
            status: for people; nothing for nothing to say.
        """
        if state is ProcessingState.Running and self.state is not state:
            self._began = time.monotonic()
        self.state = state
        working = state is not ProcessingState.Idle
        self.ui.enhanceButton.text = _("Cancel") if working else _("Enhance")
        # Qt forgets a button's shortcut with its text.
        self.ui.enhanceButton.setShortcut(qt.QKeySequence(_SHORTCUT))
        self.ui.progressBar.visible = working
        if state is not ProcessingState.Cancelling:
            self.ui.progressBar.value = 0
        self.ui.statusLabel.text = status

    def allow(self, reason: str) -> None:
        """Enables the button for what can be done now.

        Args:
            reason: why nothing can be started; "" where it can.
        """
        if self.state is ProcessingState.Idle:
            self.ui.enhanceButton.enabled = not reason
            self.ui.enhanceButton.toolTip = reason or _(
                "Make the volume sharper; the input is not changed (Ctrl+Shift+E)"
            )
        else:
            self.ui.enhanceButton.enabled = self.state is ProcessingState.Running
            self.ui.enhanceButton.toolTip = _("Stop; nothing is left behind (Ctrl+Shift+E)")

    def progress(self, fraction: float, message: str, seconds_left: float | None) -> None:
        """How far the job is.

        Args:
            fraction: 0..1.
            message: what is done now.
            seconds_left: None where that is not known.
        """
        if seconds_left is not None:
            message = _("{what}, about {time} left").format(what=message, time=duration(seconds_left))
        self.ui.progressBar.value = int(100 * fraction)
        self.ui.statusLabel.text = message
