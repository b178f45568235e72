"""Volume nodes to Volume, and voxels and affines to what MRML stores."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from MedSRLib.errors import InputError
from MedSRLib.scene.acquired import acquired
from MedSRLib.volumes.volume import Volume
from MedSRLib.volumes.voxel_types import exact_for_files

SCALAR_VOLUME = "vtkMRMLScalarVolumeNode"
_REFUSED = {
    "vtkMRMLLabelMapVolumeNode": "a label map, whose labels would be blended",
    "vtkMRMLVectorVolumeNode": "in colour or a vector volume",
    "vtkMRMLDiffusionWeightedVolumeNode": "a diffusion-weighted volume with many values in a voxel",
    "vtkMRMLDiffusionTensorVolumeNode": "a tensor volume",
    "vtkMRMLMultiVolumeNode": "a multi-volume with many values in a voxel",
}


def volume_from_node(node: Any, *, described_by: Any = None, modality: str | None = None) -> Volume:
    """The node's voxels and place; voxels are a read-only view of the node's own memory where the dtype allows.

    The affine is the node's IJKToRAS, with shear and handedness as they are, and leaves parent transforms out: what
    is made of the volume belongs under the same transform.

    Args:
        node: vtkMRMLScalarVolumeNode.
        described_by: the node that knows the modality, where that is another one, as for a sequence's frames.
        modality: what a person says it is; None for what the scene says, else a guess, which a note tells.

    Raises:
        InputError: no node, or one that is not a grey-level volume with voxels.
    """
    require_scalar_volume(node)
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars()
    view = numpy_support.vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])
    view.setflags(write=False)
    voxels = exact_for_files(view)
    described = described_by or node
    known = acquired(described, voxels, modality)
    return Volume(voxels, affine_of(node), known.modality, known.slice_thickness, known.notes)


def require_scalar_volume(node: Any) -> None:
    """Check that a node holds one grey level in every voxel.

    Label maps, colour, diffusion and tensor volumes all are ``IsA("vtkMRMLScalarVolumeNode")``: the class itself
    is compared.

    Raises:
        InputError: it does not.
    """
    if node is None:
        raise InputError("no input volume is chosen: choose a volume")
    name, kind = node.GetName() or node.GetID(), node.GetClassName()
    if kind != SCALAR_VOLUME:
        what = _REFUSED.get(kind, f"a {kind.removeprefix('vtkMRML').removesuffix('Node')}")
        raise InputError(f"'{name}' is {what}: choose a grey-level volume")
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or min(image.GetDimensions()) < 1:
        raise InputError(f"'{name}' has no voxels: choose a volume that holds an image")
    if scalars.GetNumberOfComponents() != 1 or scalars.GetDataType() == vtk.VTK_BIT:
        raise InputError(f"'{name}' does not hold one number in every voxel: choose a grey-level volume")


def affine_of(node: Any) -> np.ndarray:
    """4x4 float64, IJK to RAS millimetres, voxel centres, without parent transforms.

    Args:
        node: vtkMRMLVolumeNode.
    """
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array(slicer.util.arrayFromVTKMatrix(matrix), np.float64)


def set_affine(node: Any, affine: np.ndarray) -> None:
    """The inverse of ``affine_of``: MRML keeps unit columns and their lengths, so shear survives."""
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.asarray(affine, np.float64)))


def image_from_voxels(voxels: np.ndarray) -> Any:
    """A new vtkImageData that holds a copy of the voxels; origin 0 and spacing 1, as MRML demands.

    Args:
        voxels: [k, j, i], of a dtype that ``exact_for_files`` lets through.
    """
    voxels = exact_for_files(voxels)
    image = vtk.vtkImageData()
    image.SetDimensions(voxels.shape[::-1])
    image.AllocateScalars(numpy_support.get_vtk_array_type(voxels.dtype), 1)
    numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(voxels.shape)[:] = voxels
    return image
