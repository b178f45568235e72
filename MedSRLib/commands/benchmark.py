"""``medsr benchmark``: how fast this computer is, against its own limit and against other ways."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

from MedSRLib.commands.progress import progress_bar
from MedSRLib.commands.targets import require_target
from MedSRLib.errors import UsageError
from MedSRLib.progress import share_of
from MedSRLib.volumes.storage import write_atomically

EXAMPLES = """examples:
  medsr benchmark
  medsr benchmark --json speed.json --markdown speed.md
  medsr benchmark --model inplane-x2-lite --size 256 256 170 --device cpu
  medsr benchmark --model rrdb-23 --seconds 60

Without options every shipped model and a network of ESRGAN's size with random weights (rrdb-23) are timed on every
device there is, in some minutes: let nothing else run meanwhile. --markdown also writes a picture beside the page, with
the same name and .svg. Nothing that is measured leaves the computer."""

_SMALLEST = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``medsr benchmark``."""
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what to time: models by name or folder, rrdb-23 for random weights (default: all)",
    )
    parser.add_argument(
        "--device", nargs="+", metavar="NAME", help="cpu, cuda or cuda:N (default: every one there is, a GPU first)"
    )
    parser.add_argument(
        "--size",
        nargs=3,
        type=int,
        metavar=("I", "J", "K"),
        help="voxels of the volumes (default: as many as --seconds allow, slices of 256 x 256, on a GPU 512 x 512)",
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="that a network may take for its volume at best (default: 10)"
    )
    parser.add_argument("--json", metavar="FILE.json", type=Path, help="write the figures")
    parser.add_argument("--markdown", metavar="FILE.md", type=Path, help="write them as a page, with a picture")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.epilog = EXAMPLES


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints the page, and writes what was asked for."""
    picture = None if arguments.markdown is None else arguments.markdown.with_suffix(".svg")
    for path, suffix in ((arguments.json, ".json"), (arguments.markdown, ".md"), (picture, ".svg")):
        if path is not None:
            require_target(path, suffix, overwrite=arguments.overwrite, inputs=[])
    if arguments.size is not None and (min(arguments.size[:2]) < _SMALLEST or arguments.size[2] < 2):
        raise UsageError(f"--size takes slices of at least {_SMALLEST} x {_SMALLEST} voxels, and 2 of them")
    if not arguments.seconds > 0:
        raise UsageError("--seconds must be positive")

    from MedSRLib.evaluation.picture import require_matplotlib

    if picture is not None:
        require_matplotlib()

    from MedSRLib.enhancement.devices import cuda_works
    from MedSRLib.evaluation.speed_table import draw, measure, page, subjects

    devices = arguments.device or (["cuda"] if cuda_works() else []) + ["cpu"]
    shape = None if arguments.size is None else (arguments.size[2], arguments.size[1], arguments.size[0])
    results = []
    with progress_bar("medsr benchmark") as progress:
        for n, device in enumerate(devices):
            part = share_of(progress, n / len(devices), 1 / len(devices))
            chosen = subjects(arguments.model)
            results.append(measure(chosen, device, seconds=arguments.seconds, shape=shape, progress=part))
    if arguments.json is not None:
        first, *others = (one.to_json() for one in results)
        content = {**first, "other_devices": others} if others else first
        write_atomically(arguments.json, f"{json.dumps(content, indent=2)}\n".encode())
    if arguments.markdown is not None and picture is not None:
        drawn = io.BytesIO()
        draw(results).savefig(drawn, format="svg")
        write_atomically(picture, drawn.getvalue())
        write_atomically(arguments.markdown, page(results, picture.name).encode())
    print(page(results, picture.name if picture is not None else ""))
    return 0
