"""TOML tables to dataclasses, every key and value checked, and single settings changed from the command line."""

from __future__ import annotations

import tomllib
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from MedSRLib.errors import UsageError


def override_setting(table: dict[str, Any], override: str) -> None:
    """Changes one setting in place.

    Args:
        table: as ``tomllib`` read it.
        override: ``key=value``, the key dotted, the value as TOML writes it or a plain word.

    Raises:
        UsageError: it does not look like that, or a part of the key is no table.
    """
    key, separator, text = override.partition("=")
    if not separator:
        raise UsageError(f"--set {override} must look like key=value, for example --set optimiser.batch=4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UsageError(f"--set {override}: {parent} is a setting, not a table")
    table[last] = value


def build_settings(kind: Any, table: dict[str, Any], prefix: str = "") -> Any:
    """A dataclass from a table.

    Args:
        kind: the dataclass; fields that are dataclasses are tables inside.
        table: its values.
        prefix: of the keys, named in errors.

    Raises:
        UsageError: a key is unknown or missing, or a value does not fit.
    """
    hints = typing.get_type_hints(kind)
    known = {item.name for item in fields(kind)}
    if unknown := sorted(set(table) - known):
        raise UsageError(f"unknown setting {prefix}{unknown[0]}: known ones are {', '.join(sorted(known))}")
    try:
        return kind(**{name: _convert(hints[name], value, f"{prefix}{name}") for name, value in table.items()})
    except TypeError as error:
        raise UsageError(f"the configuration is incomplete: {error}") from error


def _convert(hint: Any, value: Any, name: str) -> Any:
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise UsageError(f"{name} must be a table, [{name}]")
        return build_settings(hint, value, f"{name}.")
    if isinstance(hint, types.GenericAlias) and hint.__origin__ is tuple:
        kinds = hint.__args__
        if not isinstance(value, list) or (kinds[-1] is not Ellipsis and len(value) != len(kinds)):
            raise UsageError(f"{name} must be a list of {'values' if kinds[-1] is Ellipsis else len(kinds)}")
        return tuple(_convert(kinds[0], item, name) for item in value)
    if isinstance(hint, types.GenericAlias):
        hint = hint.__origin__
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{name} = {value!r} must be of type {hint.__name__}")
    return value
