"""``torchrun --nproc-per-node N -m MedSRLib.training CONFIG.toml``: N processes train as one.

Every process draws ``optimiser.batch`` pairs a step, so the joint batch is N times as large. Without torchrun one
process trains, as ``medsr train`` does.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from MedSRLib.errors import MedSRError
from MedSRLib.training.config import load_config
from MedSRLib.training.distributed import process_group, rank
from MedSRLib.training.run import train

EPILOG = "example: torchrun --nproc-per-node 2 -m MedSRLib.training Resources/Training/inplane-x2.toml"


def main() -> int:
    """Trains; the first process reports. SIGINT and torchrun's SIGTERM end the run with a checkpoint.

    Returns:
        The exit code, as ``medsr`` has it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m MedSRLib.training",
        description="Train with several processes, one a GPU, started by torchrun.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG.toml", type=Path, help="what to train on what, and how")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    arguments = parser.parse_args()
    interrupted: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: interrupted.append(number))

    def report(sentence: str) -> None:
        if rank() == 0:
            print(f"medsr: {sentence}", file=sys.stderr)

    try:
        config = load_config(arguments.config, arguments.set)
        with process_group():
            model = train(
                config,
                arguments.config.resolve().parent,
                resume=arguments.resume,
                progress=lambda fraction, message: report(f"{fraction:.1%} {message}"),
                cancelled=lambda: bool(interrupted),
                warn=report,
            )
            if rank() == 0:
                print(model.folder)
    except MedSRError as error:
        print(f"medsr: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
