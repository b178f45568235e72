"""g(y) of the formula: the generator's part, task by task, handed out in slabs along an axis that A leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from MedSRLib.acquisition.interpolation import back_project, interpolate
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.tiling import TiledGenerator
from MedSRLib.models.manifest import Manifest

_SLAB_VOXELS = 2**20
"""Low-resolution voxels finished at a time; bounds the float32 copies beside the result."""
_PROGRESS_STEPS = 20
"""A volume is handed out in at least so many slabs where it has the planes, so that progress is seen to move."""


@dataclass(frozen=True)
class Slab:
    """A part of the volume that can be finished by itself.

    Args:
        low: the slab in the measurement, array order [k, j, i].
        high: the slab in the result.
        output: what the generator predicts there, normalised float32, [k, j, i].
        spread: standard deviation of the generator's output over flips (in-plane transpositions too), or None.
    """

    low: tuple[slice, slice, slice]
    high: tuple[slice, slice, slice]
    output: torch.Tensor
    spread: torch.Tensor | None


def base_image(y: torch.Tensor, shape: tuple[int, ...], acquisition: AcquisitionModel, iterations: int) -> torch.Tensor:
    """interp(y), and the back-projections that a model's residual starts from.

    Args:
        y: normalised measurement [k, j, i].
        shape: high-resolution shape [k, j, i].
        acquisition: A.
        iterations: ``base_iterations`` of the manifest.
    """
    return back_project(interpolate(y, shape), y, acquisition, iterations)


def residual_slabs(
    y: np.ndarray,
    shape: tuple[int, ...],
    manifest: Manifest,
    acquisition: AcquisitionModel,
    tiled: TiledGenerator,
    *,
    uncertainty: bool,
    done: Callable[[float], None],
) -> Iterator[Slab]:
    """Runs the generator over a whole context.

    Args:
        y: normalised measurement [k, j, i], float32.
        shape: of the result [k, j, i].
        manifest: of the model.
        acquisition: A.
        tiled: the generator.
        uncertainty: run it on every flip, in-plane on every transposition too, and return mean and spread.
        done: told the finished fraction.
    """
    if manifest.task == "inplane":
        yield from _in_plane(y, shape, manifest, tiled, uncertainty, done)
    elif manifest.task == "through-plane":
        yield from _through_plane(y, shape, manifest, acquisition, tiled, uncertainty, done)
    else:
        output, spread = _ensemble(tiled, y[None, None], uncertainty)
        done(1.0)
        yield Slab(_whole(y.shape), _whole(shape), output[0], None if spread is None else spread[0])


def _in_plane(
    y: np.ndarray,
    shape: tuple[int, ...],
    manifest: Manifest,
    tiled: TiledGenerator,
    uncertainty: bool,
    done: Callable[[float], None],
) -> Iterator[Slab]:
    count, rows, columns = y.shape
    thickness = _thickness(count, rows * columns)
    for start in range(0, count, thickness):
        stop = min(count, start + thickness)
        output, spread = _ensemble(tiled, neighbourhoods(y, start, stop, manifest.slices), uncertainty, turned=True)
        slab = slice(start, stop)
        low, high = (slab, slice(0, rows), slice(0, columns)), (slab, slice(0, shape[1]), slice(0, shape[2]))
        yield Slab(low, high, output, spread)
        done(stop / count)


def _through_plane(
    y: np.ndarray,
    shape: tuple[int, ...],
    manifest: Manifest,
    acquisition: AcquisitionModel,
    tiled: TiledGenerator,
    uncertainty: bool,
    done: Callable[[float], None],
) -> Iterator[Slab]:
    """The generator of scale 1 sharpens the interpolated volume in both planes that contain k; their mean is taken."""
    base = base_image(torch.from_numpy(y), shape, acquisition, manifest.base_iterations).numpy()
    output = torch.zeros(shape)
    variance = torch.zeros(shape) if uncertainty else None
    steps = shape[1] + shape[2]
    finished = 0
    for axis in (1, 2):
        planes = np.moveaxis(base, axis, 0)
        thickness = _thickness(len(planes), planes.shape[1] * planes.shape[2])
        for start in range(0, len(planes), thickness):
            stop = min(len(planes), start + thickness)
            mean, spread = _ensemble(tiled, neighbourhoods(planes, start, stop, manifest.slices), uncertainty)
            output.movedim(axis, 0)[start:stop] += mean / 2
            if variance is not None and spread is not None:
                variance.movedim(axis, 0)[start:stop] += spread**2 / 2
            finished += stop - start
            done(finished / steps)
    thickness = _thickness(shape[1], shape[0] * shape[2])
    for start in range(0, shape[1], thickness):
        rows = slice(start, min(shape[1], start + thickness))
        low, high = (slice(0, y.shape[0]), rows, slice(0, shape[2])), (slice(0, shape[0]), rows, slice(0, shape[2]))
        yield Slab(low, high, output[high], None if variance is None else variance[high].sqrt())


def _thickness(planes: int, voxels: int) -> int:
    """Planes finished at a time: few enough for the memory, and for progress that moves."""
    return max(1, min(_SLAB_VOXELS // voxels, -(-planes // _PROGRESS_STEPS)))


def neighbourhoods(planes: np.ndarray, start: int, stop: int, slices: int) -> np.ndarray:
    """Planes start..stop with their neighbours as channels, [N, slices, H, W]; the outermost planes repeat."""
    reach = slices // 2
    offsets = np.arange(-reach, reach + 1)
    index = np.clip(np.arange(start, stop)[:, None] + offsets, 0, len(planes) - 1)
    return planes[index]


def _ensemble(
    tiled: TiledGenerator, x: np.ndarray, uncertainty: bool, *, turned: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The generator's output, or its mean and standard deviation over flips.

    Args:
        tiled: the generator.
        x: its input, [N, C, (D,) H, W].
        uncertainty: False: one run, no standard deviation.
        turned: transpositions too. Only for images whose two axes are alike: a through-plane generator has learnt
            that rows lie along the slice axis.
    """
    if not uncertainty:
        return tiled(x), None
    axes = tuple(range(-(x.ndim - 2), 0))
    total = squares = None
    count = 0
    for transposed in (False, True) if turned else (False,):
        seen = x.swapaxes(-1, -2) if transposed else x
        for flips in range(2 ** len(axes)):
            flipped = [axis for n, axis in enumerate(axes) if flips >> n & 1]
            output = tiled(np.ascontiguousarray(np.flip(seen, tuple(flipped)))).flip(flipped)
            output = output.swapaxes(-1, -2) if transposed else output
            total = output if total is None else total + output
            squares = output**2 if squares is None else squares + output**2
            count += 1
    assert total is not None
    assert squares is not None
    mean = total / count
    return mean, (squares / count - mean**2).clamp_min(0).sqrt()


def _whole(shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
