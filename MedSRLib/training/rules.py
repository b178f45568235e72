"""What a setting may hold: annotations of the configuration's fields, checked wherever a table is made."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from MedSRLib.errors import UsageError
from MedSRLib.models.manifest_rules import RULES, TASKS, is_whole
from MedSRLib.volumes.volume import MODALITIES


@dataclass(frozen=True)
class Rule:
    """One annotation.

    Args:
        holds: whether a value of the right type is allowed.
        wanted: completes "KEY = VALUE must be ...".
    """

    holds: Callable[[Any], bool]
    wanted: str


def _is_span(value: Any, above: float) -> bool:
    return above < value[0] <= value[1] < math.inf


Whole = Annotated[int, Rule(lambda n: is_whole(n, least=0), "a whole number of at least 0")]
Count = Annotated[int, Rule(lambda n: is_whole(n, least=1), "a whole number of at least 1")]
Counts = Annotated[
    tuple[int, ...], Rule(lambda v: bool(v) and min(v) >= 1, "one whole number of at least 1, or more of them")
]
OddCount = Annotated[int, Rule(lambda n: is_whole(n, least=1) and n % 2 == 1, "an odd number: a slice and neighbours")]
Share = Annotated[float, Rule(lambda x: 0 <= x <= 1, "a share between 0 and 1")]
Decay = Annotated[float, Rule(lambda x: 0 <= x < 1, "at least 0 and below 1")]
Weight = Annotated[float, Rule(lambda x: 0 <= x < math.inf, "a number of at least 0")]
Number = Annotated[float, Rule(math.isfinite, "a finite number")]
Positive = Annotated[float, Rule(lambda x: 0 < x < math.inf, "a number above 0")]
Span = Annotated[tuple[float, float], Rule(lambda v: _is_span(v, 0), "[smallest, largest], both above 0")]
FactorSpan = Annotated[tuple[float, float], Rule(lambda v: _is_span(v, 1), "[smallest, largest], both above 1")]
Factors = Annotated[
    tuple[int, int, int], Rule(lambda v: min(v) >= 1, "three whole numbers of at least 1: along i, j, k")
]
Betas = Annotated[tuple[float, float], Rule(lambda v: all(0 <= x < 1 for x in v), "two numbers of at least 0, below 1")]
Parts = Annotated[tuple[float, ...], Rule(lambda v: all(0 < x < 1 for x in v), "parts of the stage, between 0 and 1")]
Weights = Annotated[tuple[float, ...], Rule(lambda v: all(0 <= x < math.inf for x in v), "numbers of at least 0")]
Layers = Annotated[tuple[str, ...], Rule(lambda v: bool(v), "one layer or more, each with its weight in layer_weights")]
Patterns = Annotated[tuple[str, ...], Rule(lambda v: all(one.strip() for one in v), "files, folders or patterns")]
Modalities = Annotated[tuple[str, ...], Rule(lambda v: set(v) <= set(MODALITIES), f"among {', '.join(MODALITIES)}")]
Task = Annotated[str, Rule(lambda v: v in TASKS, f"one of {', '.join(TASKS)}")]
Name = Annotated[str, Rule(*RULES["name"])]
Text = Annotated[str, Rule(*RULES["description"])]
Hash = Annotated[str, Rule(lambda v: v == "" or (len(v) == 64 and not v.strip("0123456789abcdefABCDEF")), "a SHA-256")]


class Settings:
    """Base of the configuration's dataclasses: their values are checked when they are made.

    Attributes:
        table: dotted name of the TOML table, "" for the top level.
    """

    table: ClassVar[str] = ""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        hints = type_hints(kind)
        for item in fields(self):  # type: ignore[arg-type]
            require_allowed(hints[item.name], getattr(self, item.name), self.key(item.name))

    @classmethod
    def key(cls, name: str) -> str:
        """A field's dotted name, as ``--set`` takes it."""
        return f"{cls.table}.{name}" if cls.table else name


@lru_cache
def type_hints(kind: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of a class's fields or of a function's parameters, rules included."""
    return typing.get_type_hints(kind, include_extras=True)


def require_allowed(hint: Any, value: Any, key: str) -> None:
    """Checks a value of the right type.

    Args:
        hint: its annotation.
        value: what it is.
        key: named in the error.

    Raises:
        UsageError: a rule of the annotation does not hold.
    """
    rules = [rule for rule in getattr(hint, "__metadata__", ()) if isinstance(rule, Rule)]
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        rules = [Rule(lambda v: v in choices, " or ".join(map(repr, choices)))]
    for rule in rules:
        if not rule.holds(value):
            shown = list(value) if isinstance(value, tuple) else value
            raise UsageError(f"{key} = {shown!r} must be {rule.wanted}")
