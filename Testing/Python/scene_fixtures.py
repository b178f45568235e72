"""A real MRML scene for tests, without 3D Slicer: the PyPI package slicer-core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from reports import report_of
from scipy import ndimage

from MedSRLib.volumes.geometry import upsampled_affine
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.result import Enhanced

_LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
}

STRAIGHT = np.array([[-0.8, 0, 0, 50], [0, -0.8, 0, 40], [0, 0, 2.5, -30], [0, 0, 0, 1]], np.float64)
OBLIQUE = np.array(
    [[0.70, -0.43, 0.35, -40], [0.39, 0.67, -1.10, 12.5], [0.05, 0.35, 2.20, 7.25], [0, 0, 0, 1]], np.float64
)
SHEARED = np.array([[0.8, 0.1, 0, 5], [0, 0.9, 0.7, -6], [0, 0, 2.4, 7], [0, 0, 0, 1]], np.float64)
LEFT_HANDED = OBLIQUE @ np.diag([1, 1, -1, 1])
FRAMES = {"straight": STRAIGHT, "oblique": OBLIQUE, "sheared": SHEARED, "left-handed": LEFT_HANDED}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Any]:
    """An empty vtkMRMLScene with the modules' logics, also as ``slicer.mrmlScene``."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ModuleNotFoundError)
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    application = slicer.vtkMRMLApplicationLogic()
    application.SetMRMLScene(scene)
    logics = [application]
    for name, kind in {"Colors": "vtkSlicerColorLogic", **_LOGICS}.items():
        logic = getattr(slicer, kind)()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
        logics.append(logic)  # the scene and the application do not keep them alive
    files = slicer.vtkMRMLRemoteIOLogic()
    files.GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))  # where an .mrb file is unpacked
    files.SetMRMLScene(scene)
    files.AddDataIOToScene()
    yield scene
    files.RemoveDataIOFromScene()
    scene.Clear(1)
    del slicer.mrmlScene


@pytest.fixture
def add_volume(scene: Any) -> Callable[..., Any]:
    """Adds a scalar volume node with a display node and a subject hierarchy item to the scene."""
    import slicer

    def add(voxels: np.ndarray, affine: np.ndarray = OBLIQUE, name: str = "T1") -> Any:
        node = slicer.util.addVolumeFromArray(voxels, slicer.util.vtkMatrixFromArray(affine), name)
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        return node

    return add


@pytest.fixture
def add_transform(scene: Any) -> Callable[[str], Any]:
    """Adds a parent transform: "none" (returns None), "linear", "nested" (linear under linear) or "grid" (warping)."""
    import vtk

    def linear(name: str, turn: float) -> Any:
        transform = vtk.vtkTransform()
        transform.RotateWXYZ(turn, 1, 2, 3)
        transform.Translate(3, -20, 7)
        transform.Scale(1.1, 0.9, 1.0)
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        node.SetMatrixTransformToParent(transform.GetMatrix())
        return node

    def grid() -> Any:
        displacements = vtk.vtkImageData()
        displacements.SetDimensions(9, 9, 9)
        displacements.SetOrigin(-120, -120, -120)
        displacements.SetSpacing(30, 30, 30)
        displacements.AllocateScalars(vtk.VTK_DOUBLE, 3)
        k, j, i, c = np.indices((9, 9, 9, 3))
        field = 2 * np.sin(0.8 * i + 0.5 * j + c) * np.cos(0.6 * k)
        vtk.util.numpy_support.vtk_to_numpy(displacements.GetPointData().GetScalars())[:] = field.reshape(-1, 3)
        transform = vtk.vtkGridTransform()
        transform.SetDisplacementGridData(displacements)
        transform.SetInterpolationModeToCubic()
        node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "warp")
        node.SetAndObserveTransformToParent(transform)
        return node

    def add(kind: str) -> Any:
        if kind == "none":
            return None
        if kind == "grid":
            return grid()
        node = linear("turn", 25)
        if kind == "nested":
            node.SetAndObserveTransformNodeID(linear("table", -40).GetID())
        return node

    return add


def blob(shape: tuple[int, int, int] = (12, 30, 26), dtype: Any = np.int16) -> np.ndarray:
    """A soft off-centre ball, 0 far away from it, [k, j, i]."""
    k, j, i = np.indices(shape)
    radius2 = ((k - 6.2) / 2.6) ** 2 + ((j - 16.3) / 5.5) ** 2 + ((i - 11.4) / 4.8) ** 2
    return np.rint(900 * np.exp(-radius2)).astype(dtype)


def enhanced_of(
    volume: Volume,
    factors: tuple[int, int, int] = (2, 2, 1),
    *,
    uncertainty: bool = False,
    affine: np.ndarray | None = None,
    **changes: Any,
) -> Enhanced:
    """What ``enhance`` returns, by linear interpolation: exact geometry in no time.

    Args:
        volume: the input.
        factors: along i, j, k.
        uncertainty: with a map.
        affine: another affine than the right one.
        changes: of the report.
    """
    from MedSRLib.enhancement.result import Enhanced

    voxels = ndimage.zoom(volume.voxels, factors[::-1], order=1, mode="nearest", grid_mode=True)
    right = upsampled_affine(volume.affine, volume.shape, voxels.shape)
    result = volume.with_voxels(voxels, right if affine is None else affine)
    spread = result.with_voxels(np.full(voxels.shape, 0.5, np.float32)) if uncertainty else None
    return Enhanced(result, report_of(factors, **changes), spread)


def enhance_node(node: Any, output: Any = None, **options: Any) -> Any:
    """``process`` with ``enhanced_of`` in the place of ``enhance``."""
    from MedSRLib.scene.capture import capture
    from MedSRLib.scene.output import place

    job = capture(node, output)
    return place(job, enhanced_of(job.volume, **options))


def hierarchy_of(scene: Any) -> Any:
    """The scene's subject hierarchy node."""
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def attributes_of(node: Any) -> dict[str, str]:
    """All attributes of a node."""
    return {name: node.GetAttribute(name) for name in node.GetAttributeNames()}


def node_ids(scene: Any) -> set[str]:
    """All nodes of a scene."""
    import slicer

    return {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode", scene)}


def save_and_reload(scene: Any, path: Path) -> None:
    """Saves a scene as .mrb, empties it and reads it back."""
    assert scene.WriteToMRB(str(path), None)
    scene.Clear(1)
    assert scene.ReadFromMRB(str(path), True, None)


def bounds(node: Any) -> np.ndarray:
    """World bounds of the voxels' outer edges, parent transforms included, [2, 3]."""
    found = [0.0] * 6
    node.GetRASBounds(found)
    return np.array(found).reshape(3, 2).T


def world_of(node: Any, ijk: np.ndarray) -> np.ndarray:
    """World places of (fractional) voxels, parent transforms included, [n, 3]."""
    import slicer
    import vtk

    from MedSRLib.scene.nodes import affine_of

    affine = affine_of(node)
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    return np.array([to_world.TransformDoublePoint(p) for p in (ijk @ affine[:3, :3].T + affine[:3, 3]).tolist()])
