"""Series fused from the panel and the logic, over real MRML and a real worker process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_widgets
import numpy as np
import pytest
from fusion_fixtures import AXIAL, CORONAL, SAGITTAL, Blobs, stack
from jobs_support import wait_until
from module_fixtures import settle
from scene_fixtures import blob, node_ids

SIDE = 28.0
QUICK = {"generator": False, "spacing": 2.0, "registration": False, "device": "cpu"}


@pytest.fixture
def series(add_volume: Callable[..., Any]) -> list[Any]:
    made = []
    for name, directions in (("T2 axial", AXIAL), ("T2 sagittal", SAGITTAL), ("T2 coronal", CORONAL)):
        volume = stack(Blobs(), directions, side=SIDE, dtype=np.int16)
        made.append(add_volume(volume.voxels, volume.affine, name))
    return made


@pytest.fixture
def panel(open_panel: Callable[[], Any], models_folder: Path, series: list[Any], module: ModuleType) -> Any:
    """An open panel that is asked to fuse, in a scene with three series."""
    widget = open_panel()
    widget._parameterNode.improvement = module.Improvement.FuseSeries
    return widget


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the panel asks for, without registration and network."""
    import MedSRLib.panel.fusion as fusion

    monkeypatch.setattr(fusion, "FusionOptions", lambda **told: fusion_options(**{**told, **QUICK}))


def fusion_options(**told: Any) -> Any:
    from MedSRLib.fusion.request import FusionOptions

    return FusionOptions(**told)


def boxes(panel: Any) -> dict[str, Any]:
    """Check boxes that are shown, by their text."""
    found = [one for one in panel.ui.seriesLayout.children() if one.visible]
    return {box.text: box for box in found}


def checked(panel: Any) -> list[str]:
    return [text for text, box in boxes(panel).items() if box.checked]


def test_the_list_is_there_only_where_series_are_fused(panel: Any, module: ModuleType) -> None:
    assert panel.ui.seriesLabel.visible
    panel._parameterNode.improvement = module.Improvement.Isotropic
    assert not panel.ui.seriesLabel.visible
    assert panel.ui.consistencyCheckBox.enabled


def test_series_of_one_image_are_proposed_and_size_time_and_memory_are_said(
    panel: Any, add_volume: Callable[..., Any]
) -> None:
    assert panel.ui.inputSelector.currentNode().GetName() == "T2 axial"
    assert checked(panel) == ["T2 sagittal", "T2 coronal"]
    assert panel.ui.enhanceButton.enabled
    line = panel.ui.estimateLabel.text
    assert line.startswith("28 x 28 x 28 voxels")
    assert "GB of memory" in line
    assert not panel.ui.consistencyCheckBox.enabled


def test_a_volume_that_comes_later_is_offered_and_not_checked(panel: Any, add_volume: Callable[..., Any]) -> None:
    import fake_qt

    add_volume(blob(), name="T1 of somebody with a name that is longer than the panel is wide")
    wait_until(lambda: len(boxes(panel)) == 3, fake_qt.pump)
    name = next(text for text in boxes(panel) if text.startswith("T1"))
    assert len(name) <= 34
    assert not boxes(panel)[name].checked


def test_without_a_second_series_it_says_what_is_missing(panel: Any) -> None:
    for box in boxes(panel).values():
        box.checked = False
    assert not panel.ui.enhanceButton.enabled
    assert "two or more series" in panel.ui.enhanceButton.toolTip
    boxes(panel)["T2 coronal"].checked = True
    assert panel.ui.enhanceButton.enabled


def test_a_choice_is_kept_in_the_scene_and_another_input_gets_a_new_proposal(panel: Any, series: list[Any]) -> None:
    boxes(panel)["T2 coronal"].checked = False
    node = panel._parameterNode.parameterNode
    assert [node.GetNthNodeReference("fusedSeries", n) for n in range(1)] == [series[1]]
    panel.exit()
    panel.enter()
    assert checked(panel) == ["T2 sagittal"]
    panel._parameterNode.inputVolume = series[1]
    assert checked(panel) == ["T2 axial", "T2 coronal"]


def test_the_result_comes_from_the_worker_with_its_report(panel: Any, series: list[Any], quick: None) -> None:
    panel._checkCanApply()
    panel.ui.enhanceButton.click()
    assert panel.ui.enhanceButton.text == "Cancel"
    settle(panel)
    assert fake_widgets.BOXES == []
    result = panel._parameterNode.resultVolume
    assert result.GetName() == "T2 axial MedSR fused"
    assert [result.GetNthNodeReference("MedSR.Source", n) for n in range(3)] == series
    assert "T2 sagittal" in panel.ui.reportLabel.text
    assert "agrees with all 3 series" in panel.ui.verdictLabel.text
    assert "Measured by 3 series" in panel.ui.reportLabel.text
    assert panel.ui.statusLabel.text.startswith("Done: T2 axial MedSR fused")


def test_cancelling_leaves_the_scene_as_it_was(panel: Any, scene: Any, tmp_path: Path) -> None:
    before = node_ids(scene)
    panel.ui.enhanceButton.click()
    panel.run._began -= 10.0
    wait_until(lambda: panel.ui.progressBar.value > 0, pump, seconds=300)
    panel.ui.enhanceButton.click()
    settle(panel)
    assert panel.ui.statusLabel.text.startswith("Cancelled")
    assert node_ids(scene) == before
    assert list((tmp_path / "Slicer-tmp").glob("MedSR-*")) == []


def pump() -> None:
    import fake_qt

    fake_qt.pump()


def test_the_logic_fuses_without_a_panel(module: ModuleType, series: list[Any], models_folder: Path) -> None:
    output = module.MedSRLogic().fuse(series, **QUICK)
    assert len(json.loads(output.GetAttribute("MedSR.Report"))["series"]) == 3


@pytest.mark.parametrize(("chosen", "words"), [(slice(0, 1), "two or more"), (slice(0, 0), "two or more")])
def test_the_logic_refuses_with_value_errors(
    module: ModuleType, series: list[Any], scene: Any, chosen: slice, words: str
) -> None:
    before = node_ids(scene)
    for waiting in (True, False):
        with pytest.raises(ValueError, match=words):
            module.MedSRLogic().fuse(series[chosen], waitForCompletion=waiting)
    with pytest.raises(ValueError, match="unknown option"):
        module.MedSRLogic().fuse(series, sharpness=3)
    assert node_ids(scene) == before
