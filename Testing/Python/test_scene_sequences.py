"""Every frame of a sequence is enhanced into a new one that plays along; the user's browser stays where it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from scene_fixtures import OBLIQUE, blob, enhanced_of, node_ids, save_and_reload

from MedSRLib.enhancement.result import Enhanced
from MedSRLib.errors import EnhancementCancelled, InputError
from MedSRLib.models.catalogue import Model
from MedSRLib.scene.browsing import sequence_of
from MedSRLib.scene.nodes import affine_of
from MedSRLib.scene.process import process
from MedSRLib.scene.sequences import SequenceCapture, capture_sequence, place_sequence
from MedSRLib.volumes.geometry import upsampled_affine

TIMES = ("0", "2.5", "10", "30")
AT = 2


@pytest.fixture
def played(scene: Any) -> tuple[Any, Any]:
    """A sequence of four volumes at uneven times and the browser that plays it, standing at the third."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine-Sequence")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    for n, time in enumerate(TIMES):
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetName("cine")
        slicer.util.updateVolumeFromArray(frame, blob() + np.int16(10 * n))
        frame.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(OBLIQUE))
        sequence.SetDataNodeAtValue(frame, time)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "cine browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(AT)
    return sequence, browser


def results(job: SequenceCapture) -> Iterator[Enhanced]:
    for n, (_, frame) in enumerate(job.frames):
        yield enhanced_of(frame.volume, seconds=n)


def enhance_sequence(sequence: Any) -> Any:
    job = capture_sequence(sequence)
    return place_sequence(job, results(job))


def test_every_frame_is_there_in_order_with_its_time_voxels_and_place(played: tuple[Any, Any]) -> None:
    made = enhance_sequence(played[0])
    assert made.GetName() == "cine-Sequence MedSR x2"
    assert (made.GetIndexName(), made.GetIndexUnit()) == ("time", "ms")
    assert tuple(made.GetNthIndexValue(n) for n in range(made.GetNumberOfDataNodes())) == TIMES
    affine = upsampled_affine(OBLIQUE, (12, 30, 26), (12, 60, 52))
    for n in range(len(TIMES)):
        frame = made.GetNthDataNode(n)
        voxels = slicer.util.arrayFromVolume(frame)
        assert voxels.dtype == np.int16
        assert voxels.shape == (12, 60, 52)
        assert voxels.min() == 10 * n
        np.testing.assert_allclose(affine_of(frame), affine, rtol=0, atol=1e-13)
        assert json.loads(frame.GetAttribute("MedSR.Report"))["seconds"] == n
        assert frame.GetAttribute("MedSR.SourceNodeID") == played[0].GetID()


def test_named_frames_stay_in_their_order(scene: Any) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "heart")
    sequence.SetIndexType(slicer.vtkMRMLSequenceNode.TextIndex)
    for phase in ("systole", "diastole"):
        frame = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(frame, blob())
        sequence.SetDataNodeAtValue(frame, phase)
    made = enhance_sequence(sequence)
    assert made.GetIndexType() == slicer.vtkMRMLSequenceNode.TextIndex
    assert [made.GetNthIndexValue(n) for n in range(2)] == ["systole", "diastole"]


def test_times_are_sorted_as_numbers(played: tuple[Any, Any]) -> None:
    made = enhance_sequence(played[0])
    assert made.GetIndexType() == slicer.vtkMRMLSequenceNode.NumericIndex
    assert made.GetItemNumberFromIndexValue("9.9", False) == 1


def test_the_same_browser_plays_both_and_is_not_moved(scene: Any, played: tuple[Any, Any]) -> None:
    sequence, browser = played
    moves: list[int] = []
    shown = browser.GetProxyNode(sequence)
    browser.AddObserver("ModifiedEvent", lambda caller, event: moves.append(caller.GetSelectedItemNumber()))
    made = enhance_sequence(sequence)
    assert set(moves) == {AT}
    assert browser.GetMasterSequenceNode() is sequence
    assert browser.GetProxyNode(sequence) is shown
    assert browser.IsSynchronizedSequenceNode(made, True)
    volume = browser.GetProxyNode(made)
    assert slicer.util.arrayFromVolume(volume).min() == 10 * AT
    browser.SetSelectedItemNumber(3)
    assert slicer.util.arrayFromVolume(volume).min() == 30
    assert slicer.util.arrayFromVolume(shown).min() == 30


def test_the_new_volume_looks_like_the_old_one_and_lies_beside_it(
    scene: Any, played: tuple[Any, Any], add_transform: Callable[[str], Any]
) -> None:
    sequence, browser = played
    source = browser.GetProxyNode(sequence)
    source.SetName("cine")
    source.SetAndObserveTransformNodeID(add_transform("linear").GetID())
    source.GetDisplayNode().SetAutoWindowLevel(False)
    source.GetDisplayNode().SetWindowLevel(321, 123)
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning("112031", "DCM", "Attenuation Coefficient")
    source.SetVoxelValueQuantity(entry)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, source)

    job = capture_sequence(sequence)
    assert {frame.volume.modality for _, frame in job.frames} == {"CT"}
    made = place_sequence(job, results(job))
    volume = browser.GetProxyNode(made)
    for item in (1, 3):
        browser.SetSelectedItemNumber(item)
        assert volume.GetName() == "cine MedSR x2"
        assert volume.GetTransformNodeID() == source.GetTransformNodeID()
        assert (volume.GetDisplayNode().GetWindow(), volume.GetDisplayNode().GetLevel()) == (321, 123)
        assert volume.GetDisplayNode().GetInputImageData() is volume.GetImageData()
        assert volume.GetVoxelValueQuantity().GetCodeValue() == "112031"
        assert json.loads(volume.GetAttribute("MedSR.Report"))["seconds"] == item
        found, wanted = [0.0] * 6, [0.0] * 6
        volume.GetRASBounds(found)
        source.GetRASBounds(wanted)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(volume)) == study


def test_the_input_frames_are_not_touched(played: tuple[Any, Any]) -> None:
    sequence, _ = played
    before = [slicer.util.arrayFromVolume(sequence.GetNthDataNode(n)).copy() for n in range(len(TIMES))]
    enhance_sequence(sequence)
    assert sequence.GetNumberOfDataNodes() == len(TIMES)
    for n, voxels in enumerate(before):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(sequence.GetNthDataNode(n)), voxels)


def test_a_sequence_without_a_browser_gives_a_sequence(scene: Any, played: tuple[Any, Any]) -> None:
    sequence, browser = played
    scene.RemoveNode(browser)
    assert enhance_sequence(sequence).GetNumberOfDataNodes() == len(TIMES)


def test_a_volume_leads_to_the_sequence_it_shows(scene: Any, played: tuple[Any, Any], add_volume: Any) -> None:
    sequence, browser = played
    assert sequence_of(browser.GetProxyNode(sequence)) is sequence
    assert sequence_of(add_volume(blob())) is None


def test_a_failing_frame_leaves_nothing_behind(scene: Any, played: tuple[Any, Any]) -> None:
    job = capture_sequence(played[0])
    before = node_ids(scene)

    def fails() -> Iterator[Enhanced]:
        yield enhanced_of(job.frames[0][1].volume)
        raise EnhancementCancelled("cancelled")

    with pytest.raises(EnhancementCancelled):
        place_sequence(job, fails())
    assert node_ids(scene) == before
    assert played[1].GetNumberOfSynchronizedSequenceNodes(True) == 1


def test_an_empty_sequence_and_one_of_label_maps_are_refused(scene: Any) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "S")
    with pytest.raises(InputError, match="'S' holds no frames"):
        capture_sequence(sequence)
    labels = slicer.vtkMRMLLabelMapVolumeNode()
    slicer.util.updateVolumeFromArray(labels, blob())
    sequence.SetDataNodeAtValue(labels, "0")
    with pytest.raises(InputError, match="label map"):
        capture_sequence(sequence)


def test_a_real_model_enhances_every_frame_with_progress_over_all(
    scene: Any, played: tuple[Any, Any], tiny_model: Model
) -> None:
    told: list[tuple[float, str]] = []
    made = process(
        played[0],
        model=tiny_model.folder,
        device="cpu",
        progress=lambda fraction, message: told.append((fraction, message)),
    )
    assert made.GetNumberOfDataNodes() == len(TIMES)
    voxels = [slicer.util.arrayFromVolume(made.GetNthDataNode(n)) for n in range(len(TIMES))]
    for n, one in enumerate(voxels):
        assert one.shape == (12, 60, 52)
        assert abs(one.mean() - (blob() + 10 * n).mean()) < 0.5
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {message.split(":")[0] for _, message in told} == {f"frame {n} of 4" for n in (1, 2, 3, 4)}


def test_all_frames_get_the_point_spread_that_was_estimated_for_the_first(
    scene: Any, played: tuple[Any, Any], tiny_model: Model
) -> None:
    """One scanner measured them all; an estimate of each frame would make the sequence flicker."""
    made = process(played[0], model=tiny_model.folder, device="cpu")
    reports = [json.loads(made.GetNthDataNode(n).GetAttribute("MedSR.Report")) for n in range(len(TIMES))]
    assert [report["point_spread_source"] for report in reports] == ["estimated", "given", "given", "given"]
    assert len({report["point_spread"] for report in reports}) == 1


def test_cancelling_between_frames_leaves_nothing_behind(
    scene: Any, played: tuple[Any, Any], tiny_model: Model
) -> None:
    before = node_ids(scene)
    done: list[float] = []
    with pytest.raises(EnhancementCancelled):
        process(
            played[0],
            model=tiny_model.folder,
            device="cpu",
            progress=lambda fraction, message: done.append(fraction),
            cancelled=lambda: max(done, default=0) > 0.4,
        )
    assert node_ids(scene) == before


def test_a_reloaded_scene_plays_both(scene: Any, played: tuple[Any, Any], tmp_path: Path) -> None:
    enhance_sequence(played[0])
    save_and_reload(scene, tmp_path / "saved.mrb")
    made = scene.GetFirstNodeByName("cine-Sequence MedSR x2")
    browser = scene.GetFirstNodeByName("cine browser")
    assert made.GetNumberOfDataNodes() == len(TIMES)
    browser.SetSelectedItemNumber(1)
    assert slicer.util.arrayFromVolume(browser.GetProxyNode(made)).min() == 10
