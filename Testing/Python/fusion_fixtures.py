"""An anatomy of Gaussian blobs, whose thick slices at any place are known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dicom_objects import save, slice_of

from MedSRLib.fusion.rigid import rigid
from MedSRLib.volumes.volume import Volume

SIDE = 44.0
"""Millimetres of the cube that the blobs lie in, about the origin."""
THICKNESS = 4.0
_FWHM = np.sqrt(8 * np.log(2))


class Blobs:
    """A sum of Gaussians: grey levels about 0 to 1000.

    Args:
        seed: of their places and sizes.
        count: how many.
    """

    def __init__(self, seed: int = 5, count: int = 60) -> None:
        random = np.random.default_rng(seed)
        self.centres = random.uniform(-0.33 * SIDE, 0.33 * SIDE, (count, 3))
        self.sigmas = random.uniform(1.6, 5.0, count)
        self.heights = random.uniform(150, 500, count)

    def at(self, points: np.ndarray, normal: np.ndarray, thickness: float) -> np.ndarray:
        """The mean over Gaussian slices.

        Args:
            points: millimetres [..., 3].
            normal: unit vector across the slices.
            thickness: their full width at half maximum; 0 for the anatomy itself.
        """
        total = np.zeros(points.shape[:-1])
        for centre, sigma, height in zip(self.centres, self.sigmas, self.heights, strict=True):
            d = points - centre
            across = d @ normal
            wide = np.sqrt(sigma**2 + (thickness / _FWHM) ** 2)
            in_plane = (d**2).sum(axis=-1) - across**2
            total += height * sigma / wide * np.exp(-0.5 * (in_plane / sigma**2 + across**2 / wide**2))
        return total


def grid_points(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Voxel centres, millimetres, [k, j, i, 3]."""
    k, j, i = np.indices(shape)
    points: np.ndarray = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    return points


def centred_affine(
    directions: np.ndarray, spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> np.ndarray:
    """IJK to RAS of a box about the origin; directions are the columns i, j, k."""
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return affine


AXIAL = np.eye(3)
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
CORONAL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def truth(blobs: Blobs, spacing: float = 1.0) -> Volume:
    """The anatomy itself on an isotropic grid."""
    n = round(SIDE / spacing)
    affine = centred_affine(AXIAL, (spacing, spacing, spacing), (n, n, n))
    voxels = blobs.at(grid_points(affine, (n, n, n)), AXIAL[2], 0.0)
    return Volume(voxels.astype(np.float32), affine, "MR")


def stack(
    blobs: Blobs,
    directions: np.ndarray,
    *,
    motion: np.ndarray | None = None,
    moved: dict[int, np.ndarray] | None = None,
    gain: float = 1.0,
    offset: float = 0.0,
    noise: float = 0.0,
    pixel: float = 1.0,
    side: float = SIDE,
    dtype: type = np.float32,
) -> Volume:
    """A series as the scanner gives it: at each voxel what lies at ``motion`` of where the scanner says.

    Args:
        blobs: the anatomy.
        directions: of i, j, k as columns.
        motion: 4x4.
        moved: motions of single slices, by k, in the place of ``motion``.
        gain, offset: of the grey levels.
        noise: standard deviation.
        pixel: millimetres.
        side: millimetres of the box.
        dtype: of the voxels.
    """
    shape = (round(side / THICKNESS), round(side / pixel), round(side / pixel))
    affine = centred_affine(directions, (pixel, pixel, THICKNESS), shape)
    points = grid_points(affine, shape)
    voxels = np.empty(shape)
    for k in range(shape[0]):
        one = (moved or {}).get(k, np.eye(4) if motion is None else motion)
        normal = one[:3, :3] @ directions[:, 2]
        voxels[k] = blobs.at(points[k] @ one[:3, :3].T + one[:3, 3], normal, THICKNESS)
    random = np.random.default_rng(11)
    voxels = gain * (voxels + noise * random.standard_normal(shape)) + offset
    return Volume(voxels.astype(dtype), affine, "MR", THICKNESS)


def turn(degrees: tuple[float, float, float], millimetres: tuple[float, float, float]) -> np.ndarray:
    """A rigid motion about the origin."""
    return rigid(np.array([*degrees, *millimetres]), np.zeros(3))


def psnr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """In dB over the body."""
    body = reference > 0.05 * reference.max()
    error = np.sqrt(((estimate.astype(np.float64) - reference)[body] ** 2).mean())
    return float(20 * np.log10(reference.max() / error))


def write_dicom_stack(folder: Path, volume: Volume, *, series: str, description: str, **tags: object) -> Path:
    """A stack as an MR series of one frame of reference and study."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1, 1, 1]) @ volume.affine
    i, j = (lps[:3, axis] / np.linalg.norm(lps[:3, axis]) for axis in (0, 1))
    columns, rows, step = volume.spacing
    for k, pixels in enumerate(volume.voxels.clip(min=0).astype(np.uint16)):
        one = slice_of("MR", k, pixels)
        one.SeriesInstanceUID, one.SeriesDescription = series, description
        one.ImageOrientationPatient = [round(float(x), 9) for x in (*i, *j)]
        one.ImagePositionPatient = [round(float(x), 6) for x in (lps @ [0, 0, k, 1])[:3]]
        one.PixelSpacing, one.SliceThickness, one.SpacingBetweenSlices = [rows, columns], volume.slice_thickness, step
        for name, value in tags.items():
            setattr(one, name, value)
        save(one, folder / f"{series}-{k}.dcm")
    return folder
