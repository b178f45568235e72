"""The logic as the console and batch runs use it: blocking, no widget, no view, no question."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import fake_widgets
import numpy as np
import pytest
from module_fixtures import REPOSITORY, settle
from scene_fixtures import OBLIQUE, blob, bounds

from MedSRLib.errors import EnhancementCancelled, MissingPackageError
from MedSRLib.models.catalogue import Model


@pytest.fixture
def logic(module: ModuleType, models_folder: Any, application: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The logic where nobody sits before a main window and packages must not be installed."""
    import MedSRLib.panel.packages as packages

    application.main_window = None
    monkeypatch.setattr(packages, "ensure_packages", lambda **_: pytest.fail("packages were installed"))
    return module.MedSRLogic()


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
def test_process_returns_the_sharper_volume(
    logic: Any, add_volume: Callable[..., Any], scene: Any, tiny_model: Model
) -> None:
    source = add_volume(blob())
    progress: list[float] = []
    result = logic.process(
        source, model=tiny_model.manifest.name, device="cpu", progress=lambda fraction, _: progress.append(fraction)
    )
    assert result.GetName() == "T1 MedSR x2"
    np.testing.assert_allclose(bounds(result), bounds(source), atol=1e-6)
    assert result.GetAttribute("MedSR.Model") == tiny_model.manifest.name
    assert progress[-1] == 1
    assert fake_widgets.BOXES == []


def test_process_writes_into_a_given_volume_and_makes_an_uncertainty_map_of_a_region(
    logic: Any, add_volume: Callable[..., Any], scene: Any, tiny_model: Model
) -> None:
    source, target = add_volume(blob()), add_volume(np.zeros((2, 2, 2)), name="target")
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    region.SetCenter(*(OBLIQUE @ [12, 14, 6, 1])[:3])
    region.SetSize(8, 8, 8)
    result = logic.process(
        source, target, tiny_model.manifest.name, region=region, uncertainty=True, device="cpu", consistency=False
    )
    assert result is target
    assert 0 < np.prod(target.GetImageData().GetDimensions()) < 52 * 60 * 12
    assert target.GetNodeReference("MedSR.Uncertainty") is not None


def test_bad_input_is_a_value_error_that_says_what_to_do(
    logic: Any, add_volume: Callable[..., Any], scene: Any
) -> None:
    source = add_volume(blob())
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    count = scene.GetNumberOfNodes()
    for given, sentence in (
        ({"inputVolume": None}, "choose a volume"),
        ({"inputVolume": "Head"}, "'Head' is no volume node"),
        ({"inputVolume": source, "modality": "PET"}, "modality 'PET' is not one of"),
        ({"inputVolume": labels}, "label map"),
        ({"inputVolume": sequence}, "holds no frames"),
        ({"inputVolume": sequence, "uncertainty": True}, "neither of these"),
        ({"inputVolume": source, "outputVolume": source}, "never overwritten"),
        ({"inputVolume": source, "outputVolume": labels}, "not a grey-level volume"),
        ({"inputVolume": source, "region": region}, "has no size"),
        ({"inputVolume": source, "model": "gone"}, "no model 'gone'"),
        ({"inputVolume": source, "device": "abacus"}, "device 'abacus'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            logic.process(**given)
    assert scene.GetNumberOfNodes() == count


def test_bad_input_is_a_value_error_in_the_background_too(logic: Any) -> None:
    with pytest.raises(ValueError, match="choose a volume"):
        logic.process(None, waitForCompletion=False, listener=None)


def test_errors_speak_of_the_panel_and_process_and_not_of_a_command_line(module: ModuleType) -> None:
    from MedSRLib.panel.words import in_slicer

    root = REPOSITORY / "MedSRLib"
    files = [*(root / "enhancement").glob("*.py"), *(root / "fusion").glob("*.py"), root / "volumes" / "checks.py"]
    sentences = [
        "".join(part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise)
    ]

    def speaks_of_it(text: str) -> bool:
        return re.search(r"--[a-z]|\bmedsr ", text) is not None

    assert any(map(speaks_of_it, sentences))
    assert [text for text in sentences if speaks_of_it(in_slicer(text))] == []


def test_cancelling_raises_and_leaves_nothing(
    logic: Any, add_volume: Callable[..., Any], scene: Any, tiny_model: Model
) -> None:
    source = add_volume(blob())
    count = scene.GetNumberOfNodes()
    with pytest.raises(EnhancementCancelled):
        logic.process(source, model=tiny_model.manifest.name, cancelled=lambda: True)
    assert scene.GetNumberOfNodes() == count


def test_a_sequence_gives_a_sequence(logic: Any, add_volume: Callable[..., Any], scene: Any, tiny_model: Model) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    frame = add_volume(blob((3, 12, 10)))
    for n in range(2):
        sequence.SetDataNodeAtValue(frame, str(n))
    result = logic.process(sequence, model=tiny_model.manifest.name, device="cpu")
    assert result.GetClassName() == "vtkMRMLSequenceNode"
    assert result.GetNthDataNode(1).GetImageData().GetDimensions() == (20, 24, 3)


def test_missing_packages_are_named_and_not_installed(
    logic: Any, add_volume: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import MedSRLib.panel.packages as packages

    monkeypatch.setattr(packages, "missing_packages", lambda: ["torch>=2.1"])
    with pytest.raises(MissingPackageError, match=r"torch.*installPackages"):
        logic.process(add_volume(blob()))


def test_the_panel_enhances_with_the_real_worker_and_again_at_once(
    open_panel: Callable[[], Any],
    models_folder: Any,
    add_volume: Callable[..., Any],
    tiny_model: Model,
) -> None:
    source = add_volume(blob())
    panel = open_panel()
    panel.ui.modelComboBox.choose(tiny_model.manifest.name)
    panel.ui.deviceComboBox.choose("CPU")
    workers, results = set(), []
    for _ in range(2):
        panel.ui.enhanceButton.click()
        settle(panel)
        assert [box.text for box in fake_widgets.BOXES] == []
        workers.add(panel.logic._jobs._runner.worker_pid)
        results.append(panel._parameterNode.resultVolume)
    assert len(workers) == 1
    assert results[0] is not results[1]
    np.testing.assert_allclose(bounds(results[1]), bounds(source), atol=1e-6)
    again = panel.logic.process(source, model=tiny_model.manifest.name, device="cpu")
    import slicer

    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), slicer.util.arrayFromVolume(results[1]))


def test_samples_load_without_a_network(module: ModuleType) -> None:
    import SampleData

    module.registerSampleData()
    low, high = (SampleData.downloadSample(f"MedSR head, {mm} mm") for mm in ("1.5", "0.75"))
    np.testing.assert_allclose(bounds(low), bounds(high), atol=1e-3)
    assert low.GetImageData().GetDimensions() == (104, 144, 20)


def test_the_modules_own_quick_test_passes(
    module: ModuleType, open_panel: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    panel = open_panel()
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: panel)
    module.MedSRTest().runTest()


def test_the_module_says_what_it_is(module: ModuleType, application: Any) -> None:
    from types import SimpleNamespace

    parent = SimpleNamespace(path=str(module.__file__))
    module.MedSR(parent)
    assert parent.title == "MedSR"
    assert parent.categories == ["Filtering"]
    assert "Not for primary diagnosis" in parent.helpText
    assert "ESRGAN" in parent.acknowledgementText
    assert parent.contributors
    assert application.connected["startupCompleted()"] is module.registerSampleData
