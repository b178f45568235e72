"""The panel's line for another Python that does the work. It is this computer's and kept in the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer import util
from slicer.i18n import tr as _

from MedSRLib.errors import MissingPackageError
from MedSRLib.jobs.interpreter import choose_interpreter, lacking, named_interpreter
from MedSRLib.panel.packages import import_name, read_requirements, requirements_file

_SETTING = "MedSR/Python"
_SLICERS_OWN = ("torch", "numpy", "scipy", "SimpleITK", "pydicom")
"""What Slicer or its PyTorch extension brings, and another Python has to have, too."""


class InterpreterChooser:
    """A path, empty for Slicer's own Python.

    Args:
        line: ctkPathLineEdit.
        on_changed: called when another one is chosen.
    """

    def __init__(self, line: Any, on_changed: Callable[[], None]) -> None:
        self._line, self._on_changed = line, on_changed
        kept = str(util.settingsValue(_SETTING, ""))
        choose_interpreter(kept)
        line.currentPath = kept
        line.connect("currentPathChanged(QString)", self._changed)

    def _changed(self, path: str) -> None:
        """Also called at every letter that is typed."""
        path = path.strip()
        if path and not Path(path).is_file():
            return
        qt.QSettings().setValue(_SETTING, path)
        choose_interpreter(path)
        self._on_changed()


def interpreter_problem() -> str:
    """What keeps the interpreter that is named from doing the work; "" for nothing, and where none is named."""
    python = named_interpreter()
    if not python:
        return ""
    wanted = {import_name(one): one for one in (*_SLICERS_OWN, *read_requirements(requirements_file()))}
    try:
        missing = [wanted[name] for name in lacking(python, list(wanted), util.startupEnvironment())]
    except MissingPackageError as error:
        return str(error)
    if not missing:
        return ""
    names = " ".join(f'"{one}"' for one in missing)
    text = _('The Python that is named under Advanced lacks packages: run "{python}" -m pip install {names}')
    return str(text.format(python=python, names=names))
