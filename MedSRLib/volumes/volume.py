"""The one type that travels through MedSR: voxels, their place, their modality."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.forms import NiftiForms, places

if TYPE_CHECKING:
    from monai.data import MetaTensor

MODALITIES = ("CT", "MR", "US", "XR", "other")
DICOM_MODALITIES = {"CT": "CT", "MR": "MR", "US": "US", **dict.fromkeys(("CR", "DX", "MG", "RF", "XA"), "XR")}
"""DICOM's Modality (0008,0060) as one of ``MODALITIES``; every other one is "other"."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A grey-level volume and where it lies.

    Args:
        voxels: array of shape [k, j, i] (slices, rows, columns).
        affine: 4x4 float64, (i, j, k, 1) to RAS millimetres, mapping voxel *centres* (3D Slicer's convention).
        modality: one of "CT" (voxels in HU), "MR", "US", "XR", "other".
        slice_thickness: millimetres of anatomy one slice averages along k; None when it is not known,
            and then taken to be the slice spacing.
        notes: sentences on what was unusual about the file, for the user.
        padding: lowest and highest value that the file names as no measurement; None where it names none.
        forms: NIfTI's two transforms, of which the affine is the one in force; None for what is no NIfTI file.
        frame_of_reference: DICOM's UID of the coordinates that the affine leads to; None where nobody says it.

    Raises:
        InputError: the voxels are not 3D or the affine is not an invertible 4x4.
    """

    voxels: np.ndarray
    affine: np.ndarray
    modality: str = "other"
    slice_thickness: float | None = None
    notes: tuple[str, ...] = ()
    padding: tuple[float, float] | None = None
    forms: NiftiForms | None = None
    frame_of_reference: str | None = None

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3:
            raise InputError(f"a volume has three axes, this one has {self.voxels.ndim}: pick one 3D volume")
        affine = np.array(self.affine, dtype=np.float64)
        if not places(affine):
            raise InputError("the affine must be an invertible 4x4 matrix: check the orientation and spacing")
        if self.modality not in MODALITIES:
            raise InputError(f"modality {self.modality!r} is not one of {', '.join(MODALITIES)}")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of voxels in array order [k, j, i]."""
        k, j, i = self.voxels.shape
        return k, j, i

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distances between neighbouring voxel centres along i, j, k in millimetres."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    def with_voxels(self, voxels: np.ndarray, affine: np.ndarray | None = None) -> Volume:
        """The same kind of volume with other voxels and, when given, another affine, which the forms follow."""
        if affine is None:
            return replace(self, voxels=voxels)
        forms = self.forms
        if forms is not None:
            forms = forms.moved(np.linalg.solve(self.affine, affine))
        return replace(self, voxels=voxels, affine=affine, forms=forms)

    def to_metatensor(self) -> MetaTensor:
        """MONAI's form: channel first [1, i, j, k] with the same RAS affine (MONAI indexes arrays as (i, j, k))."""
        import torch
        from monai.data import MetaTensor

        meta: dict[str, Any] = {"modality": self.modality, "slice_thickness": self.slice_thickness}
        data = torch.from_numpy(np.ascontiguousarray(self.voxels.transpose(2, 1, 0)[None]))
        return MetaTensor(data, affine=torch.from_numpy(self.affine.copy()), meta=meta)

    @classmethod
    def from_metatensor(cls, tensor: MetaTensor) -> Volume:
        """The inverse of ``to_metatensor``.

        Raises:
            InputError: the tensor does not have the shape [1, i, j, k].
        """
        if tensor.ndim != 4 or tensor.shape[0] != 1:
            raise InputError(f"expected a one-channel [1, i, j, k] tensor, got shape {tuple(tensor.shape)}")
        voxels = tensor.as_tensor().detach().cpu().numpy()[0].transpose(2, 1, 0)
        return cls(
            np.ascontiguousarray(voxels),
            np.asarray(tensor.affine, dtype=np.float64),
            str(tensor.meta.get("modality", "other")),
            tensor.meta.get("slice_thickness"),
        )
