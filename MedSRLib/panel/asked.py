"""What the panel's controls ask of an enhancement."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from MedSRLib.enhancement.request import Options
from MedSRLib.models.manifest import Manifest


def options_of(parameters: Any, manifest: Manifest, **own: Any) -> Options:
    """The options that the parameter node holds under their own names, in Slicer's spelling.

    What the model does not offer is left out, as its control is disabled.

    Args:
        parameters: MedSRParameterNode.
        manifest: of the model that will run.
        own: options that the node does not hold, or not like this.
    """
    held = {one.name: slicer_name(one.name) for one in fields(Options)}
    asked = {name: getattr(parameters, there) for name, there in held.items() if hasattr(parameters, there)}
    if "perceptual" not in manifest.weights:
        asked["fidelity"] = None
    return Options(**{**asked, **own})


def slicer_name(name: str) -> str:
    """Such as "pointSpread" for "point_spread"."""
    return re.sub("_(.)", lambda match: match[1].upper(), name)
