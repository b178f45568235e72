"""What is asked of a fusion, and what it will take, are known before anything runs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from fusion_fixtures import AXIAL, CORONAL, SAGITTAL, centred_affine

from MedSRLib.errors import InputError, UsageError
from MedSRLib.fusion.estimate import estimate_fusion
from MedSRLib.fusion.names import common_words
from MedSRLib.fusion.request import FusionOptions
from MedSRLib.models.catalogue import find_model
from MedSRLib.volumes.volume import Volume

NAMES = ["axial", "sagittal", "coronal"]


def series(rows: int = 320, count: int = 30) -> list[Volume]:
    """Large, and of no voxels that anybody could look at."""
    shape, spacing = (count, rows, rows), (0.6, 0.6, 6.0)
    voxels = np.broadcast_to(np.int16(0), shape)
    return [Volume(voxels, centred_affine(way, spacing, shape), "MR") for way in (AXIAL, SAGITTAL, CORONAL)]


def test_size_memory_and_time_are_told_without_a_look_at_the_voxels() -> None:
    manifest = find_model("isotropic-lite").manifest
    whole = estimate_fusion(series(), NAMES, manifest, "CPU", FusionOptions())
    assert whole.shape == (300, 320, 320)
    assert 2e9 < whole.memory < 6e9
    assert whole.line().startswith("320 x 320 x 300 voxels, about")
    without = estimate_fusion(series(), NAMES, None, "CPU", FusionOptions(generator=False))
    coarse = estimate_fusion(series(), NAMES, None, "CPU", FusionOptions(generator=False, spacing=2.0))
    moving = estimate_fusion(series(), NAMES, None, "CPU", FusionOptions(generator=False, slice_motion=True))
    assert coarse.multiplications < without.multiplications < whole.multiplications
    assert moving.multiplications > without.multiplications
    assert coarse.memory < without.memory


def test_what_cannot_be_fused_is_told_by_places_alone() -> None:
    with pytest.raises(InputError, match="parallel"):
        estimate_fusion([series()[0]] * 2, NAMES[:2], None, "CPU", FusionOptions())
    with pytest.raises(UsageError, match="two or more"):
        estimate_fusion(series()[:1], NAMES[:1], None, "CPU", FusionOptions())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"spacing": 0.0}, "positive number"),
        ({"field": "all"}, "choose first, union, intersection"),
        ({"profile": "sinc"}, "slice profile"),
        ({"device": "tpu"}, "device"),
        ({"precision": "half"}, "precision"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FusionOptions.from_json(wrong).check()


def test_options_travel_as_plain_values() -> None:
    options = FusionOptions(spacing=0.8, field="union", slice_motion=True)
    assert FusionOptions.from_json(options.to_json()) == options
    with pytest.raises(UsageError, match="unknown option speed"):
        FusionOptions.from_json({"speed": 3})


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("t2_tse_tra", "t2_tse"),
        ("AX T2 FSE", "T2_FSE"),
        ("sub-01_acq-sag_run-2_T2w", "sub_01_acq_T2w"),
        ("t2_cor2", "t2"),
        ("stack 3", ""),
        ("axis_t1", "axis_t1"),
    ],
)
def test_the_words_for_direction_and_run_are_left_out_of_a_name(name: str, common: str) -> None:
    assert common_words(name)[0] == common


def test_estimating_imports_no_torch() -> None:
    code = "import sys, MedSRLib.fusion.estimate, MedSRLib.fusion.suggest; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
