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
