"""What one enhancement will read, compute and return, worked out before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MedSRLib.acquisition.interpolation import NOISE_REACH
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.restorations import RESTORATIONS
from MedSRLib.errors import UsageError
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.geometry import cropped_affine, upsampled_affine
from MedSRLib.volumes.volume import Volume

_BACK_PROJECTION_REACH = 12
"""Low-resolution voxels over which interpolation and a few back-projections carry anything above float rounding."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Extent:
    """Boxes are in array order [k, j, i].

    Args:
        context: low-resolution voxels that are read: the region asked for and what its result depends on.
        context_shape: high-resolution shape of the context.
        cut: high-resolution voxels of the context that are returned.
        shape: of the result.
        affine: of the result, IJK to RAS millimetres.
    """

    context: Box
    context_shape: tuple[int, ...]
    cut: Box
    shape: tuple[int, ...]
    affine: np.ndarray


def extent_of(
    volume: Volume, region: Box, manifest: Manifest, acquisition: AcquisitionModel, *, noisy: bool = False
) -> Extent:
    """What an enhancement will read, compute and return.

    Args:
        volume: the input.
        region: that is asked for, see ``region_of``.
        manifest: of the model.
        acquisition: A.
        noisy: agreement is asked for within the noise, which is told from a window around each voxel.
    """
    full = acquisition.high_shape(volume.shape)
    reach = manifest.halo + _BACK_PROJECTION_REACH + (NOISE_REACH if noisy else 0)
    slices = RESTORATIONS[manifest.task].slices_around(manifest)
    multiple = manifest.arguments.get("unshuffle", 1)
    context, cut, kept = [], [], []
    for axis, (wanted, n, n_high) in enumerate(zip(region, volume.shape, full, strict=True)):
        scale = n_high / n
        around = reach
        if axis == 0 and slices is not None:
            around = slices
        elif scale != round(scale) or acquisition.in_plane_profile == "kspace":  # each voxel depends on the whole axis
            around = n
        start, stop = max(0, wanted.start - around), min(n, wanted.stop + around)
        # Pixel-unshuffle groups voxels from the image's first one, or when it is flipped from its last.
        start, stop = start - start % multiple, stop + (n - stop) % multiple
        first, last = int(np.floor(wanted.start * scale)), int(np.ceil(wanted.stop * scale))
        context.append(slice(start, stop))
        kept.append(slice(first, last))
        cut.append(slice(first - round(start * scale), last - round(start * scale)))
    affine = upsampled_affine(volume.affine, volume.shape, full)
    context_low = [s.stop - s.start for s in context]
    return Extent(
        context=(context[0], context[1], context[2]),
        context_shape=acquisition.high_shape(context_low),
        cut=(cut[0], cut[1], cut[2]),
        shape=tuple(s.stop - s.start for s in kept),
        affine=cropped_affine(affine, [s.start for s in reversed(kept)]),
    )


def region_of(volume: Volume, roi: Sequence[int] | None) -> Box:
    """The region of interest in array order; all of the volume for None.

    Args:
        volume: the input.
        roi: voxel box (i0, i1, j0, j1, k0, k1), first voxel and one past the last.

    Raises:
        UsageError: the region is empty or outside the volume.
    """
    if roi is None:
        return slice(0, volume.shape[0]), slice(0, volume.shape[1]), slice(0, volume.shape[2])
    i0, i1, j0, j1, k0, k1 = roi
    for name, start, stop, n in zip("ijk", (i0, j0, k0), (i1, j1, k1), reversed(volume.shape), strict=True):
        if not 0 <= start < stop <= n:
            raise UsageError(f"the region's {name} range {start} {stop} must lie within 0 {n} and not be empty")
    return slice(k0, k1), slice(j0, j1), slice(i0, i1)
