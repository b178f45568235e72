"""Anatomy that no patient among the training volumes has, drawn on the device for a whole batch.

Plain shapes, and bone of thin plates with a cortex around it: the dense fine structure that few volumes show.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from MedSRLib.training.randomness import Random

_SHAPES = 16
_SOFT = 0.6
"""Voxels over which an edge goes from one material to the other: what averaging over a voxel makes of a sharp edge."""


def draw_shapes(count: int, side: int, random: Random) -> Tensor:
    """Ellipses, rectangles and rings of any grey over each other on nothing, [N, side, side], 0 to 1."""
    j, i = _coordinates(side, random.device)
    image = torch.zeros(count, side, side, device=random.device)
    for _ in range(_SHAPES):
        outside = _signed_distance(count, j, i, side, random)
        ring = random.chance(count, 0.25)[:, None, None]
        thickness = random.uniform(count, 1.0, 5.0)[:, None, None]
        outside = torch.where(ring, outside.abs() - thickness, outside)
        inside = torch.sigmoid(-outside / (_SOFT / 2)) * random.chance(count, 0.7)[:, None, None]
        image = image + inside * (random.uniform(count)[:, None, None] - image)
    return image


def draw_bone(count: int, side: int, random: Random) -> Tensor:
    """Trabecular bone: the plates |f| < w of a random field of one wavelength, inside a cortex, [N, side, side].

    Soft tissue is about 0.5 and bone 0.6 to 1.8, as HU from -1000 on in parts of 2000.
    """
    j, i = _coordinates(side, random.device)
    frequency_j = torch.fft.fftfreq(side, device=random.device)[:, None]
    frequency_i = torch.fft.rfftfreq(side, device=random.device)
    angle = random.uniform(count, 0.0, math.pi)[:, None, None]
    stretch = random.uniform(count, 0.5, 1.0)[:, None, None]
    across = frequency_j * torch.cos(angle) + frequency_i * torch.sin(angle)
    along = (frequency_i * torch.cos(angle) - frequency_j * torch.sin(angle)) / stretch
    wanted = 1.0 / torch.exp(random.uniform(count, math.log(3.5), math.log(24.0)))[:, None, None]
    radius = torch.sqrt(across**2 + along**2)
    passed = torch.exp(-(((radius - wanted) / (0.25 * wanted)) ** 2))
    field = torch.fft.irfft2(torch.fft.rfft2(random.normal((count, side, side))) * passed, s=(side, side))
    field = field / field.std((1, 2), keepdim=True).clamp_min(1e-6)
    plate = random.uniform(count, 0.15, 0.7)[:, None, None]
    steep = random.uniform(count, 0.05, 0.3)[:, None, None]
    plates = torch.sigmoid((plate - field.abs()) / steep)
    marrow = random.uniform(count, 0.4, 0.6)[:, None, None]
    bone = random.uniform(count, 0.65, 1.8)[:, None, None]
    tissue = random.uniform(count, 0.0, 0.6)[:, None, None]
    outside = _signed_distance(count, j, i, side, random, smallest=0.3)
    cortex = random.uniform(count, 0.5, 6.0)[:, None, None]
    inner = marrow + plates * (bone - marrow) * random.uniform(count, 0.3, 1.0)[:, None, None]
    shell = torch.sigmoid((cortex - outside.abs()) / (_SOFT / 2))
    body = torch.sigmoid(-outside / (_SOFT / 2))
    image = tissue + body * (inner - tissue)
    return image + shell * (bone - image)


def _coordinates(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    line = torch.arange(side, device=device, dtype=torch.float32)
    return line[:, None], line[None, :]


def _signed_distance(count: int, j: Tensor, i: Tensor, side: int, random: Random, *, smallest: float = 0.02) -> Tensor:
    """About how many voxels each voxel lies outside a random ellipse or rectangle, [N, side, side]."""

    def one(low: float, high: float) -> Tensor:
        return random.uniform(count, low, high)[:, None, None]

    y, x = j - one(0, side), i - one(0, side)
    angle = one(0, math.pi)
    u, v = y * torch.cos(angle) + x * torch.sin(angle), x * torch.cos(angle) - y * torch.sin(angle)
    a, b = (side * torch.exp(one(math.log(smallest), math.log(0.6))) for _ in range(2))
    ellipse = (torch.sqrt((u / a) ** 2 + (v / b) ** 2) - 1.0) * torch.minimum(a, b)
    rectangle = torch.maximum(u.abs() - a, v.abs() - b)
    return torch.where(one(0, 1) < 0.5, ellipse, rectangle)
