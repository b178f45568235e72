"""Brings a generator of the ESRGAN world into a MedSR model folder, as one grey channel."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from MedSRLib.errors import ModelError, UsageError
from MedSRLib.models.catalogue import Model, save_model
from MedSRLib.models.dialects import Checkpoint, fold_to_grey, read_state
from MedSRLib.models.manifest import Manifest
from MedSRLib.models.manifest_rules import is_plain_name
from MedSRLib.models.ncnn import BIN, PARAM, read_ncnn
from MedSRLib.volumes.storage import sha256_of

PICKLED = (".pth", ".pt", ".ckpt")
READABLE = (*PICKLED, ".safetensors", PARAM, BIN)
DESCRIPTION = (
    "Imported weights of the ESRGAN family, as a rule trained on natural images. On MR such weights measured 3 dB "
    "worse than bicubic interpolation, so this model is never a default: use it to compare or as a start for training."
)


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint file of any dialect and format, with its own colours.

    Args:
        path: ``.pth``, ``.pt`` or ``.ckpt`` (PyTorch), ``.safetensors``, or ncnn's ``.param`` or ``.bin``.

    Raises:
        ModelError: the file is missing, damaged, unsafe, or holds no ESRGAN generator.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path} does not exist: give a checkpoint file ({', '.join(READABLE)})")
    suffix = path.suffix.lower()
    if suffix in (PARAM, BIN):
        return read_state(read_ncnn(path))
    if suffix == ".safetensors":
        return read_state(_load_safetensors(path))
    if suffix in PICKLED:
        return read_state(_load_pickled(path))
    raise ModelError(f"{path} is none of {', '.join(READABLE)}: convert it first")


def import_model(source: Path, folder: Path, *, name: str, licence: str = "unknown", overwrite: bool = False) -> Model:
    """Writes the model folder ``folder / name`` from a checkpoint of the ESRGAN world.

    Args:
        source: as for ``read_checkpoint``.
        folder: where the model's folder is made.
        name: the model's name.
        licence: of the weights; what their author says.
        overwrite: whether a model of that name in ``folder`` may be replaced.

    Raises:
        UsageError: the name is not one, or a file or model of that name is there.
        ModelError: as ``read_checkpoint``.
        OutputError: the folder cannot be written to.
    """
    from MedSRLib.networks.build import build_generator

    source, target = Path(source), Path(folder) / name
    if not is_plain_name(name):
        raise UsageError(f"{name!r} is no model name: use letters, digits, '.', '_' and '-'")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists: choose another name or give --overwrite")
    checkpoint = fold_to_grey(read_checkpoint(source))
    halo = build_generator(checkpoint.architecture, checkpoint.arguments).receptive_radius()
    manifest = Manifest(
        name=name,
        version="1.0",
        task="inplane",
        factors=(checkpoint.factor, checkpoint.factor, 1),
        spatial_dims=2,
        slices=1,
        predicts="image",
        architecture=checkpoint.architecture,
        arguments=checkpoint.arguments,
        halo=halo,
        domain={"modalities": [], "spacing_mm": None},
        licence=licence,
        description=DESCRIPTION,
        training={"imported_from": source.name, "source_sha256": sha256_of(_weights_file(source))},
    )
    return save_model(target, manifest, checkpoint.state)


def _weights_file(source: Path) -> Path:
    return source.with_suffix(BIN) if source.suffix.lower() == PARAM else source


def _load_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(f"{path} is no safetensors file ({error}): download it again") from error


def _load_pickled(path: Path) -> Any:
    """PyTorch's own format with tensors and plain containers only; nothing in the file is ever executed."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} was refused because it holds more than tensors or is no PyTorch file: ask its author for "
            f"a .safetensors file"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is damaged or no PyTorch file: download it again") from error
