"""Thick series of one anatomy to one isotropic volume: one call from volumes to the fused volume and its report."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MedSRLib.acquisition.slice_profiles import SliceProfile, profile_reach
from MedSRLib.enhancement.devices import device_label, device_notes, resolve_device
from MedSRLib.errors import EnhancementCancelled
from MedSRLib.fusion.checks import require_fusable
from MedSRLib.fusion.coarse import settle
from MedSRLib.fusion.coverage import coverage_map
from MedSRLib.fusion.generator import believe, choose_model
from MedSRLib.fusion.grid import Field, FusionPlan, plan_fusion
from MedSRLib.fusion.motion import place_series, place_slices
from MedSRLib.fusion.prepare import Source, prepare
from MedSRLib.fusion.report import fusion_report
from MedSRLib.fusion.rigid import mean_motion
from MedSRLib.fusion.solver import JointOperator, Prior, gradients, solve
from MedSRLib.models.catalogue import Model
from MedSRLib.progress import Cancelled, Progress
from MedSRLib.volumes.intensity import cast_like, smallest_possible
from MedSRLib.volumes.volume import Volume

PRIOR = Prior(strength=3.0, edge=0.02)
"""Chosen on T1 volumes acquired as three stacks of factor 5 with 1 % of noise, network first: on two heads 28.7 and
28.9 dB, with a third of the strength 28.3 and 28.9, with three times 27.7 and 27.5."""
_SHARES = {
    "registration": (0.1, 400),
    "slices": (0.2, 4000),
    "coarse": (0.05, 10),
    "generator": (0.5, 1),
    "solving": (0.25, 5),
}
"""Parts of the time that the stages take, and the steps that they have as a rule."""
_ITERATIONS = 4
_REWEIGHTINGS = 2


@dataclass(frozen=True)
class Fused:
    """What ``fuse`` returns.

    Args:
        volume: isotropic, where the first series lies, with its dtype and grey levels.
        report: plain values that ``json`` can write: motion, gain and agreement of each series, coverage, model.
        coverage: how many series measured each voxel, uint8, on the grid of ``volume``.
    """

    volume: Volume
    report: dict[str, Any]
    coverage: Volume


def fuse(
    volumes: Sequence[Volume],
    *,
    names: Sequence[str] | None = None,
    spacing: float | None = None,
    like: Volume | None = None,
    field: Field = "first",
    profile: SliceProfile = "gaussian",
    registration: bool = True,
    slice_motion: bool = False,
    generator: bool = True,
    model: str | Path | Model = "auto",
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Fused:
    """Makes one isotropic volume of several series of thick slices.

    Args:
        volumes: two or more series of one contrast, of any orientation; they are not changed. The result lies where
            the first one does, and has its grey levels and dtype.
        names: of the series, for messages and the report; None for their numbers.
        spacing: of the result in millimetres; None for the finest pixels.
        like: a volume whose grid the result gets.
        field: of the result: the "first" series' box, the "union" or the "intersection" of all.
        profile: of the slices: "gaussian", "box" or "slr".
        registration: look for rigid motion between the series; False: they lie where the scanner says.
        slice_motion: look for the motion of each slice too.
        generator: let a through-plane model fill what no series measured.
        model: name in the catalogue, model folder, or "auto".
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: of the generator: "auto", "float32", "float16" or "bfloat16".
        progress: called with a fraction 0..1 and a message.
        cancelled: asked in every iteration.

    Raises:
        InputError: the series cannot be one volume.
        ModelError: the model is unknown or damaged.
        UsageError: an option's value is wrong.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    started = time.monotonic()
    names = [f"series {n}" for n in range(1, len(volumes) + 1)] if names is None else list(names)
    warnings = [*device_notes(device), *require_fusable(volumes, names, registration=registration or slice_motion)]
    profile_reach(profile, 1.0)
    plan = plan_fusion(volumes, spacing=spacing, like=like, field=field)
    target = resolve_device(device)
    chosen = choose_model(model, target) if generator else None
    follow = _Progress(progress, cancelled, generator=generator)

    sources = prepare(volumes, names, profile)
    follow.stage("registering", "registration")
    place_series(
        sources, volumes, target, PRIOR, registration=registration, moving=slice_motion, step=follow.step
    )  # fmt: skip
    if slice_motion:
        follow.stage("following the slices", "slices")
        place_slices(sources, target, PRIOR, step=follow.step)
    follow.stage("fusing coarsely", "coarse")
    x = settle(sources, plan, target, PRIOR, step=follow.step)

    believed, edges = None, None
    if chosen is not None:
        follow.stage("", "generator")
        still = [_without_slice_motion(source, x, plan) for source in sources]
        believed = believe(
            still, names, x, plan.affine, chosen,
            device=device, precision=precision, progress=follow.part, cancelled=cancelled or (lambda: False),
        )  # fmt: skip
        x = believed.x
        edges = [believed.trust * slope for slope in gradients(believed.x)]
        warnings += believed.notes

    follow.stage(f"fusing {len(volumes)} series", "solving")
    joint = JointOperator([source.series for source in sources], plan.affine, plan.shape, target)
    measured = [torch.from_numpy(source.series.volume.voxels).to(target) for source in sources]
    weights = [s.weight().to(target) * part.weight for s, part in zip(sources, joint.parts, strict=True)]
    x = solve(
        joint,
        measured,
        weights,
        PRIOR,
        x,
        believed=edges,
        iterations=_ITERATIONS,
        reweightings=_REWEIGHTINGS,
        step=follow.step,
    )

    coverage = coverage_map(sources, plan)
    first = volumes[0]
    smallest = smallest_possible(first.voxels, first.modality)
    grey = (x * sources[0].gain + sources[0].offset).cpu().numpy()
    grey[coverage == 0] = float(first.voxels.min())
    if smallest is not None:
        grey = np.maximum(grey, smallest)
    voxels = cast_like(grey, first.voxels.dtype)
    result = Volume(voxels, plan.affine, first.modality, frame_of_reference=first.frame_of_reference)
    final = torch.from_numpy((voxels.astype(np.float32) - sources[0].offset) / sources[0].gain).to(target)
    report = fusion_report(
        sources,
        plan,
        final,
        joint,
        weights,
        coverage,
        believed=believed,
        warnings=warnings,
        field="like" if like is not None else field,
        slice_profile=profile,
        registration=registration,
        slice_motion=slice_motion,
        fidelity=1.0 if chosen is None or chosen.fidelity is None else chosen.fidelity,
        device=device_label(target),
        seconds=time.monotonic() - started,
    )
    covered = Volume(coverage, plan.affine, first.modality, frame_of_reference=first.frame_of_reference)
    return Fused(result, report, covered)


def _without_slice_motion(source: Source, x: torch.Tensor, plan: FusionPlan) -> Any:
    """The series, or where its slices moved apart what it would have measured had they not."""
    series = source.series
    if series.motion.ndim == 2:
        return series
    still = replace(series, motion=mean_motion(series.motion))
    joint = JointOperator([still], plan.affine, plan.shape, x.device)
    simulated = joint.apply(x)[0].cpu().numpy()
    return replace(still, volume=replace(series.volume, voxels=simulated))


class _Progress:
    """Fractions of the whole from steps of which nobody knows how many come.

    Args:
        progress: called with the fraction and a message; or None.
        cancelled: asked at every step; or None.
        generator: whether there is one, which takes most of the time.
    """

    def __init__(self, progress: Progress | None, cancelled: Cancelled | None, *, generator: bool) -> None:
        self._progress, self._cancelled = progress, cancelled
        self._shares = {name: share for name, share in _SHARES.items() if generator or name != "generator"}
        self._whole = sum(share for share, _ in self._shares.values())
        self._message = ""
        self._start, self._share, self._expected, self._steps = 0.0, 0.0, 1, 0

    def stage(self, message: str, name: str) -> None:
        """The next stage begins."""
        self._start += self._share
        share, self._expected = self._shares[name]
        self._message, self._share, self._steps = message, share / self._whole, 0
        self.step()

    def step(self) -> None:
        """One step of a stage is done; raises EnhancementCancelled when that is wished."""
        if self._cancelled is not None and self._cancelled():
            raise EnhancementCancelled("cancelled: nothing was written")
        # Nearly even as far as as many steps come as expected, and never beyond the stage's end.
        self.part(1 - math.exp(-self._steps / self._expected), self._message)
        self._steps += 1

    def part(self, fraction: float, message: str) -> None:
        """How far the stage is."""
        if self._progress is not None:
            self._progress(self._start + self._share * fraction, message)
