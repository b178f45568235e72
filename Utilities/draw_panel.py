# ruff: noqa: E402 (Qt reads its platform when it is imported)
"""Draws the module's panel from its .ui file with plain Qt, where no Slicer is at hand for a screenshot.

    python Utilities/draw_panel.py docs/images/panel.png

Needs PySide6. Widgets that only Slicer has are stood in for, the texts are those of the panel's own code for the sample
volume, which is really enhanced; how long that took on the computer that draws is left out. Where Slicer is,
``Testing/Slicer/panel.py --screenshots`` makes the real thing.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from PySide6.QtCore import Property, QFile, QPointF, Qt
from PySide6.QtGui import QPainter, QPolygonF
from PySide6.QtUiTools import QUiLoader
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QSlider,
    QToolButton,
    QWidget,
)

SAMPLE = ROOT / "Resources" / "SampleData" / "mr_t1_head_1.5mm.nrrd"
WIDTH, HEADER = 340, 24


class CollapsibleButton(QFrame):
    """ctkCollapsibleButton, open: a bar with an arrow and a text, and what lies below it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""

    text = Property(str, lambda self: self._text, lambda self, value: setattr(self, "_text", value))

    def paintEvent(self, event: Any) -> None:
        """The bar."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette = self.palette()
        painter.fillRect(0, 0, self.width(), HEADER, palette.button().color().darker(108))
        painter.setPen(palette.windowText().color())
        painter.drawText(26, 0, self.width(), HEADER, Qt.AlignmentFlag.AlignVCenter, self._text)
        painter.setBrush(palette.windowText())
        x, y = 8.0, HEADER / 2 - 3
        painter.drawPolygon(QPolygonF.fromList([QPointF(x, y), QPointF(x + 9, y), QPointF(x + 4.5, y + 7)]))


class SliderWidget(QWidget):
    """ctkSliderWidget: a slider and its number."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        slider, number = QSlider(Qt.Orientation.Horizontal), QDoubleSpinBox()
        slider.setValue(slider.maximum())
        number.setValue(1.0)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(slider)
        layout.addWidget(number)


class PathLineEdit(QWidget):
    """ctkPathLineEdit: a line and a button that browses."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        line, browse = QComboBox(), QToolButton()
        line.setEditable(True)
        browse.setText("...")
        layout.addWidget(line, 1)
        layout.addWidget(browse)


STAND_INS: dict[str, type[QWidget]] = {
    "qMRMLWidget": QWidget,
    "qMRMLNodeComboBox": QComboBox,
    "ctkComboBox": QComboBox,
    "ctkCollapsibleButton": CollapsibleButton,
    "ctkPathLineEdit": PathLineEdit,
    "ctkSliderWidget": SliderWidget,
}


class Loader(QUiLoader):
    """Makes stand-ins for what plain Qt lacks."""

    def createWidget(self, name: str, parent: QWidget | None = None, object_name: str = "") -> QWidget:
        """A widget of a class by its name in the .ui file."""
        if name not in STAND_INS:
            return super().createWidget(name, parent, object_name)
        widget = STAND_INS[name](parent)
        widget.setObjectName(object_name)
        return widget


def panel_texts() -> dict[str, str]:
    """Texts of the panel's own code, by widget, for the sample volume."""
    slicer, i18n = ModuleType("slicer"), ModuleType("slicer.i18n")
    i18n.tr = lambda text: text  # type: ignore[attr-defined]
    sys.modules.update({"slicer": slicer, "slicer.i18n": i18n})
    import MedSRLib
    from MedSRLib.enhancement.estimate import estimate
    from MedSRLib.models.catalogue import find_model
    from MedSRLib.panel.advanced import PointSpreadKind
    from MedSRLib.panel.improvement import Improvement
    from MedSRLib.panel.modality import Modality
    from MedSRLib.panel.verdict import report_table, verdict_html

    volume = MedSRLib.read_volume(SAMPLE, modality="MR")
    model = find_model("inplane-x2-lite")
    expected = estimate(volume.shape, volume.voxels.dtype, model.manifest, "CPU", spacing=volume.spacing)
    enhanced = MedSRLib.enhance(volume, model)
    return {
        "inputSelector": "MedSR head, 1.5 mm",
        "outputSelector": "New volume",
        "regionSelector": "Whole volume",
        "improvementComboBox": Improvement.SharperX2.label(),
        "explanationLabel": Improvement.SharperX2.explanation(),
        "estimateLabel": expected.line(),
        "statusLabel": "Done: MedSR head, 1_5 mm MedSR x2, shown in Red, Green, Yellow",
        "verdictLabel": verdict_html("MedSR head, 1_5 mm MedSR x2", enhanced.report),
        "modalityComboBox": Modality.Automatic.label(),
        "modelComboBox": "Automatic",
        "deviceComboBox": "Automatic",
        "pointSpreadComboBox": PointSpreadKind.Estimated.label(),
        "reportLabel": re.sub("<tr><td>Computed in.*?</tr>", "", report_table(enhanced.report)),
    }


def main() -> int:
    """Draws the panel into the file that is named."""
    texts = panel_texts()
    QApplication([])
    file = QFile(str(ROOT / "MedSR" / "Resources" / "UI" / "MedSR.ui"))
    file.open(QFile.OpenModeFlag.ReadOnly)
    panel = Loader().load(file)
    for widget in panel.findChildren(QWidget):
        if isinstance(widget, CollapsibleButton):
            left, top, right, bottom = widget.layout().getContentsMargins()
            widget.layout().setContentsMargins(left, top + HEADER - 4, right, bottom)
        text = texts.get(widget.objectName())
        if isinstance(widget, QComboBox) and text is not None:
            widget.addItem(text)
        elif text is not None:
            widget.setText(text)
    for name in ("progressBar", "packagesLabel", "extensionsButton", "allFramesCheckBox"):
        panel.findChild(QWidget, name).hide()
    for name in ("verdictLabel", "undoButton"):
        panel.findChild(QWidget, name).show()
    for name in ("enhanceButton", "previewButton", "compareButton"):
        panel.findChild(QWidget, name).setEnabled(True)
    panel.setFixedWidth(WIDTH)
    panel.show()
    QApplication.processEvents()
    panel.resize(WIDTH, panel.layout().heightForWidth(WIDTH))
    QApplication.processEvents()
    panel.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
    image = panel.grab()
    if not image.save(sys.argv[1]):
        print(f"{sys.argv[1]} could not be written", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
