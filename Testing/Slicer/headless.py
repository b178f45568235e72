"""MedSR without a window, inside a real Slicer:

Slicer --testing --no-splash --no-main-window --additional-module-path REPOSITORY/MedSR --python-script headless.py

Exit code 0: every step passed. 1: one failed. 2: packages are missing.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path

import numpy as np
import slicer
from steps import bounds, region_in, run, same, sample, say, wait_until


def the_module_is_there() -> None:
    assert slicer.modules.medsr.title == "MedSR"
    assert slicer.util.mainWindow() is None


def a_volume_becomes_sharper_where_it_is() -> None:
    from MedSR import MedSRLogic

    source = sample()
    source.GetDisplayNode().SetAutoWindowLevel(False)
    source.GetDisplayNode().SetWindowLevel(1200, 700)
    progress = []
    result = MedSRLogic().process(source, progress=lambda fraction, message: progress.append(fraction))
    assert result.GetName() == f"{source.GetName()} MedSR x2"
    assert same(bounds(result), bounds(source))
    assert result.GetImageData().GetScalarType() == source.GetImageData().GetScalarType()
    assert (result.GetDisplayNode().GetWindow(), result.GetDisplayNode().GetLevel()) == (1200, 700)
    assert result.GetAttribute("MedSR.Model")
    assert len(result.GetAttribute("MedSR.ModelSHA256")) == 64
    assert result.GetNodeReference("MedSR.Source") is source
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in (source, result)}
    assert len(parents) == 1
    assert progress == sorted(progress)
    assert progress[-1] == 1


def a_region_under_a_transform_stays_in_its_place() -> None:
    from MedSR import MedSRLogic

    source = sample()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.array([[0.0, -1, 0, 10], [1, 0, 0, -20], [0, 0, 1, 5], [0, 0, 0, 1]])
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    source.SetAndObserveTransformNodeID(transform.GetID())
    box = region_in(source, (45, 45, 6))
    result = MedSRLogic().process(source, region=box, uncertainty=True)
    assert result.GetParentTransformNode() is transform
    assert result.GetNodeReference("MedSR.Uncertainty") is not None
    asked = [0.0] * 6
    box.GetRASBounds(asked)
    for axis, (low, high) in enumerate(zip(bounds(result)[::2], bounds(result)[1::2], strict=True)):
        assert low <= asked[2 * axis] + 1e-3
        assert high >= asked[2 * axis + 1] - 1e-3
        assert high - low < asked[2 * axis + 1] - asked[2 * axis] + 2 * 1.5 + 1e-3


def bad_input_is_a_value_error_and_changes_nothing() -> None:
    from MedSR import MedSRLogic

    source = sample()
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    count = slicer.mrmlScene.GetNumberOfNodes()
    for bad, model in ((None, "auto"), (labels, "auto"), (empty, "auto"), (source, "no such model")):
        try:
            MedSRLogic().process(bad, model=model)
        except ValueError:
            continue
        raise AssertionError(f"{bad} was accepted with {model}")
    assert slicer.mrmlScene.GetNumberOfNodes() == count


def cancelling_leaves_nothing() -> None:
    from MedSR import MedSRLogic
    from MedSRLib.errors import EnhancementCancelled

    source = sample()
    count = slicer.mrmlScene.GetNumberOfNodes()
    try:
        MedSRLogic().process(source, cancelled=lambda: True)
    except EnhancementCancelled:
        assert slicer.mrmlScene.GetNumberOfNodes() == count
    else:
        raise AssertionError("it went on")


def every_frame_of_a_sequence_is_enhanced() -> None:
    from MedSR import MedSRLogic

    source = sample()
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    for n in range(2):
        sequence.SetDataNodeAtValue(source, str(n))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    box = region_in(source, (30, 30, 3))
    result = MedSRLogic().process(sequence, region=box)
    assert result.GetNumberOfDataNodes() == 2
    assert browser.GetProxyNode(result) is not None


def thick_series(source: object) -> list:
    """The source as three series: four voxels along k, j or i are one slice of each."""
    voxels, made = slicer.util.arrayFromVolume(source).astype(np.float32), []
    matrix = slicer.util.vtkMatrixFromArray(np.eye(4))
    source.GetIJKToRASMatrix(matrix)
    to_ras = slicer.util.arrayFromVTKMatrix(matrix)
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        moved = np.moveaxis(voxels, axis, 0)
        count = len(moved) // 4
        thick = moved[: 4 * count].reshape(count, 4, *moved.shape[1:]).mean(axis=1)
        columns = [2, 1, 0]  # of IJK to RAS, for k, j, i
        slices = columns.pop(axis)
        order = [*reversed(columns), slices]
        affine = to_ras.copy()
        affine[:3, :3] = to_ras[:3, order] * (1, 1, 4)
        affine[:3, 3] += 1.5 * to_ras[:3, slices]
        node = slicer.util.addVolumeFromArray(np.rint(thick).astype(np.int16), name=f"head {name}")
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
        made.append(node)
    return made


def series_become_one_volume() -> None:
    from MedSR import MedSRLogic

    source = sample()
    series = thick_series(source)
    quick = {"generator": False, "spacing": 3.0, "registration": False}
    logic, listener = MedSRLogic(), Listener()
    here = logic.fuse(series, modality="MR", **quick)
    assert here.GetName() == "head axial MedSR fused"
    assert [here.GetNthNodeReference("MedSR.Source", n) for n in range(3)] == series
    assert len(json.loads(here.GetAttribute("MedSR.Report"))["series"]) == 3
    logic.fuse(series, modality="MR", waitForCompletion=False, listener=listener, **quick)
    wait_until(lambda: listener.output or listener.problem, "the series are fused")
    logic.close()
    assert listener.problem is None, listener.problem
    there = slicer.util.arrayFromVolume(listener.output)
    np.testing.assert_array_equal(there, slicer.util.arrayFromVolume(here))


class Listener:
    """Remembers how a job ended."""

    output = None
    problem = None

    def onProgress(self, fraction: float, message: str, secondsLeft: float | None) -> None:
        pass

    def onDone(self, output: object) -> None:
        self.output = output

    def onError(self, sentence: str, log: str) -> None:
        self.problem = (sentence, log)

    def onCancelled(self) -> None:
        self.problem = ("cancelled", "")


def a_job_in_the_background_needs_no_window() -> None:
    from MedSR import MedSRLogic

    logic, listener, source = MedSRLogic(), Listener(), sample()
    logic.process(source, region=region_in(source, (45, 45, 6)), waitForCompletion=False, listener=listener)
    wait_until(lambda: listener.output or listener.problem, "the job has ended")
    logic.close()
    assert listener.problem is None, listener.problem
    assert listener.output.GetNodeReference("MedSR.Source") is source


def a_saved_scene_comes_back() -> None:
    from MedSR import MedSRLogic

    source = sample()
    result = MedSRLogic().process(source, region=region_in(source, (45, 45, 6)))
    report, place, name = result.GetAttribute("MedSR.Report"), bounds(result), result.GetName()
    voxels = slicer.util.arrayFromVolume(result).copy()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "scene.mrb"))
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(path)
        again = slicer.util.getNode(name)
        assert again.GetAttribute("MedSR.Report") == report
        assert again.GetNodeReference("MedSR.Source").GetName() == "MRHeadLow"
        assert same(bounds(again), place)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), voxels)


def the_batch_script_enhances_a_folder_and_resumes() -> None:
    from MedSRLib.models.catalogue import resources_folder

    script = resources_folder() / "Scripts" / "medsr_batch.py"
    spec = importlib.util.spec_from_file_location("medsr_batch", script)
    batch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(batch)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in", "Änne 1"), Path(folder, "out")
        source.mkdir(parents=True)
        assert slicer.util.saveNode(sample(), str(source / "head.nrrd"))
        log = str(Path(folder, "log.txt"))
        assert batch.run([str(source.parent), str(target), "--log", log]) == 0
        (made,) = target.glob("**/*.nrrd")
        written = made.stat().st_mtime_ns
        assert batch.run([str(source.parent), str(target), "--resume", "--log", log]) == 0
        assert made.stat().st_mtime_ns == written
        assert batch.run([str(Path(folder, "missing")), str(target), "--log", log]) != 0


def a_closed_dicom_database_is_said() -> None:
    from MedSR import MedSRLogic

    database = getattr(slicer, "dicomDatabase", None)
    if database is not None and database.isOpen:
        say("the DICOM database is open: this step looks at a closed one")
        return
    source = sample()
    source.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    result = MedSRLogic().process(source, region=region_in(source, (45, 45, 6)))
    assert any("database is closed" in note for note in json.loads(result.GetAttribute("MedSR.Report"))["notes"])
    assert json.loads(result.GetAttribute("MedSR.Report"))["slice_thickness_source"] == "assumed"


def slicers_temporary_folder_is_used_and_left_empty() -> None:
    from MedSR import MedSRLogic

    kept = slicer.app.temporaryPath
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "Änne 東京")
        slicer.app.temporaryPath = str(place)
        try:
            logic, listener, source = MedSRLogic(), Listener(), sample()
            logic.process(source, region=region_in(source, (45, 45, 6)), waitForCompletion=False, listener=listener)
            assert list(place.iterdir())
            wait_until(lambda: listener.output or listener.problem, "the job has ended")
            assert listener.problem is None, listener.problem
            assert not list(place.glob("MedSR-*"))
            logic.close()
        finally:
            slicer.app.temporaryPath = kept


def export_to_dicom_finds_the_series_attributes() -> None:
    from MedSR import MedSRLogic

    source = sample()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(source)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    hierarchy.SetItemParent(item, hierarchy.CreateStudyItem(patient, "study"))
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    hierarchy.SetItemAttribute(item, "DICOM.FrameOfReferenceUID", "1.2.9")
    made = hierarchy.GetItemByDataNode(MedSRLogic().process(source, region=region_in(source, (45, 45, 6))))
    assert hierarchy.GetItemAttribute(made, "DICOM.Modality") == "MR"
    assert hierarchy.GetItemAttribute(made, "DICOM.FrameOfReferenceUID") == "1.2.9"
    assert hierarchy.GetItemAttribute(made, "DICOM.SeriesDescription").endswith("not for primary diagnosis")
    assert hierarchy.GetItemParent(made) == hierarchy.GetItemParent(item)
    try:
        MedSRLogic().process("Head")
    except ValueError:
        return
    raise AssertionError("a name was taken for a node")


run(
    [
        the_module_is_there,
        a_volume_becomes_sharper_where_it_is,
        a_region_under_a_transform_stays_in_its_place,
        bad_input_is_a_value_error_and_changes_nothing,
        cancelling_leaves_nothing,
        every_frame_of_a_sequence_is_enhanced,
        series_become_one_volume,
        a_job_in_the_background_needs_no_window,
        a_saved_scene_comes_back,
        the_batch_script_enhances_a_folder_and_resumes,
        a_closed_dicom_database_is_said,
        slicers_temporary_folder_is_used_and_left_empty,
        export_to_dicom_finds_the_series_attributes,
    ]
)
