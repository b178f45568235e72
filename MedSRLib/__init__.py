"""MedSR: super-resolution of medical volumes with exact geometry and true grey levels.

Importing this package is light: torch, monai and scikit-image are imported by the first call that needs them.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "Volume": "MedSRLib.volumes.volume",
    "read_volume": "MedSRLib.volumes.files",
    "write_volume": "MedSRLib.volumes.files",
    "upsampled_affine": "MedSRLib.volumes.geometry",
    "IntensityScaling": "MedSRLib.volumes.intensity",
    "AcquisitionModel": "MedSRLib.acquisition.operator",
    "Input": "MedSRLib.enhancement.request",
    "Options": "MedSRLib.enhancement.request",
    "Enhanced": "MedSRLib.enhancement.result",
    "FidelityReport": "MedSRLib.enhancement.result",
    "enhance": "MedSRLib.enhancement.enhancer",
    "enhance_all": "MedSRLib.enhancement.enhancer",
    "Fused": "MedSRLib.fusion.fuse",
    "fuse": "MedSRLib.fusion.fuse",
    "MedSRError": "MedSRLib.errors",
    "EnhancementCancelled": "MedSRLib.errors",
}
__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
