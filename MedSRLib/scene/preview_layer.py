"""Enhanced tiles over the input in one slice view, in a volume that is taken away again: nobody can pick or save it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer

from MedSRLib.enhancement.request import VoxelBox
from MedSRLib.errors import UsageError
from MedSRLib.scene.nodes import SCALAR_VOLUME, image_from_voxels, set_affine
from MedSRLib.scene.output import DISPLAY
from MedSRLib.scene.roles import SOURCE_ROLE
from MedSRLib.scene.views import capture_view
from MedSRLib.volumes.geometry import cropped_affine, upsampled_affine
from MedSRLib.volumes.volume import Volume

_AROUND = 1
"""Voxels around the tiles that linear interpolation looks at."""


class PreviewLayer:
    """A temporary volume in the foreground of a slice view, over its input.

    Args:
        source: vtkMRMLScalarVolumeNode in a scene.
        volume: its voxels and place.
        factors: whole numbers, new over old voxels along i, j and k of the source.
        view: vtkMRMLSliceNode.
        composite: its vtkMRMLSliceCompositeNode.

    Raises:
        UsageError: the user laid another volume over the input in that view.
    """

    def __init__(self, source: Any, volume: Volume, factors: Sequence[int], view: Any, composite: Any) -> None:
        self.view, self._composite, self._source, self._volume = view, composite, source, volume
        self.factors = tuple(factors)
        self._before = capture_view(view, composite)
        self._box: VoxelBox = 0, 0, 0, 0, 0, 0
        scene = self._scene = source.GetScene()
        above = scene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        if above is not None and composite.GetForegroundOpacity() > 0 and not _is_of(above, source):
            raise UsageError(
                f"'{above.GetName()}' lies over the volume in the {view.GetName()} view: take it off to preview there"
            )
        self.node = _hidden(scene, SCALAR_VOLUME, "MedSR preview")
        display = self._display = _hidden(scene, DISPLAY, "MedSR preview display")
        self.node.SetAndObserveTransformNodeID(source.GetTransformNodeID())
        self.node.SetAndObserveDisplayNodeID(display.GetID())
        shown = source.GetScalarVolumeDisplayNode()
        with slicer.util.NodeModify(display):
            if shown is not None:
                display.CopyContent(shown)
            display.SetAutoWindowLevel(False)
            display.SetAutoThreshold(False)
            display.SetInputImageDataConnection(self.node.GetImageDataConnection())
        self.show([], {})
        with slicer.util.NodeModify(composite):
            composite.SetBackgroundVolumeID(source.GetID())
            composite.SetForegroundVolumeID(self.node.GetID())
            composite.SetForegroundOpacity(1.0)

    @property
    def source(self) -> Any:
        """The input."""
        return self._source

    @property
    def is_in_place(self) -> bool:
        """Whether the view still shows what this put there: the user may have chosen other volumes for it."""
        shown = (self._composite.GetBackgroundVolumeID(), self._composite.GetForegroundVolumeID())
        return shown == (self._source.GetID(), self.node.GetID())

    def fade(self, part: float) -> None:
        """Shows the input alone at 0 and the preview alone at 1."""
        self._composite.SetForegroundOpacity(part)

    def show(self, boxes: Sequence[VoxelBox], parts: Mapping[VoxelBox, np.ndarray]) -> None:
        """Shows tiles; those that are not there yet look like the input.

        Args:
            boxes: of the tiles.
            parts: voxels of those that are there, [k, j, i].
        """
        boxes = boxes or [(0, 1, 0, 1, 0, 1)]  # a view that has a volume without voxels complains
        starts, stops = np.array(boxes)[:, ::2].min(axis=0), np.array(boxes)[:, 1::2].max(axis=0)
        (i0, i1), (j0, j1), (k0, k1) = np.stack([starts, stops], axis=1).tolist()
        self._box = i0, i1, j0, j1, k0, k1
        image = image_from_voxels(self._interpolated(starts, stops))
        full = [n * f for n, f in zip(self._volume.shape, self.factors[::-1], strict=True)]
        fine = upsampled_affine(self._volume.affine, self._volume.shape, full)
        with slicer.util.NodeModify(self.node):
            set_affine(self.node, cropped_affine(fine, starts * self.factors))
            self.node.SetAndObserveImageData(image)
        for box in boxes:
            if box in parts:
                self._write(box, parts[box])
        slicer.util.arrayFromVolumeModified(self.node)

    def put(self, box: VoxelBox, voxels: np.ndarray) -> None:
        """Shows a tile that has come since, where it belongs to what is shown."""
        inside = all(a <= b for a, b in zip(self._box[::2], box[::2], strict=True))
        if inside and all(a >= b for a, b in zip(self._box[1::2], box[1::2], strict=True)):
            self._write(box, voxels)
            slicer.util.arrayFromVolumeModified(self.node)

    def remove(self) -> None:
        """Leaves nothing behind: the view shows what it showed before, unless the user chose otherwise meanwhile."""
        scene, composite = self._scene, self._composite

        def still_there(node_id: str | None) -> str | None:
            return node_id if node_id and scene.GetNodeByID(node_id) is not None else None

        background, foreground, _ = self._before.volumes
        with slicer.util.NodeModify(composite):
            if composite.GetForegroundVolumeID() == self.node.GetID():
                if composite.GetBackgroundVolumeID() == self._source.GetID():
                    composite.SetBackgroundVolumeID(still_there(background))
                composite.SetForegroundVolumeID(still_there(foreground))
                composite.SetForegroundOpacity(self._before.opacities[0])
        for node in (self.node, self._display):
            if scene.IsNodePresent(node):
                scene.RemoveNode(node)

    def _write(self, box: VoxelBox, voxels: np.ndarray) -> None:
        place = []
        for axis in (2, 1, 0):
            first, factor = self._box[2 * axis], self.factors[axis]
            place.append(slice((box[2 * axis] - first) * factor, (box[2 * axis + 1] - first) * factor))
        slicer.util.arrayFromVolume(self.node)[tuple(place)] = voxels

    def _interpolated(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """The input on the fine grid, as a view that interpolates shows it."""
        from scipy import ndimage

        size = np.array(self._volume.shape[::-1])
        low, high = np.maximum(starts - _AROUND, 0), np.minimum(stops + _AROUND, size)
        coarse = self._volume.voxels[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
        fine = ndimage.zoom(coarse, self.factors[::-1], order=1, mode="nearest", grid_mode=True)
        first, last = (starts - low) * self.factors, (stops - low) * self.factors
        return np.asarray(fine[first[2] : last[2], first[1] : last[1], first[0] : last[0]])


def _hidden(scene: Any, kind: str, name: str) -> Any:
    """A node that no list, hierarchy or file has; it is hidden before it is added, as Slicer looks at it then."""
    node = scene.CreateNodeByClass(kind)
    node.UnRegister(None)  # CreateNodeByClass hands its own reference over, which Python does not know
    node.SetName(scene.GenerateUniqueName(name))
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return scene.AddNode(node)


def _is_of(node: Any, source: Any) -> bool:
    """Whether a volume is an input or a result of it."""
    return source in (node, node.GetNodeReference(SOURCE_ROLE))
