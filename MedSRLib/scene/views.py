"""Slice views: the result in the place of its input, and the way back.

Everything goes through MRML nodes, so nothing here needs a layout manager; without slice views nothing happens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from MedSRLib.scene.roles import REPORT, SOURCE_ROLE, UNCERTAINTY_ROLE

COMPARE_VIEWS = ("MedSRInput", "MedSROutput", "MedSRAdded", "MedSRUncertainty")
"""Slice views of the compare layouts, by what they show; ``comparison`` fills them."""
COMPARE_LAYOUTS = (7042, 7043)
"""Identifiers of the compare layouts, without and with an uncertainty map; Slicer's own end far below."""
_LAYERS = ("Background", "Foreground", "Label")
_DEPTH = 100
"""Results of results that are followed back; MRML does not forbid a circle."""


@dataclass(frozen=True)
class SliceView:
    """What one slice view shows and where it looks.

    Args:
        name: of the view's layout, as "Red".
        volumes: IDs in background, foreground and label layer, or None.
        opacities: of foreground and label.
        linked: whether it is linked to others, and whether that is while it moves, too.
        slice_to_ras: 4x4 in row order, millimetres.
        field_of_view: in millimetres, with its pixels: (width, height, thickness).
        origin: offset of the view's centre within the plane, millimetres.
    """

    name: str
    volumes: tuple[str | None, ...]
    opacities: tuple[float, float]
    linked: tuple[bool, bool]
    slice_to_ras: tuple[float, ...]
    field_of_view: tuple[float, ...]
    origin: tuple[float, ...]


@dataclass(frozen=True)
class Views:
    """All slice views and their arrangement, to be restored later.

    Args:
        arrangement: identifier of the layout, or None where there is no layout.
        views: of the scene.
    """

    arrangement: int | None
    views: tuple[SliceView, ...]


def capture_views(scene: Any) -> Views:
    """What the slice views of a scene show now, without those to compare in."""
    layout = layout_of(scene)
    arrangement = None if layout is None else layout.GetViewArrangement()
    if arrangement in COMPARE_LAYOUTS:  # as in a scene that was saved while comparing
        arrangement = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    return Views(arrangement, tuple(capture_view(view, composite) for view, composite in ordinary_views(scene)))


def restore_views(scene: Any, state: Views, *, place: bool = True) -> None:
    """Makes the views as they were; volumes that are gone leave their layer empty.

    Args:
        scene: vtkMRMLScene.
        state: what they were.
        place: also lets them look where they looked; else they show there what they showed, where they look now.
    """
    layout = layout_of(scene)
    if layout is not None and state.arrangement is not None:
        layout.SetViewArrangement(state.arrangement)
    wanted = {one.name: one for one in state.views}
    for view, composite in ordinary_views(scene):
        one = wanted.get(view.GetLayoutName())
        if one is None:
            continue
        with slicer.util.NodeModify(composite):
            for layer, volume in zip(_LAYERS, one.volumes, strict=True):
                there = volume is not None and scene.GetNodeByID(volume) is not None
                getattr(composite, f"Set{layer}VolumeID")(volume if there else None)
            composite.SetForegroundOpacity(one.opacities[0])
            composite.SetLabelOpacity(one.opacities[1])
            composite.SetLinkedControl(one.linked[0])
            composite.SetHotLinkedControl(one.linked[1])
        if place:
            look(view, one)


def show_instead(output: Any, source: Any) -> list[str]:
    """Shows a result wherever its input, or another result of that, is shown; every view keeps looking where it does.

    The result of a region lies over its input. Views to compare in are left alone.

    Args:
        output: vtkMRMLScalarVolumeNode in a scene.
        source: its input, or None where that is gone.

    Returns:
        Names of the views of the present layout that show the result now.
    """
    scene = output.GetScene()
    family = _family(scene, source)
    of_region = source is not None and bool(json.loads(output.GetAttribute(REPORT) or "{}").get("roi"))
    shown = []
    for view, composite in ordinary_views(scene):
        before = capture_view(view, composite)
        with slicer.util.NodeModify(composite):
            for layer, volume in zip(_LAYERS[:2], before.volumes, strict=False):
                if volume in family:
                    getattr(composite, f"Set{layer}VolumeID")(output.GetID())
            below = composite.GetBackgroundVolumeID() == output.GetID()
            if below and of_region and composite.GetForegroundVolumeID() in (None, output.GetID()):
                composite.SetBackgroundVolumeID(source.GetID())
                composite.SetForegroundVolumeID(output.GetID())
                composite.SetForegroundOpacity(1.0)
        look(view, before)
        if view.IsMappedInLayout() and below:
            shown.append(before.name)
    return shown


def show_everywhere(output: Any) -> list[str]:
    """Makes a volume the background of every slice view of the present layout, where it may lie outside what is seen.

    Args:
        output: vtkMRMLScalarVolumeNode in a scene.

    Returns:
        Names of these views.
    """
    shown = []
    for view, composite in ordinary_views(output.GetScene()):
        if view.IsMappedInLayout():
            composite.SetBackgroundVolumeID(output.GetID())
            shown.append(view.GetLayoutName())
    return shown


def layout_of(scene: Any) -> Any:
    """The scene's vtkMRMLLayoutNode; None without a main window."""
    return scene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def is_comparing(scene: Any) -> bool:
    """Whether the present layout is one to compare in."""
    layout = layout_of(scene)
    return layout is not None and layout.GetViewArrangement() in COMPARE_LAYOUTS


def slice_views(scene: Any) -> Iterator[tuple[Any, Any]]:
    """Slice nodes with their composite nodes."""
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene):
        composite = slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(view)
        if composite is not None:
            yield view, composite


def ordinary_views(scene: Any) -> Iterator[tuple[Any, Any]]:
    """Those of ``slice_views`` that are Slicer's and the user's own."""
    return ((view, composite) for view, composite in slice_views(scene) if view.GetLayoutName() not in COMPARE_VIEWS)


def capture_view(view: Any, composite: Any) -> SliceView:
    """What one slice view shows and where it looks."""
    return SliceView(
        name=view.GetLayoutName(),
        volumes=tuple(getattr(composite, f"Get{layer}VolumeID")() for layer in _LAYERS),
        opacities=(composite.GetForegroundOpacity(), composite.GetLabelOpacity()),
        linked=(bool(composite.GetLinkedControl()), bool(composite.GetHotLinkedControl())),
        slice_to_ras=tuple(slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()).ravel().tolist()),
        field_of_view=tuple(view.GetFieldOfView()),
        origin=tuple(view.GetXYZOrigin()),
    )


def look(view: Any, wanted: SliceView, *, contain: bool = False) -> None:
    """Lets a view look where another did. The height is kept, and the width follows the window, as on resizing it.

    Args:
        view: vtkMRMLSliceNode.
        wanted: where to look.
        contain: where the window is narrower, see all that was seen.
    """
    width, height, _ = view.GetDimensions()
    across, up, through = wanted.field_of_view
    if width and height:
        if contain:
            up = max(up, across * height / width)
        across = up * width / height
    with slicer.util.NodeModify(view):
        matrix = np.array(wanted.slice_to_ras).reshape(4, 4)
        slicer.util.updateVTKMatrixFromArray(view.GetSliceToRAS(), matrix)
        view.SetFieldOfView(across, up, through)
        view.SetXYZOrigin(*wanted.origin)
        view.UpdateMatrices()


def _family(scene: Any, source: Any) -> set[str]:
    """IDs of what a volume was made of, of the volume, and of all results of these; not of uncertainty maps."""
    if source is None:
        return set()
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
    maps = {node.GetNodeReferenceID(UNCERTAINTY_ROLE) for node in volumes}
    root = _root(source)
    return {node.GetID() for node in volumes if _root(node) is root} - maps


def _root(node: Any) -> Any:
    """The volume at the beginning of a chain of results."""
    for _ in range(_DEPTH):
        source = node.GetNodeReference(SOURCE_ROLE)
        if source is None:
            break
        node = source
    return node
