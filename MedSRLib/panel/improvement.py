"""What a user can ask for, in the user's words."""

from __future__ import annotations

import enum

from slicer.i18n import tr as _


class Improvement(enum.Enum):
    """Task and factors of the models that do it, factors None for any. Scenes hold the names: do not rename."""

    SharperX2 = ("inplane", (2, 2, 1))
    SharperX4 = ("inplane", (4, 4, 1))
    Isotropic = ("through-plane", None)
    Volumetric = ("volumetric", (2, 2, 2))
    FuseSeries = ("fusion", None)

    @property
    def models(self) -> tuple[str, tuple[int, int, int] | None]:
        """Task and factors of the models that are offered: a fusion fills its gaps with an isotropic one."""
        return Improvement.Isotropic.value if self is Improvement.FuseSeries else self.value

    def label(self) -> str:
        """What the panel's list says. Slicer looks for a method of this name."""
        match self:
            case Improvement.SharperX2:
                text = _("Sharper slices x2")
            case Improvement.SharperX4:
                text = _("Sharper slices x4")
            case Improvement.Isotropic:
                text = _("Isotropic from thick slices")
            case Improvement.Volumetric:
                text = _("Volumetric x2")
            case Improvement.FuseSeries:
                text = _("Fuse series")
        return str(text)

    def explanation(self) -> str:
        """What is gained, in one line."""
        match self:
            case Improvement.SharperX2:
                text = _("Each slice gets twice the pixels in both directions; the slices stay as they are.")
            case Improvement.SharperX4:
                text = _("Each slice gets four times the pixels in both directions; the slices stay as they are.")
            case Improvement.Isotropic:
                text = _("New slices between the slices, until voxels are as thin as they are wide.")
            case Improvement.Volumetric:
                text = _("Twice the voxels in all three directions, for small structures in 3D.")
            case Improvement.FuseSeries:
                text = _("Thick axial, sagittal and coronal series of one contrast become one isotropic volume.")
        return str(text)
