"""A DICOM folder becomes one volume in its true place and units, or a sentence that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from MedSRLib.errors import InputError, UsageError
from MedSRLib.volumes.files import read_volume, write_volume

SERIES = "1.2.826.0.1.3680043.8.498.111"
ROWS, COLUMNS, SLICES = 6, 7, 5
TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
SPACING = [0.8, 0.7]
"""Between rows, then between columns: DICOM's order."""


def stored_voxels(count: int = SLICES) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2000, (count, ROWS, COLUMNS)).astype(np.uint16)


def write_slice(path: Path, pixels: np.ndarray, position: Any, **tags: Any) -> None:
    """One CT slice; ``tags`` replace or add attributes, None removes one."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    one.SOPClassUID = CTImageStorage
    one.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    one.StudyInstanceUID = "1.2.3"
    one.SeriesInstanceUID = SERIES
    one.SeriesDescription = "Thorax"
    one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.Modality = "CT"
    one.SliceThickness = 3
    one.ImagePositionPatient = [round(float(number), 6) for number in position]
    one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    one.PixelSpacing = SPACING
    one.Rows, one.Columns = pixels.shape[:2]
    one.SamplesPerPixel = 1
    one.PhotometricInterpretation = "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit = 15
    one.PixelRepresentation = 0
    one.RescaleSlope = 1
    one.RescaleIntercept = -1024
    one.PixelData = pixels.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(one, name)
        else:
            setattr(one, name, value)
    one.save_as(path, enforce_file_format=True)


def write_series(
    folder: Path, *, step: Any = (0, 0, 2.5), skip: tuple[int, ...] = (), prefix: str = "", **tags: Any
) -> np.ndarray:
    """Slices whose names have nothing to do with their order; returns what was stored."""
    folder.mkdir(exist_ok=True)
    stored = stored_voxels()
    for index in set(range(SLICES)) - set(skip):
        position = np.array([-10.5, 20.25, 100]) + index * np.array(step)
        write_slice(folder / f"{prefix}{(7 * index + 3) % SLICES}", stored[index], position, **tags)
    return stored


def change(path: Path, **tags: Any) -> None:
    """Set attributes of a file that exists."""
    one = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(one, name, value)
    one.save_as(path)


def refused(folder: Path, series: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(folder, series=series)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestOneSeries:
    def test_slices_are_stacked_by_position_whatever_their_names(self, tmp_path: Path) -> None:
        stored = write_series(tmp_path)
        volume = read_volume(tmp_path)
        np.testing.assert_array_equal(volume.voxels, stored.astype(int) - 1024)
        assert (volume.modality, volume.slice_thickness) == ("CT", 3)

    def test_the_affine_maps_voxel_centres_to_right_anterior_superior(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        expected = np.array([[-0.7, 0, 0, 10.5], [0, -0.8, 0, -20.25], [0, 0, 2.5, 100], [0, 0, 0, 1]])
        np.testing.assert_allclose(read_volume(tmp_path).affine, expected, atol=1e-12)

    def test_a_stack_numbered_downwards_is_turned_along_its_normal(self, tmp_path: Path) -> None:
        stored = write_series(tmp_path, step=(0, 0, -2.5))
        volume = read_volume(tmp_path)
        np.testing.assert_array_equal(volume.voxels, stored[::-1].astype(int) - 1024)
        assert volume.affine[2, 3] == 90

    def test_oblique_slices_keep_their_orientation(self, tmp_path: Path) -> None:
        row, column = np.array([0, 0.8, 0.6]), np.array([1.0, 0, 0])
        normal = np.cross(row, column)
        write_series(tmp_path, step=1.5 * normal, ImageOrientationPatient=[*row, *column])
        affine = read_volume(tmp_path).affine
        ras = np.array([-1, -1, 1])
        np.testing.assert_allclose(affine[:3, 0], 0.7 * row * ras, atol=1e-9)
        np.testing.assert_allclose(affine[:3, 1], 0.8 * column * ras, atol=1e-9)
        np.testing.assert_allclose(affine[:3, 2], 1.5 * normal * ras, atol=1e-9)

    def test_a_tilted_gantry_gives_the_sheared_affine(self, tmp_path: Path) -> None:
        write_series(tmp_path / "tilted", step=(0, -0.8, 2.5))
        volume = read_volume(tmp_path / "tilted")
        np.testing.assert_allclose(volume.affine[:3, 2], [0, 0.8, 2.5], atol=1e-6)
        np.testing.assert_allclose(volume.affine[:3, 1], [0, -0.8, 0], atol=1e-12)
        write_volume(volume, tmp_path / "tilted.nrrd")
        np.testing.assert_allclose(read_volume(tmp_path / "tilted.nrrd").affine, volume.affine, atol=1e-9)

    def test_rounded_positions_do_not_shear_the_volume(self, tmp_path: Path) -> None:
        write_series(tmp_path, step=(0.0005, -0.0004, 2.5))
        np.testing.assert_allclose(read_volume(tmp_path).affine[:3, 2], [0, 0, 2.5], atol=1e-12)

    def test_one_slice_is_a_volume_as_thick_as_it_says(self, tmp_path: Path) -> None:
        write_series(tmp_path, skip=(1, 2, 3, 4))
        volume = read_volume(tmp_path)
        assert volume.shape == (1, ROWS, COLUMNS)
        np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 3])

    def test_other_files_in_the_folder_are_passed_over(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        (tmp_path / "README.txt").write_text("not DICOM")
        (tmp_path / "sub").mkdir()
        write_slice(
            tmp_path / "report",
            stored_voxels()[0],
            (0, 0, 0),
            SOPClassUID=TEXT_SR,
            Rows=None,
            Columns=None,
            PixelData=None,
        )
        assert read_volume(tmp_path).shape == (SLICES, ROWS, COLUMNS)

    def test_the_modality_can_be_overruled(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        volume = read_volume(tmp_path, modality="other")
        assert (volume.modality, volume.slice_thickness) == ("other", 3)

    @pytest.mark.parametrize(
        ("dicom", "ours"), [("MR", "MR"), ("US", "US"), ("CR", "XR"), ("DX", "XR"), ("MG", "XR"), ("PT", "other")]
    )
    def test_modalities_are_named_our_way(self, tmp_path: Path, dicom: str, ours: str) -> None:
        write_series(tmp_path, Modality=dicom, RescaleIntercept=0, SliceThickness=None)
        volume = read_volume(tmp_path)
        assert (volume.modality, volume.slice_thickness) == (ours, None)

    def test_a_radiograph_without_a_position_is_one_slice(self, tmp_path: Path) -> None:
        nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
        write_slice(
            tmp_path / "a", stored_voxels()[0], (0, 0, 0), Modality="DX", ImagerPixelSpacing=[0.2, 0.1], **nowhere
        )
        assert read_volume(tmp_path).spacing == pytest.approx((0.1, 0.2, 3))

    def test_an_input_folder_is_protected(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        with pytest.raises(UsageError, match="never overwritten"):
            write_volume(read_volume(tmp_path), tmp_path / "new.nii", protected=[tmp_path])


class TestGreyLevels:
    def test_ct_of_12_bits_is_int16_in_hounsfield_units(self, tmp_path: Path) -> None:
        stored = write_series(tmp_path, RescaleSlope=2, RescaleIntercept=-1000)
        volume = read_volume(tmp_path)
        assert volume.voxels.dtype == np.int16
        np.testing.assert_array_equal(volume.voxels, 2 * stored.astype(int) - 1000)

    def test_a_fractional_slope_gives_floats(self, tmp_path: Path) -> None:
        stored = write_series(tmp_path, RescaleSlope=0.25, RescaleIntercept=0)
        volume = read_volume(tmp_path)
        assert volume.voxels.dtype == np.float32
        np.testing.assert_array_equal(volume.voxels, stored / 4)

    @pytest.mark.parametrize(("slope", "kind"), [(100, np.int32), (0.5, np.float32)])
    def test_slices_with_their_own_slope_are_each_rescaled_by_it(
        self, tmp_path: Path, slope: float, kind: type
    ) -> None:
        stored = write_series(tmp_path, RescaleIntercept=0)
        last = next(path for path in tmp_path.iterdir() if pydicom.dcmread(path).ImagePositionPatient[2] == 110)
        change(last, RescaleSlope=slope)
        volume = read_volume(tmp_path)
        assert volume.voxels.dtype == kind
        np.testing.assert_array_equal(volume.voxels[:-1], stored[:-1])
        np.testing.assert_array_equal(volume.voxels[-1], stored[-1].astype(int) * slope)

    def test_slices_stored_signed_and_unsigned_are_both_right(self, tmp_path: Path) -> None:
        stored = write_series(tmp_path, RescaleIntercept=0)
        first = next(path for path in tmp_path.iterdir() if pydicom.dcmread(path).ImagePositionPatient[2] == 100)
        change(first, PixelRepresentation=1, PixelData=(stored[0].astype(np.int16) - 1500).tobytes())
        expected = stored.astype(int)
        expected[0] -= 1500
        np.testing.assert_array_equal(read_volume(tmp_path).voxels, expected)

    def test_large_unsigned_values_stay_unsigned(self, tmp_path: Path) -> None:
        for index in range(2):
            pixels = np.full((ROWS, COLUMNS), 65000 + index, np.uint16)
            write_slice(tmp_path / str(index), pixels, (0, 0, index), RescaleIntercept=0, Modality="MR")
        voxels = read_volume(tmp_path).voxels
        assert voxels.dtype == np.uint16
        assert voxels.max() == 65001


class TestSeveralSeries:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_series(tmp_path)
        other = {"SeriesInstanceUID": SERIES[:-1] + "2", "SeriesDescription": "Bone"}
        write_series(tmp_path, prefix="b", skip=(4,), RescaleIntercept=0, **other)
        return tmp_path

    def test_each_is_named_and_a_choice_is_asked_for(self, folder: Path) -> None:
        sentence = refused(folder)
        assert "--series" in sentence
        assert f"{SERIES[-12:]} (5 slices, Thorax)" in sentence
        assert f"{SERIES[-12:-1]}2 (4 slices, Bone)" in sentence

    def test_the_whole_uid_or_its_end_chooses(self, folder: Path) -> None:
        assert read_volume(folder, series=SERIES).shape[0] == 5
        assert read_volume(folder, series="8.498.112").shape[0] == 4

    @pytest.mark.parametrize("series", ["999", ""])
    def test_a_choice_that_is_none_or_several_names_them_again(self, folder: Path, series: str) -> None:
        assert "Bone" in refused(folder, series)


class TestRefusals:
    def test_an_empty_folder(self, tmp_path: Path) -> None:
        assert "no DICOM" in refused(tmp_path)

    @pytest.mark.parametrize(("skip", "missing"), [((2,), 1), ((1, 2), 2), ((1, 3), None)])
    def test_missing_slices(self, tmp_path: Path, skip: tuple[int, ...], missing: int | None) -> None:
        write_series(tmp_path, skip=skip)
        if missing is None:
            # Every second slice left out is a whole series of twice the spacing.
            assert read_volume(tmp_path).spacing[2] == 5
        else:
            assert f"{missing} of 5 slices are missing" in refused(tmp_path)

    def test_uneven_slices(self, tmp_path: Path) -> None:
        for index, height in enumerate([0, 2.5, 5, 6.2, 8.7]):
            write_slice(tmp_path / str(index), stored_voxels()[index], (0, 0, height))
        assert "unevenly spaced (1.2 to 2.5 mm)" in refused(tmp_path)

    def test_slices_that_do_not_stand_on_a_line(self, tmp_path: Path) -> None:
        for index in range(SLICES):
            write_slice(tmp_path / str(index), stored_voxels()[index], (index % 2, 0, 2.5 * index))
        refused(tmp_path)

    def test_two_slices_at_one_place(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        write_series(tmp_path, prefix="phase2")
        assert "same place" in refused(tmp_path)

    def test_mixed_orientations(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        change(tmp_path / "0", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
        assert "orientation" in refused(tmp_path)

    def test_mixed_sizes(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        write_slice(tmp_path / "wide", np.zeros((ROWS, 9), np.uint16), (0, 0, 50))
        assert "7 x 6, 9 x 6" in refused(tmp_path)

    def test_mixed_pixel_spacings(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        change(tmp_path / "0", PixelSpacing=[0.9, 0.9])
        assert "pixel spacing" in refused(tmp_path)

    def test_slices_without_a_position(self, tmp_path: Path) -> None:
        write_series(tmp_path, ImagePositionPatient=None)
        assert "where its slice lies" in refused(tmp_path)

    def test_colour(self, tmp_path: Path) -> None:
        colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
        pixels = np.zeros((ROWS, COLUMNS, 3), np.uint8)
        pixels[2, 3] = (200, 30, 30)
        write_slice(tmp_path / "a", pixels, (0, 0, 0), BitsAllocated=8, BitsStored=8, HighBit=7, **colour)
        assert "colour" in refused(tmp_path)

    def test_several_frames_in_one_file(self, tmp_path: Path) -> None:
        frames = stored_voxels()
        write_slice(tmp_path / "a", frames[0], (0, 0, 0), NumberOfFrames=SLICES, PixelData=frames.tobytes())
        assert "multi-frame" in refused(tmp_path)

    def test_a_mosaic(self, tmp_path: Path) -> None:
        write_series(tmp_path, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
        assert "mosaic" in refused(tmp_path)

    @pytest.mark.parametrize("index", [0, 2, 4])
    def test_a_slice_cut_short(self, tmp_path: Path, index: int) -> None:
        write_series(tmp_path)
        path = tmp_path / str(index)
        path.write_bytes(path.read_bytes()[:-20])
        assert "again" in refused(tmp_path)
