"""Measurement noise n of y = A x + n. ``generator`` is numpy's, so that a resumed training draws the same noise."""

from __future__ import annotations

import numpy as np


def add_gaussian(y: np.ndarray, sigma: float, generator: np.random.Generator) -> np.ndarray:
    """Additive white noise of standard deviation ``sigma``, in the units of y."""
    return y + sigma * generator.standard_normal(y.shape, dtype=np.float32)


def add_rician(y: np.ndarray, sigma: float, generator: np.random.Generator) -> np.ndarray:
    """Magnitude MR: |y + n1 + i n2| (Gudbjartsson and Patz 1995, eq. 1). ``y`` is a magnitude: zero is no signal."""
    real = add_gaussian(y, sigma, generator)
    imaginary = sigma * generator.standard_normal(y.shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def add_quantum(y: np.ndarray, sigma: float, generator: np.random.Generator) -> np.ndarray:
    """Poisson-like CT noise: its variance grows with the attenuation the rays met.

    The standard deviation is ``sigma`` in water (0 HU) and scales with the square root of the linear attenuation
    relative to water, ``1 + HU/1000``, which is clipped at 0.05 (air is not free of noise).

    Args:
        y: voxels in HU.
        sigma: standard deviation in water, HU.
        generator: source of randomness.
    """
    relative = np.sqrt(np.clip(1.0 + y / 1000.0, 0.05, None)).astype(np.float32)
    return y + sigma * relative * generator.standard_normal(y.shape, dtype=np.float32)
