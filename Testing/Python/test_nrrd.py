"""NRRD and MetaImage as they are found: every space, encoding and way to name data files, checked against ITK."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from image_fixtures import noise, oblique, write_meta, write_nrrd

from MedSRLib.errors import InputError
from MedSRLib.volumes.files import read_sequence, read_volume, write_volume
from MedSRLib.volumes.geometry import LPS_TO_RAS

AXES = "space directions: (0.8,0,0) (0,0.9,0) (0,0,3)"


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def place(affine: np.ndarray) -> list[str]:
    """``space directions`` and ``space origin`` lines."""
    vectors = ["(" + ",".join(repr(float(one)) for one in column) + ")" for column in affine[:3].T]
    return [f"space directions: {' '.join(vectors[:3])}", f"space origin: {vectors[3]}"]


def itk_affine(path: Path) -> np.ndarray:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


class TestNrrdPlace:
    @pytest.mark.parametrize(
        "space",
        [
            "space: right-anterior-superior",
            "space: RAS",
            "space: left-anterior-superior",
            "space: LPS",
            "space: scanner-xyz",
            "space dimension: 3",
        ],
    )
    @settings(max_examples=5, deadline=None)
    @given(numbers=st.lists(st.floats(-2, 2), min_size=9, max_size=9))
    def test_every_space_lies_where_itk_says(
        self, tmp_path_factory: pytest.TempPathFactory, space: str, numbers: list[float]
    ) -> None:
        rotation, _ = np.linalg.qr(np.reshape(numbers, (3, 3)) + 5 * np.eye(3))
        affine = np.eye(4)
        affine[:3, :3] = rotation * [0.8, 0.9, 3]
        affine[:3, 3] = (11, -22, 33)
        path = write_nrrd(tmp_path_factory.mktemp("a") / "a.nrrd", noise(3, 4, 5), space, *place(affine))
        np.testing.assert_allclose(read_volume(path).affine, itk_affine(path), atol=1e-9)

    @pytest.mark.parametrize(
        "lines",
        [
            ["spacings: 0.8 0.9 3"],
            ["spacings: 0.8 0.9 3", "axis mins: 10 20 30", "centerings: cell cell cell"],
            ["spacings: 0.8 0.9 3", "axis mins: 10 20 30", "centerings: node node node"],
            [],
        ],
    )
    def test_a_file_without_space_lies_where_itk_says(self, tmp_path: Path, lines: list[str]) -> None:
        path = write_nrrd(tmp_path / "a.nrrd", noise(3, 4, 5), *lines)
        np.testing.assert_allclose(read_volume(path).affine, itk_affine(path), atol=1e-9)
        assert any("1 mm" in note for note in read_volume(path).notes) == (not lines)

    @pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("microns", 1e-3), ("m", 1e3), ("cm", 10), ("mm", 1)])
    def test_units_become_millimetres(self, tmp_path: Path, unit: str, factor: float) -> None:
        spaced = write_nrrd(
            tmp_path / "a.nrrd",
            noise(3, 4, 5),
            "space: RAS",
            *place(oblique()),
            f'space units: "{unit}" "{unit}" "{unit}"',
        )
        np.testing.assert_allclose(read_volume(spaced).affine[:3], oblique()[:3] * factor, rtol=1e-12)
        plain = write_nrrd(
            tmp_path / "b.nrrd", noise(3, 4, 5), "spacings: 0.8 0.9 3", f'units: "{unit}" "{unit}" "{unit}"'
        )
        np.testing.assert_allclose(read_volume(plain).spacing, np.array([0.8, 0.9, 3]) * factor)
        assert any("millimetres are made" in note for note in read_volume(plain).notes) == (factor != 1)

    def test_a_unit_that_is_not_known_is_said(self, tmp_path: Path) -> None:
        path = write_nrrd(tmp_path / "a.nrrd", noise(3, 4, 5), "spacings: 1 1 1", 'units: "ell" "ell" "ell"')
        assert any("'ell' is not known" in note for note in read_volume(path).notes)

    @pytest.mark.parametrize(
        "axes", ["(nan,0,0) (0,1,0) (0,0,1)", "(1,0,0) (1,0,0) (0,0,1)", "(0,0,0) (0,1,0) (0,0,1)"]
    )
    def test_axes_that_place_nothing_are_refused(self, tmp_path: Path, axes: str) -> None:
        path = write_nrrd(tmp_path / "a.nrrd", noise(3, 4, 5), "space: RAS", f"space directions: {axes}")
        assert "a.nrrd gives no affine" in refused(path)


class TestNrrdVoxels:
    @pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii", "hex"])
    def test_every_encoding(self, tmp_path: Path, encoding: str) -> None:
        path = write_nrrd(tmp_path / "a.nrrd", noise(3, 4, 5), "space: RAS", AXES, encoding=encoding)
        np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))

    def test_bzip2(self, tmp_path: Path) -> None:
        (tmp_path / "a.raw").write_bytes(bz2.compress(noise(3, 4, 5).tobytes()))
        path = write_nrrd(tmp_path / "a.nhdr", noise(3, 4, 5), encoding="bzip2", data_file="a.raw")
        np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))

    @pytest.mark.parametrize(("lines", "before"), [(["byte skip: 7"], b"1234567"), (["byte skip: -1"], b"12345")])
    def test_what_stands_before_the_voxels_is_skipped(self, tmp_path: Path, lines: list[str], before: bytes) -> None:
        path = write_nrrd(tmp_path / "a.nrrd", noise(3, 4, 5), *lines, before=before)
        np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))

    def test_lines_before_the_voxels_are_skipped(self, tmp_path: Path) -> None:
        path = write_nrrd(tmp_path / "a.nrrd", noise(3, 4, 5), "line skip: 2", before=b"one\ntwo\n")
        np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))

    @pytest.mark.parametrize(
        "data_file", ["LIST\ns0.raw\ns1.raw\ns2.raw", "s%d.raw 0 2 1", "LIST 2\ns0.raw\ns1.raw\ns2.raw"]
    )
    def test_slices_in_files_of_their_own(self, tmp_path: Path, data_file: str) -> None:
        for k, one in enumerate(noise(3, 4, 5)):
            (tmp_path / f"s{k}.raw").write_bytes(one.tobytes())
        path = write_nrrd(tmp_path / "a.nhdr", noise(3, 4, 5), data_file=data_file)
        np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))
        (tmp_path / "s1.raw").write_bytes(bytes(30))
        assert "s1.raw is cut short, 30 of 40 bytes" in refused(path)
        (tmp_path / "s1.raw").unlink()
        assert "s1.raw, which is missing" in refused(path)

    @pytest.mark.parametrize("bit", range(0, 8))
    def test_a_flipped_bit_is_found_by_its_checksum(self, tmp_path: Path, bit: int) -> None:
        voxels = noise(6, 24, 28)
        path = write_nrrd(tmp_path / "a.nrrd", voxels, "space: RAS", AXES, encoding="gzip")
        whole = path.read_bytes()
        for place_ in range(len(whole) - 1200, len(whole) - 9, 97):
            spoiled = bytearray(whole)
            spoiled[place_] ^= 1 << bit
            path.write_bytes(spoiled)
            assert "again" in refused(path)

    @pytest.mark.parametrize("kind", ["vector", "RGB-color", "covariant-vector", "3-vector"])
    def test_colour_and_vectors_are_refused(self, tmp_path: Path, kind: str) -> None:
        path = write_nrrd(
            tmp_path / "a.nrrd",
            noise(2, 4, 5, 3),
            f"kinds: {kind} domain domain domain",
            f"space directions: none {AXES.partition(': ')[2]}",
            "space: RAS",
        )
        assert "3 values per voxel" in refused(path)

    @pytest.mark.parametrize("word", ["type: block", "encoding: zip", "endian: middle", "dimension: 7", "sizes: 5 4 x"])
    def test_a_header_that_makes_no_sense_is_refused(self, tmp_path: Path, word: str) -> None:
        path = write_nrrd(tmp_path / "a.nrrd", noise(3, 4, 5))
        name = word.partition(":")[0]
        lines = path.read_bytes().split(b"\n")
        changed = [word.encode() if line.startswith(name.encode() + b":") else line for line in lines]
        path.write_bytes(b"\n".join(changed))
        assert "a.nrrd is damaged" in refused(path)


class TestFrames:
    @pytest.mark.parametrize("kind", ["list", "time", "domain", "???"])
    def test_a_list_of_volumes_is_a_sequence_wherever_its_axis_is(self, tmp_path: Path, kind: str) -> None:
        frames = noise(2, 3, 4, 5)
        axes = AXES.partition(": ")[2]
        last = write_nrrd(
            tmp_path / "a.nrrd",
            frames,
            "space: RAS",
            f"space directions: {axes} none",
            f"kinds: domain domain domain {kind}",
        )
        first = write_nrrd(
            tmp_path / "b.nrrd",
            np.ascontiguousarray(np.moveaxis(frames, 0, -1)),
            "space: RAS",
            f"space directions: none {axes}",
            f"kinds: {kind} domain domain domain",
        )
        for path in (last, first):
            sequence = read_sequence(path)
            np.testing.assert_array_equal([volume.voxels for volume in sequence.volumes], frames)
            np.testing.assert_allclose(sequence.volumes[1].spacing, (0.8, 0.9, 3))

    @pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii", ".mha", ".mhd"])
    def test_a_sequence_comes_back(self, tmp_path: Path, suffix: str) -> None:
        path = write_nrrd(
            tmp_path / "in.nrrd", noise(2, 3, 4, 5), "space: RAS", f"{AXES} none", "kinds: domain domain domain list"
        )
        sequence = read_sequence(path)
        write_volume(sequence, tmp_path / f"a{suffix}")
        back = read_sequence(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal([volume.voxels for volume in back.volumes], noise(2, 3, 4, 5))
        for one, other in zip(sequence.volumes, back.volumes, strict=True):
            np.testing.assert_allclose(other.affine, one.affine, atol=1e-6)

    def test_a_sequence_is_written_as_slicer_reads_it(self, tmp_path: Path) -> None:
        """A list of volumes in a space of three dimensions, which ITK reads as one volume of two values a voxel."""
        path = write_nrrd(
            tmp_path / "in.nrrd", noise(2, 3, 4, 5), "space: RAS", f"{AXES} none", "kinds: domain domain domain list"
        )
        write_volume(read_sequence(path), tmp_path / "a.nrrd")
        image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
        assert image.GetMetaData("NRRD_kinds[pixel]") == "list"
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), np.moveaxis(noise(2, 3, 4, 5), 0, -1))


class TestMetaImage:
    def test_the_place_is_where_itk_says(self, tmp_path: Path) -> None:
        image = sitk.GetImageFromArray(noise(3, 4, 5))
        lps = LPS_TO_RAS @ oblique()
        image.SetSpacing((0.8, 0.9, 3.0))
        image.SetDirection((lps[:3, :3] / (0.8, 0.9, 3.0)).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        sitk.WriteImage(image, str(tmp_path / "a.mha"), useCompression=False)
        np.testing.assert_allclose(read_volume(tmp_path / "a.mha").affine, itk_affine(tmp_path / "a.mha"), atol=1e-12)

    @pytest.mark.parametrize("size", [None, 5, 10**6])
    @pytest.mark.parametrize("data_file", ["LOCAL", "a.zraw"])
    def test_compressed_voxels_are_read_whatever_their_size_is_said_to_be(
        self, tmp_path: Path, size: int | None, data_file: str
    ) -> None:
        lines = [] if size is None else [f"CompressedDataSize = {size}"]
        path = write_meta(
            tmp_path / "a.mha", noise(3, 4, 5), *lines, "ElementSpacing = 1 1 1", compressed=True, data_file=data_file
        )
        np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))

    @pytest.mark.parametrize(
        "data_file", ["LIST\ns0.raw\ns1.raw\ns2.raw", "LIST 2D\ns0.raw\ns1.raw\ns2.raw", "s%d.raw 0 2 1"]
    )
    def test_slices_in_files_of_their_own(self, tmp_path: Path, data_file: str) -> None:
        for k, one in enumerate(noise(3, 4, 5)):
            (tmp_path / f"s{k}.raw").write_bytes(one.tobytes())
        path = write_meta(tmp_path / "a.mhd", noise(3, 4, 5), data_file=data_file)
        np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))
        (tmp_path / "s2.raw").write_bytes(bytes(39))
        assert "s2.raw is cut short, 39 of 40 bytes" in refused(path)
        (tmp_path / "s2.raw").unlink()
        assert "s2.raw, which is missing" in refused(path)

    def test_a_list_shorter_than_the_volume(self, tmp_path: Path) -> None:
        for k, one in enumerate(noise(3, 4, 5)):
            (tmp_path / f"s{k}.raw").write_bytes(one.tobytes())
        path = write_meta(tmp_path / "a.mhd", noise(3, 4, 5), data_file="LIST\ns0.raw\ns1.raw")
        assert "do not divide" in refused(path) or "cut short" in refused(path)

    @pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("mm", 1), ("cm", 10)])
    def test_units_become_millimetres(self, tmp_path: Path, unit: str, factor: float) -> None:
        path = write_meta(
            tmp_path / "a.mha", noise(3, 4, 5), "ElementSpacing = 8 9 30", f"DistanceUnits = {unit}", "Offset = 1 2 3"
        )
        np.testing.assert_allclose(read_volume(path).spacing, np.array([8, 9, 30]) * factor)
        np.testing.assert_allclose(read_volume(path).affine[:3, 3], np.array([-1, -2, 3]) * factor)

    @pytest.mark.parametrize("line", ["Offset = 1 2", "ElementSpacing = 0 1 1", "ElementSpacing = 1 1 x", "NDims = 4"])
    def test_a_header_that_makes_no_sense_is_refused(self, tmp_path: Path, line: str) -> None:
        assert "a.mha" in refused(write_meta(tmp_path / "a.mha", noise(3, 4, 5), line))
