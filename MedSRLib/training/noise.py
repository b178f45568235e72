"""Noise as scanners make it, on the device for a whole batch: white or correlated, the same everywhere or not."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from MedSRLib.training.randomness import Random

_COLOURED = 0.28
"""Share of images whose noise is correlated."""
_STARVATION = 1.5
"""Half the logarithm of how many times more photons come through what is darkest in a radiograph than the brightest."""
_SMOOTH, _BANDED, _SHARP = range(3)
"""Spectra of correlated noise: after a smoothing filter; after zero-filling; of a sharp reconstruction kernel."""


@dataclass(frozen=True)
class Kinds:
    """What each image of a batch is, [N] each.

    Args:
        is_ct: voxels are HU.
        is_magnitude: MR magnitudes.
        is_speckled: ultrasound.
        is_radiograph: attenuation along a ray, bright where it is high.
    """

    is_ct: Tensor
    is_magnitude: Tensor
    is_speckled: Tensor
    is_radiograph: Tensor

    @property
    def truncates(self) -> Tensor:
        """May be of truncated k-space: MR, and what is not said, which mostly is MR."""
        return ~(self.is_ct | self.is_speckled | self.is_radiograph)

    def of(self, which: Tensor) -> Kinds:
        """Of some images, by their indices."""
        return Kinds(*(getattr(self, item.name)[which] for item in fields(self)))


def draw_sigma(count: int, largest: float, random: Random) -> Tensor:
    """Standard deviations in parts of the range, [N]: half of them below a fifth of the largest, as most scans are."""
    top = torch.where(random.chance(count, 0.5), 0.2 * largest, largest)
    return random.uniform(count) * top


def add_noise(y: Tensor, sigma: Tensor, kinds: Kinds, random: Random, *, axes: int = 2) -> Tensor:
    """y with noise.

    MR: the magnitude of a complex signal (Gudbjartsson and Patz 1995, eq. 1); CT: quantum noise, whose variance grows
    with the attenuation relative to water, ``1 + HU / 1000``; ultrasound: additive and multiplicative; radiographs:
    quantum noise of the logarithm of the photons, whose variance is their number's inverse and so grows exponentially
    with the attenuation, here 20 times over the range. A part of each kind, and all of the others, is plainly additive,
    as post-processing leaves it. A quarter is correlated as zero-filling, interpolation and reconstruction kernels make
    it, some varies over the image as parallel imaging and photon starvation make it.

    Args:
        y: normalised measurements, [N, slices, h, w].
        sigma: standard deviation in parts of the range, [N]; in water for CT.
        kinds: of the images.
        random: source of randomness.
        axes: how many of the last axes noise is correlated along: 2, or 1.
    """
    count = len(y)
    wide = (slice(None), None, None, None)
    first, second = (random.normal(tuple(y.shape)) for _ in range(2))
    if coloured := random.how_many(count, _COLOURED):
        which = random.some(count, coloured)
        shape = _spectra(coloured, y.shape[-2:], axes, random)
        first, second = (white.index_copy(0, which, _filtered(white[which], shape, axes)) for white in (first, second))
    s = sigma[wide] * _uneven(count, y.shape[-2:], random)
    magnitude = (kinds.is_magnitude & random.chance(count, 0.75))[wide]
    speckled = (kinds.is_speckled & random.chance(count, 0.5))[wide]
    attenuated = (kinds.is_ct & random.chance(count, 0.75))[wide]
    starved = (kinds.is_radiograph & random.chance(count, 0.5))[wide]
    gain = torch.where(attenuated, torch.sqrt((2.0 * y).clamp_min(0.05)), torch.where(speckled, 0.5, 1.0))
    gain = torch.where(starved, torch.exp(_STARVATION * (y.clamp(0.0, 1.0) - 0.5)), gain)
    noisy = y + s * gain * first
    noisy = torch.where(magnitude, torch.hypot(noisy, s * second), noisy)
    return torch.where(speckled, noisy + 1.5 * s * y.clamp_min(0.0) * second, noisy)


def _spectra(count: int, size: torch.Size, axes: int, random: Random) -> Tensor:
    """Amplitude of correlated noise over frequency, [N, 1, h, w // 2 + 1], of mean square 1."""
    device = random.device
    f_j = torch.fft.fftfreq(size[0], device=device)[:, None] if axes == 2 else torch.zeros(size[0], 1, device=device)
    f_i = torch.fft.rfftfreq(size[1], device=device)
    stretch = random.uniform(count, 0.7, 1.4)[:, None, None]
    radius = torch.sqrt((f_j * stretch) ** 2 + (f_i / stretch) ** 2)
    width = random.uniform(count, 0.15, 0.6)[:, None, None]
    smooth = torch.exp(-((radius / width) ** 2))
    cut = random.uniform((2, count), 0.3, 0.5)[:, :, None, None]
    banded = ((f_j.abs() <= cut[0]) & (f_i <= cut[1])).float()
    sharp = (0.15 + radius) * torch.exp(-((radius / random.uniform(count, 0.3, 0.7)[:, None, None]) ** 2))
    kind = random.below(torch.full((count,), 3, device=device))[:, None, None]
    amplitude = torch.where(kind == _SMOOTH, smooth, torch.where(kind == _BANDED, banded, sharp))
    twice = torch.full((size[1] // 2 + 1,), 2.0, device=device)
    twice[0] = 1.0
    if size[1] % 2 == 0:
        twice[-1] = 1.0
    power = (amplitude**2 * twice).sum((1, 2), keepdim=True) / (size[0] * size[1])
    return (amplitude / power.sqrt())[:, None]


def _filtered(white: Tensor, amplitude: Tensor, axes: int) -> Tensor:
    """White noise with another spectrum; ``amplitude`` as ``_spectra`` gives it."""
    dims = (-2, -1)[-axes:]
    sizes = [white.shape[axis] for axis in dims]
    return torch.fft.irfftn(torch.fft.rfftn(white, dim=dims) * amplitude, s=sizes, dim=dims)


def _uneven(count: int, size: torch.Size, random: Random) -> Tensor:
    """Relative standard deviation over the image, [N, 1, h, w], of mean about 1; even for four images of five."""
    coarse = torch.exp(0.4 * random.normal((count, 1, 4, 4)))
    field = functional.interpolate(coarse, size=tuple(size), mode="bilinear", align_corners=False)
    field = field / field.mean((-1, -2), keepdim=True)
    return torch.where(random.chance(count, 0.2)[:, None, None, None], field, 1.0)
