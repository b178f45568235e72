"""What a run is asked for on the command line: the same for ``medsr train`` and ``python -m MedSRLib.training``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.errors import UsageError
from MedSRLib.models.catalogue import resources_folder
from MedSRLib.volumes.storage import is_url

if TYPE_CHECKING:
    from MedSRLib.training.config import TrainingConfig
    from MedSRLib.training.estimator_config import EstimatorConfig


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what is trained on what."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help=f"a shipped configuration ({', '.join(shipped_configurations())}) or a TOML file",
    )
    _add_paths(
        parser,
        "--data",
        "train",
        "volumes to learn from: files, folders or patterns (NIfTI, NRRD, MetaImage, DICOM, packs)",
    )
    _add_paths(
        parser, "--validation", "validation", "volumes that are held out and scored; they may lie among those of --data"
    )
    _add_paths(parser, "--stacks", "stacks", "those among --data whose slices are unrelated images, not a volume")
    parser.add_argument("--vgg", metavar="FILE", help="weights of the VGG that the GAN stage looks through")
    parser.add_argument("--output", metavar="DIR", help="folder of runs (default: runs)")
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="train for so long in all, however many iterations that is, and end in time with weights and scores",
    )
    parser.add_argument(
        "--checkpoint-size",
        type=float,
        metavar="MB",
        help="cut checkpoints into files of so many megabytes at most, to carry them elsewhere",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, such as optimiser.batch=4"
    )


def shipped_configurations() -> list[str]:
    """Names of the training configurations that MedSR comes with, sorted."""
    return sorted(path.stem for path in (resources_folder() / "Training").glob("*.toml"))


def find_configuration(name_or_file: str) -> Path:
    """A shipped configuration by its name, or a file; a word is a name first.

    Raises:
        UsageError: there is neither.
    """
    names = shipped_configurations()
    if name_or_file in names:
        return resources_folder() / "Training" / f"{name_or_file}.toml"
    if Path(name_or_file).is_file():
        return Path(name_or_file)
    raise UsageError(f"there is no configuration {name_or_file}: choose one of {', '.join(names)}, or give a TOML file")


def requested_run(arguments: argparse.Namespace) -> tuple[TrainingConfig | EstimatorConfig, Path]:
    """The configuration with what the options change, and the folder that its own paths are relative to.

    Paths in options are relative to the current folder, as everywhere on a command line.

    Raises:
        UsageError: there is no such configuration, or a value does not fit.
    """
    path = find_configuration(arguments.config)
    changes: dict[str, Any] = {
        f"data.{key}": [_from_here(one) for one in patterns]
        for key in ("train", "validation", "stacks")
        if (patterns := getattr(arguments, key)) is not None
    }
    if arguments.vgg is not None:
        changes["losses.perceptual.weights"] = arguments.vgg if is_url(arguments.vgg) else _from_here(arguments.vgg)
    if arguments.minutes is not None:
        changes["run.minutes"] = arguments.minutes
    if arguments.checkpoint_size is not None:
        changes["run.checkpoint_size"] = arguments.checkpoint_size
    if arguments.output is not None:
        changes["output"] = arguments.output
    return load_run(path, arguments.set, changes), path.resolve().parent


def load_run(
    path: Path, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> TrainingConfig | EstimatorConfig:
    """Reads a configuration: of a model, or of the acquisition estimator, as its task says.

    Args:
        path, overrides, changes: as for ``config.read_table``.

    Raises:
        UsageError: the file is missing, is no TOML, or a key or value does not fit.
    """
    from MedSRLib.training.config import TrainingConfig, read_table
    from MedSRLib.training.estimator_config import TASK, EstimatorConfig
    from MedSRLib.training.toml_tables import build_settings

    table = read_table(path, overrides, changes)
    config: TrainingConfig | EstimatorConfig = build_settings(
        EstimatorConfig if table.get("task") == TASK else TrainingConfig, table
    )
    return config


def _from_here(path: str) -> str:
    return str(Path.cwd() / Path(path).expanduser())


def _add_paths(parser: argparse.ArgumentParser, option: str, key: str, words: str) -> None:
    parser.add_argument(option, metavar="PATH", nargs="+", action="extend", dest=key, help=words)
