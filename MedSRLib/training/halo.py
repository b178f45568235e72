"""The halo that a model is exported with: measured on the weights as they were stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from MedSRLib.enhancement.devices import tile_voxels
from MedSRLib.models.catalogue import Model
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.randomness import Random
from MedSRLib.training.receptive_field import TOLERANCE, measure_halo
from MedSRLib.training.samplers import SAMPLERS, make_sampler
from MedSRLib.training.training_volume import TrainingVolume

_PAIRS = 6


def with_measured_halo(
    model: Model, config: TrainingConfig, volumes: Sequence[TrainingVolume], device: torch.device
) -> Model:
    """Measures the halo of a model and writes it, with its tolerance, into the manifest.

    It is the largest that any fidelity needs of 1, 0.5 and 0; where that is the full receptive radius, tiling is exact
    and the tolerance 0.

    Args:
        model: with its weights.
        config: that it was trained by.
        volumes: that it was trained on.
        device: where to measure.
    """
    fidelities = (1.0, 0.5, 0.0) if "perceptual" in model.manifest.weights else (1.0,)
    generator = model.load_generator()
    radius = generator.receptive_radius()
    images = network_inputs(config, volumes, radius, tile_voxels(generator, device))
    halo = max(measure_halo(model.load_generator(fidelity=alpha).to(device), images) for alpha in fidelities)
    manifest = replace(model.manifest, halo=halo, tile_tolerance=TOLERANCE if halo < radius else 0.0)
    manifest.write(model.folder)
    return replace(model, manifest=manifest)


def network_inputs(
    config: TrainingConfig, volumes: Sequence[TrainingVolume], radius: int, voxels: int
) -> list[np.ndarray]:
    """White noise over the whole range, and what the network is fed for real anatomy: the same every time.

    Noise needs no anatomy, so it has the size that shows every distance up to the receptive radius.

    Args:
        config: of the run.
        volumes: to draw from.
        radius: ``receptive_radius()`` of the network.
        voxels: most voxels an image may have; it never becomes smaller than a training patch.

    Returns:
        Arrays [1, slices and conditions, (D,) H, W].
    """
    side = max(config.pairs.patch, min(math.ceil(1.5 * radius), int(voxels ** (1 / config.spatial_dims))))
    patch = max(config.pairs.patch, min(side, max(_largest_patch(volume, config) for volume in volumes)))
    large = [volume for volume in volumes if _largest_patch(volume, config) >= patch]
    pairs = replace(config.pairs, patch=patch, crossing=0)  # whole planes
    sampler = make_sampler(large, replace(config, pairs=pairs), Random(0))
    seen = np.ascontiguousarray(sampler.draw(_PAIRS).low.numpy())
    white = np.random.default_rng(0).random((1, config.slices, *[side] * config.spatial_dims), np.float32)
    corner = (slice(0, 1), slice(config.slices, None), *[slice(0, 1)] * config.spatial_dims)
    told = np.broadcast_to(seen[corner], (1, len(config.conditions), *white.shape[2:]))
    return [np.concatenate([white, told], 1), *np.split(seen, _PAIRS)]


def _largest_patch(volume: TrainingVolume, config: TrainingConfig) -> int:
    """In low-resolution voxels; 0 when the task takes no patches of it."""
    return SAMPLERS[config.task].largest_patch(volume) // config.scale[-1]
