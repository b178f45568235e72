"""The Python that does the work, where it is not the program's own: on an Intel Mac Slicer's gets no recent torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from MedSRLib.errors import MissingPackageError

PYTHON_VARIABLE = "MEDSR_PYTHON"
"""Environment variable with the path of an interpreter that has MedSR's packages."""
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)
_SECONDS = 20
_chosen = ""


def choose_interpreter(path: str) -> None:
    """Takes an interpreter for what is started from now on; "" for the program's own."""
    global _chosen
    _chosen = path


def named_interpreter() -> str:
    """The interpreter that the environment variable names, else the one that was chosen; "" for the program's own."""
    return os.environ.get(PYTHON_VARIABLE) or _chosen


def lacking(python: str, modules: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """Those of some modules that an interpreter has not; none is imported there.

    Args:
        python: path of the interpreter.
        modules: top-level names.
        environment: to start it in; None for this program's own.

    Raises:
        MissingPackageError: it cannot be started, or is no Python of a version that MedSR runs on.
    """
    code = "import importlib.util, sys; print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m) is None])"
    command = [shutil.which(python) or python, "-P", "-c", code, *modules]
    try:
        ran = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=_SECONDS,
            creationflags=_NO_WINDOW,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingPackageError(
            f"{python} cannot be started as Python 3.11 or later: name another interpreter, or none"
        ) from error
    return ran.stdout.split()
