"""``medsr data``: what training learns from."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from MedSRLib.commands.progress import progress_bar
from MedSRLib.errors import UsageError
from MedSRLib.volumes.volume import MODALITIES

EXAMPLES = """examples:
  medsr data pack VOLUMES/ --out PACK
  medsr data pack VOLUMES/ --out PACKS --part-size 50
  medsr data pack ultrasound/ --out PACK_US --modality US --stacks 'ultrasound/*frames*'
  medsr train inplane-x2 --data PACK PACK_US"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of ``medsr data`` to its parser."""
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    pack = actions.add_parser(
        "pack",
        help="pack volumes for training on another machine",
        description="Pack volumes, losslessly, into a folder that medsr train --data takes on another machine: three\n"
        "quarters of the size of NIfTI files. Names of files travel along, of headers only geometry and kind.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pack.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="files, folders or patterns (NIfTI, NRRD, MetaImage, DICOM), or other packs",
    )
    pack.add_argument("--out", metavar="PACK", type=Path, required=True, help="folder that is made")
    pack.add_argument("--part-size", metavar="MB", type=float, help="divide into folders of at most so many megabytes")
    pack.add_argument("--modality", choices=MODALITIES, help="what all of them are; NIfTI and NRRD do not say")
    pack.add_argument(
        "--stacks", metavar="PATH", nargs="+", default=[], help="those whose slices are unrelated images, not a volume"
    )


def run(arguments: argparse.Namespace) -> int:
    """Packs and prints where; volumes that cannot be packed are named, and the others are packed.

    Returns:
        0, or 4 when some were left out.
    """
    from MedSRLib.training.packing import pack

    if arguments.part_size is not None and not 0 < arguments.part_size < float("inf"):
        raise UsageError(f"--part-size {arguments.part_size:g} must be a number of megabytes above 0")
    interrupted: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _frame: interrupted.append(number))
    try:
        with progress_bar("pack") as progress:
            packed = pack(
                arguments.paths,
                arguments.out,
                part_size=arguments.part_size,
                modality=arguments.modality,
                stacks=arguments.stacks,
                progress=progress,
                cancelled=lambda: bool(interrupted),
            )
    finally:
        signal.signal(signal.SIGINT, previous)
    for sentence in packed.refused:
        print(f"medsr: left out: {sentence}", file=sys.stderr)
    parts = f"{len(packed.parts)} part{'s' if len(packed.parts) > 1 else ''}"
    size = sum(packed.parts) / 1e6
    print(f"medsr: {packed.volumes} volumes, {size:.1f} MB in {parts}", file=sys.stderr)
    print(arguments.out)
    return 4 if packed.refused else 0
