"""The panel in a real Qt, at scale 1 and 2: it fits the dock of a fresh Slicer, and can be used by keyboard and ear."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from reports import report_of

pytest.importorskip("PySide6.QtUiTools", reason="PySide6 is not installed", exc_type=ImportError)

SCRIPT = Path(__file__).with_name("real_qt.py")
WIDTH, HEIGHT, WIDEST = 340, 570, 330
LONG = "inplane-x2-lite-of-somebody_with_a_name_without_spaces"


@pytest.fixture(params=["1", "2"], ids=["scale 1", "scale 2"])
def measured(request: pytest.FixtureRequest, module: ModuleType) -> dict[str, Any]:
    """What the script measures, with the longest texts that the panel writes."""
    from MedSRLib.panel.advanced import PointSpreadKind
    from MedSRLib.panel.improvement import Improvement
    from MedSRLib.panel.modality import Modality
    from MedSRLib.panel.verdict import report_table, verdict_html

    report = report_of(
        device="NVIDIA RTX 6000 Ada Generation, 47 GB free",
        warnings=("pixels of 0.49 x 0.49 mm lie outside 1.07 to 2.43 mm, the range that it was trained for",),
        frames=({"name": "12.5", "lr_consistency_percent": 0.2, "edge_sharpness_gain": 1.1},),
    )
    texts = {
        "improvementComboBox": [one.label() for one in Improvement],
        "modalityComboBox": [one.label() for one in Modality],
        "pointSpreadComboBox": [one.label() for one in PointSpreadKind],
        "explanationLabel": max((one.explanation() for one in Improvement), key=len),
        "estimateLabel": "512 x 512 x 120 voxels, about 1.2 GB of memory, about 40 s (guessed from the cores)",
        "statusLabel": f"Done: {LONG}, shown in Red, Green, Yellow",
        "verdictLabel": verdict_html(LONG, report),
        "reportLabel": report_table(report),
    }
    environment = {**os.environ, "QT_SCALE_FACTOR": request.param, "QT_QPA_PLATFORM": "offscreen"}
    ran = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps(texts),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(ran.stdout.splitlines()[-1])


def test_it_fits_the_dock_and_is_usable(measured: dict[str, Any]) -> None:
    """One run of Qt for all: starting it is what takes time."""
    assert {name: width for name, width in measured["minimum_width"].items() if width > WIDEST} == {}
    assert measured["opened_minimum_width"] <= WIDTH  # with Trust and Advanced open
    assert not measured["scrolls_sideways"]
    visible = {name: y for name, y in measured["bottoms"].items() if y > HEIGHT}
    assert visible == {}  # Enhance, progress and verdict without scrolling, and where the details are
    order = measured["order"]
    wanted = [
        "inputSelector",
        "enhanceButton",
        "previewButton",
        "flickerButton",
        "undoButton",
        "compareButton",
        "modelComboBox",
        "regionSelector",
        "consistencyCheckBox",
    ]
    assert sorted(wanted, key=order.index) == wanted
    assert measured["unnamed"] == []
    keys = {"previewButton": "Ctrl+Shift+P", "flickerButton": "Ctrl+Shift+B", "undoButton": "Ctrl+Shift+U"}
    assert measured["keys"] == keys
    assert measured["forgotten"] == ""
    assert measured["contrast"] == []
