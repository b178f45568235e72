"""Files are written whole or not at all, and never onto the input."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MedSRLib.errors import OutputError, UsageError
from MedSRLib.volumes import files
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.volume import Volume

SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]


def noise_volume() -> Volume:
    voxels = np.random.default_rng(0).integers(0, 100, (5, 6, 7)).astype(np.int16)
    return Volume(voxels, np.diag([0.7, 0.8, 3.0, 1.0]))


class TestOverwriting:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_an_existing_file_is_kept_unless_told(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        write_volume(noise_volume(), path)
        before = {file: file.read_bytes() for file in tmp_path.iterdir()}
        other = noise_volume().with_voxels(np.zeros((2, 2, 2), np.uint8))
        with pytest.raises(UsageError, match="--overwrite"):
            write_volume(other, path)
        assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
        write_volume(other, path, overwrite=True)
        np.testing.assert_array_equal(read_volume(path).voxels, other.voxels)
        assert set(tmp_path.iterdir()) == set(before)

    def test_the_voxels_of_another_metaimage_are_kept(self, tmp_path: Path) -> None:
        (tmp_path / "a.zraw").write_bytes(b"precious")
        with pytest.raises(UsageError, match=r"a\.zraw exists"):
            write_volume(noise_volume(), tmp_path / "a.mhd")

    def test_the_input_is_never_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "a.nii"
        write_volume(noise_volume(), path)
        (tmp_path / "soft.nii").symlink_to(path)
        os.link(path, tmp_path / "hard.nii")
        roundabout = tmp_path / ".." / tmp_path.name / "a.nii"
        for target in [path, tmp_path / "soft.nii", tmp_path / "hard.nii", roundabout]:
            with pytest.raises(UsageError, match="never overwritten"):
                write_volume(noise_volume(), target, overwrite=True, protected=[path])
        for protected in [tmp_path / "soft.nii", tmp_path / "hard.nii"]:
            with pytest.raises(UsageError, match="never overwritten"):
                write_volume(noise_volume(), path, overwrite=True, protected=[protected])

    def test_nothing_is_written_into_an_input_folder(self, tmp_path: Path) -> None:
        (tmp_path / "dicom" / "deep").mkdir(parents=True)
        with pytest.raises(UsageError, match="never overwritten"):
            write_volume(noise_volume(), tmp_path / "dicom" / "deep" / "new.nii", protected=[tmp_path / "dicom"])
        write_volume(noise_volume(), tmp_path / "beside.nii", protected=[tmp_path / "dicom"])

    def test_the_voxel_file_of_a_detached_header_belongs_to_the_input(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(noise_volume().voxels), str(tmp_path / "a.mhd"), True)
        (tmp_path / "b.mhd").write_bytes((tmp_path / "a.mhd").read_bytes())
        with pytest.raises(UsageError, match=r"a\.zraw is part of the input"):
            write_volume(noise_volume(), tmp_path / "a.mhd", overwrite=True, protected=[tmp_path / "b.mhd"])

    def test_a_folder_is_no_target(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").mkdir()
        with pytest.raises(UsageError, match="is a folder"):
            write_volume(noise_volume(), tmp_path / "a.nii", overwrite=True)


class TestAllOrNothing:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_only_the_file_is_left(self, tmp_path: Path, suffix: str) -> None:
        write_volume(noise_volume(), tmp_path / f"a.b{suffix}")
        expected = {f"a.b{suffix}"} | ({"a.b.zraw"} if suffix == ".mhd" else set())
        assert {file.name for file in tmp_path.iterdir()} == expected

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="does not exist"):
            write_volume(noise_volume(), tmp_path / "none" / "a.nii")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_without_permission_is_named(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="may not be written"):
            write_volume(noise_volume(), tmp_path / "a.nii")

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("ITK ERROR: write failed")])
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_failed_write_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, error: Exception
    ) -> None:
        path = tmp_path / f"a{suffix}"
        write_volume(noise_volume(), path)
        before = {file: file.read_bytes() for file in tmp_path.iterdir()}

        def fail(image: sitk.Image, name: str, **_: object) -> None:
            Path(name).write_bytes(b"half a file")
            raise error

        monkeypatch.setattr(sitk, "WriteImage", fail)
        with pytest.raises(OutputError, match="could not be written"):
            write_volume(noise_volume(), path, overwrite=True)
        assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_a_nifti_that_itk_cuts_short_in_silence_is_not_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
    ) -> None:
        """What ITK's NIfTI writer really does when the disk is full: it returns as if all were well."""
        write = sitk.WriteImage

        def cut(image: sitk.Image, name: str, **options: object) -> None:
            write(image, name, **options)
            Path(name).write_bytes(Path(name).read_bytes()[:-100])

        monkeypatch.setattr(sitk, "WriteImage", cut)
        with pytest.raises(OutputError, match="could not be written"):
            write_volume(noise_volume(), tmp_path / f"a{suffix}")
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_is_named_with_the_megabytes_needed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
        big = Volume(np.zeros((100, 100, 150), np.int16), np.eye(4))
        with pytest.raises(OutputError, match=r"disk is full.*3 MB"):
            write_volume(big, tmp_path / "a.nii")
        assert list(tmp_path.iterdir()) == []

    def test_an_interrupted_write_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(image: sitk.Image, name: str, **_: object) -> None:
            Path(name).write_bytes(b"half a file")
            raise KeyboardInterrupt

        monkeypatch.setattr(sitk, "WriteImage", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_volume(noise_volume(), tmp_path / "a.nii")
        assert list(tmp_path.iterdir()) == []
