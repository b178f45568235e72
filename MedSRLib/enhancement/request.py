"""What can be asked of an enhancement: the inputs, and the options with all their rules. Knows neither torch nor Qt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from MedSRLib.acquisition.operator import PointSpread
from MedSRLib.errors import UsageError
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.volume import Volume

DEVICES = "auto, cpu, cuda, cuda:N or mps"
PRECISIONS = ("auto", "float32", "float16", "bfloat16")
VoxelBox = tuple[int, int, int, int, int, int]
"""(i0, i1, j0, j1, k0, k1): first voxel and one past the last."""
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True)
class Input:
    """One volume to enhance.

    Args:
        volume: the measurement y; it is not changed.
        roi: voxel box (i0, i1, j0, j1, k0, k1), first voxel and one past the last, or None for all of it. The result
            equals that part of the whole volume's result.
    """

    volume: Volume
    roi: Sequence[int] | None = None


def read_point_spread(text: str) -> PointSpread:
    """A point spread as it is written on a command line.

    Raises:
        UsageError: it is neither a positive number nor "kspace".
    """
    if text == "kspace":
        return "kspace"
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise UsageError("must be a positive number or kspace: leave it out where it is not known")


def _offered(
    text: str,
    *,
    read: Callable[[str], Any] = str,
    metavar: str | None = None,
    choices: Sequence[str] | None = None,
) -> dict[str, Any]:
    """How a command line offers an option; a truth value becomes a flag that turns it over."""
    return {"help": text, "read": read, "metavar": metavar, "choices": choices}


@dataclass(frozen=True)
class PlainOptions:
    """Options that become plain values by name, and come back from them."""

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Options from plain values by name; those that are not there are the usual ones.

        Raises:
            UsageError: there is no such option.
        """
        known = [one.name for one in fields(cls)]
        if unknown := sorted(set(content) - set(known)):
            raise UsageError(f"unknown option {', '.join(unknown)}: choose from {', '.join(known)}")
        return cls(**content)


@dataclass(frozen=True)
class Options(PlainOptions):
    """How volumes are enhanced.

    The one place where an option is named: the command line, the worker process, the journal of a batch and the report
    take what stands here, and the panel what its parameter node has of the same name.

    Args:
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto", "float32", "float16" or "bfloat16", of the generator only.
        fidelity: 1 for the faithful weights, 0 for the pleasing ones, between them an interpolation; None for what
            the model says ("NAME@0.5"), else 1.
        consistency: project onto volumes that agree with the measurement (P).
        uncertainty: run the generator on flips too, and in-plane on transpositions: their mean is used, their spread
            returned. Takes eight times as long in-plane and in 3D, four times through-plane.
        point_spread: width of the point spread in voxels of the input, or "kspace" for a truncated MR acquisition,
            when it is known. None: in-plane models estimate it from the volume, see ``estimation``; for other
            models it is the manifest's. Along k the slice thickness counts, where the volume says it.
        noise: standard deviation of the input's noise in its own units (HU for CT), when it is known. None: it is
            estimated from the volume, see ``estimation``.
        noise_reduction: how much of what is noise by the model's lights is taken out: 1 agrees with the input within
            its noise, 0 agrees with every grain of it.
        factor: slices of the result for each slice of the input, "through-plane" models only; None makes slices as
            far apart as the pixels.
        force: also take volumes that look like label maps.
        fill_nan: also take volumes with voxels that are NaN or infinite: these are filled for the work and put back.
    """

    device: str = field(default="auto", metadata=_offered(f"{DEVICES} (default: auto)"))
    precision: str = field(default="auto", metadata=_offered("of the generator (default: auto)", choices=PRECISIONS))
    fidelity: float | None = field(
        default=None,
        metadata=_offered(
            "1: faithful; 0: crisp, for models that hold perceptual weights (default: 1)", read=float, metavar="0..1"
        ),
    )
    consistency: bool = field(
        default=True,
        metadata=_offered("leave out the projection that makes the result agree with the input"),
    )
    uncertainty: bool = field(
        default=False, metadata=_offered("also make an uncertainty map (8 times as long, 4 times through-plane)")
    )
    point_spread: PointSpread | None = field(
        default=None,
        metadata=_offered(
            "point-spread width of the input in its own voxels, or kspace for MR of truncated k-space, where it is "
            "known (default: estimated in-plane, the model's along the slice axis where the file does not say how "
            "thick slices are)",
            read=read_point_spread,
            metavar="W",
        ),
    )
    noise: float | None = field(
        default=None,
        metadata=_offered(
            "standard deviation of the input's noise in its own units (HU for CT), where it is known (default: "
            "estimated)",
            read=float,
            metavar="SIGMA",
        ),
    )
    noise_reduction: float = field(
        default=1.0,
        metadata=_offered(
            "1 agrees with the input within its noise, 0 with every grain of it (default: 1)",
            read=float,
            metavar="0..1",
        ),
    )
    factor: float | None = field(
        default=None,
        metadata=_offered(
            "slices made of each slice by an isotropic model (default: as many as make voxels isotropic)",
            read=float,
            metavar="K",
        ),
    )
    force: bool = field(default=False, metadata=_offered("also take volumes that look like label maps or are blank"))

    fill_nan: bool = field(
        default=False,
        metadata=_offered("also take volumes with NaN outside a mask: it is put back in the result"),
    )

    def check(self, manifest: Manifest) -> None:
        """Every rule that can be told without the volume and the machine.

        Args:
            manifest: of the model that will run.

        Raises:
            UsageError: a value is wrong, or the model does not take it.
            ModelError: the model lacks the weights for the fidelity.
        """
        require_device_name(self.device)
        require_precision_name(self.precision)
        manifest.require_fidelity(self.fidelity)
        self._check_point_spread(manifest)
        self._check_noise(manifest)
        self._check_factor(manifest)

    def _check_point_spread(self, manifest: Manifest) -> None:
        width = self.point_spread
        if width == "kspace" and not manifest.kind.blurs_pixels:
            raise UsageError(
                f"{manifest.name} makes slices between slices, whose pixels it leaves alone: give the point spread as "
                "a number, the slice thickness over their spacing, or leave it out"
            )
        if width not in (None, "kspace") and (isinstance(width, str) or not 0 < width < float("inf")):
            raise UsageError(f"the point-spread width must be a positive number or 'kspace', not {width!r}")

    def _check_noise(self, manifest: Manifest) -> None:
        if not 0 <= self.noise_reduction <= 1:
            raise UsageError(f"noise_reduction must lie between 0 and 1, not {self.noise_reduction:g}")
        if self.noise is None:
            return
        if not 0 <= self.noise < float("inf"):
            raise UsageError(f"noise must be a standard deviation of at least 0, not {self.noise:g}")
        if "noise" not in manifest.conditions:
            raise UsageError(f"{manifest.name} cannot be told how noisy a volume is: leave the noise out")

    def _check_factor(self, manifest: Manifest) -> None:
        if self.factor is None:
            return
        if manifest.factor_range is None:
            raise UsageError(
                f"{manifest.name} has a factor of its own: leave the factor out, or take an isotropic model"
            )
        low, high = manifest.factor_range
        if not low <= self.factor <= high:
            raise UsageError(f"{manifest.name} takes factors from {low:g} to {high:g}, not {self.factor:g}")


USUAL = Options()
"""What is done where nothing is asked for."""


def require_device_name(name: str) -> None:
    """Raises UsageError for a name that no machine has a device of."""
    if not isinstance(name, str) or _DEVICE.fullmatch(name) is None:
        raise UsageError(f"device {name!r} is not one of {DEVICES}")


def require_precision_name(name: str) -> None:
    """Raises UsageError for a name of no precision."""
    if name not in PRECISIONS:
        raise UsageError(f"precision {name!r} is not one of {', '.join(PRECISIONS)}")
