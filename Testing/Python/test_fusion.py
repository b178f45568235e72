"""Thick series of one anatomy become one isotropic volume that is nearer to it than any of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_model
from fusion_fixtures import AXIAL, CORONAL, SAGITTAL, SIDE, THICKNESS, Blobs, grid_points, psnr, stack, truth, turn

import MedSRLib
from MedSRLib import fuse
from MedSRLib.errors import EnhancementCancelled, InputError, UsageError
from MedSRLib.fusion.fuse import Fused
from MedSRLib.fusion.generator import choose_model
from MedSRLib.fusion.grid import plan_fusion
from MedSRLib.fusion.rigid import mean_motion, motion_between, rigid, rigid_parameters
from MedSRLib.fusion.spline import resample
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.geometry import field_of_view_corners
from MedSRLib.volumes.volume import Volume

MOTIONS = (np.eye(4), turn((2.5, -3.0, 1.5), (2.0, -1.5, 2.5)), turn((-1.0, 3.5, 2.0), (-1.0, 2.5, 1.0)))
GAINS = (1.0, 1.35, 0.75)


@pytest.fixture(scope="module")
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture(scope="module")
def moved_series(blobs: Blobs) -> list[Volume]:
    orientations = (AXIAL, SAGITTAL, CORONAL)
    return [
        stack(blobs, directions, motion=motion, gain=gain, noise=8.0)
        for directions, motion, gain in zip(orientations, MOTIONS, GAINS, strict=True)
    ]


@pytest.fixture(scope="module")
def fused(moved_series: list[Volume]) -> Fused:
    return fuse(moved_series, names=["axial", "sagittal", "coronal"], spacing=1.0, generator=False)


def found_motion(report: dict, n: int, volume: Volume) -> np.ndarray:
    motion = report["series"][n]["motion"]
    centre = (volume.affine @ [*[(m - 1) / 2 for m in reversed(volume.shape)], 1.0])[:3]
    return rigid(np.array([*motion["rotation_deg"], *motion["translation_mm"]]), centre)


def test_the_fused_volume_is_nearer_to_the_anatomy_than_any_series_and_their_mean(
    blobs: Blobs, moved_series: list[Volume], fused: Fused
) -> None:
    grid = fused.volume
    points = grid_points(grid.affine, grid.shape)
    anatomy = blobs.at(points, AXIAL[2], 0.0)
    singles = []
    for volume, motion, gain in zip(moved_series, MOTIONS, GAINS, strict=True):
        to_index = np.linalg.inv(motion @ volume.affine) @ grid.affine
        singles.append(resample(torch.from_numpy(volume.voxels / np.float32(gain)), to_index, grid.shape)[0].numpy())
    inside = fused.coverage.voxels == 3
    inside[:3] = inside[-3:] = False

    def score(estimate: np.ndarray) -> float:
        return psnr(anatomy * inside, estimate * inside)

    best = max(score(single) for single in singles)
    assert score(sum(singles) / 3) > best
    assert score(fused.volume.voxels) > score(sum(singles) / 3) + 1.0


def test_motion_between_series_is_found_to_a_third_of_a_millimetre_and_degree(
    moved_series: list[Volume], fused: Fused
) -> None:
    for n, motion in enumerate(MOTIONS):
        degrees, millimetres = motion_between(found_motion(fused.report, n, moved_series[n]), motion, np.zeros(3))
        assert degrees < 0.3
        assert millimetres < 0.3


def test_gains_of_the_series_are_found(fused: Fused) -> None:
    for entry, gain in zip(fused.report["series"], GAINS, strict=True):
        assert entry["gain"] == pytest.approx(gain, rel=0.03)


def test_the_report_says_how_well_each_series_agrees(fused: Fused) -> None:
    assert [entry["name"] for entry in fused.report["series"]] == ["axial", "sagittal", "coronal"]
    for entry in fused.report["series"]:
        assert 0 < entry["consistency_percent"] < 2.5
        assert entry["outlier_slices"] == []
    assert fused.report["model"] is None
    assert sum(fused.report["coverage"]["percent"].values()) == pytest.approx(100)


def test_the_result_has_the_first_series_box_and_isotropic_voxels(moved_series: list[Volume], fused: Fused) -> None:
    assert fused.volume.spacing == pytest.approx((1.0, 1.0, 1.0))
    expected, got = (field_of_view_corners(v.affine, v.shape) for v in (moved_series[0], fused.volume))
    assert np.abs(expected - got).max() < 0.5
    assert fused.volume.voxels.dtype == moved_series[0].voxels.dtype


def test_inputs_are_not_changed(blobs: Blobs) -> None:
    volumes = [stack(blobs, AXIAL, dtype=np.int16), stack(blobs, SAGITTAL, dtype=np.int16)]
    before = [volume.voxels.copy() for volume in volumes]
    result = fuse(volumes, spacing=2.0, generator=False, registration=False)
    assert result.volume.voxels.dtype == np.int16
    for volume, voxels in zip(volumes, before, strict=True):
        assert np.array_equal(volume.voxels, voxels)


def test_known_places_are_kept_without_registration(moved_series: list[Volume]) -> None:
    report = fuse(moved_series, spacing=2.0, generator=False, registration=False).report
    assert all(entry["motion"]["turn_deg"] == entry["motion"]["shift_mm"] == 0 for entry in report["series"])


def test_every_slices_motion_is_found(blobs: Blobs) -> None:
    moved = {3: turn((0, 0, 0), (0.0, 2.5, 0.0)), 5: turn((0, 0, 5.0), (-1.5, 0.0, 0.0))}
    volumes = [
        stack(blobs, AXIAL, moved=moved, side=32.0),
        stack(blobs, SAGITTAL, side=32.0),
        stack(blobs, CORONAL, side=32.0),
    ]
    report = fuse(volumes, spacing=2.0, generator=False, slice_motion=True).report
    motions = report["series"][0]["slice_motion"]
    assert motions["shift_mm"][3] == pytest.approx(2.5, abs=0.6)
    assert motions["turn_deg"][5] == pytest.approx(5.0, abs=1.0)
    assert max(motions["shift_mm"][n] for n in (2, 4)) < 0.6


def test_a_slice_that_fits_nothing_counts_less_and_is_listed(blobs: Blobs) -> None:
    spoiled = stack(blobs, AXIAL)
    spoiled.voxels[5] *= 0.2
    volumes = [spoiled, stack(blobs, SAGITTAL), stack(blobs, CORONAL)]
    result = fuse(volumes, names=["a", "b", "c"], spacing=1.0, generator=False, registration=False)
    assert result.report["series"][0]["outlier_slices"] == [5]
    assert any("slices of a that fit nothing" in sentence for sentence in result.report["warnings"])
    clean = fuse([stack(blobs, AXIAL), *volumes[1:]], spacing=1.0, generator=False, registration=False)
    body = slice(10, -10)
    difference = (result.volume.voxels - clean.volume.voxels)[body, body, body]
    assert np.sqrt((difference**2).mean()) < 0.05 * clean.volume.voxels.max()


@pytest.fixture(scope="module")
def isotropic(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny through-plane model."""
    return make_tiny_model(
        tmp_path_factory.mktemp("models") / "tiny-iso",
        task="through-plane",
        factors=(1, 1, 4),
        factor_range=(1.5, 8.0),
        slices=3,
    )


def test_where_one_series_is_alone_the_result_is_what_enhancing_it_gives(blobs: Blobs, isotropic: Model) -> None:
    alone = stack(blobs, AXIAL)
    other = stack(blobs, SAGITTAL)
    half = other.with_voxels(other.voxels[:, :, 22:], other.affine @ turn((0, 0, 0), (22, 0, 0)))
    result = fuse([alone, half], spacing=1.0, model=isotropic, registration=False)
    enhanced = MedSRLib.enhance(alone, isotropic).volume
    rows = slice(2, 14)
    assert (result.coverage.voxels[4:-4, rows, 4:-4] == 1).all()
    interpolated = fuse([alone, half], spacing=1.0, generator=False, registration=False).volume
    body = (slice(4, -4), rows, slice(4, -4))
    difference = (result.volume.voxels - enhanced.voxels)[body]
    without = (interpolated.voxels - enhanced.voxels)[body]
    assert np.sqrt((difference**2).mean()) < 0.5 * np.sqrt((without**2).mean())
    assert result.report["model"]["name"] == "tiny-iso"
    assert any("one series alone" in sentence for sentence in result.report["warnings"])


def test_a_model_that_makes_no_slices_is_refused(moved_series: list[Volume], tiny_model: Model) -> None:
    with pytest.raises(UsageError, match="isotropic model"):
        fuse(moved_series, model=tiny_model)


@pytest.mark.parametrize(("field", "span"), [("first", 30.0), ("union", SIDE), ("intersection", 30.0)])
def test_the_field_of_view_is_the_first_series_the_union_or_the_intersection(
    blobs: Blobs, field: str, span: float
) -> None:
    volumes = [stack(blobs, AXIAL, side=28.0, pixel=1.0), stack(blobs, SAGITTAL)]
    plan = plan_fusion(volumes, spacing=1.0, field=field)
    assert max(n * s for n, s in zip(plan.shape, plan.spacing, strict=True)) == pytest.approx(span, abs=2.1)
    assert plan.memory > 0
    assert "GB of memory" in plan.describe()


def test_the_grid_of_another_volume_is_taken_as_it_is(blobs: Blobs) -> None:
    like = truth(blobs, 2.0)
    result = fuse([stack(blobs, AXIAL), stack(blobs, CORONAL)], like=like, generator=False, registration=False)
    assert result.volume.shape == like.shape
    assert np.array_equal(result.volume.affine, like.affine)


def test_cancelling_stops_and_progress_never_runs_backwards(moved_series: list[Volume]) -> None:
    fractions: list[float] = []

    def cancelled() -> bool:
        return len(fractions) > 40

    with pytest.raises(EnhancementCancelled):
        fuse(
            moved_series,
            spacing=2.0,
            generator=False,
            progress=lambda fraction, _: fractions.append(fraction),
            cancelled=cancelled,
        )
    assert fractions == sorted(fractions)
    assert len(fractions) < 60


def test_series_of_two_frames_of_reference_are_brought_together(blobs: Blobs) -> None:
    first, second = stack(blobs, AXIAL), stack(blobs, SAGITTAL)
    elsewhere = second.affine.copy()
    elsewhere[:3, 3] += (150.0, -90.0, 60.0)
    first = replace(first, frame_of_reference="1.2.3")
    second = replace(second, affine=elsewhere, frame_of_reference="1.2.4")
    with pytest.raises(InputError, match="frame of reference"):
        fuse([first, second], generator=False, registration=False)
    report = fuse([first, second], spacing=2.0, generator=False).report
    assert report["series"][1]["motion"]["translation_mm"] == pytest.approx([-150.0, 90.0, -60.0], abs=0.5)


def blob_pair(blobs: Blobs) -> list[Volume]:
    return [stack(blobs, AXIAL), stack(blobs, SAGITTAL)]


def test_one_series_is_refused(blobs: Blobs) -> None:
    with pytest.raises(UsageError, match="two or more series"):
        fuse([stack(blobs, AXIAL)])


def test_parallel_series_are_refused(blobs: Blobs) -> None:
    with pytest.raises(InputError, match="parallel"):
        fuse([stack(blobs, AXIAL), stack(blobs, AXIAL @ turn((0, 0, 90), (0, 0, 0))[:3, :3])])


def test_series_that_do_not_overlap_are_refused(blobs: Blobs) -> None:
    first, second = blob_pair(blobs)
    away = second.affine.copy()
    away[0, 3] += 200.0
    with pytest.raises(InputError, match=r"series 2 does not overlap"):
        fuse([first, second.with_voxels(second.voxels, away)], generator=False)


def test_another_contrast_is_refused(blobs: Blobs) -> None:
    first = stack(blobs, AXIAL)
    other = stack(blobs, SAGITTAL)
    inverted = other.with_voxels(np.where(other.voxels > 40, 1100 - other.voxels, other.voxels))
    with pytest.raises(InputError, match="another contrast"):
        fuse([first, inverted], generator=False, registration=False)
    with pytest.raises(InputError, match="different contrasts"):
        fuse([first, replace(other, modality="CT")], generator=False)


def test_slices_with_gaps_between_them_are_refused(blobs: Blobs) -> None:
    first, second = blob_pair(blobs)
    with pytest.raises(InputError, match=r"series 2 has gaps"):
        fuse([first, replace(second, slice_thickness=1.5)], generator=False)
    report = fuse(
        [first, replace(second, slice_thickness=3.0)], spacing=2.0, generator=False, registration=False
    ).report
    assert any("did not measure" in sentence for sentence in report["warnings"])


def test_a_motion_that_is_not_plausible_is_refused(blobs: Blobs) -> None:
    far = stack(Blobs(), SAGITTAL, motion=turn((0, 28.0, 0), (0, 0, 0)))
    with pytest.raises(InputError, match=r"not plausible|another contrast"):
        fuse([stack(blobs, AXIAL), far], generator=False, spacing=2.0)


def test_rigid_motions_are_their_six_numbers() -> None:
    parameters, centre = np.array([10.0, -20.0, 5.0, 1.0, 2.0, -3.0]), np.array([4.0, 5.0, 6.0])
    motion = rigid(parameters, centre)
    assert rigid_parameters(motion, centre) == pytest.approx(parameters)
    assert motion[:3, :3] @ motion[:3, :3].T == pytest.approx(np.eye(3))
    assert mean_motion(np.stack([motion, motion])) == pytest.approx(motion)


def test_the_library_names_fuse_without_importing_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, MedSRLib; assert 'fuse' in MedSRLib.__all__; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert THICKNESS > 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_light_model_is_taken_where_the_full_one_is_not_installed(device: str) -> None:
    """A GPU alone brings no model."""
    assert choose_model("auto", torch.device(device)).manifest.name == "isotropic-lite"
