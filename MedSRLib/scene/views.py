"""Slice views: the result in the place of its input, both beside what was added, and the way back.

Everything goes through MRML nodes, so nothing here needs a layout manager; without slice views nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import slicer

from MedSRLib.errors import UsageError
from MedSRLib.scene.output import SOURCE_ROLE

COMPARE_LAYOUT = 7042
"""Identifier of the compare layout; Slicer's own end far below."""
_COMPARE_GROUP = 7042
"""View group of the compare views: linking stays among them."""
_COMPARE_VIEWS = {
    "MedSRInput": ("input", "#6EB04B"),
    "MedSROutput": ("MedSR", "#F34A33"),
    "MedSRAdded": ("added", "#EDD54C"),
}
_LAYERS = ("Background", "Foreground", "Label")


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
    """What the slice views of a scene show now."""
    layout = _layout(scene)
    return Views(
        None if layout is None else layout.GetViewArrangement(),
        tuple(_capture(view, composite) for view, composite in _slice_views(scene)),
    )


def restore_views(scene: Any, state: Views) -> None:
    """Makes the views as they were; volumes that are gone leave their layer empty."""
    layout = _layout(scene)
    if layout is not None and state.arrangement is not None:
        layout.SetViewArrangement(state.arrangement)
    wanted = {one.name: one for one in state.views}
    for view, composite in _slice_views(scene):
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
        _look(view, one)


def show_instead(output: Any, source: Any) -> None:
    """Shows a result wherever its input or an earlier result of that is shown; every view keeps looking where it does.

    Args:
        output: vtkMRMLScalarVolumeNode in a scene.
        source: its input.
    """
    scene = output.GetScene()
    replaced = {source.GetID()} | {
        node.GetID()
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
        if node.GetNodeReferenceID(SOURCE_ROLE) == source.GetID()
    }
    for view, composite in _slice_views(scene):
        before = _capture(view, composite)
        with slicer.util.NodeModify(composite):
            for layer, volume in zip(_LAYERS[:2], before.volumes, strict=False):
                if volume in replaced:
                    getattr(composite, f"Set{layer}VolumeID")(output.GetID())
        _look(view, before)


def compare(source: Any, output: Any, difference: Any) -> None:
    """Input, result and difference side by side in linked views, looking where the input or result was looked at.

    Args:
        source, output, difference: vtkMRMLScalarVolumeNode of one scene.

    Raises:
        UsageError: there are no slice views, as without a main window.
    """
    scene = output.GetScene()
    layout = _layout(scene)
    if layout is None:
        raise UsageError("there are no slice views to compare in: open Slicer with its main window")
    model = _model_view(scene, {source.GetID(), output.GetID()})
    layout.AddLayoutDescription(COMPARE_LAYOUT, _compare_description())
    layout.SetViewArrangement(COMPARE_LAYOUT)
    views = {view.GetLayoutName(): (view, composite) for view, composite in _slice_views(scene)}
    if not set(_COMPARE_VIEWS) <= set(views):
        raise UsageError("the compare views could not be opened: open Slicer with its main window")
    for name, volume in zip(_COMPARE_VIEWS, (source, output, difference), strict=True):
        view, composite = views[name]
        with slicer.util.NodeModify(composite):
            composite.SetBackgroundVolumeID(volume.GetID())
            composite.SetForegroundVolumeID(None)
            composite.SetLabelVolumeID(None)
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)
        view.SetViewGroup(_COMPARE_GROUP)
        if model is not None:
            _look(view, model)


def _layout(scene: Any) -> Any:
    return scene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _slice_views(scene: Any) -> Iterator[tuple[Any, Any]]:
    """Slice nodes with their composite nodes."""
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene):
        composite = slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(view)
        if composite is not None:
            yield view, composite


def _model_view(scene: Any, volumes: set[str]) -> SliceView | None:
    """The first view that shows one of the volumes, else the first there is."""
    captured = [_capture(view, composite) for view, composite in _slice_views(scene)]
    captured = [one for one in captured if one.name not in _COMPARE_VIEWS] or captured
    return next((one for one in captured if one.volumes[0] in volumes), captured[0] if captured else None)


def _capture(view: Any, composite: Any) -> SliceView:
    return SliceView(
        name=view.GetLayoutName(),
        volumes=tuple(getattr(composite, f"Get{layer}VolumeID")() for layer in _LAYERS),
        opacities=(composite.GetForegroundOpacity(), composite.GetLabelOpacity()),
        linked=(bool(composite.GetLinkedControl()), bool(composite.GetHotLinkedControl())),
        slice_to_ras=tuple(slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()).ravel().tolist()),
        field_of_view=tuple(view.GetFieldOfView()),
        origin=tuple(view.GetXYZOrigin()),
    )


def _look(view: Any, wanted: SliceView) -> None:
    """Lets a view look where another did. The height is kept, and the width follows the window, as on resizing it."""
    width, height, _ = view.GetDimensions()
    fov = wanted.field_of_view
    with slicer.util.NodeModify(view):
        slicer.util.updateVTKMatrixFromArray(view.GetSliceToRAS(), _square(wanted.slice_to_ras))
        view.SetFieldOfView(fov[1] * width / height if height else fov[0], fov[1], fov[2])
        view.SetXYZOrigin(*wanted.origin)
        view.UpdateMatrices()


def _square(values: tuple[float, ...]) -> Any:
    import numpy as np

    return np.array(values).reshape(4, 4)


def _compare_description() -> str:
    """Slicer's XML of a layout with three columns."""
    columns = "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{label}</property>'
        f'<property name="viewcolor" action="default">{colour}</property>'
        "</view></item>"
        for name, (label, colour) in _COMPARE_VIEWS.items()
    )
    return f'<layout type="horizontal" split="true">{columns}</layout>'
