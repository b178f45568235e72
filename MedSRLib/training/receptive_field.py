"""The halo of a trained network, measured: how far the edge of a tile really reaches into its output.

The receptive radius counts layers; the weights that a voxel is seen through fade long before it ends (Luo et al. 2016,
"Understanding the effective receptive field in deep convolutional neural networks").
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from MedSRLib.enhancement.tiling import tile_multiple
from MedSRLib.networks.build import Generator

TOLERANCE = 1e-5
"""Largest difference between tiled and untiled that a halo may leave, in parts of the intensity range.

0.02 HU, 0.04 grey levels of 12 bits, two thirds of one of 16: what is rounded to whole grey levels stays as it was.
Float rounding, which no halo prevents, is a tenth of it. Half precision rounds far more coarsely than this.
"""
_MARGIN = 2
"""The measured difference stays this many times smaller: a small tile is cut on opposite sides, and there are other
images than those measured."""
_CUTS = (1 / 3, 2 / 3)


def measure_halo(generator: Generator, images: Sequence[np.ndarray], tolerance: float = TOLERANCE) -> int:
    """Low-resolution voxels around a tile that keep tiled within the tolerance of untiled.

    Each image is cut along every axis at a third, and again at two thirds, and the parts are run alone, as tiles
    without any halo. Where a part differs from the whole image's output by more than half the tolerance, it must be
    halo: the furthest such voxel from a cut, over all images, decides. The corners of parts are cut along several
    axes at once, as those of tiles are. A cut falls where a tile may begin: on a multiple of the unshuffle factor.

    Args:
        generator: float32, in evaluation mode; it runs where its parameters are.
        images: what the network is fed, normalised float32 [N, C, (D,) H, W], each side longer than the unshuffle
            factor. Sides of 1.5 times ``receptive_radius()`` show every distance that counts.
        tolerance: in parts of the normalised intensity range.

    Returns:
        At most ``receptive_radius()``, and exactly that when the images show too little: they are smaller than above,
        and there are differences beyond half of the distances they show.
    """
    device = next(generator.parameters()).device
    radius = generator.receptive_radius()
    halo = seen = 0
    # TF32 rounds so coarsely that the tolerance would be exceeded at any distance.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for image in images:
            low = torch.from_numpy(np.ascontiguousarray(image, np.float32)).to(device)
            whole = generator(low)[:, :1]
            for cut in _CUTS:
                parts, distance = _cut(generator, low, cut)
                within = ((parts - whole).abs() <= tolerance / _MARGIN).flatten(0, 1).all(0)
                seen = max(seen, int(distance.max()) + 1)
                halo = max(halo, int(distance.masked_fill(within, -1).max()) + 1)
    return halo if halo <= radius and (seen >= radius or 2 * halo <= seen) else radius


def _cut(generator: Generator, low: Tensor, cut: float) -> tuple[Tensor, Tensor]:
    """The output for an image cut in two along every axis, and how far each voxel of it is from the nearest cut.

    Returns:
        The output, [N, 1, (D f,) H f, W f], and the distances in low-resolution voxels, [(D f,) H f, W f].
    """
    multiple = tile_multiple(generator)
    high = [n * factor for n, factor in zip(low.shape[2:], generator.factors, strict=True)]
    distance = torch.full(high, max(high), device=low.device)
    halves = []
    for axis, (n, factor) in enumerate(zip(low.shape[2:], generator.factors, strict=True)):
        edge = max(multiple, round(cut * n) // multiple * multiple)
        halves.append((slice(0, edge), slice(edge, n)))
        index = torch.arange(n, device=low.device)
        away = torch.where(index < edge, edge - 1 - index, index - edge).repeat_interleave(factor)
        distance = torch.minimum(distance, away.reshape([-1 if a == axis else 1 for a in range(distance.ndim)]))
    parts = low.new_empty(len(low), 1, *high)
    for box in itertools.product(*halves):
        target = tuple(slice(s.start * f, s.stop * f) for s, f in zip(box, generator.factors, strict=True))
        parts[(slice(None), slice(None), *target)] = generator(low[(slice(None), slice(None), *box)])[:, :1]
    return parts, distance
