"""Fixtures that several tests share: tiny real models and small real volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from module_fixtures import application, module, open_panel  # noqa: F401 (fixtures; MedSR/MedSR.py among doubles)
from scene_fixtures import add_transform, add_volume, scene  # noqa: F401 (fixtures; 3D Slicer's scene, for test_scene_*)

from MedSRLib.models.catalogue import Model, save_model
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.volume import Volume

DATA = Path(__file__).parent / "data"
OBLIQUE = DATA / "mr_t1_oblique_64x64x24.nrrd"
UINT16 = DATA / "mr_t1_uint16_48x48x24.mha"

TOLD = ("width", "kspace", "noise")
"""Conditions of the generators that make pixels finer."""


def make_tiny_model(folder: Path, **changes: Any) -> Model:
    """A tiny RRDB model with random weights in every layer, the last one too, so that its output is not zero.

    Args:
        folder: of the model.
        changes: fields of the manifest, and ``arguments`` of the generator to change.
    """
    import torch

    from MedSRLib.networks.build import build_generator

    extra = changes.pop("arguments", {})
    slices = changes.get("slices", 1)
    dims = changes.get("spatial_dims", 2)
    factors = changes.get("factors", (2, 2, 1))
    scale = [1] * dims if changes.get("task") == "through-plane" else [int(f) for f in reversed(factors)][-dims:]
    arguments = {
        "spatial_dims": dims,
        "in_channels": slices + len(changes.get("conditions", ())),
        "factors": scale,
        "features": 4,
        "blocks": 1,
        "growth": 4,
        **extra,
    }
    torch.manual_seed(7)
    generator = build_generator("RRDBGenerator", arguments)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    manifest = Manifest(
        **{
            "name": folder.name,
            "version": "1.0.0",
            "task": "inplane",
            "factors": factors,
            "spatial_dims": dims,
            "slices": slices,
            "predicts": "residual",
            "architecture": "RRDBGenerator",
            "arguments": arguments,
            "halo": generator.receptive_radius(),
            "domain": {"modalities": ["MR", "CT"], "spacing_mm": None},
            "licence": "Apache-2.0",
            "description": "a tiny model for tests",
            "base_iterations": 2,
            **changes,
        }
    )
    return save_model(folder, manifest, generator.state_dict())


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """In-plane x2 from a slice and its two neighbours."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny-x2", slices=3)


@pytest.fixture
def models_folder(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's model folder for this test: it holds the tiny model alone."""
    monkeypatch.setenv("MEDSR_MODELS", str(tiny_model.folder.parent))
    return tiny_model.folder.parent


@pytest.fixture
def smooth_volume() -> Callable[..., Volume]:
    """Makes a volume that looks like an image: a few soft blobs with noise, in an oblique anisotropic frame."""

    def make(shape: tuple[int, int, int] = (5, 21, 18), dtype: Any = np.int16, modality: str = "MR") -> Volume:
        random = np.random.default_rng(3)
        k, j, i = (np.linspace(-1, 1, n) for n in shape)
        radius = np.sqrt(k[:, None, None] ** 2 / 4 + j[None, :, None] ** 2 + i[None, None, :] ** 2)
        voxels = 600 * (radius < 0.8) + 200 * np.cos(6 * radius) + 20 * random.standard_normal(shape)
        if modality == "CT":
            voxels = voxels - 700
        if np.issubdtype(dtype, np.unsignedinteger):
            voxels = voxels + 300
        angle = 0.3
        affine = np.eye(4)
        affine[:3, :3] = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        ) @ np.diag([0.9, 1.1, 3.0])
        affine[:3, 3] = (-31.5, 12.25, 77.0)
        return Volume(np.ascontiguousarray(voxels.astype(dtype)), affine, modality)

    return make
