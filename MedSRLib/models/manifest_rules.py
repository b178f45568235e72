"""What each key of a manifest may hold, with the words that say so to the reader."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from MedSRLib.acquisition.conditions import CONDITIONS
from MedSRLib.models.tasks import TASKS
from MedSRLib.volumes.volume import MODALITIES

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_plain_name(value: Any) -> bool:
    """Whether a value may name a model or a file in its folder: one word, no path."""
    return isinstance(value, str) and _PLAIN_NAME.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any, *, least: int) -> TypeGuard[int]:
    """Whether a JSON value is a whole number, at least ``least``, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_numbers(value: Any, count: int, least: float) -> bool:
    right = isinstance(value, list | tuple) and len(value) == count
    return right and all(_is_number(v) and v >= least for v in value)


def _is_span(value: Any, least: float) -> bool:
    return _are_numbers(value, 2, least) and value[0] <= value[1]


def _is_domain(value: Any) -> bool:
    if not isinstance(value, Mapping) or not {"modalities", "spacing_mm"} <= set(value):
        return False
    modalities, spacing = value["modalities"], value["spacing_mm"]
    known = isinstance(modalities, list | tuple) and all(m in MODALITIES for m in modalities)
    dense = value.get("dense_bone", 0.0)
    return known and (spacing is None or _is_span(spacing, 0.0)) and _is_number(dense) and 0 <= dense <= 1


def _is_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        key in ("fidelity", "perceptual")
        and isinstance(entry, Mapping)
        and is_plain_name(entry.get("file"))
        and _SHA256.fullmatch(str(entry.get("sha256"))) is not None
        for key, entry in value.items()
    )


def _is_json_object(value: Any) -> bool:
    return isinstance(value, dict)


RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (is_plain_name, "a name of letters, digits, '.', '_' and '-'"),
    "version": (_is_text, "a text"),
    "task": (lambda v: v in tuple(TASKS), f"one of {', '.join(TASKS)}"),
    "factors": (lambda v: _are_numbers(v, 3, 1), "three numbers of at least 1, along i, j and k"),
    "spatial_dims": (lambda v: is_whole(v, least=2) and v <= 3, "2 or 3"),
    "slices": (lambda v: is_whole(v, least=1) and v % 2 == 1, "an odd number of slices"),
    "predicts": (lambda v: v in ("residual", "image"), "'residual' or 'image'"),
    "architecture": (_is_text, "a text"),
    "arguments": (_is_json_object, "an object"),
    "halo": (lambda v: is_whole(v, least=0), "a whole number of voxels"),
    "domain": (_is_domain, f"an object with 'modalities' (of {', '.join(MODALITIES)}) and 'spacing_mm' [min, max]"),
    "licence": (_is_text, "a text"),
    "description": (_is_text, "a text"),
    "factor_range": (lambda v: v is None or _is_span(v, 1), "null or [min, max] of at least 1"),
    "base_iterations": (lambda v: is_whole(v, least=0), "a whole number of steps"),
    "conditions": (
        lambda v: isinstance(v, list | tuple) and set(v) <= set(CONDITIONS),
        f"a list of {', '.join(CONDITIONS)}",
    ),
    "border": (lambda v: is_whole(v, least=0), "a whole number of voxels"),
    "in_plane_fwhm": (lambda v: _is_number(v) and v > 0, "a positive number"),
    "intensity": (lambda v: v == "per-volume", "'per-volume'"),
    "tile_tolerance": (lambda v: _is_number(v) and v >= 0, "a number of at least 0"),
    "weights": (_is_weights, "an object with 'fidelity' and perhaps 'perceptual', each a file name and its sha256"),
    "training": (_is_json_object, "an object"),
    "scores": (_is_json_object, "an object"),
}
