"""From volumes to series in the grey levels of one anatomy: scaling, noise, and what is no measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy import ndimage

from MedSRLib.acquisition.slice_profiles import SliceProfile
from MedSRLib.fusion.refinement import Match
from MedSRLib.fusion.series import Series
from MedSRLib.volumes.intensity import IntensityScaling
from MedSRLib.volumes.volume import Volume

_LAPLACIAN = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
_LEAST_NOISE = 0.002
"""Parts of the intensity range: what rounding alone leaves."""


@dataclass(eq=False)
class Source:
    """One series on its way into the fusion.

    Args:
        name: for people.
        series: grey levels as parts of the first series' range: 0 and 1 are its 0.1 and 99.9 percentiles.
        measured: where its voxels are measurements, bool [k, j, i].
        gain, offset: ``y = gain x + offset`` between its own grey levels and those of ``series``.
        noise: standard deviation in grey levels of ``series``.
        slice_weights: of each slice, 1 where nothing is wrong with it.
        slice_misfits: root mean square misfit of each slice, where it was looked at.
        fit: to the anatomy, as it was found last.
    """

    name: str
    series: Series
    measured: np.ndarray
    gain: float
    offset: float
    noise: float
    slice_weights: np.ndarray
    slice_misfits: np.ndarray = field(default_factory=lambda: np.zeros(0))
    fit: Match = field(default_factory=lambda: Match(1.0, 0.0, 1.0, 0.0))

    def rescale(self, fit: Match) -> None:
        """Take out a gain and an offset that were found."""
        volume = self.series.volume
        scaled = ((volume.voxels - fit.offset) / fit.gain).astype(np.float32)
        self.series = replace(self.series, volume=replace(volume, voxels=scaled))
        self.offset += self.gain * fit.offset
        self.gain *= fit.gain
        self.noise /= fit.gain

    def weight(self, series: Series | None = None) -> torch.Tensor:
        """One over the variance of each voxel's noise, float32 [k, j, i]; 0 where nothing was measured.

        Args:
            series: the same with other pixels; None for the series itself.
        """
        shape = (series or self.series).volume.shape
        measured = self.measured.astype(np.float32)
        if shape != measured.shape:
            zoom = np.divide(shape, measured.shape)
            measured = np.floor(ndimage.zoom(measured, zoom, order=1, mode="nearest", grid_mode=True) + 1e-3)
        weights = measured * self.slice_weights[:, None, None] / self.noise**2
        return torch.from_numpy(weights.astype(np.float32))


def prepare(volumes: Sequence[Volume], names: Sequence[str], profile: SliceProfile) -> list[Source]:
    """Series that are scaled alike, as far as their own ranges say.

    Args:
        volumes: the measurements.
        names: of the series.
        profile: of all slices.
    """
    sources = []
    for volume, name in zip(volumes, names, strict=True):
        scaling = IntensityScaling.fit(volume.voxels, volume.modality)
        normalised = scaling.normalise(volume.voxels)
        measured = np.ones(volume.shape, bool)
        if volume.padding is not None:
            measured = (volume.voxels < volume.padding[0]) | (volume.voxels > volume.padding[1])
        one = replace(volume, voxels=normalised)
        noise = max(_LEAST_NOISE, noise_level(normalised))
        series = Series(one, profile, np.eye(4))
        sources.append(Source(name, series, measured, scaling.width, scaling.offset, noise, np.ones(volume.shape[0])))
    return sources


def noise_level(voxels: np.ndarray) -> float:
    """Standard deviation of white noise: slices through a mask that answers to no plane and no edge along an axis.

    Immerkaer (1996), with the median in the place of the mean, so that texture does not count as noise.
    """
    if min(voxels.shape[1:]) < 3:
        return 0.0
    answers = [ndimage.convolve(one, _LAPLACIAN.astype(np.float32), mode="nearest") for one in voxels]
    magnitude = np.abs(np.stack(answers))
    inside = magnitude[magnitude > 0]
    return float(np.median(inside) / 0.6745 / 6) if inside.size else 0.0
