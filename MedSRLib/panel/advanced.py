"""The panel's Advanced section: what its controls ask of an enhancement."""

from __future__ import annotations

import enum
import re
from dataclasses import fields
from typing import Any

from slicer.i18n import tr as _

from MedSRLib.acquisition.operator import PointSpread
from MedSRLib.enhancement.request import Options
from MedSRLib.models.manifest import Manifest

_ALWAYS = ("consistencyCheckBox", "pointSpreadComboBox", "regionSelector")
_SOMETIMES = (
    "fidelitySlider", "noiseReductionSlider", "factorSpinBox", "uncertaintyCheckBox", "pointSpreadWidthSpinBox"
)  # fmt: skip
"""Controls of an enhancement, those that are enabled for every model and the others."""


class PointSpreadKind(enum.Enum):
    """What the user knows of the point spread. Scenes hold the names: do not rename."""

    Estimated = enum.auto()
    KSpace = enum.auto()
    Width = enum.auto()

    def label(self) -> str:
        """What the panel's list says; Slicer looks for a method of this name."""
        match self:
            case PointSpreadKind.Estimated:
                text = _("Estimated")
            case PointSpreadKind.KSpace:
                text = _("Truncated k-space (MR)")
            case PointSpreadKind.Width:
                text = _("Known width")
        return str(text)

    def asked(self, width: float) -> PointSpread | None:
        """As ``Options`` takes it.

        Args:
            width: in voxels of the input, for "Width".
        """
        return {PointSpreadKind.Estimated: None, PointSpreadKind.KSpace: "kspace"}.get(self, width)


class AdvancedSection:
    """Reads the controls, and enables those that the model has a use for.

    Args:
        ui: the panel's widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui

    def options(self, parameters: Any, manifest: Manifest, *, device: str, all_frames: bool) -> Options:
        """What is asked for: every option that the parameter node holds under its own name, in Slicer's spelling.

        Args:
            parameters: MedSRParameterNode.
            manifest: of the model that will run.
            device: as ``enhance`` takes it.
            all_frames: a sequence is enhanced, which has no place for uncertainty maps.
        """
        held = {one.name: slicer_name(one.name) for one in fields(Options)}
        asked = {name: getattr(parameters, there) for name, there in held.items() if hasattr(parameters, there)}
        asked["device"] = device
        asked["point_spread"] = parameters.pointSpread.asked(parameters.pointSpreadWidth)
        has_range = manifest.kind.has_factor_range
        pleases = "perceptual" in manifest.weights
        asked["fidelity"] = parameters.fidelity if pleases else None
        asked["factor"] = parameters.factor if has_range and parameters.factor > 1 else None
        asked["uncertainty"] = parameters.uncertainty and not all_frames
        self.ui.fidelitySlider.enabled = pleases
        self.ui.noiseReductionSlider.enabled = "noise" in manifest.conditions
        self.ui.factorSpinBox.enabled = has_range
        self.ui.uncertaintyCheckBox.enabled = not all_frames
        self.ui.uncertaintyHintLabel.text = (
            _("Not with all frames of a sequence: choose one frame for it.")
            if all_frames
            else _("A second volume says where the model is unsure; takes eight times as long.")
        )
        self.ui.pointSpreadComboBox.toolTip = (
            _("How the scanner blurs pixels. Estimated from the volume where nobody knows.")
            if manifest.kind.blurs_pixels
            else _(
                "How thick slices are: their width is that over their spacing. Used where the volume does not say it."
            )
        )
        self.ui.pointSpreadWidthSpinBox.enabled = parameters.pointSpread is PointSpreadKind.Width
        return Options(**asked)

    def allow(self, *, fusing: bool) -> None:
        """Disables what has no meaning where series are fused; call it after ``options``.

        Args:
            fusing: whether they are.
        """
        for name in _ALWAYS:
            getattr(self.ui, name).enabled = not fusing
        if fusing:
            for name in _SOMETIMES:
                getattr(self.ui, name).enabled = False


def slicer_name(name: str) -> str:
    """Such as "pointSpread" for "point_spread"."""
    return re.sub("_(.)", lambda match: match[1].upper(), name)
