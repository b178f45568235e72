"""The panel's buttons for regions of interest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _


class RegionTools:
    """Draws a box, shows and hides it, puts it around the whole volume.

    Args:
        ui: the panel's widgets by name.
        parameters: gives the MedSRParameterNode, or None.
        on_changed: called while the region is drawn: the estimate follows it.
    """

    def __init__(self, ui: Any, parameters: Callable[[], Any], on_changed: Callable[..., None]) -> None:
        self._ui = ui
        self._parameters = parameters
        self._on_changed = on_changed
        self._followed: tuple[Any, int] | None = None
        ui.drawRegionButton.connect("clicked(bool)", self._draw)
        ui.showRegionButton.connect("clicked(bool)", self._show)
        ui.fitRegionButton.connect("clicked(bool)", self._fit)

    def offer(self, parameters: Any) -> None:
        """Enables what the parameters allow.

        Args:
            parameters: MedSRParameterNode.
        """
        from MedSRLib.scene.new_region import is_shown

        volume, region = parameters.inputVolume, parameters.region
        self.follow(region)
        there = volume is not None and volume.GetImageData() is not None
        self._ui.drawRegionButton.enabled = there
        self._ui.fitRegionButton.enabled = there and region is not None
        self._ui.showRegionButton.enabled = region is not None
        self._ui.showRegionButton.checked = region is not None and is_shown(region)

    def follow(self, region: Any) -> None:
        """Follows a region, and no other one any more.

        Args:
            region: vtkMRMLMarkupsROINode, or None.
        """
        if self._followed is not None:
            followed, tag = self._followed
            if followed is region:
                return
            followed.RemoveObserver(tag)
            self._followed = None
        if region is not None:
            self._followed = region, region.AddObserver("ModifiedEvent", lambda *_: self._on_changed())

    def outline(self, region: Any) -> None:
        """After a run: hides the fill of its box, which lies over the result.

        Args:
            region: vtkMRMLMarkupsROINode, or None.
        """
        from MedSRLib.scene.new_region import outline_region

        if region is not None:
            outline_region(region)

    def _draw(self, checked: bool = False) -> None:
        from MedSRLib.scene.new_region import region_in_view

        with slicer.util.tryWithErrorDisplay(_("The region cannot be drawn."), waitCursor=False):
            parameters = self._parameters()
            parameters.region = region_in_view(parameters.inputVolume)

    def _show(self, checked: bool = False) -> None:
        from MedSRLib.scene.new_region import show_region

        show_region(self._parameters().region, self._ui.showRegionButton.checked)

    def _fit(self, checked: bool = False) -> None:
        from MedSRLib.scene.new_region import fit_region

        parameters = self._parameters()
        fit_region(parameters.region, parameters.inputVolume)
