"""A node enhanced in this process: what the console and batch runs call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MedSRLib.enhancement.enhancer import enhance_all
from MedSRLib.enhancement.request import Options
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.scene.request import request_of


def process(
    input_node: Any,
    output_node: Any = None,
    model: str | Path = "auto",
    *,
    roi_node: Any = None,
    modality: str | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    **options: Any,
) -> Any:
    """Makes a volume, or every frame of a sequence, sharper; blocks until it is done.

    The scene changes on success only. A browser of the sequence is not moved; it shows the new sequence as well.

    Args:
        input_node: vtkMRMLScalarVolumeNode, or vtkMRMLSequenceNode of such; it is not changed.
        output_node: vtkMRMLScalarVolumeNode to write into, or None for a new node.
        model: name in the catalogue, model folder, or "auto".
        roi_node: vtkMRMLMarkupsROINode whose part of the volume is enhanced; None for all of it.
        modality: one of ``MODALITIES``; None for what the scene says, else a guess, which a note tells.
        progress: called with a fraction 0..1 of the whole and a message, which names the frame of a sequence.
        cancelled: asked before every tile.
        options: of ``Options``, by name. An uncertainty map becomes a node that the output refers to as
            ``MedSR.Uncertainty``.

    Returns:
        The node of the input's kind that holds the result.

    Raises:
        MedSRError: as ``request_of`` and ``enhance_all``.
    """
    asked = Options.from_json(options)
    request = request_of(input_node, output_node, asked, roi_node=roi_node, modality=modality)
    return request.place(enhance_all(request.inputs, model, asked, progress=progress, cancelled=cancelled))
