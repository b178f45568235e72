"""The convolution of so many axes; MONAI's factory of it costs seconds of imports before the first voxel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def convolution(spatial_dims: int) -> Callable[..., Any]:
    """The class of an image's convolution.

    Args:
        spatial_dims: 2 or 3.

    Raises:
        ValueError: another number of axes.
    """
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, not {spatial_dims!r}")
    return nn.Conv2d if spatial_dims == 2 else nn.Conv3d
