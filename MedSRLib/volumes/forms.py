"""NIfTI's two transforms, the sform and the qform: which one places the volume, and the quaternion of the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from MedSRLib.volumes.geometry import field_of_view_corners

_FLAT = 1e-6


@dataclass(frozen=True, eq=False)
class NiftiForms:
    """Both transforms of a NIfTI file (nifti1.h), kept so that they can be written back.

    Args:
        sform: 4x4 IJK to RAS millimetres, or None where sform_code is 0 or the matrix places nothing.
        sform_code: what space it leads to: 1 scanner, 2 another scan, 3 Talairach, 4 MNI 152, 5 another template.
        qform: the same by quaternion, without shear.
        qform_code: as ``sform_code``.
    """

    sform: np.ndarray | None
    sform_code: int
    qform: np.ndarray | None
    qform_code: int

    @property
    def in_force(self) -> str | None:
        """The form that places the volume: "sform" where its code is the higher or equal, as nibabel, FSL and SPM."""
        if self.sform is not None and (self.qform is None or self.sform_code >= self.qform_code):
            return "sform"
        return None if self.qform is None else "qform"

    @property
    def affine(self) -> np.ndarray | None:
        """The form in force."""
        return {"sform": self.sform, "qform": self.qform, None: None}[self.in_force]

    def gap(self, shape: tuple[int, ...]) -> float:
        """Millimetres that the forms put a corner of a volume [k, j, i] apart, at most; 0 where one is missing."""
        if self.sform is None or self.qform is None:
            return 0.0
        apart = field_of_view_corners(self.sform, shape) - field_of_view_corners(self.qform, shape)
        return float(np.linalg.norm(apart, axis=1).max())

    def moved(self, step: np.ndarray) -> NiftiForms:
        """The forms of a volume whose voxel indices ``step`` turns into indices of this one's.

        Args:
            step: 4x4, new IJK to old IJK.
        """
        sform = None if self.sform is None else self.sform @ step
        qform = None if self.qform is None else self.qform @ step
        return replace(self, sform=sform, qform=qform)


def places(affine: np.ndarray) -> bool:
    """Whether a matrix can place a volume: 4x4, finite, its axes in no plane, however small voxels are."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(lengths.min() > 0 and abs(np.linalg.det(affine[:3, :3] / lengths)) > _FLAT)


def quaternion_affine(quaternion: np.ndarray, offset: np.ndarray, spacing: np.ndarray, handedness: float) -> np.ndarray:
    """Method 2 of nifti1.h.

    Args:
        quaternion: quatern_b, quatern_c, quatern_d.
        offset: qoffset_x, _y, _z.
        spacing: positive, along i, j, k.
        handedness: pixdim[0], negative for a left-handed frame.
    """
    b, c, d = (float(one) for one in quaternion)
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    norm = np.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / norm, b / norm, c / norm, d / norm
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 2] *= -1.0 if handedness < 0 else 1.0
    affine[:3, 3] = offset
    return affine


def affine_quaternion(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The inverse of ``quaternion_affine``, for an affine without shear.

    Returns:
        quatern_b, _c, _d; the spacing along i, j, k; and pixdim[0], -1 for a left-handed frame.
    """
    from scipy.spatial.transform import Rotation

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    rotation = affine[:3, :3] / spacing
    handedness = -1.0 if np.linalg.det(rotation) < 0 else 1.0
    rotation[:, 2] *= handedness
    b, c, d, a = Rotation.from_matrix(rotation).as_quat()
    return np.array([b, c, d]) * (-1.0 if a < 0 else 1.0), spacing, handedness
