"""A result says on its own that MedSR made it, and enhancing it again is warned about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from MedSRLib.commands.main import main
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.mark import Mark, digest, is_marked
from MedSRLib.volumes.source import Source
from MedSRLib.volumes.volume import Volume

pytestmark = pytest.mark.usefixtures("models_folder")
MARK = Mark("0.1.0", "inplane-x2-lite", "1.2.0", {"fidelity": "ab" * 32}, (2.0, 2.0, 1.0), 0.5, "cd" * 32, "2026-01-01")
SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]


def metadata(path: Path) -> dict[str, str]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mark_changes_neither_voxels_nor_place(
    tmp_path: Path, suffix: str, smooth_volume: Callable[..., Volume]
) -> None:
    volume = smooth_volume()
    write_volume(volume, tmp_path / f"plain{suffix}")
    write_volume(volume, tmp_path / f"marked{suffix}", mark=MARK)
    plain, marked = (read_volume(tmp_path / f"{name}{suffix}") for name in ("plain", "marked"))
    np.testing.assert_array_equal(marked.voxels, volume.voxels)
    np.testing.assert_array_equal(marked.affine, plain.affine)
    assert (is_marked(tmp_path / f"plain{suffix}"), is_marked(tmp_path / f"marked{suffix}")) == (False, True)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_says_so_in_descrip_and_a_comment(
    tmp_path: Path, suffix: str, smooth_volume: Callable[..., Volume]
) -> None:
    volume = smooth_volume()
    write_volume(volume, tmp_path / f"a{suffix}", mark=MARK)
    image = nibabel.load(tmp_path / f"a{suffix}")
    said = image.header["descrip"].tobytes().rstrip(b"\0").decode()
    assert said.startswith("MedSR 0.1.0 enhanced, not for primary diagnosis; 2x2x1 inplane-x2-lite")
    (comment,) = image.header.extensions
    assert comment.get_code() == 6
    assert json.loads(comment.text) == MARK.keys()
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, volume.voxels)
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"a{suffix}")))
    np.testing.assert_array_equal(itk, volume.voxels)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_nrrd_and_metaimage_say_so_in_keys(tmp_path: Path, suffix: str, smooth_volume: Callable[..., Volume]) -> None:
    write_volume(smooth_volume(), tmp_path / f"a{suffix}", mark=MARK)
    found = metadata(tmp_path / f"a{suffix}")
    assert MARK.keys().items() <= found.items()
    assert found["MedSR_model"] == "inplane-x2-lite 1.2.0"
    assert found["MedSR_factors"] == "2x2x1"


def test_long_and_foreign_model_names_fit_everywhere(tmp_path: Path, smooth_volume: Callable[..., Volume]) -> None:
    mark = Mark("0.1.0", "modèle\n" + 200 * "m", "1", {}, (1.0, 1.0, 3.3333333))
    assert len(mark.descrip()) <= 79
    assert "not for primary diagnosis" in mark.descrip()
    for suffix in SUFFIXES:
        write_volume(smooth_volume(), tmp_path / f"a{suffix}", mark=mark)
        read_volume(tmp_path / f"a{suffix}")
        assert is_marked(tmp_path / f"a{suffix}")


def test_a_measurement_that_mentions_medsr_elsewhere_is_not_marked(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(
        np.frombuffer(b"\nMedSR = 1\nMedSR:=1 MedSR 1.0 \n" * 40, np.uint8).reshape(4, 10, 31)
    )
    image.SetMetaData("comment", "compare with MedSR = 2")
    for suffix in SUFFIXES:
        sitk.WriteImage(image, str(tmp_path / f"a{suffix}"), useCompression=False)
        assert not is_marked(tmp_path / f"a{suffix}")


class TestTheCommand:
    @pytest.fixture
    def measured(self, tmp_path: Path, smooth_volume: Callable[..., Volume]) -> Path:
        write_volume(smooth_volume((4, 14, 12)), tmp_path / "measured.nii.gz")
        return tmp_path / "measured.nii.gz"

    def enhance(self, source: Path, target: Path, *words: object) -> dict[str, object]:
        report = target.with_name(f"{target.name}.json")
        assert main(["enhance", str(source), str(target), "--report", str(report), *map(str, words)]) == 0
        return json.loads(report.read_text())

    def test_the_report_holds_the_inputs_hash_and_the_time(self, measured: Path, tmp_path: Path) -> None:
        report = self.enhance(measured, tmp_path / "out.nrrd")
        assert report["input_sha256"] == hashlib.sha256(measured.read_bytes()).hexdigest()
        age = datetime.now(UTC) - datetime.fromisoformat(str(report["time"]))
        assert timedelta(0) <= age < timedelta(hours=1)
        assert metadata(tmp_path / "out.nrrd")["MedSR_input_sha256"] == report["input_sha256"]

    def test_enhancing_a_result_warns(self, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        first = self.enhance(measured, tmp_path / "once.nii.gz")
        assert not any("made by MedSR" in str(one) for one in first["warnings"])
        capsys.readouterr()
        second = self.enhance(tmp_path / "once.nii.gz", tmp_path / "twice.nrrd")
        assert "made by MedSR" in str(second["warnings"])
        assert "medsr: the input was made by MedSR" in capsys.readouterr().err

    def test_the_uncertainty_is_marked_as_what_it_is(self, measured: Path, tmp_path: Path) -> None:
        self.enhance(measured, tmp_path / "out.mha", "--uncertainty", tmp_path / "spread.nrrd")
        assert metadata(tmp_path / "out.mha")["MedSR_content"] == "enhanced"
        assert metadata(tmp_path / "spread.nrrd")["MedSR_content"] == "uncertainty"


def test_the_hash_of_several_files_does_not_depend_on_their_names(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"2"), ("d", b"1")):
        (tmp_path / name).write_bytes(content)
    assert digest([tmp_path / "a", tmp_path / "b"]) == digest([tmp_path / "c", tmp_path / "d"])
    assert digest([tmp_path / "a"]) == hashlib.sha256(b"1").hexdigest()


def test_the_voxels_of_a_detached_header_count_as_its_input(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((2, 3, 4), np.int16))
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    assert [path.name for path in Source(tmp_path / "a.mhd").files] == ["a.mhd", "a.raw"]
