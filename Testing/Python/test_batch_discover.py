"""Which volumes a batch finds below a folder, and what it leaves alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pydicom
import pytest
from image_fixtures import noise, write_nifti
from test_dicom import write_series, write_slice

from MedSRLib.batch.discover import Study, find_studies
from MedSRLib.errors import InputError, UsageError


def touch(root: Path, *names: str) -> None:
    """Files with some content: finding does not read image files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + name.encode())


def found(root: Path, **options: str) -> list[Study]:
    return find_studies(root, output=root.parent / "output", **options)


def names(root: Path, **options: str) -> list[str]:
    return [study.name for study in found(root, **options)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "input"
    folder.mkdir()
    return folder


def test_every_image_format_is_found_at_every_depth_in_the_order_of_names(root: Path) -> None:
    touch(root, "b.NII.GZ", "a.nii", "sub/deep/c.nrrd", "sub/d.mha", "e.mhd", "e.zraw", "f.nhdr", "notes.txt")
    assert names(root) == ["a.nii", "b.NII.GZ", "e.mhd", "f.nhdr", "sub/d.mha", "sub/deep/c.nrrd"]
    assert [study.stem for study in found(root)][:2] == ["a", "b"]


def test_hidden_files_and_temporary_folders_are_passed_over(root: Path) -> None:
    touch(root, "a.nii", "._a.nii", ".medsr-x/b.nii", ".git/c.nii")
    assert names(root) == ["a.nii"]


def test_the_output_folder_inside_the_input_is_not_searched(root: Path) -> None:
    touch(root, "a.nii", "enhanced/a.nii", "enhanced/sub/b.nii")
    assert [study.name for study in find_studies(root, output=root / "enhanced")] == ["a.nii"]


@pytest.mark.parametrize("output", ["", ".."])
def test_an_output_that_is_the_input_or_holds_it_is_refused(root: Path, output: str) -> None:
    touch(root, "a.nii")
    with pytest.raises(UsageError, match="never written onto"):
        find_studies(root, output=root / output)


def test_links_that_go_round_end_and_what_two_paths_reach_is_found_once_by_its_real_path(root: Path) -> None:
    touch(root, "real/a.nii")
    (root / "real" / "round").symlink_to(root)
    (root / "again").symlink_to(root / "real")
    (root / "self").symlink_to(root / "self")
    assert names(root) == ["real/a.nii"]


def test_linked_files_and_folders_elsewhere_are_followed(root: Path, tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/b.nii")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "a.nii").symlink_to(tmp_path / "elsewhere" / "b.nii")
    assert names(root) == ["a.nii", "linked/b.nii"]


def test_a_link_to_a_file_that_was_not_fetched_is_found_so_that_it_can_fail_in_the_open(root: Path) -> None:
    (root / "a.nii.gz").symlink_to(root / "annex" / "nothing")
    assert names(root) == ["a.nii.gz"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.nii", ["sub-1/anat/x_T1w.nii", "sub-1/func/y.nii"]),
        ("anat/*_T1w.*", ["sub-1/anat/x_T1w.nii"]),
        ("sub-1/*/*", ["sub-1/anat/x_T1w.nii", "sub-1/func/y.nii"]),
    ],
)
def test_a_pattern_fits_the_end_of_the_name(root: Path, pattern: str, expected: list[str]) -> None:
    touch(root, "sub-1/anat/x_T1w.nii", "sub-1/func/y.nii", "z.nrrd")
    assert names(root, pattern=pattern) == expected


def test_each_series_of_a_folder_is_a_study_named_by_number_and_description(root: Path) -> None:
    write_series(root / "ct", prefix="a", SeriesInstanceUID="1.2.30", SeriesNumber=2)
    write_series(root / "ct", prefix="b", SeriesInstanceUID="1.2.31", SeriesNumber=11, SeriesDescription="a/b: c?")
    write_series(root / "ct", prefix="c", SeriesInstanceUID="1.2.32", SeriesDescription=None)
    touch(root, "ct/notes.txt", "ct/x.nii")
    studies = found(root)
    assert [study.name for study in studies] == ["ct/002-Thorax", "ct/011-a_b_c", "ct/1.2.32", "ct/x.nii"]
    assert [study.series for study in studies] == ["1.2.30", "1.2.31", "1.2.32", ""]
    assert studies[0].fingerprint["files"] == 5


def test_dicom_files_without_an_image_are_no_study(root: Path) -> None:
    touch(root, "a.nii")
    write_series(root / "report", Rows=None, Columns=None)
    assert names(root) == ["a.nii"]


def test_a_damaged_dicom_folder_is_a_study_that_will_fail(root: Path) -> None:
    (root / "ct").mkdir()
    (root / "ct" / "1.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\xff")
    assert names(root) == ["ct"]


def test_the_fingerprint_of_a_series_changes_with_any_of_its_files(root: Path) -> None:
    stored = write_series(root / "ct")
    before = found(root)[0].fingerprint
    write_slice(root / "ct" / "more", stored[0], (0, 0, 500))
    assert found(root)[0].fingerprint != before


def test_the_fingerprint_of_a_detached_header_covers_the_data_it_names(root: Path) -> None:
    (root / "a.mhd").write_text("ElementDataFile = a.raw\n")
    touch(root, "a.raw", "other.raw")
    before = found(root)[0].fingerprint
    os.utime(root / "other.raw", ns=(0, 5 * 10**18))
    assert found(root)[0].fingerprint == before
    os.utime(root / "a.raw", ns=(0, 5 * 10**18))
    assert found(root)[0].fingerprint != before


def test_a_folder_that_cannot_be_listed_is_a_study_that_will_fail(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(root, "a.nii", "secret/b.nii")
    listing = Path.iterdir

    def iterdir(folder: Path) -> object:
        if folder.name == "secret":
            raise PermissionError(13, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert names(root) == ["a.nii", "secret"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_found(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.nii")).write_bytes(b"x")
    assert names(root) == ["caf\udce9.nii"]


def test_nothing_to_enhance_is_said(root: Path) -> None:
    touch(root, "notes.txt")
    with pytest.raises(InputError, match="holds no volumes"):
        found(root)
    touch(root, "a.nii")
    with pytest.raises(InputError, match=r"none of the 1 volumes .* matches 'b\*'"):
        found(root, pattern="b*")
    with pytest.raises(UsageError, match="pattern is empty"):
        found(root, pattern="")
    with pytest.raises(UsageError, match="medsr enhance"):
        found(root / "a.nii")
    with pytest.raises(InputError, match="does not exist"):
        found(root / "nowhere")


def test_dicom_without_preamble_and_pairs_of_nifti_are_studies_once_each(tmp_path: Path) -> None:
    write_series(tmp_path / "old")
    for path in (tmp_path / "old").iterdir():
        one = pydicom.dcmread(path)
        with path.open("wb") as file:
            data = pydicom.Dataset({element.tag: element for element in one})
            pydicom.dcmwrite(file, data, implicit_vr=True, little_endian=True)
    whole = write_nifti(tmp_path / "whole.nii", noise(3, 4, 5), magic=b"ni1\0").read_bytes()
    (tmp_path / "whole.nii").unlink()
    (tmp_path / "pair.hdr").write_bytes(whole[:348])
    (tmp_path / "pair.img").write_bytes(whole[352:])
    found = find_studies(tmp_path, output=tmp_path / "out")
    assert [(study.suffix, study.fingerprint["files"]) for study in found] == [("", 5), (".hdr", 2)]
