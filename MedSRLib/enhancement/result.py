"""What an enhancement gives: the volume, and the fidelity report with a type and a way to JSON and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from MedSRLib import __version__
from MedSRLib.acquisition.operator import PointSpread
from MedSRLib.enhancement.request import Options
from MedSRLib.errors import InputError
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.volume import Volume

NOTICE = "Super-resolved image: not for primary diagnosis."


@dataclass(frozen=True)
class UsedModel:
    """The model that made a result.

    Args:
        name, version: of its manifest.
        sha256: of each set of weights that took part, by name: both at a fidelity between 0 and 1, else one.
        fidelity: alpha of the weights, 1 for the faithful ones.
    """

    name: str
    version: str
    sha256: dict[str, str]
    fidelity: float = 1.0

    @classmethod
    def of(cls, manifest: Manifest, fidelity: float | None = None) -> UsedModel:
        """What of a model takes part at a fidelity, None for its usual one."""
        alpha = 1.0 if fidelity is None else fidelity
        return cls(manifest.name, manifest.version, manifest.hashes_in_use(fidelity), alpha)


@dataclass(frozen=True)
class FidelityReport:
    """How far a result can be trusted, measured on the result itself, and what it was made with.

    Args:
        model: that made it.
        options: that were asked for.
        factors: new over old voxels along i, j, k.
        point_spread: in-plane width in voxels of the input, or "kspace", as it was taken.
        point_spread_source: "given", "estimated" or "assumed".
        point_spread_deviation: standard deviation of an estimated width in voxels of the input, else None.
        slice_thickness: over the slices' spacing.
        slice_thickness_source: "header" (of the file), "given" or "assumed".
        noise: standard deviation of the input's noise as it was taken, in the volume's units; None for models that
            cannot be told.
        noise_source: "given" or "estimated"; "" for models that cannot be told.
        noise_deviation: standard deviation of an estimate of it, in the volume's units, else None.
        modality: of the input.
        roi: that was enhanced, or None for all.
        consistency: the result was projected onto volumes that agree with the input.
        intensity_range: in the volume's units; what percentages refer to.
        lr_consistency_rmse: RMS of A x - y, in the volume's units.
        lr_consistency_percent: the same in percent of the range.
        residual_in_noise: RMS of the residual y - A x in anatomy over the noise: 1 where all noise was taken off and
            nothing else; None without noise.
        residual_correlation: of the residual in anatomy between neighbouring voxels: about 0 for white noise, more for
            noise that a scanner or a kernel correlated, and for detail.
        missing_detail: share of the strength of the input's fine detail that the result lacks; None where too little
            detail rises above the noise to tell.
        mean_shift: mean of the result less that of the input, in the volume's units.
        mean_shift_percent: the same in percent of the range.
        edge_sharpness_gain: RMS gradient over that of cubic interpolation.
        added_detail_rms: RMS of what was added to cubic interpolation, in the volume's units.
        warnings: sentences about an input unlike what the model was trained on.
        notes: sentences about what had to be changed on the way.
        device: for people.
        precision: of the generator.
        tiles: that the generator answered for.
        tiles_skipped: constant ones, answered from memory.
        seconds: that it took.
        uncertain_share_percent: of the voxels, those whose spread is above 2 % of the range; None without a map.
        frames: the names and figures of each frame, where this is the report of several.
        notice: for everybody.
        version: of MedSR.
    """

    model: UsedModel
    options: Options
    factors: tuple[float, float, float]
    point_spread: PointSpread
    point_spread_source: str
    point_spread_deviation: float | None
    slice_thickness: float
    slice_thickness_source: str
    noise: float | None
    noise_source: str
    noise_deviation: float | None
    modality: str
    roi: tuple[int, ...] | None
    consistency: bool
    intensity_range: float
    lr_consistency_rmse: float
    lr_consistency_percent: float
    residual_in_noise: float | None
    residual_correlation: float
    missing_detail: float | None
    mean_shift: float
    mean_shift_percent: float
    edge_sharpness_gain: float
    added_detail_rms: float
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    device: str
    precision: str
    tiles: int
    tiles_skipped: int
    seconds: float
    uncertain_share_percent: float | None = None
    frames: tuple[dict[str, Any], ...] = ()
    notice: str = NOTICE
    version: str = __version__

    @property
    def noise_percent(self) -> float:
        """The noise of the input as it was taken, in percent of the range; 0 where it was not."""
        return 100 * (self.noise or 0.0) / self.intensity_range

    @property
    def acquisition_text(self) -> str:
        """How blurred and how noisy the input was taken to be, how sure that is, and who said it; for people."""
        i, _, k = self.factors
        parts = []
        if i > 1:
            spread = self.point_spread
            text = (
                "truncated k-space"
                if isinstance(spread, str)
                else f"point spread of {spread:.2f}{_give_or_take(self.point_spread_deviation)} pixels"
            )
            parts.append(f"{text} ({self.point_spread_source})")
        if k > 1:
            said = "from the header" if self.slice_thickness_source == "header" else self.slice_thickness_source
            parts.append(f"slices as thick as {self.slice_thickness:.2f} of their spacing ({said})")
        if self.noise is not None:
            sure = None if self.noise_deviation is None else 100 * self.noise_deviation / self.intensity_range
            text = (
                f"noise of {self.noise_percent:.2g}{_give_or_take(sure)} % of the range" if self.noise else "no noise"
            )
            parts.append(f"{text} ({self.noise_source})")
        return ", ".join(parts)

    @property
    def residual_text(self) -> str:
        """What of the input the result does not explain, for people."""
        parts = ["no noise"]  # what is left then is rounding, whose correlation says nothing
        if self.residual_in_noise is not None:
            parts = [
                f"{self.residual_in_noise:.2f} times the noise",
                f"correlation of neighbours {self.residual_correlation:+.2f}",
            ]
        if self.missing_detail is not None:
            parts.append(f"{100 * max(0.0, self.missing_detail):.0f} % of fine detail is missing")
        elif self.residual_in_noise is not None:
            parts.append("too little detail above it to tell whether some is missing")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Plain values by name, what is most looked for first."""
        content = {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}
        first = {name: content.pop(name) for name in ("notice", "version")}
        if self.uncertain_share_percent is None:
            del content["uncertain_share_percent"]
        if not self.frames:
            del content["frames"]
        return {**first, **content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FidelityReport:
        """A report from plain values; names that are not of a report are passed over.

        Raises:
            InputError: it is no report of this version.
        """
        try:
            given = {one.name: content[one.name] for one in fields(cls) if one.name in content}
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
            }
            values["model"] = UsedModel(**values["model"])
            values["options"] = Options.from_json(values["options"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise InputError(f"this is no fidelity report of MedSR {__version__} ({error})") from error


def _give_or_take(deviation: float | None) -> str:
    """One standard deviation, for people; nothing where there is none."""
    return "" if deviation is None or not math.isfinite(deviation) else f" \N{PLUS-MINUS SIGN} {deviation:.1g}"


@dataclass(frozen=True)
class Enhanced:
    """What ``enhance`` returns.

    Args:
        volume: the sharper volume; dtype, modality and field of view are the input's (or the region's).
        report: how far it can be trusted.
        uncertainty: standard deviation of the generator over flips (and transpositions in-plane) in the volume's units,
            float32, on the same grid; None unless asked for.
    """

    volume: Volume
    report: FidelityReport
    uncertainty: Volume | None = None
