"""What belongs to a DICOM series and cannot be read is refused by name; what does not belong is passed over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from test_dicom import COLUMNS, ROWS, SERIES, SLICES, change, refused, write_series, write_slice

from MedSRLib.volumes.files import read_volume

HEADER_BYTES = 600


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut_in_preamble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def cut_in_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:HEADER_BYTES])


def cut_in_pixels(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def without_pixels(path: Path) -> None:
    one = pydicom.dcmread(path)
    del one.PixelData
    one.save_as(path)


def dead_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent.parent / "elsewhere")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def text(path: Path) -> None:
    path.write_text("<html>404 not found</html>")


DAMAGES = [empty, zeros, cut_in_preamble, cut_in_header, cut_in_pixels, without_pixels, dead_link, loop, text]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", ["IM{:04d}", "{}.dcm", "slice-{}.IMA", "1.2.840.{}", "I{:04X}0A"])
@pytest.mark.parametrize("which", [[SLICES - 1], [1, 3]], ids=["last", "every-other"])
def test_a_slice_that_cannot_be_read_is_named(
    tmp_path: Path, damage: Callable[[Path], None], name: str, which: list[int]
) -> None:
    folder = tmp_path / "series"
    write_series(folder)
    for number in range(SLICES):
        (folder / str(number)).rename(folder / name.format(number + 10))
    spoiled = [folder / name.format(number + 10) for number in which]
    for path in spoiled:
        damage(path)
    sentence = refused(folder)
    assert any(str(path) in sentence for path in spoiled)


def test_other_series_in_the_folder_are_not_held_up(tmp_path: Path) -> None:
    write_series(tmp_path)
    other = SERIES[:-1] + "2"
    write_series(tmp_path, prefix="b", SeriesInstanceUID=other)
    cut_in_header(tmp_path / "b3")
    assert pydicom.dcmread(tmp_path / "b3", force=True).get("SeriesInstanceUID") in (None, other)
    if pydicom.dcmread(tmp_path / "b3", force=True).get("SeriesInstanceUID") == other:
        assert read_volume(tmp_path, series=SERIES).shape == (SLICES, ROWS, COLUMNS)
    assert "b3" in refused(tmp_path, other)


def test_litter_is_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "README").write_text("CD viewer")
    (tmp_path / "Thumbs.db").write_bytes(os.urandom(500))
    (tmp_path / "viewer.zip").write_bytes(b"PK\3\4" + os.urandom(50))
    (tmp_path / "._1").write_bytes(bytes.fromhex("00051607") + bytes(4092))
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(600))
    (tmp_path / "VERSION").write_bytes(b"")
    assert read_volume(tmp_path).shape == (SLICES, ROWS, COLUMNS)


@pytest.mark.parametrize("big", [False, True], ids=["little", "big-endian"])
def test_files_without_preamble_are_read(tmp_path: Path, big: bool) -> None:
    stored = write_series(tmp_path)
    for number in range(SLICES):
        one = pydicom.dcmread(tmp_path / str(number))
        if big:
            one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
        data = pydicom.Dataset({element.tag: element for element in one})
        with (tmp_path / str(number)).open("wb") as file:
            pydicom.dcmwrite(file, data, implicit_vr=not big, little_endian=not big)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, stored.astype(int) - 1024)


def test_one_file_is_read_by_itself_with_or_without_a_suffix(tmp_path: Path) -> None:
    stored = write_series(tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path / "3").voxels[0], stored[0].astype(int) - 1024)
    (tmp_path / "3").rename(tmp_path / "3.dcm")
    assert read_volume(tmp_path / "3.dcm").shape == (1, ROWS, COLUMNS)


def test_a_folder_of_nothing_but_damage_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"")
    assert "a.dcm is an empty file" in refused(tmp_path)


def test_names_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "2").rename(tmp_path / "IM\udce42")
    assert read_volume(tmp_path).shape == (SLICES, ROWS, COLUMNS)


def test_copies_are_passed_over_and_said(tmp_path: Path) -> None:
    write_series(tmp_path)
    for number in range(SLICES):
        (tmp_path / f"{number} (1)").write_bytes((tmp_path / str(number)).read_bytes())
    volume = read_volume(tmp_path)
    assert volume.shape == (SLICES, ROWS, COLUMNS)
    assert any("5 files are copies" in note for note in volume.notes)


class TestNumbers:
    """Values that are no numbers, by file and keyword."""

    @pytest.mark.parametrize(
        ("old", "new", "keyword"),
        [
            (b"0.8\\0.7 ", b"0,8\\0,7 ", "PixelSpacing"),
            (b"1.0\\0.0\\0.0\\", b"1.0\\0.x\\0.0\\", "ImageOrientationPatient"),
            (b"-1024.0 ", b"-10Z4.0 ", "RescaleIntercept"),
        ],
    )
    def test_a_number_that_is_none(self, tmp_path: Path, old: bytes, new: bytes, keyword: str) -> None:
        write_series(tmp_path)
        path = tmp_path / "2"
        raw = path.read_bytes()
        assert old in raw
        path.write_bytes(raw.replace(old, new))
        sentence = refused(tmp_path)
        assert str(path) in sentence
        assert keyword in sentence

    @pytest.mark.parametrize(
        ("tags", "words"),
        [
            ({"ImagePositionPatient": ["1", "2"]}, "gives 2 numbers for ImagePositionPatient"),
            ({"PixelSpacing": [0, 0]}, r"PixelSpacing of 0\\0"),
            ({"PixelSpacing": [-0.8, 0.7]}, r"PixelSpacing of -0.8\\0.7"),
            ({"ImageOrientationPatient": [0] * 6}, "no two directions"),
            ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "no two directions"),
            ({"RescaleSlope": 0}, "RescaleSlope of 0"),
            ({"PixelSpacing": None}, "does not state its pixel spacing"),
        ],
    )
    def test_numbers_that_mean_nothing(self, tmp_path: Path, tags: dict[str, object], words: str) -> None:
        write_series(tmp_path)
        change(tmp_path / "2", **tags)
        sentence = refused(tmp_path)
        assert words.replace("\\\\", "\\") in sentence
        assert str(tmp_path / "2") in sentence

    def test_a_number_of_frames_that_is_none(self, tmp_path: Path) -> None:
        write_series(tmp_path, NumberOfFrames=1)
        raw = (tmp_path / "2").read_bytes()
        at = raw.index(b"\x28\x00\x08\x00IS\x02\x00")
        (tmp_path / "2").write_bytes(raw[: at + 8] + b"1A" + raw[at + 10 :])
        assert f"{tmp_path / '2'} has a NumberOfFrames that cannot be read ('1A')" in refused(tmp_path)

    def test_a_slope_that_one_slice_lacks(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        change(tmp_path / "2", RescaleSlope=None, RescaleIntercept=None)
        assert f"{tmp_path / '2'} has no RescaleSlope" in refused(tmp_path)


class TestGaps:
    """Slices whose numbers and places do not say the same."""

    def numbered(self, folder: Path, numbers: list[int], *, step: float = 2.5, **tags: object) -> None:
        for place, number in enumerate(numbers):
            pixels = np.full((ROWS, COLUMNS), number, np.uint16)
            write_slice(folder / f"n{number}", pixels, (0, 0, step * place), InstanceNumber=number, **tags)

    @pytest.mark.parametrize("numbers", [[1, 2, 3, 4], [4, 3, 2, 1], [11, 12, 13, 14]])
    def test_numbers_in_a_row_say_nothing(self, tmp_path: Path, numbers: list[int]) -> None:
        self.numbered(tmp_path, numbers)
        assert read_volume(tmp_path).notes == ()

    def test_every_other_slice_missing_is_refused_where_the_spacing_says_so_too(self, tmp_path: Path) -> None:
        self.numbered(tmp_path, [1, 3, 5, 7], step=6, SliceThickness=3)
        assert "slices are missing" in refused(tmp_path)

    def test_every_other_number_is_said_where_it_does_not(self, tmp_path: Path) -> None:
        self.numbered(tmp_path, [1, 3, 5, 7], step=3, SliceThickness=3)
        assert any("count by 2" in note for note in read_volume(tmp_path).notes)

    def test_a_number_left_out_is_said(self, tmp_path: Path) -> None:
        self.numbered(tmp_path, [1, 2, 4, 5])
        assert any("between 2 and 4" in note for note in read_volume(tmp_path).notes)


def test_pydicom_says_nothing_on_the_terminal(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path, NumberOfFrames=1, PatientBirthDate="1970-01-01")
    raw = (tmp_path / "2").read_bytes()
    at = raw.index(b"\x28\x00\x08\x00IS\x02\x00")
    (tmp_path / "2").write_bytes(raw[: at + 8] + b"1A" + raw[at + 10 :])
    recwarn.clear()  # of writing them
    caplog.clear()
    refused(tmp_path)
    assert not recwarn.list
    assert not caplog.records
