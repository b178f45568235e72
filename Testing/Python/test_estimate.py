"""The panel's estimate says the true size, about the memory and time, and what the time is based on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_tiny_model

from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.estimate import (
    GUESSED,
    MEASURED,
    UNKNOWN,
    duration,
    estimate,
    multiplications_per_voxel,
    remember_speed,
)
from MedSRLib.enhancement.request import Options
from MedSRLib.errors import InputError
from MedSRLib.models.manifest import Manifest
from MedSRLib.networks.build import build_generator
from MedSRLib.volumes.volume import Volume


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


def manifest(**changes: Any) -> Manifest:
    return Manifest(
        **{
            "name": "any",
            "version": "1",
            "task": "inplane",
            "factors": (2, 2, 1),
            "spatial_dims": 2,
            "slices": 1,
            "predicts": "residual",
            "architecture": "RRDBGenerator",
            "arguments": {"features": 32, "blocks": 2, "growth": 16},
            "halo": 34,
            "domain": {"modalities": ["MR"], "spacing_mm": None},
            "licence": "Apache-2.0",
            "description": "a test",
            **changes,
        }
    )


THROUGH = {
    "task": "through-plane",
    "factors": (1, 1, 4),
    "factor_range": (1.5, 8),
    "arguments": {"factors": (1, 1), "features": 8, "blocks": 1, "growth": 4},
}


@pytest.mark.parametrize(
    ("changes", "spacing", "roi"),
    [
        ({}, (1, 1, 3), None),
        ({"slices": 3, "arguments": {"in_channels": 3}}, (1, 1, 3), (3, 14, 2, 20, 1, 4)),
        (THROUGH, (0.8, 1.0, 3.0), None),
        ({"task": "volumetric", "factors": (2, 2, 2), "spatial_dims": 3}, (1, 1, 1), None),
    ],
)
def test_the_size_is_that_of_the_real_result(
    changes: dict[str, Any], spacing: tuple[float, ...], roi: Any, tmp_path: Path
) -> None:
    shape = (5, 21, 18)
    model = make_tiny_model(tmp_path / "tiny", **changes)
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = enhance(Volume(voxels, np.diag([*spacing, 1.0])), model, roi=roi).volume
    expected = estimate(shape, np.float32, model.manifest, "CPU", spacing=spacing, roi=roi)
    assert expected.shape == result.shape


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("RRDBGenerator", {"features": 8, "blocks": 2, "growth": 4}),
        ("RRDBGenerator", {"features": 8, "blocks": 1, "growth": 4, "factors": (4, 4), "in_channels": 3}),
        ("RRDBGenerator", {"features": 8, "blocks": 2, "growth": 4, "factors": (1, 1)}),
        ("RRDBGenerator", {"features": 8, "blocks": 4, "growth": 4, "factors": (2, 2, 2), "spatial_dims": 3}),
        ("RRDBGenerator", {"features": 8, "blocks": 9, "growth": 4, "unshuffle": 2, "factors": (1, 1)}),
        ("CompactGenerator", {"features": 8, "convolutions": 5, "predicts_residual": True}),
    ],
)
def test_the_multiplications_are_those_of_the_real_network(architecture: str, arguments: dict[str, Any]) -> None:
    import torch

    network = build_generator(architecture, arguments)
    counted = 0

    def count(layer: torch.nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal counted
        counted += layer.weight[0].numel() * output.numel()  # type: ignore[operator,union-attr]

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d):
            layer.register_forward_hook(count)
    dims = arguments.get("spatial_dims", 2)
    network(torch.zeros(1, arguments.get("in_channels", 1), *[8] * dims))
    stated = manifest(architecture=architecture, arguments=arguments)
    assert multiplications_per_voxel(stated) == pytest.approx(counted / 8**dims, rel=0.1)


def test_the_time_is_guessed_measured_or_unknown_and_says_which() -> None:
    first = estimate((10, 256, 256), np.int16, manifest(), "CPU")
    assert first.basis == GUESSED
    assert first.seconds is not None
    remember_speed(first, "CPU", 3 * first.seconds)
    second = estimate((20, 256, 256), np.int16, manifest(), "CPU")
    assert second.basis == MEASURED.format(n="run")
    assert second.seconds == pytest.approx(6 * first.seconds)
    gpu = estimate((10, 256, 256), np.int16, manifest(), "NVIDIA RTX 4090, 21 GB free")
    assert (gpu.seconds, gpu.basis) == (None, UNKNOWN)
    remember_speed(gpu, "NVIDIA RTX 4090, 20 GB free", 2.0)
    again = estimate((10, 256, 256), np.int16, manifest(), "NVIDIA RTX 4090, 3 GB free")
    assert again.seconds == pytest.approx(2.0)
    assert estimate((20, 256, 256), np.int16, manifest(), "CPU").seconds == second.seconds


def test_one_slow_run_among_several_does_not_move_the_estimate(home: Path) -> None:
    one = estimate((10, 256, 256), np.int16, manifest(), "CPU")
    for seconds in (10.0, 10.0, 90.0, 11.0, 10.0, 10.0):
        remember_speed(one, "CPU", seconds)
    again = estimate((10, 256, 256), np.int16, manifest(), "CPU")
    assert again.seconds == pytest.approx(10.0)
    assert again.basis == "measured in the last 5 runs on this device"
    (home / ".medsr" / "speed.json").write_text('{"CPU": 1e9}')  # as an earlier version wrote it
    assert estimate((10, 256, 256), np.int16, manifest(), "CPU").basis == MEASURED.format(n="run")


def test_a_run_too_short_to_judge_by_and_a_damaged_file_are_ignored(home: Path) -> None:
    one = estimate((10, 64, 64), np.int16, manifest(), "CPU")
    remember_speed(one, "CPU", 0.2)
    assert not (home / ".medsr").exists()
    (home / ".medsr").mkdir()
    (home / ".medsr" / "speed.json").write_text("{half")
    assert estimate((10, 64, 64), np.int16, manifest(), "CPU").basis == GUESSED


def test_an_uncertainty_map_takes_eight_times_as_long_and_larger_types_more_memory() -> None:
    plain = estimate((10, 256, 256), np.int16, manifest(), "CPU")
    thorough = estimate((10, 256, 256), np.int16, manifest(), "CPU", Options(uncertainty=True))
    assert thorough.multiplications == 8 * plain.multiplications
    assert thorough.memory - plain.memory == 4 * math.prod(plain.shape)
    double = estimate((10, 256, 256), np.float64, manifest(), "CPU")
    assert double.memory - plain.memory == 6 * 10 * 256 * 256 + 2 * 6 * math.prod(plain.shape)


def test_a_model_that_does_not_fit_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match="isotropic already"):
        estimate((10, 64, 64), np.int16, manifest(**THROUGH), "CPU", spacing=(1, 1, 1))


def test_the_line_says_size_memory_time_and_basis() -> None:
    line = estimate((10, 20, 30), np.int16, manifest(), "CPU").line()
    assert line == f"60 x 40 x 10 voxels, about 1.3 GB of memory, about 1 s ({GUESSED})"
    assert estimate((10, 20, 30), np.int16, manifest(), "GPU").line().endswith(f"time ({UNKNOWN})")
    assert [duration(s) for s in (0.2, 59, 119, 7200)] == ["1 s", "59 s", "2 min", "2.0 h"]
