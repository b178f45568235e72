"""Which volume shows which sequence."""

from __future__ import annotations

from typing import Any

import slicer

_BROWSER = "vtkMRMLSequenceBrowserNode"


def sequence_of(volume_node: Any) -> Any:
    """The vtkMRMLSequenceNode whose current frame a volume node shows, None for a volume of its own."""
    for browser in slicer.util.getNodesByClass(_BROWSER, volume_node.GetScene()):
        sequence = browser.GetSequenceNode(volume_node)
        if sequence is not None:
            return sequence
    return None


def browser_of(sequence_node: Any) -> tuple[Any, Any]:
    """The first browser that shows a sequence and the node it shows it in, None where there is none."""
    for browser in slicer.util.getNodesByClass(_BROWSER, sequence_node.GetScene()):
        if browser.IsSynchronizedSequenceNode(sequence_node, True):
            return browser, browser.GetProxyNode(sequence_node)
    return None, None


def shown_volume(node: Any) -> Any:
    """The volume node that shows a volume (itself) or a sequence; None where nothing shows it."""
    return browser_of(node)[1] if node.IsA("vtkMRMLSequenceNode") else node
