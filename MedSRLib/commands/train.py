"""``medsr train``: from a TOML configuration and a folder of volumes to a model folder."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, Any

from MedSRLib.commands.progress import progress_bar
from MedSRLib.models.estimator import OWN
from MedSRLib.training.arguments import add_run_arguments, requested_run

if TYPE_CHECKING:
    from pathlib import Path

    from MedSRLib.models.catalogue import Model
    from MedSRLib.training.config import TrainingConfig

EXAMPLES = """examples:
  medsr train inplane-x2-lite --data VOLUMES/ --dry-run
  medsr train quickstart --data VOLUMES/ --validation 'VOLUMES/*p07*'
  medsr train inplane-x2-lite --data VOLUMES/ --set gan.iterations=0
  medsr train inplane-x2-lite --data VOLUMES/ --vgg vgg16.safetensors --resume
  medsr train inplane-x2 --data PACK --set gan.iterations=0 --minutes 10
  medsr train acquisition-estimator --data VOLUMES/ --minutes 25
  medsr train mine.toml --set optimiser.iterations=2000 --output experiments
  medsr enhance head.nii.gz sharper.nii.gz --model runs/quickstart/model

VOLUMES/ is a folder of NIfTI, NRRD or MetaImage files or DICOM series, PACK one that medsr data pack made. Paths in
options are relative to the current folder, where runs/ is made; what a TOML file names is relative to that file. A run
keeps a checkpoint: Ctrl-C loses nothing, --resume goes on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``medsr train``."""
    add_run_arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan, memory and time from three iterations; write nothing"
    )
    parser.epilog = EXAMPLES


def run(arguments: argparse.Namespace) -> int:
    """Trains and prints where the model is. Ctrl-C ends the run at the next iteration, with a checkpoint."""
    from MedSRLib.training.estimator import rehearse_estimator, train_estimator
    from MedSRLib.training.estimator_config import EstimatorConfig
    from MedSRLib.training.run import train

    config, folder = requested_run(arguments)
    if arguments.dry_run:
        if isinstance(config, EstimatorConfig):
            print("\n".join(rehearse_estimator(config, folder)))
            return 0
        return _rehearse(config, folder)
    interrupted: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _frame: interrupted.append(number))
    try:
        with progress_bar(f"train {config.name}") as progress:
            behaviour: dict[str, Any] = {
                "resume": arguments.resume,
                "progress": progress,
                "cancelled": lambda: bool(interrupted),
                "warn": lambda sentence: print(f"medsr: {sentence}", file=sys.stderr),
            }
            if isinstance(config, EstimatorConfig):
                made = train_estimator(config, folder, **behaviour)
            else:
                model = train(config, folder, **behaviour)
    finally:
        signal.signal(signal.SIGINT, previous)
    if isinstance(config, EstimatorConfig):
        print(f"medsr: enhance takes it where {OWN} names its folder", file=sys.stderr)
        print(made)
    else:
        _report(model)
    return 0


def _report(model: Model) -> None:
    """Where the model is, to stdout, and how good."""
    scores = model.manifest.scores
    if "psnr" in scores:
        gain = f"{scores['psnr']:.2f} dB on held-out volumes, {scores['gain']:+.2f} dB over B-spline + back-projection"
        print(f"medsr: {gain}", file=sys.stderr)
    if reason := scores.get("perceptual_refused"):
        print(
            f"medsr: the model has no perceptual weights, every checkpoint of the GAN stage was refused ({reason}): "
            f"lower gan.adversarial, raise gan.pixel, or raise the threshold",
            file=sys.stderr,
        )
    print(model.folder)


def _rehearse(config: TrainingConfig, folder: Path) -> int:
    from MedSRLib.training.rehearsal import rehearse

    plan = rehearse(config, folder)
    for sentence in plan.warnings:
        print(f"medsr: {sentence}", file=sys.stderr)
    print("\n".join(plan.lines()))
    return 0
