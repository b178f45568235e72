"""The anatomy that all series agree on: weighted least squares with a small edge-preserving prior.

    min over x:  sum_s |W_s^(1/2) (y_s - A_s T_s x)|^2  +  strength * sum_v sqrt(eps^2 + |grad x - t grad m|^2_v)

m is a network's volume and t how far its edges are believed, voxel by voxel: 0 where several series say what there is,
1 where one series is alone and says nothing of what lies between its slices. The prior is a Charbonnier penalty
(Charbonnier et al. 1997), solved by reweighting; each weighted problem by conjugate gradients on its normal equations
(Hestenes and Stiefel 1952) with a diagonal preconditioner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from MedSRLib.fusion.series import Series, SeriesOperator
from MedSRLib.fusion.spline import SplineGrid


class JointOperator:
    """All series' A_s T_s on one grid.

    Args:
        series: what is measured.
        affine: of the anatomy's grid, IJK to RAS millimetres.
        shape: of the anatomy, [k, j, i].
        device: of all tensors.
    """

    def __init__(
        self, series: Sequence[Series], affine: np.ndarray, shape: Sequence[int], device: torch.device
    ) -> None:
        self.grid = SplineGrid(shape, device)
        self.parts = [SeriesOperator(one, affine, self.grid) for one in series]

    def apply(self, x: torch.Tensor) -> list[torch.Tensor]:
        """A_s T_s x of every series."""
        c = self.grid.coefficients(x)
        return [part.apply(c) for part in self.parts]

    def adjoint(self, ys: Sequence[torch.Tensor]) -> torch.Tensor:
        """The sum over the series of the transposes."""
        c = torch.zeros(int(np.prod(self.grid.padded)), device=self.grid.device)
        for part, y in zip(self.parts, ys, strict=True):
            part.adjoint(y, c)
        return self.grid.coefficients_adjoint(c)


@dataclass(frozen=True)
class Prior:
    """How differences between neighbouring voxels of x - m are penalised.

    Args:
        strength: of the penalty, in units of the data term.
        edge: difference between neighbours above which the penalty grows no faster than linearly.
    """

    strength: float
    edge: float


def solve(
    joint: JointOperator,
    measured: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    prior: Prior,
    start: torch.Tensor,
    *,
    believed: Sequence[torch.Tensor] | None = None,
    iterations: int = 8,
    reweightings: int = 2,
    step: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """x of the module's equation.

    Args:
        joint: the operators.
        measured: y_s, normalised, [k, j, i] each.
        weights: W_s, one over the variance of each voxel's noise; 0 where a voxel does not count.
        prior: see ``Prior``.
        start: first x, [k, j, i].
        believed: t grad m, as ``gradients`` gives it; None for 0.
        iterations: of conjugate gradients for each reweighting.
        reweightings: of the prior.
        step: called after every iteration; raises to cancel.
    """
    x = start.clone()
    back = joint.adjoint(weights).clamp_min(0)
    for _ in range(reweightings):
        surplus = gradients(x)
        if believed is not None:
            surplus = [g - m for g, m in zip(surplus, believed, strict=True)]
        lag = prior.strength / torch.stack(surplus).square().sum(dim=0).add(prior.edge**2).sqrt()

        def normal(d: torch.Tensor, lag: torch.Tensor = lag) -> torch.Tensor:
            smooth = _transposed_gradients([lag * g for g in gradients(d)])
            return smooth.add_(joint.adjoint([w * y for w, y in zip(weights, joint.apply(d), strict=True)]))

        residual = joint.adjoint([w * (y - a) for w, y, a in zip(weights, measured, joint.apply(x), strict=True)])
        residual -= _transposed_gradients([lag * g for g in surplus])
        del surplus
        inverse = 1 / (back + 6 * lag)
        z = inverse * residual
        direction = z.clone()
        power = float((residual * z).sum())
        for _ in range(iterations):
            if power <= 0:
                break
            image = normal(direction)
            length = power / float((direction * image).sum())
            x += length * direction
            residual -= length * image
            z = inverse * residual
            before, power = power, float((residual * z).sum())
            direction = z + (power / before) * direction
            step()
    return x


def gradients(x: torch.Tensor) -> list[torch.Tensor]:
    """D x: forward differences along every axis, 0 at the last voxel."""
    differences = []
    for axis in range(3):
        d = torch.zeros_like(x)
        d.narrow(axis, 0, x.shape[axis] - 1).copy_(x.diff(dim=axis))
        differences.append(d)
    return differences


def _transposed_gradients(differences: Sequence[torch.Tensor]) -> torch.Tensor:
    """D', the transpose of ``gradients``; its arguments are 0 at the last voxels."""
    total = torch.zeros_like(differences[0])
    for axis, d in enumerate(differences):
        n = d.shape[axis] - 1
        flow = d.narrow(axis, 0, n)
        total.narrow(axis, 0, n).sub_(flow)
        total.narrow(axis, 1, n).add_(flow)
    return total
