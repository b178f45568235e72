"""Which parts of a volume a slice view shows: tiles of the slices as they were measured, those in its middle first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from MedSRLib.enhancement.request import VoxelBox
from MedSRLib.errors import UsageError
from MedSRLib.scene.nodes import affine_of
from MedSRLib.scene.region import world_to_local
from MedSRLib.scene.roles import SOURCE_ROLE
from MedSRLib.scene.views import ordinary_views

TILE = 256
"""Most pixels of the input along a tile: one takes about a second on two cores."""
_SAMPLES = 65
"""Places along each side of a view that are looked up."""
_SAME_SLICE = 0.05
"""Parts of the slices' distance by which a view may miss a slice and still show that one alone."""
_MOST_SLICES, _MOST_TILES = 16, 64


@dataclass(frozen=True)
class TileGrid:
    """A volume cut into tiles of one slice each, as even as they can be.

    Args:
        size: voxels along i, j and k.
        axis: that the slices lie along.
    """

    size: tuple[int, int, int]
    axis: int

    def edges(self, axis: int) -> np.ndarray:
        """First voxels of the tiles along an axis, and the number of voxels."""
        n = self.size[axis]
        parts = n if axis == self.axis else -(-n // TILE)
        return np.arange(parts + 1) * n // parts

    def at(self, ijk: np.ndarray) -> list[VoxelBox]:
        """The tiles at places, in the places' order, each once; between two slices those of both.

        Args:
            ijk: [n, 3], voxel centres are whole numbers; places outside the volume are passed over.
        """
        size = np.array(self.size)
        ijk = ijk[((ijk >= -0.5) & (ijk <= size - 0.5)).all(axis=1)]
        found = np.empty((len(ijk), 2, 3), int)
        for axis in range(3):
            at = ijk[:, axis]
            if axis == self.axis:
                either = np.stack([np.floor(at + _SAME_SLICE), np.ceil(at - _SAME_SLICE)], axis=1)
            else:
                inner = self.edges(axis)[1:-1]
                either = np.repeat(np.searchsorted(inner, at + 0.5, side="right")[:, None], 2, axis=1)
            found[:, :, axis] = np.clip(either, 0, len(self.edges(axis)) - 2)
        return [self._box(tile) for tile in dict.fromkeys(map(tuple, found.reshape(-1, 3).tolist()))]

    def within(self, box: VoxelBox) -> list[VoxelBox]:
        """The tiles that lie wholly within a box."""
        ranges = []
        for axis in range(3):
            edges = self.edges(axis)
            start, stop = box[2 * axis : 2 * axis + 2]
            ranges.append([n for n in range(len(edges) - 1) if start <= edges[n] and edges[n + 1] <= stop])
        return [self._box((i, j, k)) for k in ranges[2] for j in ranges[1] for i in ranges[0]]

    def _box(self, tile: tuple[int, ...]) -> VoxelBox:
        pairs = [self.edges(axis)[n : n + 2].tolist() for axis, n in enumerate(tile)]
        (i0, i1), (j0, j1), (k0, k1) = pairs
        return i0, i1, j0, j1, k0, k1


def tiles_seen(volume: Any, view: Any, grid: TileGrid) -> list[VoxelBox]:
    """The tiles that a view shows of a volume, those nearest to its middle first; none where it looks beside it.

    Args:
        volume: vtkMRMLScalarVolumeNode.
        view: vtkMRMLSliceNode.
        grid: of the volume.

    Raises:
        UsageError: the view cuts through too many slices.
    """
    width, height, _ = view.GetDimensions()
    x, y = np.meshgrid(np.linspace(0, width - 1, _SAMPLES), np.linspace(0, height - 1, _SAMPLES))
    pixels = np.stack([x.ravel(), y.ravel(), np.zeros(x.size), np.ones(x.size)], axis=1)
    pixels = pixels[np.argsort(np.hypot(pixels[:, 0] - (width - 1) / 2, pixels[:, 1] - (height - 1) / 2))]
    world = (pixels @ slicer.util.arrayFromVTKMatrix(view.GetXYToRAS()).T)[:, :3]
    to_ijk = np.linalg.inv(affine_of(volume))
    local = world_to_local(world, volume.GetParentTransformNode())
    boxes = grid.at(local @ to_ijk[:3, :3].T + to_ijk[:3, 3])
    slices = {box[2 * grid.axis] for box in boxes}
    if len(slices) > _MOST_SLICES or len(boxes) > _MOST_TILES:
        raise UsageError(
            f"the {view.GetName()} view cuts through {len(slices)} slices: a preview is of slices as they were "
            "measured, so rotate the view to the volume plane"
        )
    return boxes


def view_along_slices(volume: Any, axis: int) -> tuple[Any, Any]:
    """The view that lies most along the slices of a volume, of those that show it or a result of it, else of all.

    Args:
        volume: vtkMRMLScalarVolumeNode in a scene.
        axis: i, j or k that its slices lie along.

    Returns:
        Slice node and composite node.

    Raises:
        UsageError: the layout has no slice view, or only those to compare in.
    """
    scene = volume.GetScene()
    there = [(view, composite) for view, composite in ordinary_views(scene) if view.IsMappedInLayout()]
    if not there:
        raise UsageError("no slice view is open to preview in: choose a layout with one, or end comparing")
    showing = [one for one in there if _shows(scene, one[1], volume)]
    normal = _normal(volume, axis)

    def along(one: tuple[Any, Any]) -> float:
        across = np.array(slicer.util.arrayFromVTKMatrix(one[0].GetSliceToRAS()))[:3, 2]
        return -round(abs(float(across @ normal)), 3)

    return min(showing or there, key=along)


def _shows(scene: Any, composite: Any, volume: Any) -> bool:
    """Whether the background is a volume or a result of it."""
    shown = scene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
    return shown is not None and volume in (shown, shown.GetNodeReference(SOURCE_ROLE))


def _normal(volume: Any, axis: int) -> np.ndarray:
    """The direction across the slices in the middle of a volume, in the world, of length 1."""
    affine = affine_of(volume)
    middle = (np.array(volume.GetImageData().GetDimensions()) - 1) / 2
    ijk = middle + np.array([np.zeros(3), *(np.eye(3)[n] for n in range(3) if n != axis)])
    places = ijk @ affine[:3, :3].T + affine[:3, 3]
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume.GetParentTransformNode(), None, to_world)
    origin, one, other = np.array([to_world.TransformDoublePoint(place) for place in places.tolist()])
    across = np.cross(one - origin, other - origin)
    return np.asarray(across / np.linalg.norm(across))
