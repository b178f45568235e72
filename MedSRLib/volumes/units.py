"""Numbers and units as headers write them."""

from __future__ import annotations

_MILLIMETRES = {
    1.0: ("mm", "millimeter", "millimetre"),
    10.0: ("cm", "centimeter", "centimetre"),
    1000.0: ("m", "meter", "metre"),
    1e-3: ("um", "µm", "μm", "micron", "micrometer", "micrometre"),
    1e-6: ("nm", "nanometer", "nanometre"),
    25.4: ("in", "inch"),
}
_SECONDS = {
    1.0: ("s", "sec", "second"),
    1e-3: ("ms", "msec", "millisecond"),
    1e-6: ("us", "µs", "μs", "microsecond"),
}


def real(word: str) -> float:
    """A number as headers write it; Python reads more, such as 1_000 and the digits of other scripts.

    Raises:
        ValueError: it is none.
    """
    if not word.isascii() or "_" in word:
        raise ValueError(f"{word!r} is no number")
    return float(word)


def millimetres(unit: str) -> float | None:
    """How many a length unit is; None where the word is not known."""
    return _factor(unit, _MILLIMETRES)


def seconds(unit: str) -> float | None:
    """How many a time unit is; None where the word is not known."""
    return _factor(unit, _SECONDS)


def _factor(unit: str, known: dict[float, tuple[str, ...]]) -> float | None:
    word = unit.strip().lower()
    for factor, words in known.items():
        if word in words or (
            len(word) > 2 and word.removesuffix("s").removesuffix("e") in (w.removesuffix("e") for w in words)
        ):
            return factor
    return None
