"""``medsr enhance`` with a DICOM target: what becomes a series, and what is never written onto."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_objects import ROWS, SLICES, write_series

from MedSRLib.commands.main import main
from MedSRLib.volumes.files import read_volume, write_volume


@pytest.mark.usefixtures("models_folder")
class TestTheCommand:
    @pytest.fixture
    def series(self, tmp_path: Path) -> Path:
        return write_series(tmp_path / "in", "CT")

    def enhance(self, *words: object) -> int:
        return main(["enhance", *map(str, words), "--model", "tiny-x2", "--device", "cpu"])

    def test_a_name_without_a_suffix_gets_a_series_equal_to_the_nifti(self, series: Path, tmp_path: Path) -> None:
        assert self.enhance(series, tmp_path / "out", "--uncertainty", tmp_path / "spread") == 0
        assert self.enhance(series, tmp_path / "out.nii.gz", "--uncertainty", tmp_path / "spread.nrrd") == 0
        nifti, dicom = read_volume(tmp_path / "out.nii.gz"), read_volume(tmp_path / "out")
        np.testing.assert_array_equal(dicom.voxels, nifti.voxels)
        np.testing.assert_allclose(dicom.affine, nifti.affine, atol=1e-4)
        spread = read_volume(tmp_path / "spread")
        one = pydicom.dcmread(tmp_path / "spread" / "0001.dcm")
        np.testing.assert_allclose(
            spread.voxels, read_volume(tmp_path / "spread.nrrd").voxels, atol=float(one.RescaleSlope)
        )

    def test_a_derived_series_that_is_enhanced_again_warns(
        self, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.enhance(series, tmp_path / "out") == 0
        assert "made by MedSR" not in capsys.readouterr().err
        assert self.enhance(tmp_path / "out", tmp_path / "twice") == 0
        assert "made by MedSR" in capsys.readouterr().err
        assert len(pydicom.dcmread(tmp_path / "twice" / "0001.dcm").ContributingEquipmentSequence) == 2

    def test_a_folder_named_like_a_uid_is_a_folder(self, series: Path, tmp_path: Path) -> None:
        assert self.enhance(series, tmp_path / "1.2.840.113") == 0
        assert len(list((tmp_path / "1.2.840.113").iterdir())) == SLICES

    def test_an_empty_folder_is_filled(self, series: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        assert self.enhance(series, tmp_path / "out") == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]

    def test_one_slice_can_be_one_file(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "CR")
        assert self.enhance(tmp_path / "in", tmp_path / "out.dcm") == 0
        assert pydicom.dcmread(tmp_path / "out.dcm").Rows == 2 * ROWS
        assert self.enhance(tmp_path / "in", tmp_path / "out.dcm") == 2
        assert self.enhance(tmp_path / "in", tmp_path / "out.dcm", "--overwrite") == 0

    @pytest.mark.parametrize("target", ["in", "in/sub", "in/new.nii", "out.dcm", "."])
    def test_the_source_folder_and_what_cannot_hold_the_series_are_refused(
        self, series: Path, tmp_path: Path, target: str
    ) -> None:
        before = {path: path.read_bytes() for path in series.iterdir()}
        assert self.enhance(series, tmp_path / target, "--overwrite") == 2
        assert {path: path.read_bytes() for path in series.iterdir()} == before
        assert [path.name for path in tmp_path.iterdir()] == ["in"]

    def test_only_an_earlier_result_is_replaced_and_only_when_told(
        self, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.enhance(series, tmp_path / "out") == 0
        first = pydicom.dcmread(tmp_path / "out" / "0001.dcm").SeriesInstanceUID
        assert self.enhance(series, tmp_path / "out") == 2
        assert "--overwrite" in capsys.readouterr().err
        assert self.enhance(series, tmp_path / "out", "--overwrite") == 0
        assert pydicom.dcmread(tmp_path / "out" / "0001.dcm").SeriesInstanceUID != first
        (tmp_path / "out" / "mine.txt").write_text("precious")
        assert self.enhance(series, tmp_path / "out", "--overwrite") == 2
        assert (tmp_path / "out" / "mine.txt").read_text() == "precious"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]

    def test_a_full_disk_leaves_nothing(
        self, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        written = []

        def save(header: object, path: Path) -> None:
            if len(written) == 2:
                raise OSError(28, "No space left on device")
            written.append(path)
            path.write_bytes(b"")

        monkeypatch.setattr("MedSRLib.volumes.dicom_writer._save", save)
        assert self.enhance(series, tmp_path / "out") == 3
        assert "No space left on device" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["in"]

    def test_a_nifti_file_gives_no_dicom(
        self, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_volume(read_volume(series), tmp_path / "in.nii.gz")
        assert self.enhance(tmp_path / "in.nii.gz", tmp_path / "out") == 2
        assert "DICOM" in capsys.readouterr().err
