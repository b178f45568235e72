"""The figures of the fidelity report, gathered slab by slab, and its warnings."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.files import sample_slices
from MedSRLib.volumes.intensity import IntensityScaling, dense_bone_share
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    import torch

_UNCERTAIN = 0.02
"""A voxel counts as uncertain when its spread is above this part of the intensity range."""

_FOREGROUND = 0.05
"""Normalised voxels above this are anatomy, where the residual is judged: noise in air is another one, or none."""
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""What this leaves of an image along an axis is not its fine detail."""
_ABOVE_NOISE = 3.0
"""Detail counts where it is so many times the noise: below, noise that is left in the result passes for detail."""
_LEAST_DETAIL = 0.002
"""Detail, in parts of the range, that counts where there is no noise."""
_FEWEST = 200
"""Voxels of such detail below which nothing is said of it."""
_MISSING = 0.15
"""Share of the strength of detail from which on a warning is due.

Measured with inplane-x2-lite and inplane-x4-lite on crops of 21 volumes that were not trained on, at 0, 1 and 3 % of
noise and native: good results lack at most 0.11, and 0.06 in nine cases of ten; those blurred by 2.5 of their voxels (5
at x4) 0.34 or more.
"""
_MUCH_BONE = 0.2
"""Dense bone in tissue beyond which a CT is unlike those of trunk and head: 0.03 at most in 14 of chest, abdomen and
pelvis."""
_LITTLE_GAIN = 0.3
"""dB over interpolation with back-projection that is hardly to be seen."""


@dataclass
class FidelityTally:
    """Sums gathered slab by slab, all in the volume's units.

    Args:
        acquisition: the A that is assumed.
        scaling: of the volume; its width is the intensity range that percentages refer to.
        noise: standard deviation that the input was taken to have.
    """

    acquisition: AcquisitionModel
    scaling: IntensityScaling
    noise: float = 0.0
    _sums: dict[str, Any] = field(default_factory=lambda: defaultdict(float))

    def add(self, y: torch.Tensor, base: torch.Tensor, result: torch.Tensor, spread: torch.Tensor | None) -> None:
        """Counts one slab.

        Args:
            y: the measurement [k, j, i].
            base: its plain cubic interpolation on the result's grid.
            result: the final voxels as they are written, as float32.
            spread: the uncertainty, or None.
        """
        explained = self.acquisition.apply(result, y.shape)
        self._count("misfit", _energy(y - explained))
        self._judge_residual(y, explained)
        self._count("low", _sum(y), y.numel())
        self._count("high", _sum(result), result.numel())
        self._count("base_gradient", _gradient_energy(base))
        self._count("high_gradient", _gradient_energy(result))
        self._count("added", _energy(result - base))
        if spread is not None:
            self._count("uncertain", _sum(spread > _UNCERTAIN * self.scaling.width), spread.numel())

    def _count(self, name: str, amount: torch.Tensor, voxels: float | torch.Tensor = 0.0) -> None:
        """Adds to a sum, on its device, which is not waited for."""
        self._sums[name] = self._sums[name] + amount
        self._sums[f"{name}_voxels"] = self._sums[f"{name}_voxels"] + voxels

    def _judge_residual(self, y: torch.Tensor, explained: torch.Tensor) -> None:
        """Whether what is left of the measurement in anatomy is noise, or detail that the result lacks.

        The residual of a result that lacks detail goes along with the detail that it still has: the slope of one on
        the other is the share that is missing. Noise has no part in it, of whatever spectrum, as scanners and
        reconstructions leave it: a correlation of the residual with itself cannot tell one from the other.
        """
        anatomy = y > self.scaling.offset + _FOREGROUND * self.scaling.width
        residual = (y - explained) * anatomy
        self._count("left", _energy(residual), _sum(anatomy))
        both = anatomy[..., 1:] & anatomy[..., :-1]
        one, next_one = residual[..., :-1] * both, residual[..., 1:] * both
        self._count("neighbours", _sum(one * next_one))
        self._count("neighbour_power", (_energy(one) + _energy(next_one)) / 2)
        smooth = explained
        for axis, factor in zip((-1, -2, -3), self.acquisition.factors, strict=True):
            smooth = smooth if factor == 1 else _smoothed(smooth, axis)
        detail = explained - smooth
        least = max(_ABOVE_NOISE * self.noise, _LEAST_DETAIL * self.scaling.width)
        counted = anatomy & (detail.abs() > least)
        detail = detail * counted
        self._count("missing", _sum(residual * detail), _sum(counted))
        self._count("detail", _energy(detail))

    def figures(self) -> dict[str, Any]:
        """The report's figures; consistency and shift also as parts of the intensity range."""
        total = defaultdict(float, {name: float(value) for name, value in self._sums.items()})

        def mean(name: str) -> float:
            return total[name] / max(1.0, total[f"{name}_voxels"])

        def rms(name: str, voxels: str) -> float:
            return float(np.sqrt(total[name] / max(1.0, total[f"{voxels}_voxels"])))

        consistency, shift, width = rms("misfit", "low"), mean("high") - mean("low"), self.scaling.width
        left, power = rms("left", "left"), total["neighbour_power"]
        figures: dict[str, Any] = {
            "intensity_range": width,
            "lr_consistency_rmse": consistency,
            "lr_consistency_percent": 100 * consistency / width,
            "residual_in_noise": left / self.noise if self.noise and total["left_voxels"] else None,
            "residual_correlation": total["neighbours"] / power if power else 0.0,
            "missing_detail": total["missing"] / total["detail"] if total["missing_voxels"] >= _FEWEST else None,
            "mean_shift": shift,
            "mean_shift_percent": 100 * shift / width,
            "edge_sharpness_gain": float(np.sqrt(total["high_gradient"] / total["base_gradient"]))
            if total["base_gradient"]
            else 1.0,
            "added_detail_rms": rms("added", "high"),
        }
        if total["uncertain_voxels"]:
            figures["uncertain_share_percent"] = 100 * mean("uncertain")
        return figures


def residual_warnings(missing_detail: float | None) -> list[str]:
    """A sentence where detail of the input is not in the result."""
    if missing_detail is None or missing_detail < _MISSING:
        return []
    return [
        f"{100 * missing_detail:.0f} % of the strength of the input's fine detail is missing in the result: detail was "
        "taken for noise, or the point spread is wrong; reduce less noise, or say the noise and the point spread"
    ]


def _sum(x: torch.Tensor) -> torch.Tensor:
    """In double precision, on the device, or on the CPU where a device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double().sum()


def _energy(x: torch.Tensor) -> torch.Tensor:
    return _sum(x.square())


def _smoothed(x: torch.Tensor, axis: int) -> torch.Tensor:
    """x after ``_BINOMIAL`` along an axis, the outermost voxels repeated."""
    import torch

    n, reach = x.shape[axis], len(_BINOMIAL) // 2
    beyond = x.index_select(axis, torch.arange(-reach, n + reach, device=x.device).clamp(0, n - 1))
    return torch.stack([weight * beyond.narrow(axis, m, n) for m, weight in enumerate(_BINOMIAL)]).sum(0)


def _gradient_energy(x: torch.Tensor) -> torch.Tensor:
    """Sum of squared differences between neighbours along every axis."""
    first, *others = (_energy(x.diff(dim=axis)) for axis in range(3))
    return first + others[0] + others[1]


def domain_warnings(volume: Volume, manifest: Manifest) -> list[str]:
    """Sentences for an input that is not like what the model was trained on."""
    warnings = []
    modalities = manifest.domain["modalities"]
    if not modalities:
        warnings.append(f"{manifest.name} was not trained on medical images: do not trust its details")
    elif volume.modality != "other" and volume.modality not in modalities:
        warnings.append(f"{manifest.name} was trained on {', '.join(modalities)}, not on {volume.modality}")
    span = manifest.domain.get("spacing_mm")
    in_plane = volume.spacing[:2]
    if span and (min(in_plane) < span[0] or max(in_plane) > span[1]):
        warnings.append(
            f"pixels of {in_plane[0]:.2f} x {in_plane[1]:.2f} mm lie outside {span[0]:g} to {span[1]:g} mm, "
            f"the range {manifest.name} was trained for"
        )
    trained = manifest.domain.get("dense_bone")
    if volume.modality == "CT" and trained is not None:
        share = dense_bone_share(sample_slices(volume.voxels))
        if share > max(_MUCH_BONE, trained):
            warnings.append(
                f"{100 * share:.0f} % of the tissue is dense bone, and {manifest.name} was trained on CT with "
                f"{100 * trained:.1g} % at most: fine bone may gain nothing, or lose, against interpolation with "
                "back-projection; compare with the input before you believe a detail"
            )
    return warnings


def domain_notes(volume: Volume, manifest: Manifest) -> list[str]:
    """A sentence where the model was measured to gain little for images of this modality."""
    rows = [row for row in manifest.scores.get("kinds", ()) if row["modality"] == volume.modality]
    volumes = sum(row["volumes"] for row in rows)
    gain = sum(row["gain"] * row["volumes"] for row in rows) / max(1, volumes)
    if not rows or gain >= _LITTLE_GAIN:
        return []
    return [
        f"{manifest.name} gained {gain:+.1f} dB over interpolation with back-projection on {volume.modality} where it "
        "was measured: do not expect more detail than that gives"
    ]
