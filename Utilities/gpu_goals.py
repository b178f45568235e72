"""Holds a GPU to its goals, in about two minutes.

python Utilities/gpu_goals.py [--json FILE.json]

Says of each goal what was measured and whether it is met; the exit code is 1 where one is not. Without a GPU,
"--device cpu --shrink 16" runs the same on small volumes, to try the script: the goals mean nothing there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MedSRLib.enhancement.devices import device_label, resolve_device, resolve_precision
from MedSRLib.enhancement.enhancer import run_generator
from MedSRLib.enhancement.request import Options
from MedSRLib.evaluation.rivals import run_rivals
from MedSRLib.evaluation.speed import Timing, matrix_limit, phantom, time_enhancement
from MedSRLib.evaluation.speed_table import Subject, random_subject, subjects
from MedSRLib.process import prepare_process
from MedSRLib.volumes.volume import Volume

LITE = "inplane-x2-lite"
FULL = {"features": 64, "blocks": 6, "growth": 32}


@dataclass(frozen=True)
class Goal:
    """One figure.

    Args:
        name: what it is of.
        measured: the figure.
        limit: what it should be.
        at_most: whether it should be at most that, else at least.
    """

    name: str
    measured: float
    limit: float
    at_most: bool

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def line(self) -> str:
        """For people."""
        wanted = f"at {'most' if self.at_most else 'least'} {self.limit:g}"
        return f"{'met   ' if self.met else 'MISSED'}  {self.name}: {self.measured:.4g} ({wanted})"


def goals(device: torch.device, shrink: int = 1) -> Iterator[Goal]:
    """Measures them one by one.

    Args:
        device: the GPU.
        shrink: divides the slices' sides and, at most by ten, their number.
    """
    few, side = min(10, shrink), 512 // shrink
    (lite,) = subjects([LITE])
    chest, long = (ct((slices // few, side, side)) for slices in (100, 300))
    first = timed(lite, chest, device)
    again = timed(lite, chest, device)
    print(f"the first took {first.seconds:.2f} s, of the next: {shares(again)}", file=sys.stderr)
    yield Goal("100 x 512 x 512, whole job over network", again.seconds / again.stages["network"], 1.5, True)
    yield Goal("100 x 512 x 512 after the first, seconds", whole(lite, chest, device), 1.0, True)
    yield Goal("512 x 512 x 300, seconds", whole(lite, long, device), 3.0, True)
    limit = matrix_limit(device, resolve_precision("auto", device))
    full = random_subject(**FULL)
    timed(full, ct((2, side, side)), device)
    for name, subject, wanted in (("64 channels", full, 0.25), ("32 channels", lite, 0.15)):
        timing = timed(subject, ct((max(2, 40 // few), side, side)), device)
        yield Goal(f"{name}, operations over the limit", timing.flops / timing.stages["network"] / limit, wanted, False)
    volume = ct((max(2, 40 // few), side, side))
    seconds, report = whole(lite, volume, device), timed(lite, volume, device).enhanced.report
    known: dict[str, Any] = {"point_spread": report.point_spread, "noise": report.noise}
    state = {name: value.detach().cpu() for name, value in lite.generator.state_dict().items()}
    others = run_rivals(volume, lite.manifest, state, str(device), Options(**known))
    yield Goal("times as fast as whole slices in plain PyTorch", others.plain / seconds, 3.0, False)
    small = ct((4, 128, 128))
    there, here = (
        run_generator(small, lite.manifest, lite.generator, device=name, **known).volume.voxels
        for name in (str(device), "cpu")
    )
    yield Goal("largest difference from the CPU, of the range", float(np.abs(there - here).max()) / 2000, 0.001, True)


def ct(shape: tuple[int, int, int]) -> Volume:
    """A phantom as a CT, float32."""
    made = phantom(shape)
    return Volume(made.voxels - 700, made.affine, "CT")


def timed(subject: Subject, volume: Volume, device: torch.device) -> Timing:
    """One enhancement with its stages, which the device is waited for to tell."""
    return time_enhancement(volume, subject.manifest, subject.generator, device)


def whole(subject: Subject, volume: Volume, device: torch.device) -> float:
    """Seconds of one enhancement as users have it, the second of two."""
    for _ in range(2):
        seconds = run_generator(volume, subject.manifest, subject.generator, device=str(device)).report.seconds
    return seconds


def shares(timing: Timing) -> str:
    """Stages for people."""
    return ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in timing.stages.items())


def main() -> int:
    """Prints the goals as they are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shrink", type=int, default=1, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    prepare_process()
    device = resolve_device(arguments.device)
    print(f"{device_label(device)}, PyTorch {torch.__version__}")
    measured = []
    for goal in goals(device, arguments.shrink):
        print(goal.line(), flush=True)
        measured.append(goal)
    if arguments.json is not None:
        content = {"device": device_label(device), "goals": [{**asdict(goal), "met": goal.met} for goal in measured]}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if all(goal.met for goal in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
