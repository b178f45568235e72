"""What a fusion will give and cost, in one line: before anything runs, without torch and without a look at voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from MedSRLib.enhancement.estimate import Estimate, estimate, time_for
from MedSRLib.enhancement.request import Options
from MedSRLib.errors import InputError
from MedSRLib.fusion.checks import require_one_anatomy
from MedSRLib.fusion.grid import plan_fusion
from MedSRLib.fusion.request import FusionOptions
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.volume import Volume

_PROCESS_BYTES = 0.8e9
"""Python with torch, and the images of the registration."""
_PASSES = 22
"""Of the operator or its transpose over all series, in the solver and for the report."""
_WORK = 1500
"""A sample of a pass, a spline of 64 taps, takes as long as so many multiplications of a convolution (CPU)."""
_BEFORE_SOLVING = 1.3
"""Registration and the coarse fusion, with the solver as 1."""
_SLICE_MOTION = 3.0
"""The same where every slice's motion is looked for."""


def estimate_fusion(
    volumes: Sequence[Volume],
    names: Sequence[str],
    manifest: Manifest | None,
    device_name: str,
    options: FusionOptions,
) -> Estimate:
    """What fusing some series will give and take.

    Args:
        volumes: the series; their voxels are not looked at.
        names: of the series, for messages.
        manifest: of the model; None without a generator.
        device_name: as in a report; "CPU" for the processor.
        options: of the fusion.

    Raises:
        InputError: the series cannot be one volume, as far as can be told without their voxels.
        UsageError: an option is wrong, or there are fewer than two series.
    """
    options.check()
    require_one_anatomy(volumes, names, registration=options.registration or options.slice_motion)
    plan = plan_fusion(volumes, spacing=options.spacing, field=options.field)
    voxel = max(plan.spacing)
    samples = sum(_samples(volume, voxel) for volume in volumes)
    work = samples * _PASSES * _WORK * (_SLICE_MOTION if options.slice_motion else _BEFORE_SOLVING)
    memory = _PROCESS_BYTES + plan.memory
    for volume in volumes if manifest is not None else ():
        assert manifest is not None
        with suppress(InputError):  # slices as close as their pixels go in without the generator
            one = estimate(volume.shape, np.float32, manifest, device_name, Options(force=True), spacing=volume.spacing)
            work += one.multiplications
            memory = max(memory, one.memory + plan.memory / 2)
    seconds, basis = time_for(work, device_name)
    return Estimate(plan.shape, memory, work, seconds, basis)


def _samples(volume: Volume, voxel: float) -> float:
    """Points of the anatomy that one pass over a series looks at."""
    k, j, i = volume.shape
    columns, rows, step = volume.spacing
    fine = math.prod(n * max(1.0, math.ceil(pixel / voxel)) for n, pixel in ((j, rows), (i, columns)))
    return fine * (k + 2) * max(2, math.ceil(step / voxel))
