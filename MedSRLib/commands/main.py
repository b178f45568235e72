"""``medsr``: reads the command line, runs a sub-command, turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from MedSRLib import __version__
from MedSRLib.commands.streams import make_streams_safe
from MedSRLib.errors import EnhancementCancelled, MedSRError, OutOfMemoryError, OutputError
from MedSRLib.process import prepare_process

COMMANDS = {
    "enhance": "turn one volume into a sharper one",
    "fuse": "make one isotropic volume of axial, sagittal and coronal series",
    "batch": "enhance every volume below a folder",
    "evaluate": "measure models and classical methods on reference volumes",
    "benchmark": "time models on this computer, against its limit and other ways",
    "compare": "draw methods side by side with zoom and difference",
    "models": "list, show, verify, import and export models",
    "train": "train a generator on your own volumes",
    "data": "pack volumes for training on another machine",
}


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole parser. Each sub-command's module is imported only when it is asked for, so ``--help`` is quick.

    Args:
        only: the sub-command whose options are wanted; the others are listed with their one-line help.
    """
    parser = argparse.ArgumentParser(
        prog="medsr",
        description="Super-resolution of medical volumes. Not for primary diagnosis.",
        epilog="example: medsr enhance head.nii.gz head_x2.nii.gz --report head_x2.json",
    )
    parser.add_argument("--version", action="version", version=f"medsr {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == only:
            importlib.import_module(f"MedSRLib.commands.{name}").add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``medsr`` and returns its exit code: 0 done, 2 wrong usage, 3 bad input, 4 some failed, 130 cancelled."""
    make_streams_safe()
    argv = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in argv if word in COMMANDS), None)
    try:
        arguments = build_parser(chosen).parse_args(argv)
        prepare_process()
        command = importlib.import_module(f"MedSRLib.commands.{arguments.command}")
        code: int = command.run(arguments)
        sys.stdout.flush()
        return code
    except MedSRError as error:
        print(f"medsr: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        print("medsr: memory ran out: close programs, or take a part of the volume (--roi)", file=sys.stderr)
        return OutOfMemoryError.exit_code
    except BrokenPipeError:
        # The reader of a pipe, such as head, went away; the interpreter must not try to flush to it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # It may be stdout that is full: what waits for it is thrown away, not tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        what = error.filename or "what was to be printed is lost"
        print(f"medsr: {what}: {error.strerror or error}: check the disk and its permissions", file=sys.stderr)
        return OutputError.exit_code
    except KeyboardInterrupt:
        print("medsr: cancelled", file=sys.stderr)
        return EnhancementCancelled.exit_code


if __name__ == "__main__":
    sys.exit(main())
