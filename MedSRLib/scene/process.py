"""One volume node enhanced in this process: what the console and batch runs call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MedSRLib.enhancement.enhancer import Cancelled, Progress, enhance
from MedSRLib.scene.capture import capture
from MedSRLib.scene.output import place


def process(
    input_node: Any,
    output_node: Any = None,
    model: str | Path = "auto",
    *,
    roi_node: Any = None,
    device: str = "auto",
    precision: str = "auto",
    fidelity: float | None = None,
    consistency: bool = True,
    uncertainty: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Any:
    """Makes a volume node sharper; blocks until it is done. The scene changes on success only.

    Args:
        input_node: vtkMRMLScalarVolumeNode; it is not changed.
        output_node: vtkMRMLScalarVolumeNode to write into, or None for a new one.
        model: name in the catalogue, model folder, or "auto".
        roi_node: vtkMRMLMarkupsROINode whose part of the volume is enhanced; None for all of it.
        device, precision, fidelity, consistency, progress, cancelled: as for ``enhance``.
        uncertainty: also make a map, a node that the output refers to as ``MedSR.Uncertainty``.

    Returns:
        The vtkMRMLScalarVolumeNode that holds the result.

    Raises:
        MedSRError: as ``capture`` and ``enhance``.
    """
    job = capture(input_node, output_node, roi_node=roi_node)
    enhanced = enhance(
        job.volume,
        model,
        device=device,
        precision=precision,
        fidelity=fidelity,
        consistency=consistency,
        uncertainty=uncertainty,
        roi=job.region,
        progress=progress,
        cancelled=cancelled,
    )
    return place(job, enhanced)
