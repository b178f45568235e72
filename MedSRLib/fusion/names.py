"""What the names of series say: which of them are one image in several directions."""

from __future__ import annotations

import re

DIRECTIONS = (
    ("axial", re.compile(r"(ax|axi|axial|tra|tran|trans|transv|transverse|transversal)\d*")),
    ("sagittal", re.compile(r"(sag|sagittal)\d*")),
    ("coronal", re.compile(r"(cor|coronal)\d*")),
    ("", re.compile(r"(obl|oblique|orient|orientation)\d*")),
)
"""Words of a name that say which way the slices lie, in the order in which the series of a group are named."""
_RUN = re.compile(r"(run|stack|series|rep|repeat)\d*")
_NUMBER = re.compile(r"\d+")
_WORDS = re.compile(r"[^\W_]+")


def common_words(text: str) -> tuple[str, bool]:
    """A name without the words for a direction or a run, and whether there was one."""
    words = list(_WORDS.finditer(text))
    dropped = []
    for n, word in enumerate(words):
        one = word.group().casefold()
        if _direction(one) is not None:
            dropped.append(word)
        elif _RUN.fullmatch(one):
            dropped.append(word)
            if one.isalpha() and n + 1 < len(words) and _NUMBER.fullmatch(words[n + 1].group()):
                dropped.append(words[n + 1])
    return "_".join(word.group() for word in words if word not in dropped), bool(dropped)


def direction_in(text: str) -> int:
    """Place in ``DIRECTIONS`` of the first direction that a name speaks of; their number where it speaks of none."""
    found = (_direction(word.casefold()) for word in _WORDS.findall(text))
    return next((n for n in found if n is not None), len(DIRECTIONS))


def _direction(word: str) -> int | None:
    return next((n for n, (_, words) in enumerate(DIRECTIONS) if words.fullmatch(word)), None)
