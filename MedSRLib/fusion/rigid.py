"""Rigid motions as six numbers: a rotation vector and a shift, both about a centre."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def rigid(parameters: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The 4x4 motion ``p -> R (p - centre) + centre + t``.

    Args:
        parameters: rotation vector in degrees about x, y, z, then t in millimetres.
        centre: millimetres, [3].
    """
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(parameters[:3], degrees=True).as_matrix()
    motion[:3, 3] = centre - motion[:3, :3] @ centre + parameters[3:]
    return motion


def rigid_parameters(motion: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The inverse of ``rigid``; the angle is at most 180 degrees."""
    rotation = Rotation.from_matrix(motion[:3, :3]).as_rotvec(degrees=True)
    return np.concatenate([rotation, motion[:3, :3] @ centre + motion[:3, 3] - centre])


def motion_between(first: np.ndarray, second: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
    """Degrees and millimetres (at ``centre``) between two motions."""
    parameters = rigid_parameters(np.linalg.inv(first) @ second, centre)
    return float(np.linalg.norm(parameters[:3])), float(np.linalg.norm(parameters[3:]))


def mean_motion(motion: np.ndarray) -> np.ndarray:
    """One rigid motion for many: the mean rotation and shift.

    Args:
        motion: 4x4, or [k, 4, 4].
    """
    if motion.ndim == 2:
        return motion
    mean = np.eye(4)
    mean[:3, :3] = Rotation.from_matrix(motion[:, :3, :3]).mean().as_matrix()
    mean[:3, 3] = motion[:, :3, 3].mean(axis=0)
    return mean
