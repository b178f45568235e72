"""``medsr fuse``: from files to one file; every way it can fail gives one sentence, its exit code, and no output."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fusion_fixtures import AXIAL, SAGITTAL, Blobs, stack, write_dicom_stack

from MedSRLib.commands.main import main
from MedSRLib.volumes.files import read_volume, write_volume

SIDE = 28.0


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("series")
    paths = [folder / "axial.nrrd", folder / "sagittal.nii.gz"]
    for path, directions in zip(paths, (AXIAL, SAGITTAL), strict=True):
        write_volume(stack(Blobs(), directions, side=SIDE, dtype=np.int16), path)
    return paths


def fails(capsys: pytest.CaptureFixture[str], arguments: list[object], code: int, *words: str) -> None:
    """The call ends with ``code`` and one sentence that has all ``words``, and writes nothing."""
    output = Path(str(arguments[-1]))
    assert main(["fuse", *map(str, arguments[:-1]), str(output), "--no-generator", "--spacing", "2"]) == code
    captured = capsys.readouterr()
    sentences = [
        line for line in captured.err.splitlines() if line.startswith("medsr: ") and "GB of memory" not in line
    ]
    assert len(sentences) == 1, captured.err
    for word in words:
        assert word in sentences[0]
    assert captured.out == ""
    assert not output.exists()


def test_series_are_fused_from_files_to_a_file(
    series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [path.read_bytes() for path in series]
    output, report, coverage = tmp_path / "fused.nii.gz", tmp_path / "fused.json", tmp_path / "coverage.nrrd"
    options = ["--no-generator", "--spacing", "2", "--report", str(report), "--coverage", str(coverage)]
    assert main(["fuse", *map(str, series), str(output), *options]) == 0
    fused = read_volume(output)
    assert fused.spacing == pytest.approx((2.0, 2.0, 2.0))
    assert fused.voxels.dtype == np.int16
    assert read_volume(coverage).shape == fused.shape
    told = json.loads(report.read_text())
    assert [entry["name"] for entry in told["series"]] == ["axial.nrrd", "sagittal.nii.gz"]
    assert all(len(entry["input_sha256"]) == 64 for entry in told["series"])
    captured = capsys.readouterr()
    assert "GB of memory" in captured.err
    assert "not for primary diagnosis" in captured.out
    assert "sagittal.nii.gz" in captured.out
    assert [path.read_bytes() for path in series] == before


def test_the_result_carries_the_mark_of_what_made_it(series: list[Path], tmp_path: Path) -> None:
    from MedSRLib.volumes.mark import is_marked

    output = tmp_path / "fused.nrrd"
    assert main(["fuse", *map(str, series), str(output), "--no-generator", "--spacing", "2", "--no-registration"]) == 0
    assert is_marked(output)


def test_one_series_is_wrong_usage(series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [series[0], tmp_path / "o.nrrd"], 2, "two or more series")


def test_one_series_named_twice_is_wrong_usage(
    series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, [series[0], series[0], tmp_path / "o.nrrd"], 2, "named twice")


def test_an_input_is_never_overwritten(series: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    content = series[1].read_bytes()
    assert main(["fuse", *map(str, series), str(series[1]), "--overwrite"]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert series[1].read_bytes() == content


def test_parallel_series_are_bad_input(series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "again.nrrd"
    write_volume(stack(Blobs(), AXIAL, side=SIDE), copy)
    fails(capsys, [series[0], copy, tmp_path / "o.nrrd"], 3, "parallel")


def test_series_of_two_places_are_bad_input(
    series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = stack(Blobs(), SAGITTAL, side=SIDE)
    affine = volume.affine.copy()
    affine[2, 3] += 300
    away = tmp_path / "away.nrrd"
    write_volume(volume.with_voxels(volume.voxels, affine), away)
    fails(capsys, [series[0], away, tmp_path / "o.nrrd"], 3, "away.nrrd does not overlap")


def test_another_contrast_is_bad_input(series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume = stack(Blobs(), SAGITTAL, side=SIDE)
    other = tmp_path / "t1.nrrd"
    write_volume(volume.with_voxels(volume.voxels.max() - volume.voxels), other)
    fails(capsys, [series[0], other, tmp_path / "o.nrrd"], 3, "t1.nrrd shows another contrast")


def test_a_4d_series_is_bad_input(series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = np.random.default_rng(0).integers(0, 900, (3, 4, 8, 8)).astype(np.int16)
    path = tmp_path / "dynamic.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(frames, isVector=False), str(path))
    fails(capsys, [series[0], path, tmp_path / "o.nrrd"], 3, "dynamic.nii.gz is 4D, with 3 frames", "a file of its own")


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An axial and a sagittal series of one study and frame of reference."""
    folder = tmp_path_factory.mktemp("dicom")
    volumes = [stack(Blobs(), directions, side=SIDE, dtype=np.int16) for directions in (AXIAL, SAGITTAL)]
    return [
        write_dicom_stack(folder / name, volume, series=f"1.2.{n}", description=f"T2 {name}")
        for n, (name, volume) in enumerate(zip(("ax", "sag"), volumes, strict=True))
    ]


def test_dicom_series_are_fused(dicom: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "fused.nii.gz"
    words = ["--no-generator", "--spacing", "2", "--no-registration"]
    assert main(["fuse", *map(str, dicom), str(output), *words]) == 0
    assert read_volume(output).spacing == pytest.approx((2.0, 2.0, 2.0))


def test_series_of_two_frames_of_reference_need_registration(
    dicom: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = stack(Blobs(), SAGITTAL, side=SIDE, dtype=np.int16)
    folder = write_dicom_stack(
        tmp_path / "later", other, series="1.2.9", description="T2 sag", FrameOfReferenceUID="1.2.77"
    )
    output = tmp_path / "o.nrrd"
    assert main(["fuse", str(dicom[0]), str(folder), str(output), "--no-generator", "--no-registration"]) == 3
    assert "later has another frame of reference than ax" in capsys.readouterr().err
    assert not output.exists()


def test_slices_with_gaps_between_them_are_bad_input(
    dicom: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = stack(Blobs(), SAGITTAL, side=SIDE, dtype=np.int16)
    gaps = write_dicom_stack(tmp_path / "gaps", other, series="1.2.9", description="T2 sag", SliceThickness=1.5)
    fails(capsys, [dicom[0], gaps, tmp_path / "o.nrrd"], 3, "gaps has gaps", "1.5 mm thick")


def test_different_contrasts_are_bad_input(
    dicom: list[Path], series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct = tmp_path / "ct.nrrd"
    volume = stack(Blobs(), SAGITTAL, side=SIDE)
    write_volume(volume.with_voxels(volume.voxels.astype(np.int16) - 1000), ct)
    fails(capsys, [dicom[0], ct, tmp_path / "o.nrrd"], 3, "different contrasts", "ct.nrrd (CT)")


def test_nothing_stays_of_outputs_of_which_one_cannot_be_written(
    series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The coverage map's folder is not there: said before any work."""
    output = tmp_path / "o.nrrd"
    words = ["--no-generator", "--spacing", "2", "--coverage", str(tmp_path / "none" / "coverage.nrrd")]
    assert main(["fuse", *map(str, series), str(output), *words]) != 0
    assert "none" in capsys.readouterr().err
    assert not output.exists()


def test_a_missing_file_is_bad_input(series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [series[0], tmp_path / "none.nrrd", tmp_path / "o.nrrd"], 3, "does not exist")


def test_help_shows_examples_without_importing_torch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fuse", "--help"])
    assert stopped.value.code == 0
    assert "medsr fuse axial.nii.gz sagittal.nii.gz coronal.nii.gz fused.nii.gz" in capsys.readouterr().out
