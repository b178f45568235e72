"""From an architecture's name and arguments, as a manifest or a training configuration states them, to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from MedSRLib.errors import ModelError
from MedSRLib.networks.compact import CompactGenerator
from MedSRLib.networks.rrdb import RRDBGenerator

Generator = RRDBGenerator | CompactGenerator
ARCHITECTURES: dict[str, type[RRDBGenerator] | type[CompactGenerator]] = {
    "RRDBGenerator": RRDBGenerator,
    "CompactGenerator": CompactGenerator,
}


def build_generator(architecture: str, arguments: Mapping[str, Any]) -> Generator:
    """An untrained generator.

    Args:
        architecture: a name in ``ARCHITECTURES``.
        arguments: keyword arguments of its constructor.

    Raises:
        ModelError: the name or an argument is not known.
    """
    if architecture not in ARCHITECTURES:
        raise ModelError(f"architecture {architecture!r} is not one of {', '.join(ARCHITECTURES)}")
    try:
        return ARCHITECTURES[architecture](**arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{architecture} cannot be built from these arguments: {error}") from error
