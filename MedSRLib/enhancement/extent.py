"""What one enhancement will read, compute and return, worked out before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MedSRLib.acquisition.operator import AcquisitionModel, PointSpread
from MedSRLib.errors import InputError, UsageError
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.geometry import cropped_affine, upsampled_affine
from MedSRLib.volumes.volume import Volume

_BACK_PROJECTION_REACH = 12
"""Low-resolution voxels over which interpolation and a few back-projections carry anything above float rounding."""
_ALREADY_ISOTROPIC = 1.01

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


def plan_enhancement(
    volume: Volume,
    manifest: Manifest,
    acquisition: AcquisitionModel,
    *,
    roi: Sequence[int] | None = None,
) -> Extent:
    """What an enhancement will do.

    Args:
        volume: the input.
        manifest: of the model.
        acquisition: A, see ``assume_acquisition``.
        roi: voxel box (i0, i1, j0, j1, k0, k1), first voxel and one past the last; None for the whole volume.

    Raises:
        UsageError: the region is empty or outside the volume.
    """
    box = _region(volume, roi)
    full = acquisition.high_shape(volume.shape)
    reach = manifest.halo + _BACK_PROJECTION_REACH
    multiple = manifest.arguments.get("unshuffle", 1)
    context, cut, kept = [], [], []
    for axis, (wanted, n, n_high) in enumerate(zip(box, volume.shape, full, strict=True)):
        scale = n_high / n
        around = reach
        if axis == 0 and manifest.task == "inplane":
            around = manifest.slices // 2
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


def require_factor(manifest: Manifest, factor: float | None) -> None:
    """Raises UsageError when a model does not take the factor that was asked for; None asks for none."""
    if factor is None:
        return
    if manifest.factor_range is None:
        raise UsageError(f"{manifest.name} has a factor of its own: leave the factor out, or take an isotropic model")
    low, high = manifest.factor_range
    if not low <= factor <= high:
        raise UsageError(f"{manifest.name} takes factors from {low:g} to {high:g}, not {factor:g}")


def require_point_spread(manifest: Manifest, psf_fwhm: PointSpread | None) -> None:
    """Raises UsageError when a model does not take the point spread that was said; None says none."""
    if psf_fwhm == "kspace" and manifest.task == "through-plane":
        raise UsageError(
            f"{manifest.name} makes slices between slices, whose pixels it leaves alone: give the point spread as a "
            "number, the slice thickness over their spacing, or leave it out"
        )


def assume_acquisition(
    volume: Volume,
    manifest: Manifest,
    *,
    psf_fwhm: PointSpread | None = None,
    factor: float | None = None,
) -> AcquisitionModel:
    """A as far as the file and the user say it, and the model's assumptions for the rest.

    Args:
        volume: the input.
        manifest: of the model.
        psf_fwhm: point-spread width in low-resolution voxels, along k where the volume does not say how thick its
            slices are, or "kspace"; None for the model's own.
        factor: of a through-plane model; None makes slices as far apart as the pixels.

    Raises:
        InputError: the volume has too few slices, or is isotropic already, for a through-plane model.
        UsageError: the point spread or the factor is not one that the model takes.
    """
    known = manifest.in_plane_fwhm if psf_fwhm is None else psf_fwhm
    fwhm = manifest.in_plane_fwhm if isinstance(known, str) else known
    i, j, k = volume.spacing
    thickness = volume.slice_thickness / k if volume.slice_thickness else fwhm
    require_factor(manifest, factor)
    require_point_spread(manifest, psf_fwhm)
    if manifest.task != "through-plane":
        return AcquisitionModel(manifest.factors, slice_thickness=thickness).with_point_spread(known)
    if volume.shape[0] < 2:
        raise InputError(
            f"{manifest.name} makes slices between slices, and this volume has one: choose a volume of several"
        )
    if factor is None:
        assert manifest.factor_range is not None
        factor = min(k / min(i, j), manifest.factor_range[1])
        if factor < _ALREADY_ISOTROPIC:
            raise InputError(f"the slices are {k:g} mm apart and the pixels {min(i, j):g} mm: it is isotropic already")
    return AcquisitionModel((1, 1, factor), in_plane_fwhm=fwhm, slice_thickness=thickness)


def _region(volume: Volume, roi: Sequence[int] | None) -> Box:
    if roi is None:
        return slice(0, volume.shape[0]), slice(0, volume.shape[1]), slice(0, volume.shape[2])
    i0, i1, j0, j1, k0, k1 = roi
    for name, start, stop, n in zip("ijk", (i0, j0, k0), (i1, j1, k1), reversed(volume.shape), strict=True):
        if not 0 <= start < stop <= n:
            raise UsageError(f"the region's {name} range {start} {stop} must lie within 0 {n} and not be empty")
    return slice(k0, k1), slice(j0, j1), slice(i0, i1)
