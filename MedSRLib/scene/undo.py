"""The way back from an enhancement: what it made is taken out of the scene, what it wrote over is as it was."""

from __future__ import annotations

from typing import Any

import slicer

from MedSRLib.scene.browsing import browser_of
from MedSRLib.scene.capture import entry_text
from MedSRLib.scene.hierarchy import item_of
from MedSRLib.scene.nodes import affine_of, set_affine
from MedSRLib.scene.output import coded_entry
from MedSRLib.scene.roles import DIFFERENCE_ROLE, SOURCE_ROLE, UNCERTAINTY_ROLE
from MedSRLib.scene.views import ordinary_views

_ROLES = (SOURCE_ROLE, UNCERTAINTY_ROLE, DIFFERENCE_ROLE)


class Undo:
    """One run. Make it before the run begins, for what is written over.

    Args:
        output: vtkMRMLScalarVolumeNode that will be written over, or None for a new node.
    """

    def __init__(self, output: Any = None) -> None:
        over = [] if output is None else [output, output.GetNodeReference(UNCERTAINTY_ROLE)]
        self._former = [_Former(node) for node in over if node is not None]
        self._result: Any = None
        self._scene: Any = None

    def made(self, result: Any) -> None:
        """The run has ended.

        Args:
            result: vtkMRMLScalarVolumeNode or vtkMRMLSequenceNode in its scene.
        """
        self._result, self._scene = result, result.GetScene()

    @property
    def is_possible(self) -> bool:
        """Whether the result is still in the scene that it was made in."""
        return self._scene is not None and bool(self._scene.IsNodePresent(self._result))

    def take_back(self) -> str:
        """Removes what the run made, and gives back what it wrote over.

        Returns:
            The result's name.
        """
        name = str(self._result.GetName())
        kept = {former.node for former in self._former}
        if self._result.IsA("vtkMRMLSequenceNode"):
            self._remove_sequence()
        else:
            # What is below the result in the hierarchy first.
            made = [self._result.GetNodeReference(role) for role in (DIFFERENCE_ROLE, UNCERTAINTY_ROLE)]
            for node in (*made, self._result):
                if node is not None and node not in kept:
                    _show_instead_of(node, self._result.GetNodeReference(SOURCE_ROLE))
                    remove_volume(node)
        for former in self._former:
            if self._scene.IsNodePresent(former.node):
                former.give_back()
        return name

    def _remove_sequence(self) -> None:
        browser, proxy = browser_of(self._result)
        if proxy is not None:
            _show_instead_of(proxy, proxy.GetNodeReference(SOURCE_ROLE))
        if browser is not None:
            browser.RemoveSynchronizedSequenceNode(self._result.GetID())
        for node in (proxy, self._result):
            if node is not None and self._scene.IsNodePresent(node):
                if node is proxy:
                    remove_volume(node)
                else:
                    self._scene.RemoveNode(node)


def remove_volume(node: Any) -> None:
    """Removes a volume with its displays, legends among them, and its storage node where that is nobody else's."""
    scene = node.GetScene()
    displays = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    storage = node.GetStorageNode()
    hierarchy, item = item_of(node)
    if item:
        hierarchy.RemoveItem(item, False, False)  # the item alone; Slicer's hierarchy follows by itself, but only there
    scene.RemoveNode(node)
    for display in displays:
        if display is not None and scene.IsNodePresent(display):
            scene.RemoveNode(display)
    if storage is not None and not any(
        one.GetStorageNodeID() == storage.GetID() for one in slicer.util.getNodesByClass("vtkMRMLStorableNode", scene)
    ):
        scene.RemoveNode(storage)


def _show_instead_of(node: Any, source: Any) -> None:
    """Lets the views that show a volume show its input, if that is there, from where they look."""
    for _, composite in ordinary_views(node.GetScene()):
        with slicer.util.NodeModify(composite):
            if composite.GetBackgroundVolumeID() == node.GetID():
                composite.SetBackgroundVolumeID(None if source is None else source.GetID())
            if composite.GetForegroundVolumeID() == node.GetID():
                composite.SetForegroundVolumeID(None)


class _Former:
    """What a volume was before it was written over; its voxels are held, not copied: a run puts others in their place.

    Args:
        node: vtkMRMLScalarVolumeNode in a scene.
    """

    def __init__(self, node: Any) -> None:
        self.node = node
        self._name, self._affine, self._image = node.GetName(), affine_of(node), node.GetImageData()
        self._attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames() or ()}
        self._transform, self._storage = node.GetTransformNodeID(), node.GetStorageNode()
        self._references = [
            (role, node.GetNthNodeReferenceID(role, n))
            for role in _ROLES
            for n in range(node.GetNumberOfNodeReferences(role))
        ]
        self._entries = entry_text(node.GetVoxelValueQuantity()), entry_text(node.GetVoxelValueUnits())
        shown = node.GetScalarVolumeDisplayNode()
        self._display = None
        if shown is not None:
            self._display = shown.CreateNodeInstance()
            self._display.UnRegister(None)  # CreateNodeInstance hands its own reference over
            self._display.CopyContent(shown)
        hierarchy, item = item_of(node)
        self._parent = hierarchy.GetItemParent(item) if item else 0
        self._said = _said_of(hierarchy, item)

    def give_back(self) -> None:
        """Makes the node what it was."""
        node, scene = self.node, self.node.GetScene()
        with slicer.util.NodeModify(node):
            node.SetName(self._name)
            for name in node.GetAttributeNames() or ():
                node.RemoveAttribute(name)
            for name, value in self._attributes.items():
                node.SetAttribute(name, value)
            set_affine(node, self._affine)
            node.SetAndObserveImageData(self._image)
            node.SetVoxelValueQuantity(coded_entry(self._entries[0]))
            node.SetVoxelValueUnits(coded_entry(self._entries[1]))
            node.SetAndObserveTransformNodeID(_there(scene, self._transform))
            for role in _ROLES:
                node.RemoveNodeReferenceIDs(role)
            for role, node_id in self._references:
                if _there(scene, node_id) is not None:
                    node.AddNodeReferenceID(role, node_id)
        if self._storage is not None:
            if not scene.IsNodePresent(self._storage):
                scene.AddNode(self._storage)
            node.SetAndObserveStorageNodeID(self._storage.GetID())
        display = node.GetScalarVolumeDisplayNode()
        if display is not None and self._display is not None:
            with slicer.util.NodeModify(display):
                display.CopyContent(self._display)
                display.SetInputImageDataConnection(node.GetImageDataConnection())
        hierarchy, item = item_of(node)
        if item:
            for name in _said_of(hierarchy, item):
                hierarchy.RemoveItemAttribute(item, name)
            for name, value in self._said.items():
                hierarchy.SetItemAttribute(item, name, value)
            if self._parent:
                hierarchy.SetItemParent(item, self._parent)


def _said_of(hierarchy: Any, item: int) -> dict[str, str]:
    """The attributes of an item of the subject hierarchy."""
    if not item:
        return {}
    return {name: hierarchy.GetItemAttribute(item, name) for name in hierarchy.GetItemAttributeNames(item)}


def _there(scene: Any, node_id: str | None) -> str | None:
    """A node's ID, None where it is gone."""
    return node_id if node_id and scene.GetNodeByID(node_id) is not None else None
