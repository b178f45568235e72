"""medsr batch inside 3D Slicer, without a window and without questions.

Slicer --no-splash --no-main-window --python-script medsr_batch.py -- INPUT_DIR OUTPUT_DIR [options] [--log FILE]

Options and exit codes are those of "medsr batch" (see its --help). Slicer writes to the same terminal: the batch's
own messages begin with "medsr:", or go to FILE alone.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from pathlib import Path

USAGE_ERROR, FAILED, CRASHED = 2, 3, 1


def run(arguments: list[str]) -> int:
    """The exit code of the batch; nothing is raised, as Slicer would then go on running without a window.

    Args:
        arguments: what follows "--" (Slicer takes the "--" itself away).
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--log")
    own, options = parser.parse_known_args(arguments)
    try:
        if own.log is None:
            return _batch(options)
        with (
            open(own.log, "w", encoding="utf-8", errors="backslashreplace", buffering=1) as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            return _batch(options)
    except OSError as error:
        print(f"medsr: {own.log} cannot be written ({error.strerror}): choose another --log", file=sys.stderr)
        return USAGE_ERROR


def _batch(options: list[str]) -> int:
    """Runs the sub-command and turns every ending into an exit code and a sentence."""
    try:
        from MedSRLib.commands.main import main

        return main(["batch", *options])
    except SystemExit as ending:  # --help, or options that argparse refuses
        return ending.code if isinstance(ending.code, int) else USAGE_ERROR
    except ModuleNotFoundError as error:
        print(
            f"medsr: this Slicer lacks the Python package {error.name}: enhance one volume in the MedSR module, "
            "which installs what is missing, and start the batch again",
            file=sys.stderr,
        )
        return FAILED
    except Exception:
        print(f"medsr: unexpected error, please report it\n{traceback.format_exc()}", file=sys.stderr)
        return CRASHED


if __name__ == "__main__":
    import slicer

    # In the source tree and in the installed extension alike, MedSRLib lies two folders above this file's.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    slicer.util.exit(run(sys.argv[1:]))
