"""``process`` as the console and batch runs call it: one node in, one node out, or nothing at all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)

import slicer
from conftest import OBLIQUE as FILE
from reports import report_of
from scene_fixtures import STRAIGHT, blob, node_ids

from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.errors import EnhancementCancelled, InputError, ModelError, UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.scene.nodes import affine_of, volume_from_node
from MedSRLib.scene.process import process
from MedSRLib.scene.roles import UNCERTAINTY_ROLE
from MedSRLib.volumes.files import read_volume


@pytest.fixture
def mr(scene: Any) -> Any:
    """The oblique MR file, loaded by Slicer's own reader."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mr")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(FILE))
    assert storage.ReadData(node)
    node.CreateDefaultDisplayNodes()
    return node


def test_slicers_reader_and_ours_agree_on_a_real_file(mr: Any) -> None:
    ours = read_volume(FILE)
    volume = volume_from_node(mr)
    assert volume.voxels.dtype == ours.voxels.dtype
    found = volume.voxels if np.linalg.det(ours.affine[:3, :3]) > 0 else volume.voxels[::-1]
    np.testing.assert_array_equal(found, ours.voxels)


def test_a_node_gets_the_same_voxels_as_the_volume_would(mr: Any, tiny_model: Model) -> None:
    output = process(mr, model=tiny_model.folder, device="cpu")
    expected = enhance(volume_from_node(mr), tiny_model, device="cpu")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), expected.volume.voxels)
    np.testing.assert_allclose(affine_of(output), expected.volume.affine, rtol=0, atol=1e-12)
    assert output.GetName() == "mr MedSR x2"
    assert output.GetAttribute("MedSR.ModelSHA256") == tiny_model.manifest.weights["fidelity"]["sha256"]
    report = json.loads(output.GetAttribute("MedSR.Report"))
    assert report["lr_consistency_rmse"] == expected.report.lr_consistency_rmse


def test_a_model_is_found_by_its_name(mr: Any, models_folder: Any, tiny_model: Model) -> None:
    output = process(mr, model=tiny_model.manifest.name, device="cpu")
    assert output.GetAttribute("MedSR.Model") == tiny_model.manifest.name


def test_a_region_gives_that_part_of_the_whole_result(scene: Any, mr: Any, tiny_model: Model) -> None:
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    affine = affine_of(mr)
    roi.SetCenter(*(affine @ [30, 31, 11, 1])[:3])
    roi.SetSize(14, 13, 12)
    whole = process(mr, model=tiny_model.folder, device="cpu")
    part = process(mr, model=tiny_model.folder, device="cpu", roi_node=roi)
    i0, i1, j0, j1, k0, k1 = json.loads(part.GetAttribute("MedSR.Report"))["roi"]
    assert 0 < i0 < i1 < 64
    box = slicer.util.arrayFromVolume(whole)[k0:k1, 2 * j0 : 2 * j1, 2 * i0 : 2 * i1]
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(part), box)
    first = (affine_of(whole) @ [2 * i0, 2 * j0, k0, 1])[:3]
    np.testing.assert_allclose(affine_of(part)[:3, 3], first, rtol=0, atol=1e-9)


def test_options_reach_the_enhancer(scene: Any, add_volume: Callable[..., Any], tiny_model: Model) -> None:
    output = process(
        add_volume(blob()),
        model=tiny_model.folder,
        device="cpu",
        precision="float32",
        fidelity=1.0,
        consistency=False,
        uncertainty=True,
    )
    report = json.loads(output.GetAttribute("MedSR.Report"))
    assert (report["consistency"], report["precision"], report["model"]["fidelity"]) == (False, "float32", 1.0)
    spread = output.GetNodeReference(UNCERTAINTY_ROLE)
    assert slicer.util.arrayFromVolume(spread).max() > 0


def test_a_given_output_is_written_into(scene: Any, add_volume: Callable[..., Any], tiny_model: Model) -> None:
    node, target = add_volume(blob()), scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    assert process(node, target, tiny_model.folder, device="cpu") is target
    assert target.GetImageData().GetDimensions() == (52, 60, 12)
    assert target.GetDisplayNode().GetWindow() == node.GetDisplayNode().GetWindow()


def test_progress_is_told_to_the_end(add_volume: Callable[..., Any], tiny_model: Model) -> None:
    told: list[float] = []
    process(add_volume(blob()), model=tiny_model.folder, device="cpu", progress=lambda f, _: told.append(f))
    assert told[-1] == 1


@pytest.mark.parametrize("into", [False, True])
def test_cancelling_leaves_the_scene_as_it_was(
    scene: Any, add_volume: Callable[..., Any], tiny_model: Model, into: bool
) -> None:
    node = add_volume(blob())
    target = add_volume(blob(), STRAIGHT, "Mine") if into else None
    before = node_ids(scene)
    with pytest.raises(EnhancementCancelled):
        process(node, target, tiny_model.folder, device="cpu", cancelled=lambda: True)
    assert node_ids(scene) == before
    if target is not None:
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(target), blob())


def test_what_cannot_be_enhanced_is_refused_and_leaves_the_scene_as_it_was(
    scene: Any, add_volume: Callable[..., Any], tiny_model: Model
) -> None:
    holed = blob(dtype=np.float32)
    holed[3, 4, 5] = np.nan
    nodes = [add_volume(holed), add_volume(np.full((4, 8, 8), 3, np.int16))]
    fine = add_volume(blob())
    before = node_ids(scene)
    for node, says in zip(nodes, ("NaN", "every voxel is 3"), strict=True):
        with pytest.raises(InputError, match=says):
            process(node, model=tiny_model.folder, device="cpu")
    with pytest.raises(ModelError, match="no model 'absent'"):
        process(fine, model="absent", device="cpu")
    with pytest.raises(UsageError, match="device 'tpu'"):
        process(fine, model=tiny_model.folder, device="tpu")
    assert node_ids(scene) == before


def test_nothing_is_needed_but_the_node_and_its_scene(tmp_path: Any) -> None:
    """To place what another process computed: no torch, no Qt, no ``slicer.app``, not even ``slicer.mrmlScene``."""
    code = (
        "import sys, numpy, slicer\n"
        "from MedSRLib.scene.capture import capture\n"
        "from MedSRLib.scene.output import place\n"
        "from MedSRLib.enhancement.result import Enhanced, FidelityReport\n"
        "scene = slicer.vtkMRMLScene(); node = scene.AddNewNodeByClass('vtkMRMLScalarVolumeNode', 'a')\n"
        "slicer.util.updateVolumeFromArray(node, numpy.arange(60, dtype='int16').reshape(3, 4, 5))\n"
        "job = capture(node)\n"
        f"report = FidelityReport.from_json({report_of().to_json()!r})\n"
        "out = place(job, Enhanced(job.volume, report))\n"
        "assert not hasattr(slicer, 'app') and not {'qt', 'torch', 'monai'} & set(sys.modules)\n"
        "print(out.GetName())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "a MedSR x2"
