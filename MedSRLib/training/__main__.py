"""``torchrun --nproc-per-node N -m MedSRLib.training CONFIG``: N processes train as one.

Every process draws ``optimiser.batch`` pairs a step, so the joint batch is N times as large. Without torchrun one
process trains, as ``medsr train`` does.
"""

from __future__ import annotations

import argparse
import signal
import sys

from MedSRLib.errors import MedSRError, UsageError
from MedSRLib.training.arguments import add_run_arguments, requested_run
from MedSRLib.training.distributed import process_group, rank
from MedSRLib.training.estimator_config import EstimatorConfig
from MedSRLib.training.run import train

EPILOG = "example: torchrun --nproc-per-node 2 -m MedSRLib.training inplane-x2 --data VOLUMES/"


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
    add_run_arguments(parser)
    arguments = parser.parse_args()
    interrupted: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: interrupted.append(number))

    def report(sentence: str) -> None:
        if rank() == 0:
            print(f"medsr: {sentence}", file=sys.stderr)

    try:
        config, folder = requested_run(arguments)
        if isinstance(config, EstimatorConfig):
            raise UsageError(f"{config.name} is small and is trained by one process: medsr train {arguments.config}")
        with process_group():
            model = train(
                config,
                folder,
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
