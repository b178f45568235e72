"""The Python packages that enhancement needs inside Slicer: which are missing, and how they get there.

Slicer's own numpy, scipy, SimpleITK and pydicom are never touched: while others are installed they are held at the
version that is there.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from MedSRLib.errors import MissingPackageError
from MedSRLib.jobs.transport import python_executable
from MedSRLib.models.catalogue import resources_folder


class InstallationDeclined(MissingPackageError):
    """The user did not want packages to be installed: nothing went wrong."""


def torch_requirement(platform: str) -> str:
    """What is asked of torch on a platform as ``sys.platform`` names it.

    No exact version: the newest for an Intel Mac is 2.2. On Windows torch 2.13 writes paths of over 260 characters,
    which Slicer's folders make too long to open.
    """
    return "torch>=2.1,<2.13" if platform == "win32" else "torch>=2.1"


TORCH = torch_requirement(sys.platform)
_IMPORT_NAMES = {"scikit-image": "skimage"}
_HELD = ("numpy", "scipy", "SimpleITK", "pydicom", "torch", "torchvision")
_TAIL_LINES = 15
_REQUESTER = "MedSR"


def requirements_file() -> Path:
    """The packages beside torch, in pip's format."""
    return resources_folder() / "requirements.txt"


def read_requirements(path: Path) -> list[str]:
    """The requirements in a file, without comments and options."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def missing_packages(path: Path | None = None) -> list[str]:
    """Requirements whose package is not there, torch first. Nothing is imported.

    Args:
        path: requirements file; None for MedSR's own.
    """
    wanted = [TORCH, *read_requirements(path or requirements_file())]
    return [one for one in wanted if importlib.util.find_spec(import_name(one)) is None]


def require_packages() -> None:
    """Check that nothing is missing; nothing is imported or installed.

    Raises:
        MissingPackageError: something is; the sentence names it.
    """
    missing = missing_packages()
    if missing:
        raise MissingPackageError(
            f"packages are missing ({', '.join(missing)}): call MedSRLogic().installPackages() first, or enhance one "
            "volume in the MedSR panel"
        )


def needs_extension(missing: Sequence[str]) -> bool:
    """Whether torch is missing and the PyTorch extension, which installs it, is not there either.

    Args:
        missing: from ``missing_packages``.
    """
    return TORCH in missing and importlib.util.find_spec("PyTorchUtils") is None


def ensure_packages(path: Path | None = None, *, prompt: bool) -> None:
    """Installs what is missing; does nothing, and needs no network, when nothing is. Slicer's main thread only.

    Args:
        path: requirements file; None for MedSR's own.
        prompt: ask the user first; False where nobody sits before a main window.

    Raises:
        InstallationDeclined: the user declined.
        MissingPackageError: installing failed; it holds the end of pip's log and the command that tries it again.
    """
    path = path or requirements_file()
    missing = missing_packages(path)
    if TORCH in missing:
        _install_torch(prompt)
    rest = [one for one in missing if one != TORCH]
    if rest:
        _install(path, rest, prompt)
    importlib.invalidate_caches()
    still = missing_packages(path)
    if still:
        raise MissingPackageError(
            f"{_names(still)} still cannot be found: start Slicer again, or run {_command(still)} in a terminal"
        )


def _install_torch(prompt: bool) -> None:
    try:
        from PyTorchUtils import PyTorchUtilsLogic
    except ImportError as error:
        raise MissingPackageError(
            "torch is installed by the PyTorch extension, which is not there: install it from the Extensions Manager "
            "and start Slicer again"
        ) from error
    with _explained([TORCH]):
        installed = PyTorchUtilsLogic().installTorch(
            askConfirmation=prompt, torchVersionRequirement=TORCH.removeprefix("torch")
        )
        if installed is None:
            raise _Declined


def _install(path: Path, missing: Sequence[str], prompt: bool) -> None:
    with _explained(missing), _constraints() as constraints:
        try:
            from slicer import packaging
        except ImportError:
            _install_with_slicer_510(missing, constraints, prompt)
            return
        packaging.pip_ensure(
            packaging.load_requirements(path),
            constraints=constraints,
            prompt_install=prompt,
            prompt_restart=prompt,
            requester=_REQUESTER,
            show_progress=prompt,
        )


def _install_with_slicer_510(missing: Sequence[str], constraints: Path, prompt: bool) -> None:
    from slicer import util

    question = f"MedSR needs {_names(missing)}. This will change Slicer's Python environment. Install?"
    if prompt and not util.confirmOkCancelDisplay(question, _REQUESTER):
        raise _Declined
    util.pip_install([*missing, "-c", str(constraints)])


class _Declined(RuntimeError):
    """The user said no; ``pip_ensure`` raises a plain RuntimeError then."""


@contextlib.contextmanager
def _explained(requirements: Sequence[str]) -> Iterator[None]:
    """Turns what goes wrong into one error, with the end of what pip wrote: Slicer prints that line by line."""
    log = _Tee(sys.stdout)
    try:
        with contextlib.redirect_stdout(log):
            yield
    except RuntimeError as error:
        raise InstallationDeclined(
            f"{_names(requirements)} was not installed: agree when MedSR asks, or run {_command(requirements)} "
            "in a terminal"
        ) from error
    except Exception as error:
        tail = log.getvalue().splitlines()[-_TAIL_LINES:] or [str(error)]
        raise MissingPackageError(
            f"installing {_names(requirements)} failed: check the network and repeat {_command(requirements)} "
            "in a terminal\n\npip said:\n" + "\n".join(tail)
        ) from error


@contextlib.contextmanager
def _constraints() -> Iterator[Path]:
    """A constraints file that holds Slicer's own packages, and torch, at their versions."""
    with tempfile.TemporaryDirectory(prefix="MedSR-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "constraints.txt"
        path.write_text("".join(_pins()), encoding="utf-8")
        yield path


def _pins() -> Iterator[str]:
    for name in _HELD:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield f"{name}=={importlib.metadata.version(name)}\n"


def _distribution(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def import_name(requirement: str) -> str:
    """The module that a requirement brings."""
    return _IMPORT_NAMES.get(_distribution(requirement), _distribution(requirement))


def _names(requirements: Sequence[str]) -> str:
    return ", ".join(map(_distribution, requirements))


def _command(requirements: Sequence[str]) -> str:
    tool = "light_the_torch" if list(requirements) == [TORCH] else "pip"
    return " ".join([f'"{python_executable()}" -m {tool} install', *(f'"{one}"' for one in requirements)])


class _Tee(io.StringIO):
    """Keeps what is written and passes it on."""

    def __init__(self, onward: Any) -> None:
        super().__init__()
        self._onward = onward

    def write(self, text: str) -> int:
        self._onward.write(text)
        return super().write(text)

    def flush(self) -> None:
        self._onward.flush()
