"""Pixel shuffle in n dimensions, one factor per axis; its inverse; the initialisation that avoids checkerboards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def pixel_shuffle(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Channels to space: equation 3 of the paper MedSR starts from, after Shi et al. 2016, eq. 4, in n dimensions.

    ``out[n, c, r*d + a] = x[n, c*prod(r) + a, d]`` per axis, the offsets a in row-major order of the axes; for two
    axes of equal factor it is ``torch.nn.functional.pixel_shuffle``.

    Args:
        x: [N, C * prod(factors), (D,) H, W].
        factors: one whole number per spatial axis, in tensor order.

    Returns:
        [N, C, (D * f,) H * f, W * f].

    Raises:
        ValueError: the channels are not a multiple of prod(factors).
    """
    dims = len(factors)
    batch, channels, *size = x.shape
    if channels % math.prod(factors):
        raise ValueError(
            f"{channels} channels cannot be shuffled by {tuple(factors)}: give a multiple of their product"
        )
    if dims == 2 and factors[0] == factors[1]:  # torch's own keeps channels last, and is faster for it
        return functional.pixel_shuffle(x, factors[0])
    x = x.reshape(batch, channels // math.prod(factors), *factors, *size)
    order = [0, 1]
    for axis in range(dims):
        order += [2 + dims + axis, 2 + axis]
    return x.permute(order).reshape(batch, -1, *(n * f for n, f in zip(size, factors, strict=True)))


def pixel_unshuffle(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Space to channels: the inverse of ``pixel_shuffle``.

    Args:
        x: [N, C, (D,) H, W], each size a multiple of its factor.
        factors: one whole number per spatial axis, in tensor order.

    Raises:
        ValueError: a size is not a multiple of its factor.
    """
    dims = len(factors)
    batch, channels, *size = x.shape
    if any(n % f for n, f in zip(size, factors, strict=True)):
        raise ValueError(f"size {tuple(size)} is not a multiple of {tuple(factors)}: pad it first")
    split = [part for n, f in zip(size, factors, strict=True) for part in (n // f, f)]
    x = x.reshape(batch, channels, *split)
    order = [0, 1, *(3 + 2 * axis for axis in range(dims)), *(2 + 2 * axis for axis in range(dims))]
    return x.permute(order).reshape(batch, -1, *(n // f for n, f in zip(size, factors, strict=True)))


def icnr_(weight: Tensor, factors: Sequence[int], initialise: Callable[[Tensor], object]) -> Tensor:
    """Fills the convolution before a pixel shuffle so that it starts as nearest-neighbour upsampling.

    Its output is then free of checkerboards (Aitken et al. 2017, section 3).

    Args:
        weight: [C * prod(factors), ...], changed in place.
        factors: those of the pixel shuffle that follows.
        initialise: fills one tensor in place, for example ``nn.init.kaiming_normal_``.
    """
    repeats = math.prod(factors)
    with torch.no_grad():
        kernel = torch.empty(weight.shape[0] // repeats, *weight.shape[1:], dtype=weight.dtype, device=weight.device)
        initialise(kernel)
        return weight.copy_(kernel.repeat_interleave(repeats, dim=0))


class PixelShuffle(nn.Module):
    """``pixel_shuffle`` as a layer."""

    def __init__(self, factors: Sequence[int]) -> None:
        super().__init__()
        self.factors = tuple(factors)

    def forward(self, x: Tensor) -> Tensor:
        """Shuffles [N, C * prod(factors), ...] to [N, C, ...]."""
        return pixel_shuffle(x, self.factors)
