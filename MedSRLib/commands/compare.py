"""``medsr compare``: draws methods side by side with zoom and difference."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from MedSRLib.commands.progress import progress_bar
from MedSRLib.commands.targets import require_target
from MedSRLib.errors import ModelError, UsageError

if TYPE_CHECKING:
    from MedSRLib.evaluation.comparison import Column
    from MedSRLib.models.catalogue import Model
    from MedSRLib.volumes.volume import Volume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``medsr compare``."""
    parser.add_argument("low", type=Path, metavar="LOW", help="low-resolution volume")
    parser.add_argument(
        "methods",
        nargs="+",
        metavar="METHOD",
        help="a classical method (nearest, linear, bspline, lanczos4, bspline-unsharp, clahe, bspline-ibp), "
        "a model (NAME@0: its perceptual weights), or a volume file that is already enhanced",
    )
    parser.add_argument("--png", type=Path, required=True, metavar="FILE", help="the picture")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="the true high-resolution volume")
    parser.add_argument("--slice", type=int, metavar="K", help="slice of the enlarged volume (default: the middle)")
    parser.add_argument(
        "--zoom",
        type=int,
        nargs=3,
        metavar=("I", "J", "SIZE"),
        help="voxel of the enlarged volume (I and K where slices are shown along j) and side of the zoomed box",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing FILE")
    parser.epilog = (
        "Differences are taken from the reference, or else from bspline. The enlargement is that of the reference,\n"
        "the enhanced file or the model; with classical methods alone it is 2 x 2 x 1.\n"
        "example: medsr compare head.nii.gz bspline-ibp inplane-x2-lite --png head.png"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the picture and prints its path."""
    from MedSRLib.evaluation.picture import require_matplotlib
    from MedSRLib.volumes.checks import require_enhanceable
    from MedSRLib.volumes.files import read_volume

    inputs = [arguments.low, *(Path(word) for word in arguments.methods)]
    if arguments.reference is not None:
        inputs.append(arguments.reference)
    require_target(arguments.png, ".png", overwrite=arguments.overwrite, inputs=inputs)
    require_matplotlib()
    from MedSRLib.evaluation.comparison import compare

    meanings = [resolve(word) for word in arguments.methods]
    low = read_volume(arguments.low)
    require_enhanceable(low)
    reference = read_volume(arguments.reference) if arguments.reference else None
    compare(
        low,
        [_column(meaning, low) for meaning in meanings],
        arguments.png,
        name=arguments.low.name,
        reference=reference,
        index=arguments.slice,
        zoom=arguments.zoom and tuple(arguments.zoom),
    )
    print(arguments.png)
    return 0


def resolve(word: str) -> str | Path | Model:
    """What a METHOD word means: the name of a classical method, else a file or DICOM folder, else a model.

    Raises:
        UsageError: it is none of these.
        ModelError: it is a model folder whose manifest is damaged.
    """
    from MedSRLib.evaluation.classical import METHODS
    from MedSRLib.models.catalogue import find_model
    from MedSRLib.models.manifest import FILE_NAME

    if word in METHODS:
        return word
    path = Path(word)
    if path.exists() and not (path / FILE_NAME).is_file():
        return path
    try:
        return find_model(word)
    except ModelError as error:
        if path.exists():
            raise
        raise UsageError(f"{word!r} is no file and no classical method ({', '.join(METHODS)}), and {error}") from error


def _column(meaning: str | Path | Model, low: Volume) -> Column:
    """Reads the file or runs the model."""
    from MedSRLib.evaluation.comparison import Column

    if isinstance(meaning, str):
        return Column(meaning, method=meaning)
    if isinstance(meaning, Path):
        from MedSRLib.volumes.files import read_volume

        return Column(meaning.name, volume=read_volume(meaning))
    from MedSRLib.enhancement.enhancer import enhance

    with progress_bar(meaning.title) as progress:
        return Column(meaning.title, volume=enhance(low, meaning, progress=progress).volume)
