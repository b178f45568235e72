"""The task "through-plane" in enhancement: the interpolated volume, sharpened in both planes that contain k."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from MedSRLib.acquisition.operator import AcquisitionModel, Profile
from MedSRLib.enhancement.request import Options
from MedSRLib.enhancement.restoration import Restoration, plane_slabs, thickness_of
from MedSRLib.errors import InputError
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    import torch

    from MedSRLib.enhancement.slabs import Box, Generator, Slab
    from MedSRLib.enhancement.transfer import Measurement

_ALREADY_ISOTROPIC = 1.01
_USUALLY_TRAINED = 1.3
"""Slice thickness over spacing that a model is taken to know where its manifest does not say."""


class ThroughPlaneRestoration(Restoration):
    """The generator of scale 1 runs over planes of both kinds; their mean is taken."""

    runs = 4

    def acquisition(self, volume: Volume, manifest: Manifest, options: Options) -> AcquisitionModel:
        """A of the factor that was asked for, else of the one that makes slices as far apart as the pixels.

        Raises:
            InputError: the volume has too few slices, or is isotropic already.
        """
        if volume.shape[0] < 2:
            raise InputError(
                f"{manifest.name} makes slices between slices, and this volume has one: choose a volume of several"
            )
        i, j, k = volume.spacing
        factor = options.factor
        if factor is None:
            assert manifest.factor_range is not None
            factor = min(k / min(i, j), manifest.factor_range[1])
            if factor < _ALREADY_ISOTROPIC:
                pixel = min(i, j)
                raise InputError(f"the slices are {k:g} mm apart and the pixels {pixel:g} mm: it is isotropic already")
        thickness = thickness_of(volume, manifest, options)
        if _overlap(volume) > _thickest_trained(manifest):
            # To undo the blur of slices that overlap more is to raise their noise: with 30 HU of it, a CT of slices
            # twice as thick as apart came out at 104 HU RMS from the truth; so it is 54, of a spline 49.
            thickness = 1.0
        width = manifest.in_plane_fwhm if options.point_spread is None else options.point_spread
        # A file states how thick a slice is excited or collimated. Taken for a Gaussian of that width, such slices come
        # out over-sharpened, by up to 4 dB where they overlap; a Gaussian taken for a box loses at most 1 dB.
        stated = volume.slice_thickness is not None and options.point_spread is None
        profile: Profile = "box" if stated and "box" in manifest.conditions else "gaussian"
        acquisition = AcquisitionModel((1, 1, factor), slice_thickness=thickness, slice_profile=profile)
        return acquisition.with_point_spread(width)

    def warnings(self, volume: Volume, manifest: Manifest, acquisition: AcquisitionModel) -> list[str]:
        """The result is not isotropic, or the slices are closer together, or overlap more, than in training."""
        assert manifest.factor_range is not None
        low, high = manifest.factor_range
        i, j, k = volume.spacing
        factor = acquisition.factors[2]
        found = []
        if factor == high < k / min(i, j) / _ALREADY_ISOTROPIC:
            found.append(
                f"slices are {k / high:.2f} mm apart in the result and pixels {min(i, j):.2f} mm, so that it is not "
                f"isotropic: {manifest.name} makes {high:g} slices of each at most"
            )
        if factor < low:
            found.append(
                f"{factor:.2f} slices are made of each, and {manifest.name} was trained for {low:g} to {high:g}: do "
                "not expect more than of interpolation"
            )
        if _overlap(volume) > (thickest := _thickest_trained(manifest)):
            found.append(
                f"slices are {_overlap(volume):.2f} times as thick as they are apart, so that they overlap, and "
                f"{manifest.name} was trained for {thickest:g} at most: they are taken to be as thick as they are "
                "apart, which gains less and raises no noise"
            )
        return found

    def voxels_seen(self, low: tuple[int, ...], high: tuple[int, ...]) -> int:
        """The result's, in either kind of plane."""
        return 2 * math.prod(high)

    def voxels_finished(self, low: tuple[int, ...], high: tuple[int, ...]) -> int:
        """Those of some rows: the generator's input has the result's shape."""
        return super().voxels_finished(high, high)

    def bytes_kept(self, high: tuple[int, ...]) -> int:
        """Half of the mean of one kind, float32."""
        return 4 * math.prod(high)

    def slabs(
        self,
        y: Measurement,
        shape: tuple[int, ...],
        cut: Box,
        manifest: Manifest,
        acquisition: AcquisitionModel,
        generator: Generator,
        *,
        uncertainty: bool,
        done: Callable[[float], None],
    ) -> Iterator[Slab]:
        """Some rows at a time, once the planes across i have been run.

        A acts along k alone, so that the base of some rows or columns is that of theirs in the measurement; of the
        planes across i half of the mean is kept, for all of the volume.
        """
        import torch

        from MedSRLib.enhancement.slabs import (
            Slab,
            add_base,
            base_image,
            neighbourhoods,
            run_ensemble,
            with_neighbours,
        )

        def planes(axis: int) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor, torch.Tensor | None]]:
            """Some planes across an axis at a time: the base there, and half of the generator's mean and variance."""
            count = shape[axis]
            for some in plane_slabs(count, math.prod(shape) // count, y.device.type):
                around = with_neighbours(some, count, manifest.slices)
                measured = y[_across(axis, around, y.shape)]
                base = base_image(measured, (shape[0], *measured.shape[1:]), acquisition, manifest.base_iterations)
                seen = neighbourhoods(base.movedim(axis, 0), some, count, manifest.slices)
                mean, spread = run_ensemble(generator, seen, uncertainty=uncertainty)
                own = base.narrow(axis, some.start - around.start, some.stop - some.start)
                yield some, own, mean.movedim(0, axis) / 2, None if spread is None else spread.movedim(0, axis) ** 2 / 2

        output = torch.empty(shape, device=y.device)
        variance = torch.empty(shape, device=y.device) if uncertainty else None
        steps = shape[1] + shape[2]
        for some, _, mean, squares in planes(2):
            output[..., some] = mean
            if variance is not None and squares is not None:
                variance[..., some] = squares
            done(some.stop / steps)
        for rows, base, mean, squares in planes(1):
            low, high = _across(1, rows, y.shape), _across(1, rows, shape)
            estimate = add_base(output[high] + mean, base, manifest)
            spread = None if variance is None or squares is None else (variance[high] + squares).sqrt()
            yield Slab(low, high, estimate, base, spread)
            done((shape[2] + rows.stop) / steps)


def _across(axis: int, some: slice, shape: tuple[int, ...]) -> Box:
    """Some planes of a volume across an axis."""
    k, j, i = (some if number == axis else slice(0, n) for number, n in enumerate(shape))
    return k, j, i


def _overlap(volume: Volume) -> float:
    """Slice thickness over spacing, as far as the file says it; 1 where it does not."""
    return volume.slice_thickness / volume.spacing[2] if volume.slice_thickness else 1.0


def _thickest_trained(manifest: Manifest) -> float:
    """The largest slice thickness over spacing in training, as far as the manifest says it."""
    pairs = manifest.training.get("configuration", {}).get("pairs", {})
    return max(pairs.get("thickness", (_USUALLY_TRAINED,)))
