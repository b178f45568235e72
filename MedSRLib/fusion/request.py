"""What can be asked of a fusion, with all its rules. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from MedSRLib.enhancement.request import PlainOptions, require_device_name, require_precision_name
from MedSRLib.errors import UsageError
from MedSRLib.fusion.grid import FIELDS, Field

if TYPE_CHECKING:
    from MedSRLib.acquisition.slice_profiles import SliceProfile


@dataclass(frozen=True)
class FusionOptions(PlainOptions):
    """How series are fused; each is what ``fuse`` takes under the same name.

    Args:
        spacing: of the result in millimetres; None for the finest pixels.
        field: of view: the "first" series' box, the "union" or the "intersection" of all.
        profile: of the slices: "gaussian", "box" or "slr".
        registration: look for rigid motion between the series.
        slice_motion: look for the motion of each slice too.
        generator: let a through-plane model fill what no series measured.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: of the generator: "auto", "float32", "float16" or "bfloat16".
    """

    spacing: float | None = None
    field: Field = "first"
    profile: SliceProfile = "gaussian"
    registration: bool = True
    slice_motion: bool = False
    generator: bool = True
    device: str = "auto"
    precision: str = "auto"

    def check(self) -> None:
        """Every rule that can be told without the series and the machine.

        Raises:
            UsageError: a value is wrong.
        """
        if self.spacing is not None and not 0 < self.spacing < float("inf"):
            raise UsageError(f"the spacing must be a positive number of millimetres, not {self.spacing:g}")
        if self.field not in FIELDS:
            raise UsageError(f"there is no field {self.field!r}: choose {', '.join(FIELDS)}")
        from MedSRLib.acquisition.slice_profiles import profile_reach

        profile_reach(self.profile, 1.0)
        require_device_name(self.device)
        require_precision_name(self.precision)
