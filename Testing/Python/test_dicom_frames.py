"""Series with several images at one place, enhanced multi-frame files, and single images without a place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from test_dicom import COLUMNS, ROWS, SLICES, change, refused, stored_voxels, write_series, write_slice

from MedSRLib.errors import UsageError
from MedSRLib.volumes.dicom import find_slices
from MedSRLib.volumes.files import read_sequence, read_volume

PLAIN = {"RescaleIntercept": 0, "Modality": "MR"}


def stacks(folder: Path, tags: list[dict[str, Any]], *, per_slice: Any = None) -> np.ndarray:
    """Several stacks of slices at the same places, in a jumble of file names; returns [stack, k, j, i]."""
    values = np.random.default_rng(1).integers(0, 2000, (len(tags), SLICES, ROWS, COLUMNS)).astype(np.uint16)
    for n, more in enumerate(tags):
        for k in range(SLICES):
            own = per_slice(n, k) if per_slice else {}
            name = folder / f"{(17 * (n * SLICES + k) + 5) % 101:03d}"
            write_slice(name, values[n, k], (0, 0, 2.5 * k), **PLAIN, **more, **own)
    return values


def frames_of(folder: Path) -> list[np.ndarray]:
    return [volume.voxels for volume in read_sequence(folder).volumes]


class TestSeveralImagesAtOnePlace:
    @pytest.mark.parametrize(
        "tags",
        [
            [{"EchoTime": 4.92}, {"EchoTime": 7.38}, {"EchoTime": 10.1}],
            [{"TemporalPositionIdentifier": n} for n in (1, 2, 10)],
            [{"DiffusionBValue": 0.0}, {"DiffusionBValue": 50.0}, {"DiffusionBValue": 1000.0}],
            [{"NominalPercentageOfCardiacPhase": 0.0}, {"NominalPercentageOfCardiacPhase": 75.0}],
            [{"FlipAngle": 5}, {"FlipAngle": 20}],
        ],
        ids=lambda tags: next(iter(tags[0])),
    )
    def test_are_frames_in_the_order_of_what_differs(self, tmp_path: Path, tags: list[dict[str, Any]]) -> None:
        values = stacks(tmp_path, tags)
        sequence = read_sequence(tmp_path)
        assert sequence.of_one_kind
        np.testing.assert_array_equal([volume.voxels for volume in sequence.volumes], values)
        keyword, value = next(iter(tags[1].items()))
        assert sequence.names[1].startswith(f"{keyword} {value}")
        assert sequence.volumes[0].spacing == pytest.approx((0.7, 0.8, 2.5))

    def test_two_differences_make_all_their_combinations(self, tmp_path: Path) -> None:
        tags = [{"EchoTime": echo, "TemporalPositionIdentifier": time} for echo in (5, 9) for time in (1, 2, 3)]
        values = stacks(tmp_path, tags)
        np.testing.assert_array_equal(frames_of(tmp_path), values)
        assert read_sequence(tmp_path).names[3].endswith("TemporalPositionIdentifier 1")

    def test_clocks_that_run_from_slice_to_slice_are_told_apart_by_their_order(self, tmp_path: Path) -> None:
        def times(n: int, k: int) -> dict[str, Any]:
            return {"AcquisitionTime": f"1010{10 * n + k:02d}.000"}

        values = stacks(tmp_path, [{}, {}, {}], per_slice=times)
        np.testing.assert_array_equal(frames_of(tmp_path), values)

    def test_numbers_are_the_last_resort(self, tmp_path: Path) -> None:
        values = stacks(tmp_path, [{}, {}], per_slice=lambda n, k: {"InstanceNumber": 1 + n * SLICES + k})
        np.testing.assert_array_equal(frames_of(tmp_path), values)

    def test_numbers_in_disorder_tell_nothing(self, tmp_path: Path) -> None:
        order = np.random.default_rng(3).permutation(2 * SLICES)
        stacks(tmp_path, [{}, {}], per_slice=lambda n, k: {"InstanceNumber": int(order[n * SLICES + k])})
        assert "same place and no attribute tells them apart" in refused(tmp_path)

    def test_one_is_chosen_by_its_number(self, tmp_path: Path) -> None:
        values = stacks(tmp_path, [{"EchoTime": 5}, {"EchoTime": 9}])
        np.testing.assert_array_equal(read_volume(tmp_path, frame=2).voxels, values[1])
        sentence = refused(tmp_path)
        assert "2 frames" in sentence
        assert "--frame" in sentence
        with pytest.raises(UsageError, match="no frame 3"):
            read_volume(tmp_path, frame=3)
        _, slices = find_slices(tmp_path, frame=2)
        assert [float(frame.tags.EchoTime) for frame in slices] == [9] * SLICES

    def test_magnitude_and_phase_are_no_frames_of_one_image(self, tmp_path: Path) -> None:
        kinds = [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]
        values = stacks(tmp_path, [{"ImageType": kind} for kind in kinds])
        sequence = read_sequence(tmp_path)
        assert not sequence.of_one_kind
        sentence = refused(tmp_path)
        assert "several kinds" in sentence
        assert "PRIMARY\\P" in sentence
        np.testing.assert_array_equal(read_volume(tmp_path, frame=2).voxels, values[1])

    def test_a_set_that_is_not_complete_is_refused(self, tmp_path: Path) -> None:
        stacks(tmp_path, [{"EchoTime": 5}, {"EchoTime": 9}])
        next(path for path in tmp_path.iterdir() if pydicom.dcmread(path).EchoTime == 9).unlink()
        assert "some places in" in refused(tmp_path)

    def test_steps_in_time_are_known_where_the_file_says_them(self, tmp_path: Path) -> None:
        tags = [{"TemporalPositionIdentifier": n, "TemporalResolution": 4500} for n in (1, 2)]
        stacks(tmp_path, tags)
        assert read_sequence(tmp_path).step == pytest.approx(4.5)


def item(**values: Any) -> Dataset:
    one = Dataset()
    for name, value in values.items():
        setattr(one, name, value)
    return one


def write_enhanced(path: Path, states: list[dict[str, Any]], *, slopes: Any = None, shared: bool = True) -> np.ndarray:
    """An enhanced MR file with a frame for every state and place, places first; returns [state, k, j, i] as stored.

    Args:
        path: the file.
        states: functional group sequences and their values, by keyword.
        slopes: of each frame [state][k]; None for 1.
        shared: whether orientation and spacing stand in the shared functional groups.
    """
    values = np.random.default_rng(2).integers(0, 2000, (len(states), SLICES, ROWS, COLUMNS)).astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    one = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    one.StudyInstanceUID, one.SeriesInstanceUID, one.Modality = "1.2.3", "1.2.3.4", "MR"
    one.Rows, one.Columns, one.NumberOfFrames = ROWS, COLUMNS, len(states) * SLICES
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    common = {
        "PlaneOrientationSequence": item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        "PixelMeasuresSequence": item(PixelSpacing=[0.8, 0.7], SliceThickness=2),
    }
    frames, pixels = [], []
    for k in range(SLICES):
        for n, state in enumerate(states):
            slope = 1 if slopes is None else slopes[n][k]
            groups = {
                "PlanePositionSequence": item(ImagePositionPatient=[1, 2, 2.5 * k]),
                "PixelValueTransformationSequence": item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US"),
                **({} if shared else common),
                **{name: item(**content) for name, content in state.items()},
            }
            frames.append(item(**{name: [group] for name, group in groups.items()}))
            pixels.append(values[n, k])
    one.SharedFunctionalGroupsSequence = [item(**({name: [group] for name, group in common.items()} if shared else {}))]
    one.PerFrameFunctionalGroupsSequence = frames
    one.PixelData = np.stack(pixels).tobytes()
    one.save_as(path, enforce_file_format=True)
    return values


class TestEnhanced:
    @pytest.mark.parametrize("shared", [True, False])
    def test_frames_are_slices_by_their_functional_groups(self, tmp_path: Path, shared: bool) -> None:
        values = write_enhanced(tmp_path / "a.dcm", [{}], shared=shared)
        volume = read_volume(tmp_path / "a.dcm")
        np.testing.assert_array_equal(volume.voxels, values[0])
        expected = [[-0.7, 0, 0, -1], [0, -0.8, 0, -2], [0, 0, 2.5, 0], [0, 0, 0, 1]]
        np.testing.assert_allclose(volume.affine, expected, atol=1e-12)
        assert (volume.modality, volume.slice_thickness) == ("MR", 2)

    def test_each_frame_has_its_own_slope(self, tmp_path: Path) -> None:
        slopes = [[1, 2.5, 3, 0.5, 4]]
        values = write_enhanced(tmp_path / "a.dcm", [{}], slopes=slopes)
        expected = values[0] * np.array(slopes[0])[:, None, None]
        np.testing.assert_allclose(read_volume(tmp_path / "a.dcm").voxels, expected, rtol=1e-6)

    def test_phases_and_echoes_are_frames_of_a_4d_image(self, tmp_path: Path) -> None:
        states = [
            {"MREchoSequence": {"EffectiveEchoTime": echo}, "FrameContentSequence": {"TemporalPositionIndex": time}}
            for echo in (2.3, 4.6)
            for time in (1, 2)
        ]
        values = write_enhanced(tmp_path / "a.dcm", states)
        sequence = read_sequence(tmp_path / "a.dcm")
        np.testing.assert_array_equal([volume.voxels for volume in sequence.volumes], values)
        assert sequence.names[1] == "EchoTime 2.3, TemporalPositionIdentifier 2"

    def test_mixed_frame_types_have_to_be_chosen_from(self, tmp_path: Path) -> None:
        kinds = [["ORIGINAL", "PRIMARY", "T1", word] for word in ("FIELD_MAP", "M")]
        values = write_enhanced(
            tmp_path / "a.dcm", [{"MRImageFrameTypeSequence": {"FrameType": kind}} for kind in kinds]
        )
        assert "FIELD_MAP" in refused(tmp_path / "a.dcm")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.dcm", frame=2).voxels, values[1])

    def test_a_file_that_describes_other_frames_than_it_holds(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "a.dcm", [{}])
        change(tmp_path / "a.dcm", NumberOfFrames=3)
        assert "holds 3 frames and describes 5" in refused(tmp_path / "a.dcm")

    def test_pixels_of_fewer_frames_than_promised(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "a.dcm", [{}])
        path = tmp_path / "a.dcm"
        path.write_bytes(path.read_bytes()[: -2 * ROWS * COLUMNS])
        assert "again" in refused(path)


class TestPictures:
    """Radiographs and ultrasound, which lie nowhere."""

    def picture(self, path: Path, **tags: Any) -> np.ndarray:
        nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "SliceThickness": None}
        pixels = np.random.default_rng(len(path.name)).integers(0, 4000, (ROWS, COLUMNS)).astype(np.uint16)
        write_slice(path, pixels, (0, 0, 0), **{**nowhere, "Modality": "DX", "RescaleIntercept": 0, **tags})
        return pixels

    def test_two_views_of_one_series_have_to_be_chosen_from(self, tmp_path: Path) -> None:
        self.picture(tmp_path / "1", ViewPosition="PA")
        side = self.picture(tmp_path / "22", ViewPosition="LL", PixelSpacing=[0.2, 0.2])
        sentence = refused(tmp_path)
        assert "1: 1 PA, 2: 22 LL" in sentence
        np.testing.assert_array_equal(read_volume(tmp_path, frame=2).voxels[0], side)
        assert read_volume(tmp_path, frame=2).spacing[:2] == (0.2, 0.2)

    def test_a_film_of_ultrasound_is_frames_in_time(self, tmp_path: Path) -> None:
        frames = stored_voxels()
        self.picture(
            tmp_path / "a",
            Modality="US",
            NumberOfFrames=SLICES,
            PixelData=frames.tobytes(),
            FrameTime=40,
            PixelSpacing=None,
        )
        sequence = read_sequence(tmp_path)
        np.testing.assert_array_equal([volume.voxels[0] for volume in sequence.volumes], frames)
        assert sequence.of_one_kind
        assert sequence.step == pytest.approx(0.04)

    def test_an_ultrasound_region_says_the_pixel_size_in_centimetres(self, tmp_path: Path) -> None:
        region = item(
            PhysicalUnitsXDirection=3,
            PhysicalUnitsYDirection=3,
            PhysicalDeltaX=0.03,
            PhysicalDeltaY=-0.02,
            RegionFlags=0,
        )
        self.picture(tmp_path / "a", Modality="US", PixelSpacing=None, SequenceOfUltrasoundRegions=[region])
        assert read_volume(tmp_path).spacing[:2] == pytest.approx((0.3, 0.2))

    def test_a_pixel_size_that_is_made_up_is_said(self, tmp_path: Path) -> None:
        self.picture(tmp_path / "a", PixelSpacing=None)
        volume = read_volume(tmp_path)
        assert volume.spacing[:2] == (1, 1)
        assert any("does not state its pixel size: 1 mm" in note for note in volume.notes)

    @pytest.mark.parametrize(("modality", "word"), [("RTDOSE", "dose grid"), ("SEG", "segmentation")])
    def test_what_is_no_image_is_refused_as_what_it_is(self, tmp_path: Path, modality: str, word: str) -> None:
        write_series(tmp_path, Modality=modality)
        assert word in refused(tmp_path)
