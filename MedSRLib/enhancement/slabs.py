"""interp(y) + g(y) of the formula, handed out in slabs along an axis that A leaves alone: what all tasks share.

Whether a generator predicts the residual or the image is decided here, in ``add_base``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from MedSRLib.acquisition.interpolation import interpolate_consistently
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.models.manifest import Manifest

Box = tuple[slice, slice, slice]
Generator = Callable[[torch.Tensor], torch.Tensor]
"""What is run: [N, C, (D,) H, W] float32 to [N, (D f,) H f, W f] float32 on the same device, such as a
``TiledGenerator``."""


@dataclass(frozen=True)
class Slab:
    """A part of the volume that can be finished by itself.

    Args:
        low: the slab in the measurement, array order [k, j, i].
        high: the slab in the result.
        estimate: the anatomy there as the generator sees it, normalised float32, [k, j, i].
        base: what the generator's residual was added to, of the same shape.
        spread: standard deviation of the generator's output over flips (in-plane transpositions too), or None.
    """

    low: Box
    high: Box
    estimate: torch.Tensor
    base: torch.Tensor
    spread: torch.Tensor | None


def base_image(y: torch.Tensor, shape: tuple[int, ...], acquisition: AcquisitionModel, iterations: int) -> torch.Tensor:
    """interp(y), and the back-projections that a model's residual starts from.

    Args:
        y: normalised measurement [k, j, i].
        shape: high-resolution shape [k, j, i].
        acquisition: A.
        iterations: ``base_iterations`` of the manifest.
    """
    return interpolate_consistently(y, shape, acquisition, iterations)


def add_base(output: torch.Tensor, base: torch.Tensor, manifest: Manifest) -> torch.Tensor:
    """The estimate of the anatomy: base and residual, or the generator's image by itself."""
    return output + base if manifest.predicts == "residual" else output


def with_neighbours(wanted: slice, planes: int, slices: int) -> slice:
    """The planes that ``neighbourhoods`` of some need, of so many there are."""
    reach = slices // 2
    return slice(max(0, wanted.start - reach), min(planes, wanted.stop + reach))


def neighbourhoods(planes: torch.Tensor, wanted: slice, count: int, slices: int) -> torch.Tensor:
    """Planes with their neighbours as channels, [N, slices, H, W]; the outermost of all planes repeat.

    Args:
        planes: ``with_neighbours(wanted, count, slices)`` of them, [n, H, W].
        wanted: which of all planes.
        count: of all planes.
        slices: neighbours and the plane itself.
    """
    reach = slices // 2
    numbers = torch.arange(wanted.start, wanted.stop, device=planes.device).unsqueeze(1)
    around = torch.arange(-reach, reach + 1, device=planes.device)
    index = (numbers + around).clamp(0, count - 1) - max(0, wanted.start - reach)
    return planes.index_select(0, index.flatten()).unflatten(0, index.shape)


def run_ensemble(
    generator: Generator, x: torch.Tensor, *, uncertainty: bool, turned: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The generator's output, or its mean and standard deviation over flips.

    Args:
        generator: what is run.
        x: its input, [N, C, (D,) H, W].
        uncertainty: False: one run, no standard deviation.
        turned: transpositions too. Only for images whose two axes are alike: a through-plane generator has learnt
            that rows lie along the slice axis.
    """
    if not uncertainty:
        return generator(x), None
    axes = tuple(range(-(x.ndim - 2), 0))
    total = squares = None
    count = 0
    for transposed in (False, True) if turned else (False,):
        seen = x.swapaxes(-1, -2) if transposed else x
        for flips in range(2 ** len(axes)):
            flipped = [axis for n, axis in enumerate(axes) if flips >> n & 1]
            output = generator(seen.flip(flipped)).flip(flipped)
            output = output.swapaxes(-1, -2) if transposed else output
            total = output if total is None else total + output
            squares = output**2 if squares is None else squares + output**2
            count += 1
    assert total is not None
    assert squares is not None
    mean = total / count
    return mean, (squares / count - mean**2).clamp_min(0).sqrt()


def whole(shape: tuple[int, ...]) -> Box:
    """The box of all voxels."""
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
