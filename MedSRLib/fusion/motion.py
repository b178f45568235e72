"""Where every series and every slice lies: registration, then refinement against what the other series say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from MedSRLib.errors import InputError
from MedSRLib.fusion.checks import of_one_frame, require_overlap
from MedSRLib.fusion.coarse import Coarse, Said
from MedSRLib.fusion.prepare import Source
from MedSRLib.fusion.refinement import match, refine_motion
from MedSRLib.fusion.registration import register
from MedSRLib.fusion.rigid import motion_between
from MedSRLib.fusion.solver import Prior
from MedSRLib.volumes.volume import Volume

_FARTHEST_TURN = 20.0
_FARTHEST_SHIFT = 30.0
"""Degrees and millimetres beyond which a motion between series of one examination is not believed."""
_FREE_TURN = 45.0
"""The same where nobody says how the series lie to each other, and of subjects that move as they like."""
_SLICE_TURN = 10.0
_SLICE_SHIFT = 10.0
"""Degrees and millimetres beyond which a slice's motion is not believed; the slice stays with its series."""
_LEAST_CORRELATION = 0.6
"""Between a series and what the others say it would measure, within the body: 0.75 and more between real T2 stacks of
one pelvis with strongly uneven coils, 0.45 and less between T1 and T2 there."""
_FOREGROUND = 0.1
"""Parts of the bright voxels' grey level above which a voxel belongs to the body."""
_SWEEPS = 2
_SLICE_SWEEPS = 2
_SETTLED = 0.1
"""Degrees and millimetres: where no series moved further in the first sweep, there is no second one."""

Step = Callable[[], None]


def place_series(
    sources: Sequence[Source],
    volumes: Sequence[Volume],
    device: torch.device,
    prior: Prior,
    *,
    registration: bool,
    moving: bool = False,
    step: Step,
) -> None:
    """Finds every series' motion, gain and offset against the first one.

    Args:
        sources: changed: ``series.motion``, grey levels, ``fit``.
        volumes: as they were read.
        device: of the tensors.
        prior: of the solver.
        registration: look for motion at all.
        moving: the subject may have turned between the series, as a fetus does.
        step: called in every iteration; raises to cancel.

    Raises:
        InputError: a series lies elsewhere, moved further than is plausible, or shows another contrast.
    """
    first = sources[0]
    for source, volume in zip(sources[1:], volumes[1:], strict=True):
        start = np.eye(4)
        same = of_one_frame(volumes[0], volume)
        if not same:
            start[:3, 3] = _centre(volumes[0]) - _centre(volume)
        require_overlap(volumes[0], volume, start, source.name)
        source.series = replace(source.series, motion=start)
        if registration:
            found = register(source.series, first.series, step=step)
            _require_plausible(found, start, volume, source.name, free=moving or not same)
            source.series = replace(source.series, motion=found)
            require_overlap(volumes[0], volume, found, source.name)
    coarse = Coarse.of(sources, device, prior)
    alone = coarse.what([first], step=step)
    for source in sources[1:]:
        _match_grey_levels(source, coarse, alone)
    for sweep in range(_SWEEPS if registration else 1):
        moved = 0.0
        for source, volume in zip(sources[1:], volumes[1:], strict=True):
            said = coarse.what([other for other in sources if other is not source], step=step)
            if registration:
                before = source.series.motion
                after = refine_motion(coarse.reduced(source), said.x, coarse.affine, coarse.grid, check=step)
                free = moving or not of_one_frame(volumes[0], volume)
                _require_plausible(after, np.eye(4), volume, source.name, free=free)
                source.series = replace(source.series, motion=after)
                moved = max(moved, *motion_between(before, after, _centre(volume)))
            _match_grey_levels(source, coarse, said, name=source.name)
        if moved < _SETTLED and sweep == 0:
            break


def place_slices(sources: Sequence[Source], device: torch.device, prior: Prior, *, step: Step) -> None:
    """Finds the motion of every slice of every series against what the other series say, in two sweeps.

    Args:
        sources: changed: ``series.motion`` becomes [k, 4, 4].
        device, prior, step: as for ``place_series``.
    """
    coarse = Coarse.of(sources, device, prior)
    whole = [source.series.motion for source in sources]
    for source in sources:
        count = source.series.volume.shape[0]
        source.series = replace(source.series, motion=np.repeat(source.series.motion[None], count, axis=0))
    for _ in range(_SLICE_SWEEPS):
        for source, motion in zip(sources, whole, strict=True):
            said = coarse.what([other for other in sources if other is not source], step=step)
            low = coarse.reduced(source)
            moved = source.series.motion.copy()
            for k in range(len(moved)):
                found = refine_motion(
                    low, said.x, coarse.affine, coarse.grid, slices=[k], trusted=said.trusted, check=step
                )
                turn, shift = motion_between(motion, found, _slice_centre(source, k))
                if turn <= _SLICE_TURN and shift <= _SLICE_SHIFT:
                    moved[k] = found
            source.series = replace(source.series, motion=moved)


def _match_grey_levels(source: Source, coarse: Coarse, said: Said, *, name: str | None = None) -> None:
    """Takes out gain and offset against what others say; where a name is given, refuses another contrast."""
    measured, simulated, weight = coarse.compare(source, said.x, said.trusted)
    # The others' slices blur what this series shows sharply; averaged over more than a slice both are alike, or the
    # lost contrast would count as gain.
    source.fit = match(*coarse.averaged(measured, simulated, weight))
    if source.fit.gain > 0:
        source.rescale(source.fit)
        measured = (measured - source.fit.offset) / source.fit.gain
    if name is None:
        return
    body = weight * (simulated > _FOREGROUND * _upper(simulated[weight > 0]))
    source.fit = match(measured, simulated, body)
    if source.fit.correlation < _LEAST_CORRELATION:
        raise InputError(
            f"{name} shows another contrast than the other series (correlation {source.fit.correlation:.2f} where they "
            "overlap), or lies elsewhere: choose series of one contrast and one place"
        )


def _upper(values: torch.Tensor) -> float:
    """The grey level that one in a hundred voxels is above."""
    return float(np.percentile(values.cpu().numpy(), 99)) if values.numel() else 0.0


def _require_plausible(motion: np.ndarray, start: np.ndarray, volume: Volume, name: str, *, free: bool) -> None:
    turn, shift = motion_between(start, motion, _centre(volume))
    # Between frames of reference nobody knows the shift, and the start is a guess.
    if turn > (_FREE_TURN if free else _FARTHEST_TURN) or (not free and shift > _FARTHEST_SHIFT):
        moves = "" if free else ", follow a subject that moves (--slice-motion)"
        raise InputError(
            f"registration would move {name} by {turn:.0f} degrees and {shift:.0f} mm, which is not plausible: check "
            f"that the series show the same place{moves}, or leave registration out (--no-registration)"
        )


def _centre(volume: Volume) -> np.ndarray:
    """Of the volume's box, RAS millimetres where the scanner says."""
    middle = [(n - 1) / 2 for n in reversed(volume.shape)]
    centre: np.ndarray = (volume.affine @ [*middle, 1.0])[:3]
    return centre


def _slice_centre(source: Source, k: int) -> np.ndarray:
    _, rows, columns = source.series.volume.shape
    centre: np.ndarray = (source.series.volume.affine @ [(columns - 1) / 2, (rows - 1) / 2, k, 1.0])[:3]
    return centre
