"""How blurred a volume was measured, where nobody says it: estimated through the generator.

A generator trained on many point spreads draws the anatomy that it believes the image shows, so its output tells which
point spread it saw: the one whose A turns that output back into the measurement best. P then changes the generator's
image as little as agreement with the measurement allows.

Besides Gaussians of many widths, k-space truncation is tried: what an MR scanner does unless it filters. No Gaussian
stands for it: it passes everything up to a frequency and nothing above it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from MedSRLib.acquisition.operator import AcquisitionModel, PointSpread
from MedSRLib.enhancement.slabs import Generator, add_base, base_image, neighbourhoods
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.intensity import IntensityScaling

WIDTHS = tuple(round(0.4 + 0.05 * n, 2) for n in range(19))
"""Gaussian candidates, 0.4 to 1.3 voxels of the input: steps so wide that the choice is the same for any tiles and
device."""
_CAUTION = 0.1
"""An estimated width is so much narrower than what fits best: a width that is too large rings around every edge, one
that is too small leaves some of the blur."""
_CLEARLY = 1.6
"""A Gaussian is believed in where it misfits so many times less than k-space truncation: truncation is what physics
suggests, and taken by mistake it leaves blur, while a Gaussian taken by mistake rings. Of the Gaussians that the
evaluation simulates those of 0.6 voxels misfit from 1.2 times less on, all wider ones more than 2 times."""
_SLICES = 4
_SIDE = 256
"""Most MR slices are no larger: a sample is a whole slice, as k-space truncation wants it."""
_EDGE = 24
"""Voxels at a sample's cut edges that are not compared: A reaches beyond them, that of truncated k-space far."""


def take_samples(voxels: np.ndarray, scaling: IntensityScaling, slices: int) -> list[np.ndarray]:
    """The middles of a few slices spread over the whole volume, whatever part of it is to be enhanced.

    Args:
        voxels: of the measurement [k, j, i].
        scaling: of the volume.
        slices: that the generator sees.

    Returns:
        Each slice with its neighbours, normalised float32, [1, slices, j, i].
    """
    middle = tuple(slice(max(0, (n - _SIDE) // 2), (n + _SIDE) // 2) for n in voxels.shape[1:])
    samples = []
    for k in sorted({int((n + 0.5) * len(voxels) / _SLICES) for n in range(_SLICES)}):
        first = max(0, k - slices // 2)
        around = scaling.normalise(voxels[(slice(first, k + slices // 2 + 1), *middle)])
        samples.append(neighbourhoods(around, k - first, k - first + 1, slices))
    return samples


def estimate_point_spread(samples: Sequence[np.ndarray], manifest: Manifest, generator: Generator) -> PointSpread:
    """Point spread of the measurement, as the generator saw it.

    It is the best of ``WIDTHS``, less some caution, where one fits clearly better than k-space truncation; the
    manifest's width where every sample is blank and fits anything.

    Args:
        samples: see ``take_samples``.
        manifest: of an in-plane model.
        generator: its generator, which takes a sample and returns [1, J, I].
    """
    nominal = AcquisitionModel(manifest.factors)
    candidates: tuple[PointSpread, ...] = ("kspace", *WIDTHS)
    squares = np.zeros(len(candidates))
    for sample in samples:
        measured = torch.from_numpy(sample[:, manifest.slices // 2])
        output = generator(sample)
        x = add_base(output, base_image(measured, tuple(output.shape), nominal, manifest.base_iterations), manifest)
        inner = tuple(slice(_EDGE, -_EDGE) if n == _SIDE else slice(None) for n in measured.shape[1:])
        for index, candidate in enumerate(candidates):
            misfit = nominal.with_point_spread(candidate).apply(x, measured.shape) - measured
            squares[index] += float((misfit[(..., *inner)] ** 2).double().sum())
    if not squares.any():
        return manifest.in_plane_fwhm
    truncation, *gaussians = np.sqrt(squares)
    if truncation < _CLEARLY * min(gaussians):
        return "kspace"
    return max(WIDTHS[0], round(WIDTHS[int(np.argmin(gaussians))] - _CAUTION, 2))
