"""How enhancement carries out each task. A new one is a file like those imported here, and one line in this list."""

from __future__ import annotations

from MedSRLib.enhancement.in_plane_slabs import InPlaneRestoration
from MedSRLib.enhancement.restoration import Restoration
from MedSRLib.enhancement.through_plane_slabs import ThroughPlaneRestoration
from MedSRLib.enhancement.volumetric_slabs import VolumetricRestoration

RESTORATIONS: dict[str, Restoration] = {
    "inplane": InPlaneRestoration(),
    "volumetric": VolumetricRestoration(),
    "through-plane": ThroughPlaneRestoration(),
}
"""By the task's name."""
