"""``medsr train``: from a TOML configuration and a folder of volumes to a model folder."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from MedSRLib.commands.progress import progress_bar

if TYPE_CHECKING:
    from MedSRLib.training.config import TrainingConfig

EXAMPLES = """examples:
  medsr train Resources/Training/inplane-x2-lite.toml
  medsr train mine.toml --set optimiser.iterations=2000 --set 'data.train=["volumes/*.nii.gz"]'
  medsr train mine.toml --dry-run
  medsr train mine.toml --resume
  medsr enhance head.nii.gz sharper.nii.gz --model runs/mine/model

Paths in CONFIG are relative to its folder. A run keeps a checkpoint: Ctrl-C loses nothing, --resume goes on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``medsr train``."""
    parser.add_argument("config", metavar="CONFIG.toml", type=Path, help="what to train on what, and how")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan, memory and time from three iterations; write nothing"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, such as optimiser.batch=4"
    )
    parser.epilog = EXAMPLES


def run(arguments: argparse.Namespace) -> int:
    """Trains and prints where the model is. Ctrl-C ends the run at the next iteration, with a checkpoint."""
    from MedSRLib.training.config import load_config
    from MedSRLib.training.run import train

    config = load_config(arguments.config, arguments.set)
    if arguments.dry_run:
        return _rehearse(config, arguments.config.resolve().parent)
    interrupted: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _frame: interrupted.append(number))
    try:
        with progress_bar(f"train {config.name}") as progress:
            model = train(
                config,
                arguments.config.resolve().parent,
                resume=arguments.resume,
                progress=progress,
                cancelled=lambda: bool(interrupted),
                warn=lambda sentence: print(f"medsr: {sentence}", file=sys.stderr),
            )
    finally:
        signal.signal(signal.SIGINT, previous)
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
    return 0


def _rehearse(config: TrainingConfig, folder: Path) -> int:
    from MedSRLib.training.rehearsal import rehearse

    plan = rehearse(config, folder)
    for sentence in plan.warnings:
        print(f"medsr: {sentence}", file=sys.stderr)
    print("\n".join(plan.lines()))
    return 0
