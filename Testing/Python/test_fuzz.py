"""Damaged files are read as an independent reader reads them, or refused with one sentence, soon and in little memory.

A quick sample of what ``Testing/fuzz.py`` does by the thousand, and the damage that is made on purpose.
"""

from __future__ import annotations

import gzip
import os
import signal
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dicom_objects
import nibabel
import numpy as np
import pydicom
import pytest
from fuzzing import ALONE, KINDS, REFUSED, RIGHT, judge, make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from MedSRLib.errors import InputError, MedSRError
from MedSRLib.volumes.files import read_sequence, write_volume
from MedSRLib.volumes.sequence import VolumeSequence
from MedSRLib.volumes.volume import Volume

SAMPLE, GROUP = 60, 20
CLAIMED = 2048
"""Voxels along each axis that a header claims: 16 GiB of 16 bit numbers."""


def read_or_refuse(path: Path) -> VolumeSequence | None:
    """What reading gives, or None where it gives one sentence."""
    try:
        return read_sequence(path)
    except MedSRError as refusal:
        sentence = str(refusal)
    assert "\n" not in sentence
    assert ":" in sentence
    return None


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Ends what hangs."""

    def end(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(os.name != "posix", reason="the alarm is POSIX's")
@pytest.mark.filterwarnings("ignore")  # of the independent readers
@pytest.mark.parametrize("first", range(0, SAMPLE, GROUP))
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_or_read_as_they_are(
    tmp_path: Path, kind: str, first: int, capfd: pytest.CaptureFixture[str]
) -> None:
    verdicts = {}
    for seed in range(first, first + GROUP):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with within(60):
            verdicts[seed] = judge(kind, make_case(kind, seed, folder))
    bad = {seed: verdict for seed, verdict in verdicts.items() if verdict[0] not in (RIGHT, REFUSED, ALONE)}
    assert bad == {}
    assert {verdict for verdict, _ in verdicts.values()} >= {RIGHT, REFUSED}


def claim(folder: Path, suffix: str) -> Path:
    """A file of some kilobytes whose header claims gigabytes."""
    shape = (4, 5, 6)
    path = folder / f"claim{suffix}"
    if suffix == ".dcm":
        one = dicom_objects.slice_of("MR", 0, dicom_objects.grey_levels()[0])
        one.Rows = one.Columns = 65535
        one.NumberOfFrames = 9999
        dicom_objects.save(one, path)
        return path
    write_volume(Volume(np.arange(120, dtype=np.int16).reshape(shape), np.eye(4)), path)
    content = path.read_bytes()
    if suffix == ".nii.gz":
        content = bytearray(gzip.decompress(content))
        struct.pack_into("<3h", content, 42, CLAIMED, CLAIMED, CLAIMED)
        content = gzip.compress(bytes(content))
    elif suffix == ".nii":
        content = content[:42] + struct.pack("<3h", CLAIMED, CLAIMED, CLAIMED) + content[48:]
    else:
        content = content.replace(b" 6 5 4\n", b" %d %d %d\n" % (CLAIMED, CLAIMED, CLAIMED))
        assert b"%d" % CLAIMED in content
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".dcm"])
def test_a_header_that_claims_gigabytes_is_refused_before_memory_is_taken(tmp_path: Path, suffix: str) -> None:
    path = claim(tmp_path, suffix)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="claim"):
            read_sequence(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**26


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_bomb_is_not_blown_up(tmp_path: Path, suffix: str) -> None:
    """256 MiB of zeros in some hundred kilobytes, where the header speaks of 240 bytes."""
    bomb = bytes(2**28)
    path = tmp_path / f"bomb{suffix}"
    write_volume(Volume(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4)), path)
    content = path.read_bytes()
    if suffix == ".nii.gz":
        path.write_bytes(gzip.compress(gzip.decompress(content) + bomb, 1))
    elif suffix == ".nrrd":
        path.write_bytes(content.split(b"\n\n", 1)[0] + b"\n\n" + gzip.compress(bomb, 1))
    else:
        head = content.split(b"ElementDataFile = LOCAL\n")[0]
        packed = zlib.compress(bomb, 1)
        lines = [line for line in head.split(b"\n") if not line.startswith(b"CompressedDataSize")]
        lines.insert(-1, b"CompressedDataSize = %d" % len(packed))
        path.write_bytes(b"\n".join(lines) + b"ElementDataFile = LOCAL\n" + packed)
    tracemalloc.start()
    try:
        with within(60):
            read_or_refuse(path)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2**26


class TestHeadersOfAnyNumbers:
    @settings(max_examples=150, deadline=None)
    @given(
        arrays(np.int16, 8, elements=st.integers(-2, 9)),
        arrays(np.float32, 8, elements=st.floats(width=32)),
        arrays(np.float32, 12, elements=st.floats(width=32)),
        st.tuples(st.integers(-1, 5), st.integers(-1, 5)),
        st.sampled_from([2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280, 32, 128, 1536, 0, -1, 77]),
        st.integers(0, 255),
    )
    def test_nifti(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        dim: np.ndarray,
        pixdim: np.ndarray,
        rows: np.ndarray,
        codes: tuple[int, int],
        datatype: int,
        units: int,
    ) -> None:
        header = bytearray(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)).to_bytes()[:352])
        struct.pack_into("<8h", header, 40, *dim)
        struct.pack_into("<h", header, 70, datatype)
        struct.pack_into("<8f", header, 76, *pixdim)
        struct.pack_into("<f", header, 108, 352)
        struct.pack_into("<B", header, 123, units)
        struct.pack_into("<2h", header, 252, *codes)
        struct.pack_into("<12f", header, 280, *rows)
        path = tmp_path_factory.mktemp("nifti") / "any.nii"
        path.write_bytes(bytes(header) + bytes(range(256)) * 64)
        self.refused_or_placed(path)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.one_of(st.floats(), st.integers(-5, 5)), min_size=0, max_size=8),
        st.sampled_from(["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"]),
    )
    def test_dicom(self, tmp_path_factory: pytest.TempPathFactory, numbers: list[float], keyword: str) -> None:
        folder = dicom_objects.write_series(tmp_path_factory.mktemp("dicom"), "MR")
        path = next(folder.iterdir())
        one = pydicom.dcmread(path)
        text = "\\".join(repr(float(number))[:16] for number in numbers)
        one.add(pydicom.DataElement(keyword, "LO", text, validation_mode=pydicom.config.IGNORE))
        one[keyword].VR = "LO"
        one.save_as(path)
        self.refused_or_placed(folder)

    def refused_or_placed(self, path: Path) -> None:
        """One sentence, or volumes whose axes are finite and not flat."""
        sequence = read_or_refuse(path)
        for volume in sequence.volumes if sequence is not None else ():
            assert np.isfinite(volume.affine).all()
            assert abs(np.linalg.det(volume.affine[:3, :3])) > 0


class TestOddNames:
    @pytest.mark.parametrize("name", ["../outside.raw", "/etc/hostname", "sub/../../outside.raw"])
    def test_a_header_that_names_voxels_elsewhere_gives_a_volume_or_a_sentence(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "outside.raw").write_bytes(bytes(240))
        path = tmp_path / "folder" / "a.mhd"
        path.write_text(f"NDims = 3\nDimSize = 6 5 4\nElementType = MET_SHORT\nElementDataFile = {name}\n")
        read_or_refuse(path)

    def test_links_that_go_round(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").symlink_to(tmp_path / "b.nii")
        (tmp_path / "b.nii").symlink_to(tmp_path / "a.nii")
        (tmp_path / "series").mkdir()
        (tmp_path / "series" / "1.dcm").symlink_to(tmp_path / "series" / "1.dcm")
        for path in (tmp_path / "a.nii", tmp_path / "series"):
            with pytest.raises(InputError):
                read_sequence(path)


class TestFoundByFuzzing:
    def test_a_nifti_offset_of_0_means_behind_the_header_and_its_extension_bytes(self, tmp_path: Path) -> None:
        voxels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
        write_volume(Volume(voxels, np.eye(4)), tmp_path / "a.nii")
        content = bytearray((tmp_path / "a.nii").read_bytes())
        struct.pack_into("<f", content, 108, 0)
        (tmp_path / "a.nii").write_bytes(content)
        np.testing.assert_array_equal(read_sequence(tmp_path / "a.nii").volumes[0].voxels, voxels)

    @pytest.mark.parametrize("number", ["\uff11", "1_0"])
    def test_numbers_that_only_python_reads_are_none(self, tmp_path: Path, number: str) -> None:
        volume = Volume(np.zeros((2, 3, 10), np.uint8), np.diag([1.0, 1.0, 3.0, 1.0]))
        for suffix, before in ((".mha", "DimSize = 10"), (".nrrd", "sizes: 10")):
            write_volume(volume, tmp_path / f"a{suffix}")
            content = (tmp_path / f"a{suffix}").read_bytes()
            assert before.encode() in content
            after = before.replace("10", number).encode()
            (tmp_path / f"b{suffix}").write_bytes(content.replace(before.encode(), after))
            assert read_or_refuse(tmp_path / f"b{suffix}") is None

    def test_the_origin_of_a_nrrd_without_directions_counts(self, tmp_path: Path) -> None:
        head = "NRRD0004\ntype: uchar\ndimension: 3\nspace: LPS\nsizes: 5 4 3\nencoding: raw\nspace origin: (7,8,9)\n\n"
        (tmp_path / "a.nrrd").write_bytes(head.encode() + bytes(range(60)))
        volume = read_sequence(tmp_path / "a.nrrd").volumes[0]
        np.testing.assert_array_equal(volume.affine[:3, 3], [-7, -8, 9])
        assert any("directions" in note for note in volume.notes)

    @pytest.mark.parametrize(("bits", "high"), [(1, 15), ([8, 9], 15)])
    def test_bits_that_leave_out_a_part_of_the_values_are_refused(
        self, tmp_path: Path, bits: object, high: int
    ) -> None:
        folder = dicom_objects.write_series(tmp_path, "MR")
        one = pydicom.dcmread(folder / "IM1")
        one.BitsStored, one.HighBit = bits, high
        one.save_as(folder / "IM1")
        with pytest.raises(InputError, match="IM1"):
            read_sequence(folder)

    def test_a_region_of_ultrasound_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        folder = dicom_objects.write_series(tmp_path, "US")
        (path,) = folder.iterdir()
        delta = struct.pack("<HH", 0x0018, 0x602C)
        assert path.read_bytes().count(delta + b"FD") == 1
        path.write_bytes(path.read_bytes().replace(delta + b"FD", delta + b"\x46\x7f"))
        with pytest.raises(InputError, match="PhysicalDeltaX that cannot be read"):
            read_sequence(folder)

    def test_an_attribute_that_claims_more_memory_than_there_is_is_a_damaged_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder, whole = dicom_objects.write_series(tmp_path, "MR"), pydicom.dcmread

        def dcmread(path: Path, *words: object, **options: object) -> object:
            if "stop_before_pixels" in options:
                return whole(path, *words, **options)
            raise MemoryError

        monkeypatch.setattr(pydicom, "dcmread", dcmread)
        with pytest.raises(InputError, match="longer than the file"):
            read_sequence(folder)

    @pytest.mark.parametrize(
        ("tags", "says"),
        [
            ({"RescaleIntercept": "1e60"}, "RescaleIntercept of 1e"),
            ({"RescaleSlope": "99999999999"}, "RescaleSlope of 1e"),
            ({"Columns": 2}, "pixels of 6 images"),
        ],
    )
    def test_numbers_that_no_picture_comes_of_are_refused(
        self, tmp_path: Path, tags: dict[str, object], says: str
    ) -> None:
        folder = dicom_objects.write_series(tmp_path, "US", **tags)
        with pytest.raises(InputError, match=says):
            read_sequence(folder)

    def test_a_uid_that_is_no_transfer_syntax_is_refused(self, tmp_path: Path) -> None:
        folder = dicom_objects.write_series(tmp_path, "US")
        (path,) = folder.iterdir()
        one = pydicom.dcmread(path)
        one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one.save_as(path)
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.0\0"))
        with pytest.raises(InputError, match="IM1"):
            read_sequence(folder)

    def test_a_pixel_size_that_is_not_finite_makes_no_qform(self, tmp_path: Path) -> None:
        write_volume(Volume(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), np.diag([1, 2, 3, 1])), tmp_path / "a.nii")
        content = bytearray((tmp_path / "a.nii").read_bytes())
        struct.pack_into("<f", content, 80, float("inf"))
        (tmp_path / "a.nii").write_bytes(content)
        volume = read_sequence(tmp_path / "a.nii").volumes[0]
        np.testing.assert_allclose(volume.spacing, [1, 2, 3], rtol=1e-6)
        assert any("passed over" in note for note in volume.notes)
        struct.pack_into("<2h", content, 252, 0, 0)
        (tmp_path / "a.nii").write_bytes(content)
        with pytest.raises(InputError, match="pixel size"):
            read_sequence(tmp_path / "a.nii")
