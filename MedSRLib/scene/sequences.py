"""Every frame of a volume sequence, into a new sequence that plays along with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import slicer

from MedSRLib.enhancement.frames import join_reports
from MedSRLib.enhancement.result import Enhanced
from MedSRLib.errors import InputError
from MedSRLib.scene.browsing import browser_of
from MedSRLib.scene.capture import ENHANCED_AGAIN, Capture, entry_text, fingerprint
from MedSRLib.scene.hierarchy import put_beside
from MedSRLib.scene.nodes import image_from_voxels, set_affine, volume_from_node
from MedSRLib.scene.output import completed, describe, name_suffix_of, record, show_like, usable_name
from MedSRLib.scene.region import box_from_roi
from MedSRLib.scene.roles import REPORT, SOURCE_ROLE

_SEQUENCE = "vtkMRMLSequenceNode"


@dataclass(frozen=True, eq=False)
class SequenceCapture:
    """A sequence as it was at Apply.

    Args:
        scene: vtkMRMLScene that the result goes to.
        source_id: of the sequence node.
        source_name: of the sequence node.
        browser_id: of the browser that shows the sequence, or None.
        proxy_id: of the volume that shows the sequence's current frame, or None.
        index: name, unit, type and tolerance of the index values, as vtkMRMLSequenceNode keeps them.
        frames: index value and job of every frame, in order.
    """

    scene: Any
    source_id: str
    source_name: str
    browser_id: str | None
    proxy_id: str | None
    index: tuple[str, str, int, float]
    frames: tuple[tuple[str, Capture], ...]


def capture_sequence(sequence_node: Any, *, roi_node: Any = None, modality: str | None = None) -> SequenceCapture:
    """Everything that enhancing a sequence and placing the result needs. No browser is moved.

    Args:
        sequence_node: vtkMRMLSequenceNode of scalar volumes.
        roi_node: vtkMRMLMarkupsROINode, or None for whole volumes.
        modality: one of ``MODALITIES``; None for what the scene says, else a guess, which a note tells.

    Raises:
        InputError: the sequence is empty, a frame is not a grey-level volume, or the region does not touch it.
    """
    name = sequence_node.GetName()
    scene = sequence_node.GetScene()
    if sequence_node.GetClassName() != _SEQUENCE or sequence_node.GetNumberOfDataNodes() < 1:
        raise InputError(f"'{name}' holds no frames: choose a sequence of volumes")
    browser, proxy = browser_of(sequence_node)
    transform_node = proxy.GetParentTransformNode() if proxy is not None else None
    frames: list[tuple[str, Capture]] = []
    for n in range(sequence_node.GetNumberOfDataNodes()):
        frame = sequence_node.GetNthDataNode(n)
        described = proxy if proxy is not None else frame
        volume = volume_from_node(frame, described_by=described, modality=modality)
        if frames:
            # One guess for all: a modality that changes between frames would change their scaling.
            volume = replace(volume, modality=frames[0][1].volume.modality, notes=frames[0][1].volume.notes)
        job = Capture(
            scene=scene,
            source_id=sequence_node.GetID(),
            source_name=frame.GetName() or name,
            volume=volume,
            region=None if roi_node is None else box_from_roi(roi_node, volume, transform_node),
            transform_id=None if transform_node is None else transform_node.GetID(),
            quantity=entry_text(described.GetVoxelValueQuantity()),
            units=entry_text(described.GetVoxelValueUnits()),
            warnings=ENHANCED_AGAIN if frame.GetAttribute(REPORT) else (),
            fingerprint=fingerprint(volume),
        )
        frames.append((sequence_node.GetNthIndexValue(n), job))
    return SequenceCapture(
        scene=scene,
        source_id=sequence_node.GetID(),
        source_name=name,
        browser_id=None if browser is None else browser.GetID(),
        proxy_id=None if proxy is None else proxy.GetID(),
        index=(
            sequence_node.GetIndexName(),
            sequence_node.GetIndexUnit(),
            sequence_node.GetIndexType(),
            sequence_node.GetNumericIndexValueTolerance(),
        ),
        frames=tuple(frames),
    )


def place_sequence(job: SequenceCapture, results: Iterable[Enhanced]) -> Any:
    """A new sequence with the same index, shown by the same browser at the frame it stands at.

    Args:
        job: from ``capture_sequence``.
        results: of its frames, in order; taken one at a time, and nothing is placed unless all come.

    Returns:
        vtkMRMLSequenceNode in ``job.scene``.
    """
    sequence = job.scene.CreateNodeByClass(_SEQUENCE)
    sequence.UnRegister(None)  # CreateNodeByClass hands its own reference over, which Python does not know
    name, unit, kind, tolerance = job.index
    sequence.SetIndexName(name)
    sequence.SetIndexUnit(unit)
    sequence.SetIndexType(kind)
    sequence.SetNumericIndexValueTolerance(tolerance)
    suffix, reports = "", []
    for (index_value, frame), enhanced in zip(job.frames, results, strict=True):
        suffix = name_suffix_of(enhanced.report.factors)
        _add_frame(sequence, index_value, frame, enhanced, suffix)
        reports.append(completed(enhanced.report, frame))
    sequence.SetName(job.scene.GenerateUniqueName(usable_name(f"{job.source_name} {suffix}")))
    sequence.SetAttribute("MedSR.SourceNodeID", job.source_id)
    whole = join_reports(reports, [index_value for index_value, _ in job.frames])
    sequence.SetAttribute(REPORT, json.dumps(whole.to_json()))
    job.scene.AddNode(sequence)
    _show(sequence, job, suffix)
    return sequence


def _add_frame(sequence: Any, index_value: str, frame: Capture, enhanced: Enhanced, suffix: str) -> None:
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(usable_name(f"{frame.source_name} {suffix}"))
    set_affine(node, enhanced.volume.affine)
    record(node, frame, enhanced.report)
    node.SetAndObserveImageData(image_from_voxels(enhanced.volume.voxels))
    # The sequence keeps a copy, and copying leaves quantity and units behind.
    describe(sequence.SetDataNodeAtValue(node, index_value), frame)


def _show(sequence: Any, job: SequenceCapture, suffix: str) -> None:
    """Lets the input's browser play the new sequence too, in a volume that looks like the input's and moves with it."""
    browser = None if job.browser_id is None else job.scene.GetNodeByID(job.browser_id)
    if browser is None:
        return
    browser.AddSynchronizedSequenceNode(sequence)
    volume = browser.GetProxyNode(sequence)
    source = None if job.proxy_id is None else job.scene.GetNodeByID(job.proxy_id)
    if volume is None or source is None:
        return
    volume.SetName(job.scene.GenerateUniqueName(usable_name(f"{source.GetName()} {suffix}")))
    describe(volume, job.frames[0][1])
    show_like(volume, source)
    volume.SetAndObserveTransformNodeID(source.GetTransformNodeID())
    volume.SetNodeReferenceID(SOURCE_ROLE, source.GetID())
    put_beside(volume, source)
