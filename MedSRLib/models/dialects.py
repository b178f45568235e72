"""ESRGAN checkpoints as the world writes them, turned into MedSR's names, arguments and one grey channel.

Read dialects: ESRGAN's first code ("old": ``model.1.sub.0.RDB1.conv1.0.weight``), its second ("new":
``RRDB_trunk.0.RDB1.conv1.weight``), BasicSR and Real-ESRGAN (``body.0.rdb1.conv1.weight``, MedSR's own names), and
Real-ESRGAN's compact network (``body.0.weight``), each bare or wrapped as training programs wrap them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from MedSRLib.errors import ModelError

WRAPPERS = ("params_ema", "params", "state_dict", "model")
"""Keys under which training programs keep the network, the best first: averaged weights before the last ones."""
_PARALLEL = "module."
_RENAMED = (
    (re.compile(r"model\.0\.(weight|bias)"), r"conv_first.\1"),
    (re.compile(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)"), r"body.\1.rdb\2.conv\3.\4"),
    (re.compile(r"model\.1\.sub\.\d+\.(weight|bias)"), r"conv_body.\1"),
    (re.compile(r"RRDB_trunk\.(\d+)\.RDB(\d)\.conv(\d)\.(weight|bias)"), r"body.\1.rdb\2.conv\3.\4"),
    (re.compile(r"trunk_conv\.(weight|bias)"), r"conv_body.\1"),
    (re.compile(r"upconv(\d)\.(weight|bias)"), r"conv_up\1.\2"),
    (re.compile(r"HRconv\.(weight|bias)"), r"conv_hr.\1"),
)
_OLD_TAIL = re.compile(r"model\.(\d+)\.(weight|bias)")
_COMPACT = re.compile(r"body\.(\d+)\.(weight|bias)")


@dataclass(frozen=True)
class Checkpoint:
    """A network of another project in MedSR's terms.

    Args:
        architecture: "RRDBGenerator" or "CompactGenerator".
        arguments: of its constructor.
        state: its parameters, float32, by MedSR's names.
    """

    architecture: str
    arguments: dict[str, Any]
    state: dict[str, Tensor]

    @property
    def factor(self) -> int:
        """Upsampling along both axes."""
        return int(self.arguments["factors"][0])


def read_state(loaded: Any) -> Checkpoint:
    """Whatever a checkpoint file held, in MedSR's terms.

    Args:
        loaded: a state dict of any dialect above, bare or inside ``WRAPPERS``.

    Raises:
        ModelError: it is no ESRGAN or Real-ESRGAN generator.
    """
    state = _unwrap(loaded)
    if all(_COMPACT.fullmatch(name) for name in state):
        return _compact(state)
    return _rrdb(_canonical_names(state))


def fold_to_grey(checkpoint: Checkpoint) -> Checkpoint:
    """The network that gives, for a grey image, the mean of the colours the original gives for three equal ones.

    Exact up to float rounding, because the first layer is linear in the colours and the mean of the last is too:
    the kernels of the first convolution are summed over the colours and those of the last averaged. Both keep the
    colour as the outermost part of a channel's number, before the place within a block (pixel unshuffle and shuffle).
    """
    colours = checkpoint.arguments["in_channels"]
    state = dict(checkpoint.state)
    first, last = "conv_first", "conv_last"
    if checkpoint.architecture == "CompactGenerator":
        first, last = "body.0", f"body.{2 * checkpoint.arguments['convolutions'] + 2}"
    weight = state[f"{first}.weight"].double()
    state[f"{first}.weight"] = weight.unflatten(1, (colours, -1)).sum(1).float()
    for name in (f"{last}.weight", f"{last}.bias"):
        state[name] = state[name].double().unflatten(0, (colours, -1)).mean(0).float()
    arguments = {**checkpoint.arguments, "in_channels": 1, "out_channels": 1}
    return Checkpoint(checkpoint.architecture, arguments, state)


def _unwrap(loaded: Any) -> dict[str, Tensor]:
    while isinstance(loaded, Mapping):
        inner = next((loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ModelError("the file holds no state dict of a network: give a checkpoint of an ESRGAN generator")
    state = {str(name).removeprefix(_PARALLEL): value.detach().float() for name, value in loaded.items()}
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ModelError("the checkpoint holds weights that are not finite: download it again or take an earlier one")
    return state


def _canonical_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """BasicSR's names for any of the three dialects of RRDB networks."""
    tail = sorted({int(m[1]) for name in state if (m := _OLD_TAIL.fullmatch(name)) and m[1] != "0"})
    places = [f"conv_up{n}" for n in range(1, len(tail) - 1)] + ["conv_hr", "conv_last"]
    of_tail = dict(zip(tail, places, strict=False))
    renamed = {}
    for name, value in state.items():
        match = _OLD_TAIL.fullmatch(name)
        if match and int(match[1]) in of_tail:
            renamed[f"{of_tail[int(match[1])]}.{match[2]}"] = value
            continue
        for pattern, replacement in _RENAMED:
            if pattern.fullmatch(name):
                name = pattern.sub(replacement, name)
                break
        renamed[name] = value
    return renamed


def _rrdb(state: dict[str, Tensor]) -> Checkpoint:
    """Arguments of an RRDB network from the shapes of its parameters.

    Each up-convolution doubles the size; the 3x networks of the oldest code, with one that triples it, look the same
    and are read as 2x.
    """
    needed = ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight")
    if any(name not in state or state[name].ndim != 4 for name in needed):
        strange = next((name for name in state if not name.startswith(("body.", "conv_"))), next(iter(state)))
        raise ModelError(
            f"this is no network that MedSR can import (it has {strange!r}): give a 2D ESRGAN (RRDB) or compact one"
        )
    first, inner, last = (state[name] for name in needed)
    colours = last.shape[0]
    shares = {colours * unshuffle**2: unshuffle for unshuffle in (1, 2, 4)}
    stages = sum(1 for name in state if re.fullmatch(r"conv_up\d+\.weight", name))
    unshuffle = shares.get(first.shape[1], 0)
    if not unshuffle or 2**stages % unshuffle:
        raise ModelError(
            f"the network takes {first.shape[1]} channels and gives {colours}: only networks from an image to the "
            f"same image larger can be imported"
        )
    factor = 2**stages // unshuffle
    blocks = 1 + max(int(m[1]) for name in state if (m := re.match(r"body\.(\d+)\.rdb", name)))
    arguments = {
        "spatial_dims": 2,
        "in_channels": colours,
        "out_channels": colours,
        "factors": [factor, factor],
        "features": first.shape[0],
        "blocks": blocks,
        "growth": inner.shape[0],
        "upsampler": "nearest",
        "unshuffle": unshuffle,
    }
    return Checkpoint("RRDBGenerator", arguments, state)


def _compact(state: dict[str, Tensor]) -> Checkpoint:
    """Arguments of a compact network: convolutions at even places, PReLU slopes at odd ones, a pixel shuffle last."""
    weights = {int(m[1]): state[name] for name in state if (m := _COMPACT.fullmatch(name)) and m[2] == "weight"}
    last = max(weights, default=0)
    right = set(weights) == set(range(last + 1)) and last >= 2 and last % 2 == 0
    if not right or any(weight.ndim != (1 if place % 2 else 4) for place, weight in weights.items()):
        raise ModelError(
            "this flat network is no compact Real-ESRGAN (convolutions and PReLU in turn): give another one"
        )
    features, colours = weights[0].shape[:2]
    factor = math.isqrt(weights[last].shape[0] // colours)
    if colours * factor**2 != weights[last].shape[0]:
        raise ModelError(f"the compact network's {weights[last].shape[0]} last channels are no square of a factor")
    arguments = {
        "spatial_dims": 2,
        "in_channels": colours,
        "out_channels": colours,
        "factors": [factor, factor],
        "features": features,
        "convolutions": last // 2 - 1,
        "activation": "prelu",
    }
    return Checkpoint("CompactGenerator", arguments, state)
