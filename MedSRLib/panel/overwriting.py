"""Asking before a volume that MedSR did not make is overwritten."""

from __future__ import annotations

from typing import Any

from slicer import util
from slicer.i18n import tr as _

from MedSRLib.scene.roles import REPORT


def may_overwrite(output: Any) -> bool:
    """Whether a chosen output may be written into; only a person before a main window is asked.

    Args:
        output: vtkMRMLScalarVolumeNode, or None for a new one.
    """
    if output is None or output.GetAttribute(REPORT) or output.GetImageData() is None or util.mainWindow() is None:
        return True
    question = _(
        "'{name}' was not made by MedSR. Its voxels will be replaced in the scene; the file that it may have come from "
        "stays as it is. Replace them?"
    )
    return bool(util.confirmOkCancelDisplay(question.format(name=output.GetName())))
