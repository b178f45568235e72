"""Anatomy that no patient among the training volumes has: procedural phantoms, and smoother images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.draw import random_shapes
from skimage.transform import downscale_local_mean

from MedSRLib.acquisition.operator import FWHM_OVER_SIGMA

_FINER = 4
"""Phantoms are drawn so much finer and averaged, so that voxels at an edge hold parts of both materials."""
_FEWEST, _MOST = 4, 24
_SMALLEST = 3
"""Side of the smallest shape in voxels."""


def draw_phantom(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Plain discs, ellipses, rectangles and triangles over each other on nothing, without noise.

    Args:
        shape: of the image [h, w].
        generator: source of randomness.

    Returns:
        float32 [h, w] of 0 to 1.
    """
    fine = tuple(_FINER * n for n in shape)
    canvas, _ = random_shapes(
        fine,
        max_shapes=_MOST,
        min_shapes=_FEWEST,
        min_size=_FINER * _SMALLEST,
        max_size=min(fine) // 2,
        channel_axis=None,
        allow_overlap=True,
        rng=generator,
    )
    # random_shapes draws on white
    return downscale_local_mean(1.0 - canvas / 255.0, (_FINER, _FINER)).astype(np.float32)


def soften(block: np.ndarray, fwhm: float, axes: Sequence[int]) -> np.ndarray:
    """A block blurred by a Gaussian.

    Args:
        block: image or volume.
        fwhm: full width at half maximum in voxels.
        axes: along which.
    """
    blurred: np.ndarray = ndimage.gaussian_filter(block, fwhm / FWHM_OVER_SIGMA, mode="nearest", axes=tuple(axes))
    return blurred
