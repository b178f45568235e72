"""TOML tables to dataclasses, every key and value checked, and single settings changed from the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args, get_origin

from MedSRLib.errors import UsageError
from MedSRLib.training.rules import type_hints

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a table"}


def parse_override(override: str) -> tuple[str, Any]:
    """The key and value of ``--set``.

    Args:
        override: ``key=value``, the key dotted, the value as TOML writes it or a plain word.

    Raises:
        UsageError: it does not look like that.
    """
    key, separator, text = override.partition("=")
    if not separator:
        raise UsageError(f"--set {override} must look like key=value, for example --set optimiser.batch=4")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text


def change_setting(table: dict[str, Any], key: str, value: Any) -> None:
    """Changes one setting in place.

    Args:
        table: as ``tomllib`` read it.
        key: dotted.
        value: as ``tomllib`` would read it.

    Raises:
        UsageError: a part of the key is no table.
    """
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UsageError(f"{key} cannot be set: {parent} is a setting, not a table")
    table[last] = value


def build_settings(kind: Any, table: dict[str, Any]) -> Any:
    """A dataclass from a table.

    Args:
        kind: a dataclass of ``rules.Settings``; fields that are such dataclasses are tables inside.
        table: its values.

    Raises:
        UsageError: a key is unknown or missing, or a value does not fit.
    """
    require_known(table, [item.name for item in fields(kind)], kind.key)
    for item in fields(kind):
        if item.name not in table and item.default is item.default_factory is MISSING:
            raise UsageError(f"the configuration lacks {kind.key(item.name)}")
    hints = type_hints(kind)
    return kind(**{name: convert(hints[name], value, kind.key(name)) for name, value in table.items()})


def require_known(given: Iterable[str], known: Sequence[str], key: Callable[[str], str]) -> None:
    """Raises UsageError for a key that is not known, with the one that was probably meant.

    Args:
        given: keys of a table.
        known: those that there are.
        key: from a key to its dotted name.
    """
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, 1)
            meant = f"did you mean {key(close[0])}?" if close else f"known ones are {', '.join(sorted(known))}"
            raise UsageError(f"unknown setting {key(name)}: {meant}")


def convert(hint: Any, value: Any, key: str) -> Any:
    """A TOML value as a field's type; its rules are left to ``rules.require_allowed``.

    Args:
        hint: the field's annotation.
        value: as ``tomllib`` read it.
        key: named in errors.

    Raises:
        UsageError: it is of another type.
    """
    if get_origin(hint) is Annotated:
        hint = hint.__origin__
    if is_dataclass(hint):
        return build_settings(hint, _require(dict, value, key))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if not isinstance(value, list) or (kinds[-1] is not Ellipsis and len(value) != len(kinds)):
            raise UsageError(f"{key} = {value!r} must be a list of {'values' if kinds[-1] is Ellipsis else len(kinds)}")
        return tuple(convert(kinds[0], item, key) for item in value)
    if get_origin(hint) is Literal:
        return _require(type(get_args(hint)[0]), value, key)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _require(get_origin(hint) or hint, value, key)


def _require(kind: type, value: Any, key: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{key} = {value!r} must be {_WORDS[kind]}")
    return value
