"""The script that measures a fusion: stacks with known motion of a known anatomy, and every method in one table."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import make_tiny_model
from fusion_fixtures import Blobs, grid_points, truth

from MedSRLib.volumes.files import write_volume

SCRIPT = Path(__file__).parents[2] / "Utilities/fusion_figures.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fusion_figures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fusion_figures"] = module
    spec.loader.exec_module(module)
    return module


def test_stacks_are_what_their_motion_and_gain_say(script: ModuleType) -> None:
    blobs = Blobs()
    reference = truth(blobs)
    random = np.random.default_rng(3)
    stacks, whole, _, _ = script.simulate(reference, random, side=28.0, pixel=1.4, thickness=4.0)
    for stack, directions in zip(stacks, script.DIRECTIONS, strict=True):
        motion = whole @ stack.motion
        points = grid_points(motion @ stack.volume.affine, stack.volume.shape)
        expected = stack.gain * blobs.at(points, motion[:3, :3] @ directions[:, 2], 4.0)
        assert np.corrcoef(stack.volume.voxels.ravel(), expected.ravel())[0, 1] > 0.998
        assert np.polyfit(expected.ravel(), stack.volume.voxels.ravel(), 1)[0] == pytest.approx(1, abs=0.02)
    assert np.array_equal(stacks[0].motion, np.eye(4))


def test_all_methods_stand_in_one_table(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_volume(truth(Blobs()), tmp_path / "blobs.nii.gz")
    make_tiny_model(tmp_path / "iso", task="through-plane", factors=(1, 1, 4), factor_range=(1.5, 8.0), slices=3)
    words = ["--side", "28", "--pixel", "1.4", "--thickness", "4", "--model", str(tmp_path / "iso")]
    monkeypatch.setattr(
        sys, "argv", ["x", str(tmp_path / "blobs.nii.gz"), *words, "--json", str(tmp_path / "out.json")]
    )
    assert script.main() == 0
    printed = capsys.readouterr().out
    (figures,) = json.loads((tmp_path / "out.json").read_text())
    assert set(figures["psnr"]) == set(figures["psnr_whole"]) == set(script.METHODS)
    assert all(name in printed for name in script.METHODS)
    assert figures["psnr"]["joint"] > figures["psnr"]["B-spline"]
    assert max(figures["degrees"]) < 1.5
    assert figures["gains"] == pytest.approx([1, 1], abs=0.05)
