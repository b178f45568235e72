"""Real-ESRGAN networks as ncnn ships them: a ``.param`` text that lists the layers and a ``.bin`` with their weights.

Layers carry no names of the original network, so the order of the layers is compared, one by one, with that of the
two networks MedSR knows, and the weights take the names of their places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from MedSRLib.errors import ModelError
from MedSRLib.networks.rrdb import LEAK, RESIDUAL_SCALE

PARAM, BIN = ".param", ".bin"
MAGIC = 7767517
FLOAT16 = 0x01306B47
"""Flag before a weight stored as float16, padded to four bytes; flag 0 says float32."""
FLOAT32 = 0
_ARRAY_KEY = -23300

_LEAKY = f"leaky Convolution ({LEAK})"
_ADD_SCALED = f"Eltwise x + {RESIDUAL_SCALE} F(x)"


@dataclass(frozen=True)
class Layer:
    """A line of the ``.param`` file: its type and its parameters by key (arrays under their plain key)."""

    kind: str
    parameters: dict[int, tuple[float, ...]]

    def value(self, key: int, default: float = 0.0) -> float:
        """A parameter that is one number."""
        return self.parameters.get(key, (default,))[0]


def read_ncnn(path: Path) -> dict[str, Tensor]:
    """The state dict of an RRDB (BasicSR names) or compact network, float32.

    Args:
        path: the ``.param`` or the ``.bin``; the other lies beside it.

    Raises:
        ModelError: a file is missing or damaged, or the network is not one of Real-ESRGAN's.
    """
    path = Path(path)
    try:
        text = path.with_suffix(PARAM).read_text(encoding="utf-8")
        content = path.with_suffix(BIN).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read with its .param and .bin side by side: {error}") from error
    layers = [layer for layer in _parse(text, path) if layer.kind not in ("Input", "Split")]
    names = _places(layers, path)
    state: dict[str, Tensor] = {}
    offset = 0
    for layer, name in zip(layers, names, strict=True):
        if layer.kind == "Convolution":
            outputs, size = int(layer.value(0)), int(layer.value(6))
            if outputs < 1 or size < 1 or size % (9 * outputs):
                raise ModelError(f"{path.with_suffix(PARAM)} is damaged ({name} has no right size): download it again")
            weight, offset = _flagged(content, offset, size, path)
            bias, offset = _floats(content, offset, outputs, path)
            state[f"{name}.weight"] = torch.from_numpy(weight.reshape(outputs, -1, 3, 3))
            state[f"{name}.bias"] = torch.from_numpy(bias)
        elif layer.kind == "PReLU":
            slopes, offset = _floats(content, offset, int(layer.value(0)), path)
            state[f"{name}.weight"] = torch.from_numpy(slopes)
    if offset != len(content):
        raise ModelError(f"{path.with_suffix(BIN)} does not belong to its .param: download both again")
    return state


def _parse(text: str, path: Path) -> list[Layer]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    try:
        if int(lines[0][0]) != MAGIC or len(lines) - 2 != int(lines[1][0]):
            raise ValueError("wrong number of layers")
        return [_layer(words) for words in lines[2:]]
    except (ValueError, IndexError) as error:
        raise ModelError(f"{path.with_suffix(PARAM)} is no ncnn network: download it again") from error


def _layer(words: list[str]) -> Layer:
    """``kind name inputs outputs blobs... key=value...``; an array has key -23300 - k and starts with its length."""
    parameters = {}
    for word in words[4 + int(words[2]) + int(words[3]) :]:
        key, _, value = word.partition("=")
        numbers = tuple(float(number) for number in value.split(","))
        if not np.isfinite(numbers).all():
            raise ValueError(f"{word} is not finite")
        if int(key) <= _ARRAY_KEY:
            parameters[_ARRAY_KEY - int(key)] = numbers[1:]
        else:
            parameters[int(key)] = numbers
    return Layer(words[0], parameters)


def _places(layers: list[Layer], path: Path) -> list[str]:
    """Name of each layer's place in the network that has exactly these layers in this order."""
    found = [_role(layer) for layer in layers]
    hidden = found.count("PReLU")
    if hidden:
        plan = list(_compact_plan(hidden, next((int(x.value(0)) for x in layers if x.kind == "PixelShuffle"), 0)))
    else:
        plan = list(_rrdb_plan(found.count("Concat") // 12, found.count("nearest Interp x2")))
    if found != [role for role, _ in plan]:
        place = next((n for n, role in enumerate(found) if n >= len(plan) or role != plan[n][0]), len(found))
        what = found[place] if place < len(found) else "its end"
        raise ModelError(
            f"{path.with_suffix(PARAM)} is not laid out like a Real-ESRGAN network (layer {place + 1}: {what}): "
            f"import a plain x4 network instead"
        )
    return [name for _, name in plan]


def _role(layer: Layer) -> str:
    """What a layer does, in words that ``_rrdb_plan`` and ``_compact_plan`` use; others keep their parameters."""
    p = layer.value
    if layer.kind == "Convolution" and (p(1), p(2, 1), p(3, 1), p(4), p(5)) == (3, 1, 1, 1, 1):
        if p(9) == 0:
            return "Convolution"
        if p(9) == 2 and np.isclose(p(10), LEAK):
            return _LEAKY
    if layer.kind == "Eltwise" and p(0) == 1 and np.allclose(layer.parameters.get(1, ()), (RESIDUAL_SCALE, 1)):
        return _ADD_SCALED
    if layer.kind == "Interp" and p(0) == 1 and p(1) == p(2) and p(1) >= 2:
        return f"nearest Interp x{p(1):g}"
    if layer.kind == "PixelShuffle" and p(1) == 0:
        return f"PixelShuffle {p(0):g}"
    if layer.kind == "PReLU" or (layer.kind == "Concat" and p(0) == 0):
        return layer.kind
    if layer.kind == "BinaryOp" and p(0) == 0:
        return "Add"
    return f"{layer.kind} {layer.parameters}"


def _rrdb_plan(blocks: int, stages: int) -> Iterator[tuple[str, str]]:
    """Roles and names of an RRDB network, in ncnn's order."""
    yield "Convolution", "conv_first"
    for block in range(blocks):
        for dense in (1, 2, 3):
            for n in range(1, 5):
                yield _LEAKY, f"body.{block}.rdb{dense}.conv{n}"
                yield "Concat", ""
            yield "Convolution", f"body.{block}.rdb{dense}.conv5"
            yield _ADD_SCALED, ""
        yield _ADD_SCALED, ""
    yield "Convolution", "conv_body"
    yield "Add", ""
    for stage in range(1, stages + 1):
        yield "nearest Interp x2", ""
        yield _LEAKY, f"conv_up{stage}"
    yield _LEAKY, "conv_hr"
    yield "Convolution", "conv_last"


def _compact_plan(hidden: int, factor: int) -> Iterator[tuple[str, str]]:
    """Roles and names of a compact network, in ncnn's order."""
    for n in range(hidden):
        yield "Convolution", f"body.{2 * n}"
        yield "PReLU", f"body.{2 * n + 1}"
    yield "Convolution", f"body.{2 * hidden}"
    yield f"PixelShuffle {factor}", ""
    yield f"nearest Interp x{factor}", ""
    yield "Add", ""


def _flagged(content: bytes, offset: int, size: int, path: Path) -> tuple[np.ndarray, int]:
    """A weight after its flag, as float32, and the offset behind it."""
    flag = int.from_bytes(content[offset : offset + 4], "little")
    offset += 4
    if flag == FLOAT32:
        return _floats(content, offset, size, path)
    if flag != FLOAT16:
        raise ModelError(f"{path.with_suffix(BIN)} is quantised or damaged: give the float16 or float32 network")
    end = offset + 2 * size
    if end > len(content):
        raise ModelError(f"{path.with_suffix(BIN)} is too short: download it again")
    values = np.frombuffer(content, "<f2", size, offset).astype(np.float32)
    return values, end + end % 4


def _floats(content: bytes, offset: int, size: int, path: Path) -> tuple[np.ndarray, int]:
    """float32 values and the offset behind them."""
    end = offset + 4 * size
    if size < 0 or end > len(content):
        raise ModelError(f"{path.with_suffix(BIN)} is too short: download it again")
    return np.frombuffer(content, "<f4", size, offset).astype(np.float32), end
