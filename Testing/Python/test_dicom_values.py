"""What stored pixels mean: bits, modality LUT and rescale, MONOCHROME1, padding, grey in colour, transfer syntaxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import RLELossless
from test_dicom import COLUMNS, ROWS, change, refused, stored_voxels, write_series, write_slice

from MedSRLib.volumes.dicom_pixels import read_stored
from MedSRLib.volumes.files import read_volume


class TestDisplay:
    @pytest.mark.parametrize(("modality", "slope"), [("CT", 1), ("PT", 1.5), ("CR", 1)])
    def test_monochrome1_turns_the_display_not_the_values(self, tmp_path: Path, modality: str, slope: float) -> None:
        stored = write_series(
            tmp_path,
            PhotometricInterpretation="MONOCHROME1",
            Modality=modality,
            RescaleSlope=slope,
            RescaleIntercept=-5,
        )
        volume = read_volume(tmp_path)
        np.testing.assert_array_equal(volume.voxels, stored * slope - 5)
        assert any("MONOCHROME1" in note for note in volume.notes)

    def test_a_window_changes_nothing(self, tmp_path: Path) -> None:
        stored = write_series(tmp_path, WindowCenter=40, WindowWidth=400)
        np.testing.assert_array_equal(read_volume(tmp_path).voxels, stored.astype(int) - 1024)


class TestBits:
    def bits(self, path: Path, pixels: np.ndarray, stored: int, high: int, *, signed: bool = False) -> None:
        write_slice(
            path,
            pixels.view(np.uint16),
            (0, 0, 0),
            BitsStored=stored,
            HighBit=high,
            PixelRepresentation=int(signed),
            RescaleIntercept=0,
        )

    def test_what_lies_above_the_stored_bits_is_left_out(self, tmp_path: Path) -> None:
        values = stored_voxels(1)[0]
        self.bits(tmp_path / "a", values | 0x3000, 12, 11)
        np.testing.assert_array_equal(read_volume(tmp_path).voxels[0], values)

    def test_stored_bits_may_be_the_upper_ones(self, tmp_path: Path) -> None:
        values = stored_voxels(1)[0]
        self.bits(tmp_path / "a", values << 4, 12, 15)
        np.testing.assert_array_equal(read_volume(tmp_path).voxels[0], values)

    def test_the_sign_stands_in_the_highest_stored_bit(self, tmp_path: Path) -> None:
        values = stored_voxels(1)[0].astype(np.int16) - 1000
        self.bits(tmp_path / "a", values & 0x0FFF, 12, 11, signed=True)
        np.testing.assert_array_equal(read_volume(tmp_path).voxels[0], values)
        assert read_volume(tmp_path).voxels.min() < 0


class TestMeaning:
    def test_a_modality_lut_is_applied(self, tmp_path: Path) -> None:
        write_series(tmp_path, RescaleSlope=None, RescaleIntercept=None)
        table = Dataset()
        table.LUTDescriptor = [2000, 0, 16]
        table.ModalityLUTType = "HU"
        entries = (np.arange(2000) * 7 % 4096).astype(np.uint16)
        table.LUTData = entries.tobytes()
        for path in tmp_path.iterdir():
            change(path, ModalityLUTSequence=[table])
        np.testing.assert_array_equal(read_volume(tmp_path).voxels, entries[stored_voxels()])

    def test_a_real_world_map_is_not(self, tmp_path: Path) -> None:
        item = Dataset()
        item.RealWorldValueSlope, item.RealWorldValueIntercept = 0.001, 0.0
        stored = write_series(tmp_path, Modality="MR", RescaleSlope=2, RescaleIntercept=0)
        for path in tmp_path.iterdir():
            change(path, RealWorldValueMappingSequence=[item])
        np.testing.assert_array_equal(read_volume(tmp_path).voxels, 2 * stored.astype(int))

    @pytest.mark.parametrize(("signed", "written", "meant"), [(1, 63536, -2000), (1, -2000, -2000), (0, 0, -1024)])
    def test_padding_comes_through_the_rescale(self, tmp_path: Path, signed: int, written: int, meant: int) -> None:
        write_series(tmp_path, PixelRepresentation=signed, RescaleIntercept=0 if signed else -1024)
        for path in tmp_path.iterdir():
            one = pydicom.dcmread(path)
            one.add_new(0x00280120, "SS" if written < 0 else "US", written)
            one.save_as(path)
        assert read_volume(tmp_path).padding == (meant, meant)

    def test_padding_may_be_a_range(self, tmp_path: Path) -> None:
        write_series(tmp_path, RescaleIntercept=-1024)
        for path in tmp_path.iterdir():
            one = pydicom.dcmread(path)
            one.add_new(0x00280120, "US", 9)
            one.add_new(0x00280121, "US", 3)
            one.save_as(path)
        assert read_volume(tmp_path).padding == (-1021, -1015)


class TestColour:
    def colour(self, path: Path, pixels: np.ndarray, **tags: Any) -> None:
        plain = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
        nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "RescaleIntercept": 0}
        write_slice(path, pixels, (0, 0, 0), **{**plain, **nowhere, "Modality": "US", **tags})

    def test_grey_stored_as_red_green_and_blue_is_grey(self, tmp_path: Path) -> None:
        grey = (stored_voxels(1)[0] % 256).astype(np.uint8)
        self.colour(tmp_path / "a", np.repeat(grey[..., None], 3, axis=-1), PhotometricInterpretation="RGB")
        volume = read_volume(tmp_path)
        np.testing.assert_array_equal(volume.voxels[0], grey)
        assert volume.modality == "US"
        assert any("hold grey only" in note for note in volume.notes)

    def test_grey_stored_as_brightness_without_colour_is_grey(self, tmp_path: Path) -> None:
        grey = (stored_voxels(1)[0] % 256).astype(np.uint8)
        pixels = np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], axis=-1)
        self.colour(tmp_path / "a", pixels, PhotometricInterpretation="YBR_FULL")
        np.testing.assert_array_equal(read_volume(tmp_path).voxels[0], grey)

    @pytest.mark.parametrize("interpretation", ["RGB", "YBR_FULL"])
    def test_one_coloured_pixel_makes_it_colour(self, tmp_path: Path, interpretation: str) -> None:
        pixels = np.full((ROWS, COLUMNS, 3), 128, np.uint8)
        pixels[2, 3] = (128, 160, 100)
        self.colour(tmp_path / "a", pixels, PhotometricInterpretation=interpretation)
        assert "in colour" in refused(tmp_path)

    def test_a_palette_is_refused_as_what_it_is(self, tmp_path: Path) -> None:
        write_series(tmp_path, PhotometricInterpretation="PALETTE COLOR")
        assert "palette colour" in refused(tmp_path)


class TestTransferSyntaxes:
    """pydicom's own files: one MR slice in many, and a CT in JPEG 2000, against the same slice stored plainly."""

    @pytest.mark.parametrize(
        "name",
        [
            "MR_small_RLE.dcm",
            "MR_small_bigendian.dcm",
            "MR_small_implicit.dcm",
            "MR_small_jp2klossless.dcm",
            "MR_small_jpeg_ls_lossless.dcm",
            "MR_small_padded.dcm",
            "MR_small_expb.dcm",
        ],
    )
    def test_the_same_slice_in_all(self, name: str) -> None:
        plain, other = (read_volume(get_testdata_file(one)) for one in ("MR_small.dcm", name))
        np.testing.assert_array_equal(other.voxels, plain.voxels)
        np.testing.assert_array_equal(other.affine, plain.affine)

    @pytest.mark.parametrize("name", ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm", "image_dfl.dcm"])
    def test_others_as_pydicom_reads_them(self, name: str) -> None:
        one = pydicom.dcmread(get_testdata_file(name))
        expected = apply_modality_lut(one.pixel_array, one)
        np.testing.assert_array_equal(read_volume(get_testdata_file(name)).voxels[0], expected)

    def test_rle_written_here(self, tmp_path: Path) -> None:
        stored = write_series(tmp_path)
        for path in tmp_path.iterdir():
            one = pydicom.dcmread(path)
            one.compress(RLELossless, generate_instance_uid=False)
            one.save_as(path)
        np.testing.assert_array_equal(read_volume(tmp_path).voxels, stored.astype(int) - 1024)

    def test_jpeg_is_decoded_as_stored_whatever_its_display(self, tmp_path: Path) -> None:
        """GDCM by itself would apply the rescale and turn MONOCHROME1 round."""
        one = pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
        expected = read_stored(Path(get_testdata_file("MR_small.dcm")))
        one.PhotometricInterpretation = "MONOCHROME1"
        one.RescaleSlope, one.RescaleIntercept = "3", "7"
        one.save_as(tmp_path / "a.dcm")
        np.testing.assert_array_equal(read_stored(tmp_path / "a.dcm"), expected)
        np.testing.assert_array_equal(read_volume(tmp_path / "a.dcm").voxels, 3 * expected.astype(int) + 7)

    def test_what_cannot_be_decoded_is_named(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        one = pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
        one.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(500)])
        one.save_as(tmp_path / "a.dcm")
        sentence = refused(tmp_path / "a.dcm")
        assert "a.dcm is damaged, or its JPEG 2000" in sentence
        assert capfd.readouterr().err == ""

    def test_the_colour_file_that_sitk_writes_is_refused(self, tmp_path: Path) -> None:
        colour = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 255, (8, 9, 3), np.uint8), isVector=True)
        sitk.WriteImage(colour, str(tmp_path / "a.dcm"))
        assert "in colour" in refused(tmp_path / "a.dcm")
