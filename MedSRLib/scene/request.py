"""What of the scene is to be enhanced, and where its results go: volume or sequence is told apart here alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer

from MedSRLib.enhancement.request import Input, Options
from MedSRLib.errors import InputError, UsageError
from MedSRLib.scene.capture import capture
from MedSRLib.scene.output import place
from MedSRLib.scene.sequences import capture_sequence, place_sequence

if TYPE_CHECKING:
    from MedSRLib.enhancement.result import Enhanced


@dataclass(frozen=True, eq=False)
class Request:
    """One node as it was at Apply.

    Args:
        inputs: the volume, or every frame of the sequence.
        place: puts their results, in order, into the scene and returns the node that holds them; where taking a result
            fails, the scene stays as it was.
    """

    inputs: tuple[Input, ...]
    place: Callable[[Iterable[Enhanced]], Any]


def request_of(
    input_node: Any, output_node: Any, options: Options, *, roi_node: Any = None, modality: str | None = None
) -> Request:
    """Captures a node. The scene is not changed.

    Args:
        input_node: vtkMRMLScalarVolumeNode, or vtkMRMLSequenceNode of such.
        output_node: vtkMRMLScalarVolumeNode to write into, or None for a new node.
        options: of the enhancement.
        roi_node: vtkMRMLMarkupsROINode, or None for all of it.
        modality: one of ``MODALITIES``; None for what the scene says, else a guess, which a note tells.

    Raises:
        InputError: the input is no grey-level volume or sequence of such, or the region does not touch it.
        UsageError: the output may not be written to, or a sequence does not take what is asked for.
    """
    if input_node is not None and not isinstance(input_node, slicer.vtkMRMLNode):
        raise InputError(
            f"{input_node!r} is no volume node: give the node, as slicer.util.getNode finds it by its name"
        )
    if input_node is not None and input_node.IsA("vtkMRMLSequenceNode"):
        if output_node is not None or options.uncertainty:
            raise UsageError("a sequence gives a new sequence without uncertainty maps: ask for neither of these")
        sequence = capture_sequence(input_node, roi_node=roi_node, modality=modality)
        inputs = tuple(Input(frame.volume, frame.region) for _index, frame in sequence.frames)
        return Request(inputs, lambda results: place_sequence(sequence, results))
    captured = capture(input_node, output_node, roi_node=roi_node, modality=modality)
    return Request((Input(captured.volume, captured.region),), lambda results: place(captured, next(iter(results))))
