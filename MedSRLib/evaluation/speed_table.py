"""What ``medsr benchmark`` measures of every model, and how it is told: as JSON, as a page, as a picture."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from MedSRLib import __version__
from MedSRLib.enhancement.devices import device_label, resolve_device, resolve_precision
from MedSRLib.enhancement.request import Options
from MedSRLib.evaluation.rivals import WINDOW, run_rivals
from MedSRLib.evaluation.speed import Timing, flops_per_voxel, matrix_limit, phantom, time_enhancement
from MedSRLib.models.catalogue import available_models, find_model
from MedSRLib.models.manifest import Manifest
from MedSRLib.networks.build import Generator, build_generator
from MedSRLib.progress import Progress, share_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANDOM = "rrdb-23"
"""The network of ESRGAN's size, 23 blocks of 64 channels, with random weights."""
SIZES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Voxels of the volumes that growth is measured on, over those of the largest."""
FACTORS = (2.0, 3.0, 4.0, 6.0, 8.0)
"""Slices made of each slice, where a model leaves the choice."""
SLICE_SPACING = 4.0
_SIDES = (512, 384, 256, 192, 128, 96, 64)
_MOST_SLICES = {"cpu": 170, "cuda": 100}
_FEWEST_SLICES = 5

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Subject:
    """A model to be timed.

    Args:
        manifest: of the model.
        generator: float32, on the CPU.
    """

    manifest: Manifest
    generator: Generator

    @property
    def options(self) -> dict[str, Any]:
        """That its task needs."""
        return {"factor": SLICE_SPACING} if self.manifest.factor_range else {}

    def volume_shape(self, seconds: float, limit: float, device: str) -> Shape:
        """[k, j, i] of a volume that the network would take so long for at the limit: large slices before many.

        Args:
            seconds: that it may take.
            limit: floating-point operations a second.
            device: a torch device type.
        """
        per_voxel = flops_per_voxel(self.generator, self.manifest.slices + len(self.manifest.conditions))
        if self.manifest.factor_range:
            per_voxel *= 2 * SLICE_SPACING
        voxels = seconds * limit / per_voxel
        largest = 256 if device == "cpu" else 512
        side = next((side for side in _SIDES if side <= largest and voxels / side**2 >= _FEWEST_SLICES), _SIDES[-1])
        slices = max(_FEWEST_SLICES, min(_MOST_SLICES.get(device, 100), int(voxels / side**2)))
        return slices, side, side


@dataclass(frozen=True)
class Row:
    """One model on one device.

    Args:
        seconds: of an enhancement, the second of the process.
        network_fraction_of_limit: the network's floating-point operations a second over those of a matrix product of
            its precision.
        whole_over_network: seconds over those in the network.
        against_plain, against_monai, against_bspline: seconds of the other ways over these.
        plain_difference: largest difference from the plain way, in parts of the range.
        monai_difference: the same from MONAI's windows.
        peak_mib: memory at the worst moment.
        shape: of the input, i, j, k.
        voxels_per_second: of the result.
        stages: share of the time by stage.
        precision: of the network.
    """

    seconds: float
    network_fraction_of_limit: float
    whole_over_network: float
    against_plain: float
    against_monai: float
    against_bspline: float
    plain_difference: float
    monai_difference: float
    peak_mib: float | None
    shape: Shape
    voxels_per_second: float
    stages: dict[str, float]
    precision: str


@dataclass(frozen=True)
class Growth:
    """How time and memory grow with something.

    Args:
        of: the model.
        along: "voxels of the result" or "factor".
        values: of it.
        seconds, peak_mib: measured at each.
        exponent: p of ``seconds ~ value ** p``, fitted in logarithms.
        bytes_per_voxel: slope of memory over voxels of the result; None for factors, or where nobody tells memory.
    """

    of: str
    along: str
    values: list[float]
    seconds: list[float]
    peak_mib: list[float | None]
    exponent: float
    bytes_per_voxel: float | None

    @classmethod
    def fit(cls, of: str, along: str, values: Sequence[float], timings: Sequence[Timing]) -> Growth:
        """From one timing a value."""
        seconds, peaks = [one.seconds for one in timings], [one.peak_mib for one in timings]
        exponent = float(np.polyfit(np.log(values), np.log(seconds), 1)[0])
        voxels = [one.enhanced.volume.voxels.size for one in timings]
        known = [peak for peak in peaks if peak is not None]
        slope = float(np.polyfit(voxels, known, 1)[0]) * 2**20 if len(known) == len(voxels) else None
        return cls(of, along, list(values), seconds, peaks, exponent, slope)


@dataclass(frozen=True)
class Benchmark:
    """Everything measured on one device.

    Args:
        device: its name, and the processor's cores.
        limit: floating-point operations a second of a float32 matrix product.
        models: a row by name.
        growth: of time and memory.
    """

    device: str
    limit: float
    models: dict[str, Row]
    growth: list[Growth]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "version": __version__, "torch": torch.__version__}


def subjects(names: Sequence[str]) -> list[Subject]:
    """Models by name, ``RANDOM`` for the random network; all that are shipped, and it, for none.

    Raises:
        ModelError: there is no such model.
    """
    if names:
        return [random_subject() if name == RANDOM else _subject(name) for name in names]
    return [*(_subject(model.manifest.name) for model in available_models()), random_subject()]


def _subject(name: str) -> Subject:
    model = find_model(name)
    return Subject(model.manifest, model.load_generator())


def random_subject(**changes: int) -> Subject:
    """``RANDOM``: the cost of ESRGAN's own network; what it makes of an image is not looked at.

    Args:
        changes: of the network's arguments.
    """
    size = {"features": 64, "blocks": 23, "growth": 32, **changes}
    arguments = {"spatial_dims": 2, "in_channels": 3, "factors": [2, 2], **size}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = build_generator("RRDBGenerator", arguments).eval()
    manifest = Manifest(
        name=RANDOM,
        version="0",
        task="inplane",
        factors=(2, 2, 1),
        spatial_dims=2,
        slices=3,
        predicts="residual",
        architecture="RRDBGenerator",
        arguments=arguments,
        halo=32,
        domain={"modalities": [], "spacing_mm": None},
        licence="Apache-2.0",
        description="random weights",
        base_iterations=3,
    )
    return Subject(manifest, generator)


def measure(
    chosen: Sequence[Subject],
    device_name: str,
    *,
    seconds: float,
    shape: Shape | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Times models on a device.

    Args:
        chosen: the models; growth is measured with the first, and over factors with the first that has a choice.
        device_name: as for ``--device``.
        seconds: that the network of each may take about; sets the volumes' sizes.
        shape: of every volume [k, j, i]; None: see ``Subject.volume_shape``.
        progress: told of the models that are done.
    """
    device = resolve_device(device_name)
    limit = matrix_limit(device)
    rows, growth = {}, []
    steps = len(chosen) + 1
    share_of(progress, 0, 1 / steps)(0.0, f"growth on {device_label(device)}")
    grown = chosen[0]
    largest = shape or grown.volume_shape(seconds / 2, limit, device.type)
    time_enhancement(phantom((2, 32, 32), SLICE_SPACING), grown.manifest, grown.generator, device, **grown.options)
    sizes = sorted({_scaled(largest, share) for share in SIZES}, key=math.prod)
    timings = [
        time_enhancement(phantom(size, SLICE_SPACING), grown.manifest, grown.generator, device, **grown.options)
        for size in sizes
    ]
    voxels = [float(one.enhanced.volume.voxels.size) for one in timings]
    growth.append(Growth.fit(grown.manifest.name, "voxels of the result", voxels, timings))
    stretched = next((one for one in chosen if one.manifest.factor_range), None)
    if stretched is not None:
        small = _scaled(shape or stretched.volume_shape(seconds / 2, limit, device.type), 0.5)
        volume = phantom(small, max(FACTORS))
        timings = [
            time_enhancement(volume, stretched.manifest, stretched.generator, device, factor=factor)
            for factor in FACTORS
        ]
        growth.append(Growth.fit(stretched.manifest.name, "factor", FACTORS, timings))
    for n, subject in enumerate(chosen, start=1):
        share_of(progress, n / steps, 1 / steps)(0.0, f"{subject.manifest.name} on {device_label(device)}")
        size = shape or subject.volume_shape(seconds, limit, device.type)
        rows[subject.manifest.name] = _row(subject, device, size)
    return Benchmark(_machine(device), limit, rows, growth)


def _row(subject: Subject, device: torch.device, shape: Shape) -> Row:
    volume = phantom(shape, SLICE_SPACING)
    precision = resolve_precision("auto", device)
    state = {name: value.detach().cpu().clone() for name, value in subject.generator.state_dict().items()}
    before = matrix_limit(device, precision)
    ours = time_enhancement(volume, subject.manifest, subject.generator, device, **subject.options)
    limit = max(before, matrix_limit(device, precision))
    report = ours.enhanced.report
    known: dict[str, Any] = {**subject.options, "noise": report.noise}
    if not subject.manifest.factor_range:
        known["point_spread"] = report.point_spread
    others = run_rivals(volume, subject.manifest, state, str(device), Options(**known))
    network = ours.stages["network"]
    voxels = ours.enhanced.volume.voxels

    def difference(other: np.ndarray) -> float:
        return float(np.abs(voxels - other).max()) / report.intensity_range

    return Row(
        seconds=ours.seconds,
        network_fraction_of_limit=ours.flops / network / limit,
        whole_over_network=ours.seconds / network,
        against_plain=others.plain / ours.seconds,
        against_monai=others.monai / ours.seconds,
        against_bspline=others.bspline / ours.seconds,
        plain_difference=difference(others.plain_voxels),
        monai_difference=difference(others.monai_voxels),
        peak_mib=ours.peak_mib,
        shape=(shape[2], shape[1], shape[0]),
        voxels_per_second=voxels.size / ours.seconds,
        stages={stage: taken / ours.seconds for stage, taken in ours.stages.items()},
        precision=report.precision,
    )


def _scaled(shape: Shape, share: float) -> Shape:
    """A shape of so many of the voxels, of much the same proportions."""
    k, j, i = (max(2, round(n * share ** (1 / 3))) for n in shape)
    return k, j, i


def _machine(device: torch.device) -> str:
    """The device for a reader who does not know the computer."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {torch.get_num_threads()} threads on {os.cpu_count()} processors"


def page(results: Sequence[Benchmark], picture: str) -> str:
    """All of it in Markdown.

    Args:
        results: one a device.
        picture: name of the picture's file; "" for none.
    """
    parts = [
        "# How fast it is",
        "Measured by `medsr benchmark` and written by its `--markdown`; run it to see your own computer. Each model "
        "enhances a volume that has something in every voxel, after a first small one. *Limit* is what a large matrix "
        "product reaches in the same process; *whole* is all of the enhancement, estimates and report included.",
        f"The other ways run in a process of their own with the computer's defaults. *Plain*: every whole slice for "
        f"itself, NCHW, float32, eager, to the same result. *MONAI*: its `SlidingWindowInferer` with windows of "
        f"{WINDOW[0]} x {WINDOW[1]} and its defaults, which differs at the windows' edges. *B-spline*: resampling by "
        f"SimpleITK, which sharpens nothing.",
    ]
    for one in results:
        rows = [
            f"| {name} | {' x '.join(map(str, row.shape))} | {row.precision} | {row.seconds:.2f} | "
            f"{row.voxels_per_second / 1e6:.2f} | {row.network_fraction_of_limit:.0%} | {row.whole_over_network:.2f} | "
            f"{row.against_plain:.2f} | {row.against_monai:.2f} | {row.against_bspline:.3f} | "
            f"{row.plain_difference:.0e} | {'' if row.peak_mib is None else f'{row.peak_mib:.0f}'} |"
            for name, row in one.models.items()
        ]
        names = list(dict.fromkeys(stage for row in one.models.values() for stage in row.stages))
        shares = [
            f"| {name} | " + " | ".join(f"{row.stages.get(stage, 0):.1%}" for stage in names) + " |"
            for name, row in one.models.items()
        ]
        parts += [
            f"## {one.device}",
            f"MedSR {__version__}, PyTorch {torch.__version__}; a float32 matrix product reaches "
            f"{one.limit / 1e9:.0f} GFLOP/s.",
            "| model | voxels | precision | seconds | million voxels of the result a second | network over limit | "
            "whole over network | times as fast as plain | as MONAI | as B-spline | difference from plain, of the "
            "range | peak, MiB |\n" + "|---" * 12 + "|\n" + "\n".join(rows),
            "Share of the time by stage:",
            f"| model | {' | '.join(names)} |\n" + "|---" * (1 + len(names)) + "|\n" + "\n".join(shares),
            "Growth:",
            "\n".join(f"- {_told(growth)}" for growth in one.growth),
        ]
    if picture:
        parts.append(f"![time and memory over size and factor]({picture})")
    return "\n\n".join(parts) + "\n"


def _told(growth: Growth) -> str:
    """One line."""
    memory = (
        ""
        if growth.bytes_per_voxel is None
        else f"; memory by {growth.bytes_per_voxel:.1f} bytes a voxel of the result"
    )
    points = ", ".join(f"{value:g}: {taken:.2f} s" for value, taken in zip(growth.values, growth.seconds, strict=True))
    return f"{growth.of} over {growth.along}: time to the power {growth.exponent:.2f}{memory} ({points})"


def draw(results: Sequence[Benchmark]) -> Figure:
    """Time and memory over size and factor, with the fitted lines."""
    from matplotlib.figure import Figure

    growths = [(one, growth) for one in results for growth in one.growth]
    figure = Figure(figsize=(9, 3.2 * len(growths)), layout="constrained")
    for (one, growth), (left, right) in zip(growths, figure.subplots(len(growths), 2, squeeze=False), strict=True):
        values = np.array(growth.values)
        offset = np.mean(np.log(growth.seconds) - growth.exponent * np.log(values))
        left.loglog(values, growth.seconds, "o")
        left.loglog(values, np.exp(offset) * values**growth.exponent, label=f"power {growth.exponent:.2f}")
        left.set_xticks(values, [f"{value:.2g}" for value in values])
        left.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        left.set(xlabel=growth.along, ylabel="seconds", title=f"{growth.of}, {one.device}"[:70])
        left.title.set_fontsize(8)
        left.legend()
        peaks = [math.nan if peak is None else peak for peak in growth.peak_mib]
        right.plot(values, peaks, "o")
        if not np.isnan(peaks).any():
            right.plot(values, np.polyval(np.polyfit(values, peaks, 1), values))
        right.set(xlabel=growth.along, ylabel="peak, MiB", ylim=(0, None))
    return figure
