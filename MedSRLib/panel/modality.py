"""What a user can say a volume is, in the user's words."""

from __future__ import annotations

import enum

from slicer.i18n import tr as _


class Modality(enum.Enum):
    """As ``MODALITIES`` name it, None for what the scene says, else a guess. Scenes hold the names: do not rename."""

    Automatic = None
    CT = "CT"
    MR = "MR"
    Ultrasound = "US"
    XRay = "XR"

    def label(self) -> str:
        """What the panel's list says. Slicer looks for a method of this name."""
        match self:
            case Modality.Automatic:
                text = _("Automatic")
            case Modality.CT:
                text = _("CT")
            case Modality.MR:
                text = _("MR")
            case Modality.Ultrasound:
                text = _("Ultrasound")
            case Modality.XRay:
                text = _("X-ray")
        return str(text)
