"""Results into the scene: a new volume beside its input, or one written over in a single step.

What can fail (the memory for the voxels) comes before the scene is touched, and the input node is only read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import slicer

from MedSRLib.enhancement.result import Enhanced, FidelityReport
from MedSRLib.scene.capture import Capture
from MedSRLib.scene.hierarchy import describe_series, put_beside
from MedSRLib.scene.nodes import SCALAR_VOLUME, image_from_voxels, set_affine
from MedSRLib.scene.roles import DIFFERENCE_ROLE, REPORT, SOURCE_ROLE, UNCERTAINTY_ROLE
from MedSRLib.volumes.volume import Volume

FINGERPRINT = "MedSR.SourceSHA256"
"""Attribute of an output: the fingerprint of its input's voxels when it was made."""

_UNCERTAINTY_COLOURS = "vtkMRMLColorTableNodeFileInferno.txt"
_BUILT_IN_COLOURS = "vtkMRMLColorTableNodeWarm1"
"""Where the application has not loaded its files of colours, as slicer-core."""
DISPLAY = "vtkMRMLScalarVolumeDisplayNode"


def place(captured: Capture, enhanced: Enhanced) -> Any:
    """Puts a result where its capture says: into ``captured.output_id`` if that node is still there, else a new node.

    An uncertainty map goes into the node that the output refers to as ``UNCERTAINTY_ROLE``, or a new one.

    Args:
        captured: from ``capture``.
        enhanced: from ``enhance`` on ``captured.volume`` and ``captured.region``.

    Returns:
        The vtkMRMLScalarVolumeNode that holds the result.
    """
    output = _find(captured, captured.output_id)
    spread = enhanced.uncertainty
    spread_image = None if spread is None else image_from_voxels(spread.voxels)
    if output is None:
        output = create_output(captured, enhanced)
    else:
        write_into(output, captured, enhanced)
    describe_series(output, _find(captured, captured.source_id), captured, enhanced.report.model.name)
    if spread is None:
        output.RemoveNodeReferenceIDs(UNCERTAINTY_ROLE)
        return output
    node = output.GetNodeReference(UNCERTAINTY_ROLE)
    new = node is None
    if new:
        node = _new_node(captured, f"{output.GetName()} uncertainty")
    with slicer.util.NodeModify(node):
        _fill(node, captured, spread, spread_image, enhanced.report)
        node.SetVoxelValueQuantity(None)
    if new:
        captured.scene.AddNode(node)
        _show_uncertainty(node)
    _join(node, captured)
    output.SetNodeReferenceID(UNCERTAINTY_ROLE, node.GetID())
    return output


def create_output(captured: Capture, enhanced: Enhanced, name_suffix: str | None = None) -> Any:
    """A new node beside the input, under the same transform, shown like the input and named after it.

    Args:
        captured: from ``capture``.
        enhanced: the result; its uncertainty is left to ``place``.
        name_suffix: what comes after the input's name; ``name_suffix_of`` the factors where None.

    Returns:
        vtkMRMLScalarVolumeNode in ``captured.scene``.
    """
    image = image_from_voxels(enhanced.volume.voxels)
    suffix = name_suffix_of(enhanced.report.factors) if name_suffix is None else name_suffix
    node = _new_node(captured, f"{captured.source_name} {suffix}")
    _fill(node, captured, enhanced.volume, image, enhanced.report)
    captured.scene.AddNode(node)
    show_like(node, _find(captured, captured.source_id))
    _join(node, captured)
    return node


def write_into(node: Any, captured: Capture, enhanced: Enhanced) -> None:
    """Replaces what a node holds, as one modification.

    It leaves the file that it came from, which saving the scene would overwrite. A name that came with that file, or
    from an earlier result, follows what the node holds; one that a person gave stays. The volume of what an earlier
    result added is removed.

    Args:
        node: vtkMRMLScalarVolumeNode in ``captured.scene``.
        captured, enhanced: as for ``create_output``.
    """
    image = image_from_voxels(enhanced.volume.voxels)
    with overwritten(node, f"{captured.source_name} {name_suffix_of(enhanced.report.factors)}"):
        _fill(node, captured, enhanced.volume, image, enhanced.report)
        show_like(node, _find(captured, captured.source_id))
        _join(node, captured)


@contextmanager
def overwritten(node: Any, wanted: str) -> Iterator[None]:
    """One modification in which a node gets another content; what belongs to the old one is left or removed.

    Args:
        node: vtkMRMLScalarVolumeNode in a scene.
        wanted: its name, unless a person gave it one.
    """
    scene, storage, added = node.GetScene(), node.GetStorageNode(), node.GetNodeReference(DIFFERENCE_ROLE)
    named_by_us = storage is not None or node.GetAttribute(REPORT) is not None
    with slicer.util.NodeModify(node):
        if named_by_us:
            node.SetName(_name_for(node, wanted))
        node.SetAndObserveStorageNodeID(None)
        node.RemoveNodeReferenceIDs(DIFFERENCE_ROLE)
        yield
    if added is not None:
        scene.RemoveNode(added)
    if storage is not None and not _is_shared(storage):
        scene.RemoveNode(storage)


def name_suffix_of(factors: Sequence[float]) -> str:
    """What an output's name says of its factors along i, j, k: "MedSR x2", "MedSR 3D x2" or "MedSR thin slices"."""
    i, j, k = factors
    if i == 1 and j == 1:
        return "MedSR thin slices"
    return f"MedSR {'3D ' if k != 1 else ''}x{max(i, j):g}"


def usable_name(name: str) -> str:
    """A node name that can become a file name: Slicer takes what follows a dot for the format."""
    return re.sub(r"[./\\]", "_", name)


def show_like(node: Any, source: Any) -> None:
    """The display of ``source``: window, level, colours, threshold, interpolation; Slicer's default without it.

    Window and level are fixed at the source's values, for two histograms would give two automatic windows.

    Args:
        node: vtkMRMLScalarVolumeNode in a scene.
        source: another one, or None where it is gone.
    """
    wanted = source.GetScalarVolumeDisplayNode() if source is not None else None
    if wanted is None:
        node.CreateDefaultDisplayNodes()
        return
    display = node.GetScalarVolumeDisplayNode()
    if display is None:
        # Not CreateDefaultDisplayNodes: that goes through all voxels for a window that is thrown away.
        display = node.GetScene().AddNewNodeByClass(DISPLAY)
    with slicer.util.NodeModify(display):
        display.CopyContent(wanted)
        display.SetAutoWindowLevel(False)
        display.SetAutoThreshold(False)
        # CopyContent also takes over the image that is shown.
        display.SetInputImageDataConnection(node.GetImageDataConnection())
    node.SetAndObserveDisplayNodeID(display.GetID())


def _show_uncertainty(node: Any) -> None:
    """In colours, so that nobody takes it for an image, with a legend in the input's units."""
    node.CreateDefaultDisplayNodes()
    there = node.GetScene().GetNodeByID(_UNCERTAINTY_COLOURS) is not None
    node.GetScalarVolumeDisplayNode().SetAndObserveColorNodeID(_UNCERTAINTY_COLOURS if there else _BUILT_IN_COLOURS)
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetTitleText("uncertainty")


def describe(node: Any, captured: Capture) -> None:
    """The input's voxel value quantity and units, as entries of the node's own."""
    node.SetVoxelValueQuantity(coded_entry(captured.quantity))
    node.SetVoxelValueUnits(coded_entry(captured.units))


def coded_entry(text: str | None) -> Any:
    """The inverse of ``entry_text``: a vtkCodedEntry, None for None."""
    if text is None:
        return None
    entry = slicer.vtkCodedEntry()
    entry.SetFromString(text)
    return entry


def record(node: Any, captured: Capture, report: FidelityReport) -> None:
    """Writes into a node's attributes what made it."""
    node.SetAttribute("MedSR.Model", report.model.name)
    node.SetAttribute("MedSR.ModelSHA256", " ".join(report.model.sha256.values()))
    node.SetAttribute("MedSR.Version", report.version)
    node.SetAttribute("MedSR.SourceNodeID", captured.source_id)
    node.SetAttribute(FINGERPRINT, captured.fingerprint)
    node.SetAttribute(REPORT, json.dumps(completed(report, captured).to_json()))


def completed(report: FidelityReport, captured: Capture) -> FidelityReport:
    """A report with what only the scene knows: its warnings and notes."""
    return replace(
        report,
        warnings=(*captured.warnings, *report.warnings),
        notes=(*captured.volume.notes, *report.notes),
    )


def _find(captured: Capture, node_id: str | None) -> Any:
    """A node of the captured scene, None where it is gone."""
    return None if node_id is None else captured.scene.GetNodeByID(node_id)


def _name_for(node: Any, wanted: str) -> str:
    """A name that nothing else in the scene has: the node's own, where that is the wanted one with a number."""
    wanted = usable_name(wanted)
    own = node.GetName() or ""
    return own if re.fullmatch(re.escape(wanted) + r"(_\d+)?", own) else str(node.GetScene().GenerateUniqueName(wanted))


def _is_shared(storage: Any) -> bool:
    """Whether a node of the scene is stored by a storage node."""
    storables = slicer.util.getNodesByClass("vtkMRMLStorableNode", storage.GetScene())
    return any(node.GetStorageNodeID() == storage.GetID() for node in storables)


def _new_node(captured: Capture, name: str) -> Any:
    """A volume node that is not in the scene yet, with a name that nothing else in it has."""
    return new_volume(captured.scene, name)


def new_volume(scene: Any, name: str) -> Any:
    """The same for any scene."""
    node = scene.CreateNodeByClass(SCALAR_VOLUME)
    node.UnRegister(None)  # CreateNodeByClass hands its own reference over, which Python does not know
    node.SetName(scene.GenerateUniqueName(usable_name(name)))
    return node


def _fill(node: Any, captured: Capture, volume: Volume, image: Any, report: FidelityReport) -> None:
    """Geometry, description, provenance and voxels of a node in or outside the scene."""
    set_affine(node, volume.affine)
    describe(node, captured)
    record(node, captured, report)
    node.SetAndObserveImageData(image)


def _join(node: Any, captured: Capture) -> None:
    """The input's transform, its place in the subject hierarchy and the way back to it."""
    transform, source = _find(captured, captured.transform_id), _find(captured, captured.source_id)
    node.SetAndObserveTransformNodeID(None if transform is None else transform.GetID())
    node.SetNodeReferenceID(SOURCE_ROLE, None if source is None else source.GetID())
    put_beside(node, source)
