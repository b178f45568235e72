"""The fusion on a grid of half the slice thickness: quick, and fine enough for motion, grey levels and outliers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from MedSRLib.fusion.coverage import coverage_map
from MedSRLib.fusion.grid import FusionPlan, plan_fusion
from MedSRLib.fusion.prepare import Source
from MedSRLib.fusion.refinement import match, reduced
from MedSRLib.fusion.series import Series, SeriesOperator
from MedSRLib.fusion.solver import JointOperator, Prior, solve
from MedSRLib.fusion.spline import SplineGrid, resample
from MedSRLib.volumes.geometry import upsampled_affine

_ITERATIONS = 8
_TRUSTED = 0.9
"""A voxel of a series is compared where so much of its point spread lies where others measured."""
_AVERAGED = 6
"""Pixels of half a thickness, averaged where grey levels are compared."""
_OUTLIER = 2.5
"""A slice that misfits so many times more than the middle one of its series loses weight."""


@dataclass(frozen=True, eq=False)
class Said:
    """What some series say of the anatomy, as spline coefficients on the coarse grid.

    Args:
        x: the anatomy.
        trusted: 1 where one of them measured, else 0.
    """

    x: torch.Tensor
    trusted: torch.Tensor


@dataclass(frozen=True, eq=False)
class Coarse:
    """A coarse grid and the fusion on it.

    Args:
        plan: the grid.
        voxel: its spacing, millimetres.
        grid: the same in torch.
        prior: of the solver.
    """

    plan: FusionPlan
    voxel: float
    grid: SplineGrid
    prior: Prior

    @classmethod
    def of(
        cls, sources: Sequence[Source], device: torch.device, prior: Prior, plan: FusionPlan | None = None
    ) -> Coarse:
        """Over the box of a finer grid, or the first series'."""
        volumes = [source.series.volume for source in sources]
        box = plan or plan_fusion(volumes)
        voxel = max(max(box.spacing), min(source.series.thickness for source in sources) / 2)
        shape = [max(2, math.ceil(n * s / voxel)) for n, s in zip(box.shape, reversed(box.spacing), strict=True)]
        plan = replace(box, shape=(shape[0], shape[1], shape[2]), affine=upsampled_affine(box.affine, box.shape, shape))
        return cls(plan, voxel, SplineGrid(plan.shape, device), prior)

    @property
    def affine(self) -> np.ndarray:
        """IJK to RAS millimetres."""
        return self.plan.affine

    def reduced(self, source: Source) -> Series:
        """The series with pixels about as large as the grid's voxels."""
        return reduced(source.series, self.voxel)

    def coefficients(self, x: torch.Tensor) -> torch.Tensor:
        """Of the spline through x."""
        return self.grid.coefficients(x)

    def estimate(self, sources: Sequence[Source], *, step: Callable[[], None]) -> torch.Tensor:
        """x as some series say it, [k, j, i]."""
        series = [self.reduced(source) for source in sources]
        joint = JointOperator(series, self.affine, self.plan.shape, self.grid.device)
        measured = [torch.from_numpy(one.volume.voxels).to(self.grid.device) for one in series]
        weights = [
            source.weight(one).to(self.grid.device) * part.weight
            for source, one, part in zip(sources, series, joint.parts, strict=True)
        ]
        start = torch.full(self.plan.shape, float(np.mean([y.mean().item() for y in measured])))
        return solve(
            joint, measured, weights, self.prior, start.to(self.grid.device),
            iterations=_ITERATIONS, reweightings=1, step=step,
        )  # fmt: skip

    def covered(self, sources: Sequence[Source]) -> torch.Tensor:
        """1 where one of some series measured, else 0."""
        return torch.from_numpy((coverage_map(sources, self.plan) > 0).astype(np.float32)).to(self.grid.device)

    def what(self, sources: Sequence[Source], *, step: Callable[[], None]) -> Said:
        """What some series say."""
        x = self.coefficients(self.estimate(sources, step=step))
        return Said(x, self.coefficients(self.covered(sources)))

    def compare(
        self, source: Source, c: torch.Tensor, trusted: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What a series measured, what an estimate says it would, and the weights, [k, j, i] each.

        Args:
            source: the series.
            c: coefficients of the estimate.
            trusted: coefficients of where the estimate rests on measurements; None: everywhere.
        """
        series = self.reduced(source)
        operator = SeriesOperator(series, self.affine, self.grid)
        weight = operator.weight * source.weight(series).to(self.grid.device)
        if trusted is not None:
            weight = weight * (operator.apply(trusted) > _TRUSTED)
        return torch.from_numpy(series.volume.voxels).to(self.grid.device), operator.apply(c), weight

    def averaged(
        self, measured: torch.Tensor, simulated: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What ``compare`` returns, averaged in-plane over a few slice thicknesses."""

        def pooled(y: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(y[:, None], _AVERAGED, ceil_mode=True, count_include_pad=False)[:, 0]

        total = pooled(weight)
        share = total.clamp_min(1e-9)
        return pooled(measured * weight) / share, pooled(simulated * weight) / share, total


def settle(
    sources: Sequence[Source], plan: FusionPlan, device: torch.device, prior: Prior, *, step: Callable[[], None]
) -> torch.Tensor:
    """The coarse fusion of all series, on the final grid; slices that fit nothing lose their weight on the way.

    Args:
        sources: changed: ``fit``, ``noise``, ``slice_misfits``, ``slice_weights``.
        plan: the final grid.
        device: of the tensors.
        prior: of the solver.
        step: called in every iteration; raises to cancel.
    """
    coarse = Coarse.of(sources, device, prior, plan)
    x = coarse.estimate(sources, step=step)
    if _weigh_slices(sources, coarse, x):
        x = coarse.estimate(sources, step=step)
        _weigh_slices(sources, coarse, x)
    c = coarse.coefficients(x)
    for source in sources:
        source.fit = match(*coarse.compare(source, c))
        source.noise = max(source.noise, source.fit.misfit)
    return resample(x, np.linalg.inv(coarse.affine) @ plan.affine, plan.shape, step)[0]


def _weigh_slices(sources: Sequence[Source], coarse: Coarse, x: torch.Tensor) -> bool:
    """Each slice's misfit and weight; whether any weight changed."""
    c = coarse.coefficients(x)
    changed = False
    for source in sources:
        source.slice_weights = np.ones(len(source.slice_weights))
        measured, simulated, weight = coarse.compare(source, c)
        squares = (weight * (measured - simulated) ** 2).sum(dim=(1, 2)).double()
        total = weight.sum(dim=(1, 2)).double()
        misfits = torch.where(total > 0, squares / total.clamp_min(1e-9), 0.0).sqrt().cpu().numpy()
        source.slice_misfits = misfits
        usual = float(np.median(misfits[misfits > 0])) if (misfits > 0).any() else 0.0
        if usual > 0:
            ratio = misfits / (_OUTLIER * usual)
            source.slice_weights = np.where(ratio > 1, ratio.clip(1) ** -4, 1.0)
        changed |= bool((source.slice_weights < 1).any())
    return changed
