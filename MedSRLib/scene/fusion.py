"""Several volume nodes as series of one image, and the volume that they become."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from MedSRLib.errors import InputError, UsageError
from MedSRLib.fusion.request import FusionOptions
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.scene.acquired import frame_of_reference
from MedSRLib.scene.capture import Capture, capture
from MedSRLib.scene.hierarchy import describe_series, put_beside
from MedSRLib.scene.nodes import affine_of, image_from_voxels, require_scalar_volume, set_affine
from MedSRLib.scene.output import FINGERPRINT, describe, new_volume, overwritten, show_like
from MedSRLib.scene.roles import REPORT, SOURCE_ROLE, UNCERTAINTY_ROLE
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.fusion.fuse import Fused

_NAME = "MedSR fused"
_MODEL_OF_NONE = "none"
"""What a result says of its model where none was asked."""


@dataclass(frozen=True, eq=False)
class FusionRequest:
    """Nodes as they were at Apply.

    Args:
        captures: of each, the first one first: the result lies as it does, under its transform.
        volumes: the same in millimetres of the first one's local space.
        options: of the fusion.
    """

    captures: tuple[Capture, ...]
    volumes: tuple[Volume, ...]
    options: FusionOptions

    @property
    def names(self) -> list[str]:
        """Of the nodes."""
        return [captured.source_name for captured in self.captures]

    def place(self, fused: Fused) -> Any:
        """Puts a result into the scene: into the output that was asked for, if it is still there, else a new node.

        Args:
            fused: from ``fuse`` on ``volumes``.

        Returns:
            vtkMRMLScalarVolumeNode.
        """
        first = self.captures[0]
        scene = first.scene
        image = image_from_voxels(fused.volume.voxels)
        sources = [scene.GetNodeByID(captured.source_id) for captured in self.captures]
        transform = None if first.transform_id is None else scene.GetNodeByID(first.transform_id)
        output: Any = None if first.output_id is None else scene.GetNodeByID(first.output_id)
        name = f"{first.source_name} {_NAME}"
        new = output is None
        output = new_volume(scene, name) if new else output
        with nullcontext() if new else overwritten(output, name):
            set_affine(output, fused.volume.affine)
            describe(output, first)
            self._record(output, fused.report)
            output.SetAndObserveImageData(image)
        if new:
            scene.AddNode(output)
        show_like(output, sources[0])
        output.SetAndObserveTransformNodeID(None if transform is None else transform.GetID())
        output.RemoveNodeReferenceIDs(UNCERTAINTY_ROLE)
        output.RemoveNodeReferenceIDs(SOURCE_ROLE)
        for source in filter(None, sources):
            output.AddNodeReferenceID(SOURCE_ROLE, source.GetID())
        put_beside(output, sources[0])
        describe_series(output, sources[0], first, output.GetAttribute("MedSR.Model"))
        return output

    def _record(self, node: Any, report: dict[str, Any]) -> None:
        """Writes into a node's attributes what made it, and of what."""
        model = report["model"]
        entries = [
            {**entry, "source_id": captured.source_id}
            for entry, captured in zip(report["series"], self.captures, strict=True)
        ]
        warnings = [*dict.fromkeys(s for captured in self.captures for s in captured.warnings), *report["warnings"]]
        notes = [*dict.fromkeys(s for captured in self.captures for s in captured.volume.notes), *report["notes"]]
        whole = {**report, "series": entries, "warnings": warnings, "notes": notes}
        node.SetAttribute("MedSR.Model", _MODEL_OF_NONE if model is None else model["name"])
        node.SetAttribute("MedSR.ModelSHA256", "" if model is None else " ".join(model["sha256"].values()))
        node.SetAttribute("MedSR.Version", report["version"])
        node.SetAttribute("MedSR.SourceNodeID", " ".join(captured.source_id for captured in self.captures))
        node.SetAttribute(FINGERPRINT, " ".join(captured.fingerprint for captured in self.captures))
        node.SetAttribute(REPORT, json.dumps(whole))


def fusion_request_of(
    nodes: Sequence[Any], output_node: Any, options: FusionOptions, *, modality: str | None = None
) -> FusionRequest:
    """Captures nodes. The scene is not changed.

    Args:
        nodes: vtkMRMLScalarVolumeNode of one scene, two or more.
        output_node: vtkMRMLScalarVolumeNode to write into, or None for a new node.
        options: of the fusion.
        modality: one of ``MODALITIES``; None for what the scene says, else a guess, which a note tells.

    Raises:
        InputError: a node is no grey-level volume, or lies under a transform that warps it against the first one.
        UsageError: there are fewer than two nodes, one is there twice, an option is wrong, or the output may not be
            written to.
    """
    options.check()
    require_several(nodes)
    captures = tuple(capture(node, output_node, modality=modality) for node in nodes)
    volumes = tuple(
        in_space_of(nodes[0], node, captured.volume) for node, captured in zip(nodes, captures, strict=True)
    )
    return FusionRequest(captures, volumes, options)


def fuse_nodes(
    nodes: Sequence[Any],
    output_node: Any = None,
    model: str = "auto",
    *,
    modality: str | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    **options: Any,
) -> Any:
    """Makes one volume of several series; blocks until it is done. The scene changes on success only.

    Args:
        nodes, output_node, modality: as for ``fusion_request_of``.
        model: an isotropic model, as for ``fuse``.
        progress: called with a fraction 0..1 and a message.
        cancelled: asked in every iteration.
        options: of ``FusionOptions``, by name.

    Returns:
        vtkMRMLScalarVolumeNode.

    Raises:
        MedSRError: as ``fusion_request_of`` and ``fuse``.
    """
    request = fusion_request_of(nodes, output_node, FusionOptions.from_json(options), modality=modality)

    from MedSRLib.fusion.fuse import fuse

    fused = fuse(
        request.volumes,
        names=request.names,
        model=model,
        progress=progress,
        cancelled=cancelled,
        **request.options.to_json(),
    )
    return request.place(fused)


def require_several(nodes: Sequence[Any]) -> None:
    """Refuse fewer than two nodes, what is no volume, and one that is there twice.

    Raises:
        InputError, UsageError: as said.
    """
    if len(nodes) < 2:
        raise UsageError("fusing takes two or more series: choose volumes with slices in other directions")
    for node in nodes:
        require_scalar_volume(node)
    if len({node.GetID() for node in nodes}) < len(nodes):
        raise UsageError("one series is there twice: choose each once")


def series_of(first_node: Any, node: Any) -> Volume:
    """A node as a series beside another one, for what needs no look at its voxels.

    Args:
        first_node: vtkMRMLScalarVolumeNode in whose local space the series is wanted.
        node: another one.

    Raises:
        InputError: it is no grey-level volume, or is warped against the first one.
    """
    require_scalar_volume(node)
    volume = Volume(slicer.util.arrayFromVolume(node), affine_of(node))
    return in_space_of(first_node, node, volume)


def in_space_of(first_node: Any, node: Any, volume: Volume) -> Volume:
    """A node's volume in millimetres of another node's local space, with its frame of reference.

    Args:
        first_node: vtkMRMLScalarVolumeNode.
        node: that the volume is of.
        volume: in its own local space.

    Raises:
        InputError: a transform between the two is not linear.
    """
    volume = replace(volume, frame_of_reference=frame_of_reference(node))
    there, here = first_node.GetParentTransformNode(), node.GetParentTransformNode()
    if there is here:
        return volume
    matrix = vtk.vtkMatrix4x4()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(here, there, matrix):
        raise InputError(
            f"'{node.GetName()}' is warped against '{first_node.GetName()}' by a transform: harden the transform first"
        )
    moved = np.array(slicer.util.arrayFromVTKMatrix(matrix), np.float64)
    return volume.with_voxels(volume.voxels, moved @ volume.affine)
