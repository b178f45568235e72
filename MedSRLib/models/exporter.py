"""A model for other tools: a MONAI bundle folder, or ONNX.

Both hold the generator g alone: the tensors go in and come out normalised, and interpolation, projection and geometry
stay with MedSR.
"""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.errors import MissingPackageError, UsageError
from MedSRLib.models.card import card_text
from MedSRLib.models.catalogue import Model
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.storage import write_atomically

if TYPE_CHECKING:
    from MedSRLib.networks.build import Generator

_EXAMPLE_SIDE = 32
_ONNX_OPSET = 17


def export_bundle(model: Model, folder: Path, *, fidelity: float | None = None) -> Path:
    """Writes a MONAI bundle: ``configs/metadata.json``, ``configs/inference.json``, ``models/model.pt``, ``docs``.

    Args:
        model: to export.
        folder: of the bundle; made, and must not exist.
        fidelity: of the weight interpolation, as for ``enhance``.

    Raises:
        UsageError: the folder exists.
        ModelError: the weights are missing or damaged.
        OutputError: the folder cannot be written to.
    """
    import torch

    folder = Path(folder)
    if folder.exists():
        raise UsageError(f"{folder} exists: choose another folder")
    generator = model.load_generator(fidelity=fidelity)
    weights = io.BytesIO()
    torch.save(generator.state_dict(), weights)
    files = {
        "configs/metadata.json": _json(_metadata(model.manifest)),
        "configs/inference.json": _json(_inference(model.manifest, generator)),
        "docs/README.md": card_text(model.manifest).encode(),
        "models/model.pt": weights.getvalue(),
    }
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder


def export_onnx(model: Model, path: Path, *, fidelity: float | None = None) -> Path:
    """Writes the generator as ONNX; batch and image size are free.

    Args:
        model: to export.
        path: the .onnx file; must not exist.
        fidelity: of the weight interpolation, as for ``enhance``.

    Raises:
        UsageError: the file exists.
        MissingPackageError: the package onnx is not installed.
        ModelError: the weights are missing or damaged.
        OutputError: the file cannot be written.
    """
    import torch

    path = Path(path)
    if path.exists():
        raise UsageError(f"{path} exists: choose another file")
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("ONNX needs the package onnx: pip install onnx") from error
    generator = model.load_generator(fidelity=fidelity)
    dims = model.manifest.spatial_dims
    example = torch.zeros(1, model.manifest.arguments.get("in_channels", 1), *[_EXAMPLE_SIDE] * dims)
    free = {0: "batch", **{2 + axis: name for axis, name in enumerate(("depth", "height", "width")[-dims:])}}
    with tempfile.TemporaryDirectory(prefix="medsr-onnx-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own future, and shapes that are constant by design
        target = Path(folder) / "generator.onnx"
        torch.onnx.export(
            generator,
            (example,),
            str(target),
            input_names=["image"],
            output_names=["pred"],
            dynamic_axes={"image": free, "pred": {axis: f"{name}_out" for axis, name in free.items() if axis}},
            opset_version=_ONNX_OPSET,
            dynamo=False,  # the other exporter needs onnxscript too
        )
        write_atomically(path, target.read_bytes())
    return path


def _metadata(manifest: Manifest) -> dict[str, Any]:
    """The manifest has the bundle's keys already, apart from these."""
    return {
        **manifest.to_json(),
        "changelog": {manifest.version: "exported by MedSR"},
        "intended_use": "Not for primary diagnosis.",
    }


def _inference(manifest: Manifest, generator: Generator) -> dict[str, Any]:
    """``network`` is the generator with its weights; ``network_def`` the one without, as MONAI's tools look for."""
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": f"{type(generator).__module__}.{type(generator).__name__}",
            **manifest.arguments,
        },
        "weights": "$torch.load(@bundle_root + '/models/model.pt', map_location='cpu', weights_only=True)",
        "load": "$@network_def.load_state_dict(@weights)",
        "network": "$(@load, @network_def.to(@device).eval())[1]",
    }


def _json(content: dict[str, Any]) -> bytes:
    return f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode()
