"""The options of an enhancement on a command line, as ``Options`` states them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from typing import Any

from MedSRLib.enhancement.request import Options
from MedSRLib.errors import UsageError


def add_options(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Adds ``--model`` and every option; ``read_options`` reads the options back.

    Args:
        parser: of a sub-command.
        without: names of options that the sub-command asks for in its own way.
    """
    parser.add_argument("--model", default="auto", metavar="NAME", help="a model's name or folder (default: auto)")
    for option in fields(Options):
        if option.name not in without:
            _add(parser, option)


def read_options(arguments: argparse.Namespace, **own: Any) -> Options:
    """The options that were asked for.

    Args:
        arguments: as parsed.
        own: options that the sub-command asked for in its own way.
    """
    names = {option.name for option in fields(Options)} - set(own)
    return Options(**{name: getattr(arguments, name) for name in names}, **own)


def _add(parser: argparse.ArgumentParser, option: Field[Any]) -> None:
    words = option.name.replace("_", "-")
    told = option.metadata
    if isinstance(option.default, bool):
        flag, action = (f"--no-{words}", "store_false") if option.default else (f"--{words}", "store_true")
        parser.add_argument(flag, dest=option.name, action=action, help=told["help"])
        return
    parser.add_argument(
        f"--{words}",
        default=option.default,
        type=_reader(told["read"]),
        metavar=told["metavar"],
        choices=told["choices"],
        help=told["help"],
    )


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same with its refusal as argparse understands it, and its name as argparse states it."""

    def reader(text: str) -> Any:
        try:
            return read(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    reader.__name__ = read.__name__
    return reader
