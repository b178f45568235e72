"""What a network says of the places between slices: each series through the generator, and their mean.

Where several series measure the anatomy, what they agree on comes from the solver; the generator's part is what none
of them measured. Where one series is alone, its enhanced volume is all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.result import FidelityReport
from MedSRLib.errors import EnhancementCancelled, InputError, UsageError
from MedSRLib.fusion.series import Series
from MedSRLib.fusion.spline import resample
from MedSRLib.models.catalogue import Model, resolve_model

_LITE, _FULL = "isotropic-lite", "isotropic"
_FEATHER = 1.0
"""Slice spacings over which a series' part fades towards the faces of its box."""
_LEAST_FACTOR = 1.01


def choose_model(model: str | Path | Model, device: torch.device) -> Model:
    """The through-plane model of a fusion; "auto" is the full one on a GPU where it is installed, else the light one.

    Raises:
        UsageError: the model is not a through-plane one.
        ModelError: the model is unknown or damaged.
    """
    chosen = model if isinstance(model, Model) else resolve_model(model, device.type, lite=_LITE, full=_FULL)
    if not chosen.manifest.kind.has_factor_range:
        raise UsageError(f"{chosen.manifest.name} does not make slices between slices: fuse with an isotropic model")
    return chosen


@dataclass(frozen=True)
class Believed:
    """What the generator says.

    Args:
        x: on the grid of the fusion, [k, j, i].
        trust: how far it is believed against the measurements: 1 where one series is alone, 0 where two or more
            measured, between them at the faces of the series' boxes.
        report: of the first series that went through it, for the model's name and hashes.
        notes: what the user should know.
    """

    x: torch.Tensor
    trust: torch.Tensor
    report: FidelityReport | None
    notes: list[str]


def believe(
    series: Sequence[Series],
    names: Sequence[str],
    estimate: torch.Tensor,
    affine: np.ndarray,
    model: Model,
    *,
    device: str,
    precision: str,
    progress: Callable[[float, str], None],
    cancelled: Callable[[], bool],
) -> Believed:
    """The mean of all series' enhanced volumes on the fusion's grid; the estimate where there are none.

    Args:
        series: normalised, without motion between their slices.
        names: of the series, for the sentences.
        estimate: x so far, [k, j, i].
        affine: of its grid, IJK to RAS millimetres.
        model: a through-plane model.
        device, precision: as for ``enhance``.
        progress, cancelled: as for ``enhance``.

    Raises:
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    total, weights = torch.zeros_like(estimate), torch.zeros_like(estimate)
    report: FidelityReport | None = None
    notes = []

    def check() -> None:
        if cancelled():
            raise EnhancementCancelled("cancelled: nothing was written")

    for n, (one, name) in enumerate(zip(series, names, strict=True)):

        def told(fraction: float, message: str, n: int = n) -> None:
            progress((n + fraction) / len(series), message)

        assert one.motion.ndim == 2
        try:
            enhanced = enhance(
                one.volume, model, device=device, precision=precision, progress=told, cancelled=cancelled, force=True
            )
        except InputError as error:
            # Slices as close as their pixels leave nothing open that a generator would fill.
            notes.append(f"{name} went in without the generator: {error}")
            continue
        report = report or enhanced.report
        to_index = np.linalg.inv(one.motion @ enhanced.volume.affine) @ affine
        x = torch.from_numpy(enhanced.volume.voxels.astype(np.float32)).to(estimate.device)
        values, depth = resample(x, to_index, estimate.shape, check)
        fade = _FEATHER * one.volume.spacing[2] / min(enhanced.volume.spacing)
        weight = (depth / fade).clamp(max=1)
        total += weight * values
        weights += weight
    x = torch.where(weights > 0, total / weights.clamp_min(1e-6), estimate)
    return Believed(x, (2 - weights).clamp(0, 1) * (weights > 0), report, notes)
