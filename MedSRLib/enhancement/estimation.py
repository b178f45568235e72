"""How blurred and how noisy a volume was measured, where nobody says it: read off patches by a small network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from MedSRLib.acquisition.operator import PointSpread
from MedSRLib.models.estimator import load_estimator, own_estimator
from MedSRLib.networks.acquisition_estimator import SMALLEST_NOISE
from MedSRLib.volumes.intensity import IntensityScaling
from MedSRLib.volumes.volume import Volume

CPU = torch.device("cpu")
_SLICES = 6
_SIDE = 64
"""Of a patch, in voxels; the network takes means over it, so that it need not be the side that it was trained on."""
_SMALLEST = 16
"""Smaller images are mirrored to this side: the network reads its features off what its convolutions leave."""
_PATCHES = 12
"""Most patches of a slice that are looked at, those with the most in them."""
_FOREGROUND = 0.05
_LEAST_FOREGROUND = 0.2
_NARROWEST, _WIDEST = 0.4, 1.3
_INDEPENDENT = 3
"""Patches of one volume are so much alike that all of them say no more than so many."""
_CAUTION, _CAUTION_IN_MR = 5.0, 3.0
"""Times its variance that a width is taken to be narrower: too wide a point spread rings around every edge, too narrow
a one leaves some blur; of losses that grow so unevenly (LINEX, Zellner 1986, eq. 2.4) this is the least. They grow less
unevenly in MR, whose own texture hides some of the ringing."""
_UNSEEN = 0.002
"""Noise, in parts of the range, that the texture of a clean scan is taken for."""
_DOUBT = 1.25
"""So many times less sure than the network says. With it the width's error is within one deviation in two cases of
three, and so is the noise's within what patches differ by: at 0.6 to 1.3 and noise to 3 %, on 21 volumes not trained
on."""
_TRUNCATED = 0.3
"""Log odds from which on a measurement is taken for truncated k-space: the mistake costs more than its opposite."""
_BLOCK = 8
_FLATTEST = 5
"""Per cent of the blocks of a CT that are taken to show its noise and nothing else."""
_FLAT_SHARE = 0.75
"""Of their standard deviation that is taken for noise: a little structure is everywhere, and with this much the flat
regions of native chest and abdomen come out as noisy as they went in."""


@dataclass(frozen=True)
class Estimate:
    """What a volume shows of its acquisition.

    Args:
        point_spread: in-plane, width in voxels or "kspace".
        noise: standard deviation in the volume's units.
        width_deviation: standard deviation of the width, voxels.
        noise_deviation: standard deviation of the noise's, in the volume's units.
        notes: sentences for reports, about an estimator that is not the shipped one.
    """

    point_spread: PointSpread
    noise: float
    width_deviation: float
    noise_deviation: float
    notes: tuple[str, ...] = ()


def estimate_acquisition(volume: Volume, scaling: IntensityScaling, device: torch.device = CPU) -> Estimate:
    """In-plane point spread and noise of a volume, from what the network makes of its patches.

    Args:
        volume: the whole measurement, whatever part of it is to be enhanced.
        scaling: of the volume.
        device: where the network runs.

    Raises:
        ModelError: the estimator is damaged.
    """
    patches = take_patches(volume.voxels, scaling)
    if not len(patches):
        return Estimate(1.0, 0.0, float("inf"), float("inf"))
    short = [(0, max(0, _SMALLEST - n)) for n in patches.shape[2:]]
    patches = np.pad(patches, [(0, 0), (0, 0), *short], mode="symmetric")
    truncates = volume.modality in ("MR", "other") and volume.voxels.dtype != np.uint8
    kind = torch.tensor([[float(volume.modality == "CT"), float(truncates)]]).expand(len(patches), -1)
    network = load_estimator().to(device)
    with torch.inference_mode():
        answers = network(torch.from_numpy(patches).to(device), kind.to(device)).cpu().double().numpy()
    prior = network.width_mean, network.width_variance
    width, width_deviation = _combined(answers[:, 0], np.exp(answers[:, 1]), prior)
    weights = np.exp(-answers[:, 4])
    level = float(np.average(answers[:, 3], weights=weights))
    spread = float(np.sqrt(np.average((answers[:, 3] - level) ** 2, weights=weights)))
    seen = max(0.0, float(np.exp(level)) - SMALLEST_NOISE)
    noise = float(np.sqrt(max(0.0, seen**2 - _UNSEEN**2))) * scaling.width
    if volume.modality == "CT":
        # A kernel's noise in the training volumes counts as their anatomy, so that the network does not see it.
        noise = max(noise, _FLAT_SHARE * flat_noise(volume.voxels, scaling) * scaling.width)
    cautious = width - (_CAUTION_IN_MR if truncates else _CAUTION) * width_deviation**2
    point_spread: PointSpread = round(min(max(cautious, _NARROWEST), _WIDEST), 2)
    if truncates and answers[:, 2].mean() > _TRUNCATED:
        point_spread = "kspace"
    deviation = float(np.hypot(spread * seen, _UNSEEN)) * scaling.width
    return Estimate(point_spread, noise, _DOUBT * width_deviation, deviation, own_estimator())


def take_patches(voxels: np.ndarray, scaling: IntensityScaling) -> np.ndarray:
    """Patches of a few slices spread over the volume, normalised, [N, 1, side, side]; none where all of it is air.

    Args:
        voxels: of the measurement [k, j, i].
        scaling: of the volume.
    """
    sides = [min(_SIDE, n) for n in voxels.shape[1:]]
    patches = []
    for plane in _some_slices(voxels, scaling):
        places = [
            np.unique(np.linspace(0, n - side, -(-2 * n // side) - 1).astype(int))
            for n, side in zip(plane.shape, sides, strict=True)
        ]
        found = [plane[j : j + sides[0], i : i + sides[1]] for j in places[0] for i in places[1]]
        found = [patch for patch in found if np.mean(patch > _FOREGROUND) >= _LEAST_FOREGROUND]
        patches += sorted(found, key=lambda patch: -float(patch.std()))[:_PATCHES]
    return np.stack(patches)[:, None] if patches else np.empty((0, 1, *sides), np.float32)


def flat_noise(voxels: np.ndarray, scaling: IntensityScaling) -> float:
    """Standard deviation within the flattest blocks of anatomy, about a plane each, in parts of the range.

    Args:
        voxels: of the measurement [k, j, i].
        scaling: of the volume.
    """
    ramp = np.arange(_BLOCK) - (_BLOCK - 1) / 2
    across, along = np.meshgrid(ramp, ramp, indexing="ij")
    plane = np.stack([np.ones(_BLOCK**2), across.ravel(), along.ravel()], 1)
    left = np.eye(_BLOCK**2) - plane @ np.linalg.pinv(plane)
    deviations = []
    for image in _some_slices(voxels, scaling):
        j, i = (n // _BLOCK for n in image.shape)
        blocks = image[: j * _BLOCK, : i * _BLOCK].reshape(j, _BLOCK, i, _BLOCK).swapaxes(1, 2).reshape(-1, _BLOCK**2)
        inside = blocks[blocks.mean(1) > _FOREGROUND]
        deviations.append(np.sqrt(np.square(inside @ left).sum(1) / (_BLOCK**2 - plane.shape[1])))
    every = np.concatenate(deviations)
    return float(np.percentile(every, _FLATTEST)) if len(every) else 0.0


def _some_slices(voxels: np.ndarray, scaling: IntensityScaling) -> Iterator[np.ndarray]:
    """A few slices spread over the volume, normalised."""
    for k in sorted({int((n + 0.5) * len(voxels) / _SLICES) for n in range(_SLICES)}):
        yield scaling.normalise(voxels[k])


def _combined(means: np.ndarray, variances: np.ndarray, prior: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation of the width, given each patch's: what all of them lean to is counted once."""
    usual, spread = prior
    evidence = np.clip(1 / variances - 1 / spread, 0, None)
    shifted = np.where(evidence > 0, means / variances - usual / spread, 0.0)
    precision = _INDEPENDENT * evidence.mean() + 1 / spread
    mean = (_INDEPENDENT * shifted.mean() + usual / spread) / precision
    return float(mean), float(precision**-0.5)
