"""A result over its input in the slice views, so that one can be faded into the other."""

from __future__ import annotations

from typing import Any

import slicer

from MedSRLib.scene.views import ordinary_views


def blend(source: Any, output: Any, part: float) -> list[str]:
    """Shows a result over its input, in every view of the layout that shows either and nothing above it.

    Args:
        source: vtkMRMLScalarVolumeNode, the input.
        output: its result.
        part: of the result: 0 shows the input alone, 1 the result alone where there is one.

    Returns:
        Names of these views.
    """
    ours = {source.GetID(), output.GetID()}
    shown = []
    for view, composite in ordinary_views(output.GetScene()):
        if not view.IsMappedInLayout() or composite.GetBackgroundVolumeID() not in ours:
            continue
        if composite.GetForegroundVolumeID() not in (None, *ours):
            continue  # what the user laid over it stays
        with slicer.util.NodeModify(composite):
            composite.SetBackgroundVolumeID(source.GetID())
            composite.SetForegroundVolumeID(output.GetID())
            composite.SetForegroundOpacity(part)
        shown.append(view.GetLayoutName())
    return shown


def show_alike(node: Any, other: Any) -> None:
    """Gives a volume the window and level of another one.

    Args:
        node, other: vtkMRMLScalarVolumeNode with displays.
    """
    display, wanted = node.GetScalarVolumeDisplayNode(), other.GetScalarVolumeDisplayNode()
    if display is None or wanted is None:
        return
    values = wanted.GetWindow(), wanted.GetLevel()
    if (display.GetWindow(), display.GetLevel()) != values:
        with slicer.util.NodeModify(display):
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(*values)
