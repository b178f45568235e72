"""Input, result, added detail and uncertainty side by side, in slice views of their own that move together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from MedSRLib.errors import UsageError
from MedSRLib.scene.views import (
    COMPARE_LAYOUTS,
    COMPARE_VIEWS,
    SliceView,
    capture_view,
    layout_of,
    look,
    ordinary_views,
    slice_views,
)

_LETTERS = "IRAU"
"""One letter each: the bar of a narrow view shows no more beside its buttons."""
_COLOURS = {"MedSRInput": "#6EB04B", "MedSROutput": "#F34A33", "MedSRAdded": "#EDD54C", "MedSRUncertainty": "#7F6FB0"}
_GROUP = 7042
"""View group of the compare views: linking stays among them."""
_ATTEMPTS = 5
"""Turns of the event loop after which the views must look where they are told."""
_SAME_PLACE = 1e-3
"""Millimetres."""


def compare(
    source: Any,
    output: Any,
    difference: Any,
    uncertainty: Any = None,
    *,
    settle: Callable[[], Any] = lambda: None,
    letters: str = _LETTERS,
) -> list[str]:
    """Opens the views, looking where the input or the result was looked at, and seeing all that was seen there.

    Slicer creates, sizes and turns new views while its event loop runs: where a view was told to look before that is
    lost. So it is told again, until it does.

    Args:
        source, output, difference: vtkMRMLScalarVolumeNode of one scene.
        uncertainty: likewise, or None for none.
        settle: lets the application's event loop run once.
        letters: of the views, in the order of the arguments.

    Returns:
        Names of the views, in the order of the arguments.

    Raises:
        UsageError: there are no slice views, as without a main window.
    """
    scene = output.GetScene()
    layout = layout_of(scene)
    if layout is None:
        raise UsageError("there are no slice views to compare in: open Slicer with its main window")
    volumes = [source, output, difference, *([] if uncertainty is None else [uncertainty])]
    names = list(COMPARE_VIEWS[: len(volumes)])
    model = _model_view(scene, {source.GetID(), output.GetID()})
    arrangement = COMPARE_LAYOUTS[uncertainty is not None]
    layout.AddLayoutDescription(arrangement, _description(names, letters))
    layout.SetViewArrangement(arrangement)
    views = {view.GetLayoutName(): (view, composite) for view, composite in slice_views(scene)}
    if not set(names) <= set(views):
        raise UsageError("the compare views could not be opened: open Slicer with its main window")
    for name, volume, letter in zip(names, volumes, letters, strict=False):
        view, composite = views[name]
        view.SetViewGroup(_GROUP)
        view.SetLayoutLabel(letter)
        with slicer.util.NodeModify(composite):
            composite.SetLinkedControl(False)  # linked views hand on whatever moves one of them
            # A volume that is loaded meanwhile goes to the other views.
            composite.SetDoPropagateVolumeSelection(False)
            composite.SetBackgroundVolumeID(volume.GetID())
            composite.SetForegroundVolumeID(None)
            composite.SetLabelVolumeID(None)
    if model is not None:
        for _ in range(_ATTEMPTS):
            settle()
            if all(_looks(views[name][0], model) for name in names):
                break
            for name in names:
                look(views[name][0], model, contain=True)
    for name in names:
        composite = views[name][1]
        with slicer.util.NodeModify(composite):
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)
    return names


def _model_view(scene: Any, volumes: set[str]) -> SliceView | None:
    """The first view of the layout that shows one of the volumes, else the first view that does, else the first."""
    views = sorted(ordinary_views(scene), key=lambda one: not one[0].IsMappedInLayout())
    captured = [capture_view(view, composite) for view, composite in views]
    return next((one for one in captured if one.volumes[0] in volumes), captured[0] if captured else None)


def _looks(view: Any, wanted: SliceView) -> bool:
    """Whether a view shows the plane, the middle and at least the height that it should."""
    there = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
    same = np.abs(there - np.array(wanted.slice_to_ras).reshape(4, 4)).max() < _SAME_PLACE
    same = same and np.abs(np.array(view.GetXYZOrigin()) - wanted.origin).max() < _SAME_PLACE
    across, up, _ = view.GetFieldOfView()
    return bool(same) and min(across - wanted.field_of_view[0], up - wanted.field_of_view[1]) > -_SAME_PLACE


def _description(names: list[str], letters: str) -> str:
    """Slicer's XML of a layout: three columns, or two rows of two."""
    views = [
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{letter}</property>'
        f'<property name="viewcolor" action="default">{_COLOURS[name]}</property>'
        "</view></item>"
        for name, letter in zip(names, letters, strict=False)
    ]
    if len(views) < 4:
        return f'<layout type="horizontal" split="true">{"".join(views)}</layout>'
    rows = (
        f'<item><layout type="horizontal" split="true">{"".join(row)}</layout></item>' for row in (views[:2], views[2:])
    )
    return f'<layout type="vertical" split="true">{"".join(rows)}</layout>'
