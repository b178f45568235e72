"""The figures of the fidelity report, gathered slab by slab, and its warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    import torch

_UNCERTAIN = 0.02
"""A voxel counts as uncertain when its spread is above this part of the intensity range."""


@dataclass
class FidelityTally:
    """Sums gathered slab by slab, all in the volume's units.

    Args:
        acquisition: the A that is assumed.
        width: the intensity range that percentages refer to.
    """

    acquisition: AcquisitionModel
    width: float
    misfit: float = 0.0
    neighbours: float = 0.0
    neighbour_power: float = 0.0
    low_sum: float = 0.0
    low_count: int = 0
    high_sum: float = 0.0
    high_count: int = 0
    base_gradient: float = 0.0
    high_gradient: float = 0.0
    added: float = 0.0
    uncertain: int = 0
    spread_count: int = 0

    def add(self, y: torch.Tensor, base: torch.Tensor, result: torch.Tensor, spread: torch.Tensor | None) -> None:
        """Counts one slab.

        Args:
            y: the measurement [k, j, i].
            base: its plain cubic interpolation on the result's grid.
            result: the final voxels as they are written, as float32.
            spread: the uncertainty, or None.
        """
        residual = self.acquisition.apply(result, y.shape) - y
        self.misfit += float((residual**2).double().sum())
        self.neighbours += float((residual[..., 1:] * residual[..., :-1]).double().sum())
        self.neighbour_power += float((residual[..., 1:] ** 2 + residual[..., :-1] ** 2).double().sum()) / 2
        self.low_sum += float(y.double().sum())
        self.low_count += y.numel()
        self.high_sum += float(result.double().sum())
        self.high_count += result.numel()
        self.base_gradient += _gradient_energy(base)
        self.high_gradient += _gradient_energy(result)
        self.added += float(((result - base) ** 2).double().sum())
        if spread is not None:
            self.uncertain += int((spread > _UNCERTAIN * self.width).sum())
            self.spread_count += spread.numel()

    def figures(self) -> dict[str, Any]:
        """The report's figures; consistency and shift also as parts of the intensity range."""
        consistency = float(np.sqrt(self.misfit / max(1, self.low_count)))
        shift = self.high_sum / max(1, self.high_count) - self.low_sum / max(1, self.low_count)
        figures: dict[str, Any] = {
            "intensity_range": self.width,
            "lr_consistency_rmse": consistency,
            "lr_consistency_percent": 100 * consistency / self.width,
            "residual_correlation": self.neighbours / self.neighbour_power if self.neighbour_power else 0.0,
            "mean_shift": shift,
            "mean_shift_percent": 100 * shift / self.width,
            "edge_sharpness_gain": float(np.sqrt(self.high_gradient / self.base_gradient))
            if self.base_gradient
            else 1.0,
            "added_detail_rms": float(np.sqrt(self.added / max(1, self.high_count))),
        }
        if self.spread_count:
            figures["uncertain_share_percent"] = 100 * self.uncertain / self.spread_count
        return figures


def _gradient_energy(x: torch.Tensor) -> float:
    """Sum of squared differences between neighbours along every axis longer than one voxel."""
    return sum(float(x.diff(dim=axis).square().double().sum()) for axis in range(3) if x.shape[axis] > 1)


def domain_warnings(volume: Volume, manifest: Manifest) -> list[str]:
    """Sentences for an input that is not like what the model was trained on."""
    warnings = []
    modalities = manifest.domain["modalities"]
    if not modalities:
        warnings.append(f"{manifest.name} was not trained on medical images: do not trust its details")
    elif volume.modality == "other":
        warnings.append(f"the modality is not stated: {manifest.name} was trained on {', '.join(modalities)} only")
    elif volume.modality not in modalities:
        warnings.append(f"{manifest.name} was trained on {', '.join(modalities)}, not on {volume.modality}")
    span = manifest.domain.get("spacing_mm")
    in_plane = volume.spacing[:2]
    if span and (min(in_plane) < span[0] or max(in_plane) > span[1]):
        warnings.append(
            f"pixels of {in_plane[0]:.2f} x {in_plane[1]:.2f} mm lie outside {span[0]:g} to {span[1]:g} mm, "
            f"the range {manifest.name} was trained for"
        )
    return warnings
