# ruff: noqa: E402 (Qt reads its platform when it is imported)
"""Measures the panel in a real Qt: run as a script, it prints JSON. Widgets that only Slicer has are stood in for.

Sizes are logical pixels, so that a scale of the screen (QT_SCALE_FACTOR) should change none of them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Utilities")]

from draw_panel import CollapsibleButton, Loader
from PySide6.QtCore import QFile, QPoint
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QPushButton, QScrollArea, QWidget

DOCK = (340, 570)
"""Pixels of the module panel in a fresh window of Slicer."""
LONG = "a_name_without_any_space_that_a_person_gave_to_a_volume_of_the_left_knee_of_last_week"
HEADER = 24


def main() -> None:
    """Loads the panel, fills it with the longest texts it may hold, and prints what it measures."""
    texts = json.loads(sys.stdin.read())
    application = QApplication([])
    file = QFile(str(ROOT / "MedSR" / "Resources" / "UI" / "MedSR.ui"))
    file.open(QFile.OpenModeFlag.ReadOnly)
    panel = Loader().load(file)

    def find(name: str) -> Any:
        return panel.findChild(QWidget, name)

    for box in panel.findChildren(QComboBox):
        box.addItems(texts.pop(box.objectName(), [LONG]))
    for name, text in texts.items():
        find(name).setText(text)
    for name in ("progressBar", "verdictLabel", "undoButton"):
        find(name).setVisible(True)
    for name in ("packagesLabel", "extensionsButton", "allFramesCheckBox"):
        find(name).setVisible(False)
    sections = panel.findChildren(CollapsibleButton)
    widest = {
        widget.objectName(): width
        for widget in panel.findChildren(QWidget)
        if (width := minimum_width(widget)) > 0 and widget.objectName() and not widget.objectName().startswith("qt_")
    }
    opened = panel.minimumSizeHint().width()
    for section in sections:
        for child in section.findChildren(QWidget):
            child.setVisible(False)
        section.setFixedHeight(HEADER)
    dock = QScrollArea()
    dock.setWidgetResizable(True)
    dock.setWidget(panel)
    dock.resize(*DOCK)
    dock.show()
    application.processEvents()
    bottoms = {
        name: find(name).mapTo(panel, QPoint(0, find(name).height())).y()
        for name in ("enhanceButton", "progressBar", "statusLabel", "verdictLabel", "trustCollapsibleButton")
    }
    order, widget = [], find("inputSelector")
    for _ in range(200):
        order.append(widget.objectName())
        widget = widget.nextInFocusChain()
    unnamed = [
        one.objectName()
        for one in panel.findChildren(QWidget)
        if type(one).__name__
        in ("QComboBox", "SliderWidget", "QToolButton", "QSlider", "QDoubleSpinBox", "QProgressBar")
        and one.objectName() in named_in_ui()
        and not one.accessibleName()
    ]
    print(
        json.dumps(
            {
                "minimum_width": widest,
                "opened_minimum_width": opened,
                "scrolls_sideways": dock.horizontalScrollBar().maximum() > 0,
                "bottoms": bottoms,
                "order": order,
                "unnamed": unnamed,
                "contrast": contrasts(panel),
                "keys": {
                    name: find(name).shortcut().toString() for name in ("previewButton", "flickerButton", "undoButton")
                },
                "forgotten": forgotten_key(),
            }
        )
    )


def forgotten_key() -> str:
    """The shortcut of a button whose text was changed, which the doubles hold to be none."""
    button = QPushButton("Enhance")
    button.setShortcut("Ctrl+Shift+E")
    button.setText("Cancel")
    return button.shortcut().toString()


def minimum_width(widget: QWidget) -> int:
    """What a layout may not go below: nothing for a widget that lets itself be made narrower."""
    ignored = widget.sizePolicy().horizontalPolicy() == widget.sizePolicy().Policy.Ignored
    return widget.minimumWidth() if ignored else max(widget.minimumWidth(), widget.minimumSizeHint().width())


def named_in_ui() -> set[str]:
    """The widgets of the .ui file itself."""
    text = (ROOT / "MedSR" / "Resources" / "UI" / "MedSR.ui").read_text(encoding="utf-8")
    return {part.partition('"')[0] for part in text.split(' name="')}


def contrasts(panel: QWidget) -> list[str]:
    """Labels that fix a colour by a style sheet, which another style's background may swallow."""
    palette = QPalette()
    palette.setColor(QPalette.ColorRole.Window, QColor(50, 50, 50))
    panel.setPalette(palette)
    return [label.objectName() for label in panel.findChildren(QLabel) if label.styleSheet()]


if __name__ == "__main__":
    main()
