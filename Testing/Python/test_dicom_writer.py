"""A derived series: valid DICOM, in its true place and units, that says what it is and belongs to the same study."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_objects import (
    CLASSES,
    COLUMNS,
    FRAME,
    ROWS,
    SERIES,
    SLICES,
    STEP,
    STUDY,
    write_enhanced_mr,
    write_series,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit
from scipy.spatial.transform import Rotation

from MedSRLib.errors import OutputError
from MedSRLib.volumes.dicom_storage import choose_storage, ds
from MedSRLib.volumes.dicom_writer import series_description
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.geometry import LPS_TO_RAS, upsampled_affine
from MedSRLib.volumes.mark import UNCERTAINTY, Mark
from MedSRLib.volumes.source import Source
from MedSRLib.volumes.volume import Volume

MARK = Mark("0.1.0", "inplane-x2-lite", "1.2.0", {"fidelity": "ab" * 32}, (2.0, 2.0, 1.0))
MODALITIES = ["CT", "MR", "PT", "US", "CR"]
LAID = ["CT", "MR", "PT"]
"""Modalities whose slices say where in the body they lie."""


def enlarged(volume: Volume, factors: tuple[int, int, int] = (1, 2, 2)) -> Volume:
    """Every voxel several times along k, j, i, and a value beside its own where that is allowed."""
    voxels = volume.voxels
    for axis, factor in enumerate(factors):
        voxels = voxels.repeat(factor, axis)
    return volume.with_voxels(voxels, upsampled_affine(volume.affine, volume.shape, voxels.shape))


def derive(
    source: Path, target: Path, *, factors: tuple[int, int, int] = (1, 2, 2), mark: Mark = MARK
) -> tuple[Volume, list[Dataset], list[str]]:
    """Write a derived series; returns what was to be written, the files in the order of their names, and the notes."""
    volume = enlarged(read_volume(source), factors)
    if mark.content == UNCERTAINTY:
        volume = volume.with_voxels(np.abs(volume.voxels) / np.float32(700))
    notes = write_volume(volume, target, mark=mark, template=Source(source).template())
    return volume, [pydicom.dcmread(path) for path in sorted(target.iterdir())], notes


needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is missing: install Debian's dicom3tools"
)


def errors_in(folder: Path) -> list[str]:
    """What dciodvfy calls an error in any of the files."""
    said = [subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True) for path in folder.iterdir()]
    return [line for one in said for line in (one.stdout + one.stderr).splitlines() if "Error" in line]


def numbers(value: Any) -> np.ndarray:
    return np.asarray(value, np.float64)


@pytest.fixture(params=MODALITIES)
def modality(request: pytest.FixtureRequest) -> str:
    return request.param


class TestTheStandard:
    @needs_dciodvfy
    @pytest.mark.parametrize("content", ["enhanced", "uncertainty"])
    def test_dciodvfy_finds_no_error(self, tmp_path: Path, modality: str, content: str) -> None:
        write_series(tmp_path / "in", modality)
        derive(tmp_path / "in", tmp_path / "out", mark=replace(MARK, content=content))
        assert errors_in(tmp_path / "out") == []

    @needs_dciodvfy
    @pytest.mark.parametrize("modality", ["CT", "MR", "US", "PT"])
    def test_what_a_careless_exporter_left_out_or_wrote_too_long_is_no_error_of_ours(
        self, tmp_path: Path, modality: str
    ) -> None:
        gone = (
            "AccessionNumber",
            "StudyID",
            "ReferringPhysicianName",
            "PositionReferenceIndicator",
            "BodyPartExamined",
        )
        careless = {**dict.fromkeys(gone), "DeidentificationMethod": 90 * "x", "PatientIdentityRemoved": "YES"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom knows that the text is too long
            write_series(
                tmp_path / "in", modality, PatientPosition="FFP", PatientOrientationCodeSequence=None, **careless
            )
        _, files, notes = derive(tmp_path / "in", tmp_path / "out")
        assert any("(0012,0063)" in note for note in notes)
        assert errors_in(tmp_path / "out") == []
        if modality == "PT":
            assert files[0].PatientGantryRelationshipCodeSequence[0].CodeMeaning == "feet-first"

    @needs_dciodvfy
    def test_the_frames_of_an_enhanced_file_become_single_images(self, tmp_path: Path) -> None:
        source = write_enhanced_mr(tmp_path / "enhanced.dcm")
        volume, files, _ = derive(source, tmp_path / "out")
        assert errors_in(tmp_path / "out") == []
        assert {one.SOPClassUID for one in files} == {CLASSES["MR"]}
        assert {(one.RepetitionTime, one.EchoTime, one.ScanningSequence) for one in files} == {(500, 4.5, "GR")}
        assert {(one.WindowCenter, one.WindowWidth) for one in files} == {(40, 400)}
        assert not any("FunctionalGroups" in element.keyword for one in files for element in one)
        for k, one in enumerate(files):
            (item,) = one.SourceImageSequence
            assert item.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.4.1"
            assert item.ReferencedFrameNumber == k + 1
        again = read_volume(tmp_path / "out")
        np.testing.assert_array_equal(again.voxels, volume.voxels)
        np.testing.assert_allclose(again.affine, volume.affine, atol=1e-6)


class TestReadBack:
    def test_pydicom_and_we_find_the_same_voxels_and_place(self, tmp_path: Path, modality: str) -> None:
        write_series(tmp_path / "in", modality)
        volume, files, _ = derive(tmp_path / "in", tmp_path / "out")
        again = read_volume(tmp_path / "out")
        step = float(files[0].get("RescaleSlope", 1))
        tolerance = 0 if step == 1 else step / 2 + 1e-6 * np.abs(volume.voxels).max()
        for one, expected in zip(files, volume.voxels, strict=True):
            found = one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
        if modality in LAID:
            np.testing.assert_allclose(again.voxels, volume.voxels, rtol=0, atol=tolerance)
            np.testing.assert_allclose(again.affine, volume.affine, atol=1e-6)
            assert again.modality == volume.modality

    @pytest.mark.parametrize("modality", LAID)
    def test_itk_finds_what_it_finds_in_the_nifti_of_the_same_volume(self, tmp_path: Path, modality: str) -> None:
        write_series(tmp_path / "in", modality)
        volume, files, _ = derive(tmp_path / "in", tmp_path / "out")
        write_volume(volume, tmp_path / "out.nii.gz")
        nifti = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "out"))
        series = sitk.ReadImage(names)
        assert series.GetSize() == nifti.GetSize()
        for corner in [(0, 0, 0), (5, 0, 0), (0, 7, 0), (0, 0, SLICES - 1)]:
            places = [image.TransformIndexToPhysicalPoint(corner) for image in (series, nifti)]
            np.testing.assert_allclose(*places, atol=1e-4)
        step = float(files[0].get("RescaleSlope", 1))
        tolerance = 0 if step == 1 else step
        np.testing.assert_allclose(*map(sitk.GetArrayFromImage, (series, nifti)), rtol=1e-6, atol=tolerance)


class TestWhatItSays:
    @pytest.fixture
    def derived(self, tmp_path: Path, modality: str) -> tuple[list[Dataset], list[Dataset]]:
        """The files it came from, in the order of k, and the derived ones."""
        write_series(tmp_path / "in", modality)
        _, files, _ = derive(tmp_path / "in", tmp_path / "out")
        sources = sorted(map(pydicom.dcmread, (tmp_path / "in").iterdir()), key=lambda one: one.InstanceNumber)
        return sources, files

    def test_new_instances_of_a_new_series_in_the_same_study(
        self, derived: tuple[list[Dataset], list[Dataset]]
    ) -> None:
        sources, files = derived
        assert len({one.SeriesInstanceUID for one in files} | {SERIES}) == 2
        uids = {one.SOPInstanceUID for one in (*files, *sources)}
        assert len(uids) == len(files) + len(sources)
        for one in files:
            assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
            assert (one.StudyInstanceUID, one.PatientID, one.PatientName) == (STUDY, "T-1", "Case^Test")
            assert (one.StudyDate, one.AccessionNumber) == ("20240102", "A1")
            assert one.get("FrameOfReferenceUID") == sources[0].get("FrameOfReferenceUID")
            assert one.SOPClassUID == sources[0].SOPClassUID
            assert one.SeriesNumber == 1003

    def test_it_is_derived_by_a_named_model_and_not_for_primary_diagnosis(
        self, derived: tuple[list[Dataset], list[Dataset]], modality: str
    ) -> None:
        sources, files = derived
        for one in files:
            second = "PRIMARY" if modality == "PT" else "SECONDARY"  # all that PET allows
            assert list(one.ImageType) == ["DERIVED", second, *list(sources[0].ImageType)[2:]]
            for text in ("inplane-x2-lite 1.2.0", "ab" * 32, "not for primary diagnosis"):
                assert text in one.DerivationDescription
            assert "MedSR" in one.SeriesDescription
            assert "not for primary diagnosis" in one.SeriesDescription
            assert "Thorax 2.5" in one.SeriesDescription
            assert len(one.SeriesDescription) <= 64
            (equipment,) = one.ContributingEquipmentSequence
            assert (equipment.Manufacturer, equipment.SoftwareVersions) == ("MedSR", "0.1.0")
            assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"

    def test_each_image_names_the_one_it_came_from(self, derived: tuple[list[Dataset], list[Dataset]]) -> None:
        sources, files = derived
        for source, one in zip(sources, files, strict=True):
            (item,) = one.SourceImageSequence
            assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
            assert item.ReferencedSOPClassUID == source.SOPClassUID
            assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"

    def test_private_attributes_are_dropped(self, derived: tuple[list[Dataset], list[Dataset]]) -> None:
        sources, files = derived
        assert any(element.tag.is_private for element in sources[0])
        assert not any(element.tag.is_private for one in files for element in one.iterall())

    def test_the_window_is_kept(self, derived: tuple[list[Dataset], list[Dataset]]) -> None:
        assert {(float(one.WindowCenter), float(one.WindowWidth)) for one in derived[1]} == {(40, 400)}


class TestGeometry:
    def test_slices_of_slices_say_between_which_they_lie_and_are_thinner(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "CT")
        volume, files, _ = derive(tmp_path / "in", tmp_path / "out", factors=(3, 1, 1))
        sources = sorted(map(pydicom.dcmread, (tmp_path / "in").iterdir()), key=lambda one: one.InstanceNumber)
        for k, one in enumerate(files):
            assert one.SliceThickness == one.SpacingBetweenSlices == pytest.approx(STEP / 3)
            place = (k + 0.5) / 3 - 0.5
            around = {int(np.clip(n, 0, SLICES - 1)) for n in (np.floor(place + 1e-9), np.ceil(place - 1e-9))}
            named = {item.ReferencedSOPInstanceUID for item in one.SourceImageSequence}
            assert named == {sources[n].SOPInstanceUID for n in around}
        places = np.array([one.ImagePositionPatient for one in files], float)
        expected = (LPS_TO_RAS @ volume.affine @ np.array([[0, 0, k, 1] for k in range(3 * SLICES)]).T)[:3].T
        np.testing.assert_allclose(places, expected, atol=1e-9)

    def test_sharper_slices_stay_as_thick_as_they_were(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "MR", SliceThickness=2)
        _, files, _ = derive(tmp_path / "in", tmp_path / "out")
        assert {(one.SliceThickness, one.SpacingBetweenSlices) for one in files} == {(2, STEP)}
        assert {(one.Rows, one.Columns, *one.PixelSpacing) for one in files} == {(2 * ROWS, 2 * COLUMNS, 0.45, 0.4)}
        assert [one.InstanceNumber for one in files] == list(range(1, SLICES + 1))
        assert files[0].FrameOfReferenceUID == FRAME

    def test_a_tilted_gantry_keeps_its_shear_and_the_spacing_along_the_normal(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "CT")
        for path in (tmp_path / "in").iterdir():
            one = pydicom.dcmread(path)
            k = one.InstanceNumber - 1
            one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            one.ImagePositionPatient = [0, -0.8 * k, STEP * k]
            one.save_as(path)
        volume, files, _ = derive(tmp_path / "in", tmp_path / "out")
        np.testing.assert_allclose(read_volume(tmp_path / "out").affine, volume.affine, atol=1e-6)
        assert {one.SpacingBetweenSlices for one in files} == {STEP}

    def test_a_radiograph_without_a_place_keeps_its_own_kind_of_pixel_size(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "CR")
        _, (one,), _ = derive(tmp_path / "in", tmp_path / "out")
        np.testing.assert_allclose(numbers(one.ImagerPixelSpacing), [0.1, 0.05])
        assert "PixelSpacing" not in one
        assert "ImagePositionPatient" not in one
        assert one.PhotometricInterpretation == "MONOCHROME1"

    def test_the_calibrated_regions_of_ultrasound_follow_its_pixels(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "US")
        _, (one,), _ = derive(tmp_path / "in", tmp_path / "out")
        (region,) = one.SequenceOfUltrasoundRegions
        assert (region.RegionLocationMinX0, region.RegionLocationMaxX1) == (4, 19)
        assert (region.RegionLocationMinY0, region.RegionLocationMaxY1) == (2, 25)
        assert (region.PhysicalDeltaX, region.PhysicalDeltaY) == (0.01, 0.015)

    @settings(max_examples=15, deadline=None)
    @given(
        st.tuples(*[st.floats(-3, 3)] * 3),
        st.tuples(*[st.floats(-500, 500)] * 3),
        st.tuples(st.floats(0.05, 5), st.floats(0.05, 5), st.floats(0.1, 20)),
        st.floats(-0.4, 0.4),
        st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)),
    )
    def test_any_orientation_and_tilt_comes_back(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        angles: tuple[float, ...],
        origin: tuple[float, ...],
        spacing: tuple[float, ...],
        tilt: float,
        factors: tuple[int, int, int],
    ) -> None:
        folder = tmp_path_factory.mktemp("any")
        turned = Rotation.from_euler("xyz", angles).as_matrix()
        step = spacing[2] * (turned[:, 2] + tilt * turned[:, 1])
        write_series(folder / "in", "MR")
        for path in (folder / "in").iterdir():
            one = pydicom.dcmread(path)
            place = np.array(origin) + (one.InstanceNumber - 1) * step
            one.ImagePositionPatient = [ds(x) for x in place]
            one.ImageOrientationPatient = [ds(x) for x in turned[:, :2].T.ravel()]
            one.PixelSpacing = [ds(spacing[1]), ds(spacing[0])]
            one.save_as(path)
        volume, _, _ = derive(folder / "in", folder / "out", factors=factors)
        again = read_volume(folder / "out")
        np.testing.assert_array_equal(again.voxels, volume.voxels)
        np.testing.assert_allclose(again.affine, volume.affine, atol=1e-5)

    def test_rows_and_columns_that_are_not_at_right_angles_are_refused(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "CT")
        template = Source(tmp_path / "in").template()
        volume = read_volume(tmp_path / "in")
        skewed = np.array(volume.affine)
        skewed[:3, 1] += 0.1 * skewed[:3, 0]
        with pytest.raises(OutputError, match="right angles"):
            write_volume(volume.with_voxels(volume.voxels, skewed), tmp_path / "out", mark=MARK, template=template)
        assert [path.name for path in tmp_path.iterdir()] == ["in"]


class TestGreyLevels:
    def test_ct_keeps_hounsfield_units_and_its_padding(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "CT")
        volume, files, notes = derive(tmp_path / "in", tmp_path / "out")
        assert notes == []
        assert {(one.RescaleSlope, one.RescaleIntercept, one.RescaleType) for one in files} == {(1, -1024, "HU")}
        assert {one.PixelPaddingValue for one in files} == {0}
        assert volume.voxels.min() >= -1024

    def test_values_below_the_sources_stored_range_are_kept(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "CT")
        volume = read_volume(tmp_path / "in")
        voxels = volume.voxels.copy()
        voxels[0, 0, 0] = -3000
        write_volume(
            volume.with_voxels(voxels), tmp_path / "out", mark=MARK, template=Source(tmp_path / "in").template()
        )
        np.testing.assert_array_equal(read_volume(tmp_path / "out").voxels, voxels)
        first = pydicom.dcmread(tmp_path / "out" / "0001.dcm")
        assert first.PixelPaddingValue * first.RescaleSlope + first.RescaleIntercept == -1024

    def test_the_slopes_of_pet_slices_become_one_fine_one(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "PT")
        volume, files, notes = derive(tmp_path / "in", tmp_path / "out", factors=(2, 1, 1))
        assert len({(float(one.RescaleSlope), float(one.RescaleIntercept)) for one in files}) == 1
        assert files[0].RescaleIntercept == 0
        assert float(files[0].RescaleSlope) == pytest.approx(volume.voxels.max() / 65535, rel=1e-6)
        assert any("steps of" in note for note in notes)
        assert [one.ImageIndex for one in files] == list(range(1, 2 * SLICES + 1))
        assert {one.NumberOfSlices for one in files} == {2 * SLICES}
        # The reference time of the decay correction.
        assert {(one.SeriesDate, one.SeriesTime) for one in files} == {("20240102", "101112")}

    def test_the_uncertainty_has_a_window_and_a_name_of_its_own(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "CT")
        volume = read_volume(tmp_path / "in")
        spread = volume.with_voxels(np.abs(volume.voxels).astype(np.float32) / 700)
        template = Source(tmp_path / "in").template()
        write_volume(spread, tmp_path / "out", mark=replace(MARK, content=UNCERTAINTY), template=template)
        one = pydicom.dcmread(tmp_path / "out" / "0001.dcm")
        assert "uncertainty" in one.SeriesDescription
        assert one.SeriesNumber == 2003
        assert "PixelPaddingValue" not in one
        assert one.WindowWidth == pytest.approx(spread.voxels.max(), rel=1e-6)
        np.testing.assert_allclose(read_volume(tmp_path / "out").voxels, spread.voxels, atol=one.RescaleSlope)

    def test_a_lossy_source_stays_known_as_lossy(self, tmp_path: Path) -> None:
        history = {"LossyImageCompression": "01", "LossyImageCompressionRatio": 12.5}
        write_series(tmp_path / "in", "MR", LossyImageCompressionMethod="ISO_10918_1", **history)
        _, files, _ = derive(tmp_path / "in", tmp_path / "out")
        for one in files:
            assert (one.LossyImageCompression, one.LossyImageCompressionRatio) == ("01", 12.5)
            assert one.LossyImageCompressionMethod == "ISO_10918_1"

    def test_a_source_compressed_with_loss_is_said_to_be_also_where_it_does_not_say_so(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "MR")
        for path in (tmp_path / "in").iterdir():
            one = pydicom.dcmread(path)
            one.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
            one.PixelData = encapsulate([b"\xff\xd8 no picture \xff\xd9"])
            one["PixelData"].VR = "OB"
            one.save_as(path)
        template = Source(tmp_path / "in").template()
        assert template is not None
        for header in template.headers:
            assert (header.LossyImageCompression, header.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
            assert header.LossyImageCompressionRatio >= 1

    def test_a_table_of_values_of_interest_becomes_a_window(self, tmp_path: Path) -> None:
        table = Dataset()
        table.LUTDescriptor, table.LUTData = [600, 100, 16], np.arange(600, dtype="<u2").tobytes()
        write_series(tmp_path / "in", "MR", WindowCenter=None, WindowWidth=None, VOILUTSequence=[table])
        _, files, _ = derive(tmp_path / "in", tmp_path / "out")
        assert {(one.WindowCenter, one.WindowWidth) for one in files} == {(400, 600)}
        assert not any("VOILUTSequence" in one for one in files)

    def test_infinite_values_are_refused(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", "MR")
        volume = read_volume(tmp_path / "in")
        voxels = volume.voxels.astype(np.float32)
        voxels[0, 0, 0] = np.inf
        with pytest.raises(OutputError, match="NaN or infinite"):
            write_volume(
                volume.with_voxels(voxels), tmp_path / "out", mark=MARK, template=Source(tmp_path / "in").template()
            )

    @settings(max_examples=80, deadline=None)
    @given(
        arrays(np.float64, 6, elements=st.floats(-1e30, 1e30, allow_subnormal=False)),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    )
    def test_every_value_is_stored_to_half_a_step(
        self, values: np.ndarray, signed: bool, through_zero: bool, bytes_only: bool
    ) -> None:
        storage = choose_storage(
            values,
            signed=signed,
            intercept=-1024,
            bytes_only=bytes_only and values.min() >= 0,
            through_zero=through_zero,
        )
        found = storage.store(values) * storage.slope + storage.intercept
        assert np.abs(found - values).max() <= 0.5001 * storage.slope + 1e-9 * np.abs(values).max()
        assert storage.slope <= 1.01 * max(np.ptp(values), np.abs(values).max()) / 255 or storage.slope == 1

    @settings(max_examples=80, deadline=None)
    @given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 65535), st.booleans(), st.sampled_from([-1024.0, 0.0, 0.5]))
    def test_integers_that_16_bits_can_tell_apart_come_back_as_they_were(
        self, low: int, span: int, signed: bool, intercept: float
    ) -> None:
        values = np.array([low, low + span // 2, low + span], np.int64)
        storage = choose_storage(values, signed=signed, intercept=intercept, bytes_only=False, through_zero=False)
        assert storage.exact
        np.testing.assert_array_equal(storage.store(values) + storage.intercept, values)


class TestNames:
    @pytest.mark.parametrize("source", ["", "Thorax", 64 * "x", "Größe 5,0 B30f" * 6])
    @pytest.mark.parametrize("content", ["enhanced", "uncertainty"])
    def test_the_description_holds_both_marks_in_64_characters(self, source: str, content: str) -> None:
        text = series_description(source, replace(MARK, factors=(1.0, 1.0, 4.1666667), content=content))
        assert len(text) <= 64
        assert text.startswith("MedSR 1x1x4.167")
        assert "not for primary diagnosis" in text
        assert "\\" not in text

    def test_foreign_names_come_back(self, tmp_path: Path) -> None:
        name = "Müller^Jürgen"
        write_series(tmp_path / "in", "CT", SpecificCharacterSet="ISO_IR 100", PatientName=name)
        _, files, _ = derive(tmp_path / "in", tmp_path / "out")
        assert {str(one.PatientName) for one in files} == {name}
