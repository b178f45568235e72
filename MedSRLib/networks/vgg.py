"""VGG trunks (Simonyan and Zisserman 2015) that the perceptual loss looks through, without torchvision."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torch.nn import functional

from MedSRLib.errors import ModelError, UsageError
from MedSRLib.volumes.storage import is_url, sha256_of

TrunkName = Literal["vgg16", "vgg19"]
_CONVOLUTIONS: dict[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)


@dataclass(frozen=True)
class InputConvention:
    """How a trunk wants its three channels: ``(scale * x - mean) / deviation`` for x in 0..1.

    Args:
        scale: of the grey levels.
        mean: per channel, in the order of the weights' channels.
        deviation: per channel.
    """

    scale: float
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


CONVENTIONS = {
    "torchvision": InputConvention(1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": InputConvention(255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
}
"""RGB of torchvision's weights; BGR 0..255 of the original weights (Oxford, Keras)."""


def layer_names(trunk: TrunkName) -> list[str]:
    """Convolutions in order, as papers name them: "conv1_1" ... "conv5_3" (VGG16) or "conv5_4" (VGG19)."""
    return [f"conv{block}_{n}" for block, count in enumerate(_CONVOLUTIONS[trunk], 1) for n in range(1, count + 1)]


class VGGTrunk(nn.Module):
    """The convolutions of VGG16 or VGG19 up to the deepest layer asked for; frozen.

    Parameter names are torchvision's ``features.{n}``, so conv5_4 of VGG19 is ``features.34``.

    Args:
        trunk: "vgg16" or "vgg19".
        layers: names as in ``layer_names``.
        before_relu: features are taken before the activation, as ESRGAN does, or after it.
        convention: a name in ``CONVENTIONS``.

    Raises:
        UsageError: a layer, the trunk or the convention is not known.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, trunk: TrunkName, layers: Sequence[str], *, before_relu: bool = True, convention: str = "torchvision"
    ) -> None:
        super().__init__()
        if trunk not in _CONVOLUTIONS:
            raise UsageError(f"the perceptual trunk {trunk!r} is not one of {', '.join(_CONVOLUTIONS)}")
        if convention not in CONVENTIONS:
            raise UsageError(f"the input convention {convention!r} is not one of {', '.join(CONVENTIONS)}")
        names = layer_names(trunk)
        if not layers or (unknown := sorted(set(layers) - set(names))):
            wrong = repr(unknown[0]) if layers else "an empty list"
            raise UsageError(f"{wrong} is no layer of {trunk}: choose among {', '.join(names)}")
        deepest = max(names.index(layer) for layer in layers)
        self.layers = tuple(layers)
        self.before_relu = before_relu
        self.positions: dict[str, int] = {}
        modules: list[nn.Module] = []
        channels = 3
        for name in names[: deepest + 1]:
            block, n = (int(digit) for digit in name.removeprefix("conv").split("_"))
            if n == 1 and block > 1:
                modules.append(nn.MaxPool2d(2))
            self.positions[name] = len(modules)
            modules += [nn.Conv2d(channels, _WIDTHS[block - 1], 3, padding=1), nn.ReLU()]
            channels = _WIDTHS[block - 1]
        self.features = nn.Sequential(*modules)
        self.scale = CONVENTIONS[convention].scale
        for key, values in (("mean", CONVENTIONS[convention].mean), ("deviation", CONVENTIONS[convention].deviation)):
            self.register_buffer(key, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of grey images.

        Args:
            x: [N, 1, H, W], 0..1; the grey level is given to all three channels.

        Returns:
            One tensor per layer, in the order asked for.

        Raises:
            ValueError: there is more than one channel.
        """
        if x.shape[1] != 1:
            raise ValueError(f"the trunk takes grey images of one channel, not {x.shape[1]}: take one channel")
        x = (self.scale * x.expand(-1, 3, -1, -1) - self.mean) / self.deviation
        wanted = {self.positions[name]: name for name in self.layers}
        found: dict[str, Tensor] = {}
        for position, module in enumerate(self.features):
            x = module(x)
            if position in wanted:
                found[wanted[position]] = x if self.before_relu else functional.relu(x)
        return [found[name] for name in self.layers]


def load_trunk(
    trunk: TrunkName,
    layers: Sequence[str],
    weights: str,
    *,
    sha256: str = "",
    before_relu: bool = True,
    convention: str = "torchvision",
) -> VGGTrunk:
    """A trunk with its weights.

    Args:
        trunk, layers, before_relu, convention: as for ``VGGTrunk``.
        weights: path or URL of a ``.safetensors`` or PyTorch file with torchvision's key names; more keys than are
            needed do not matter. A URL is downloaded once, into torch's hub folder.
        sha256: of the file; required for a URL.

    Raises:
        UsageError: no weights are named, or a URL without its hash.
        ModelError: the file is missing, is not the one whose hash was given, or does not fit.
    """
    network = VGGTrunk(trunk, layers, before_relu=before_relu, convention=convention)
    path = _locate(weights, sha256)
    state = _read(path)
    missing = [name for name in network.state_dict() if name not in state]
    if missing:
        raise ModelError(f"{path} has no {missing[0]}: give the weights of {trunk} with torchvision's names")
    try:
        network.load_state_dict({name: state[name].float() for name in network.state_dict()})
    except RuntimeError as error:
        raise ModelError(f"{path} does not fit {trunk}: {' '.join(str(error).split())[:200]}") from error
    return network


def _locate(weights: str, sha256: str) -> Path:
    """The file on this machine, its hash checked."""
    if not weights:
        raise UsageError("the perceptual loss needs weights: set losses.perceptual.weights to a file or URL of a VGG")
    if is_url(weights):
        if not sha256:
            raise UsageError(f"give losses.perceptual.sha256 for {weights}: downloads are only taken with their hash")
        path = Path(torch.hub.get_dir()) / "medsr" / f"{sha256[:16]}{Path(urlparse(weights).path).suffix}"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(weights, str(path), hash_prefix=sha256.lower(), progress=False)
            except (OSError, RuntimeError) as error:
                raise ModelError(f"{weights} could not be downloaded ({error}): download it and give a path") from error
    else:
        path = Path(weights)
    if not path.is_file():
        raise ModelError(f"{path} does not exist: set losses.perceptual.weights to a file or URL of a VGG")
    if sha256 and sha256_of(path) != sha256.lower():
        raise ModelError(f"{path} is not the file with SHA-256 {sha256}: download it again or correct the hash")
    return path


def _read(path: Path) -> Mapping[str, Tensor]:
    """Tensors by name; nothing in the file is executed."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(f"{path} holds no weights that can be read: give a .safetensors file") from error
