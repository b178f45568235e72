"""Files are read whole and in their place, or refused in one sentence."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MedSRLib.errors import InputError, MedSRError, OutputError, UsageError
from MedSRLib.volumes import files
from MedSRLib.volumes.files import guess_modality, read_volume, require_writable, write_volume
from MedSRLib.volumes.geometry import field_of_view_corners
from MedSRLib.volumes.volume import Volume

DATA = Path(__file__).parent / "data"
OBLIQUE_FILE = DATA / "mr_t1_oblique_64x64x24.nrrd"
UINT16_FILE = DATA / "mr_t1_uint16_48x48x24.mha"
SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]
EXACT_SUFFIXES = [".nrrd", ".mha", ".mhd"]
KINDS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]


def oblique_affine() -> np.ndarray:
    """Left-handed, oblique, anisotropic, nowhere near the origin."""
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    if np.linalg.det(rotation) > 0:
        rotation[:, 0] *= -1
    affine = np.eye(4)
    affine[:3, :3] = rotation * [0.7123456789, 0.8, 3.3]
    affine[:3, 3] = [-101.123456789, 57.7, 1203.25]
    return affine


def sheared_affine() -> np.ndarray:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 0.6
    return affine


def noise_volume(affine: np.ndarray | None = None, kind: type = np.int16) -> Volume:
    voxels = np.random.default_rng(0).integers(0, 100, (5, 6, 7)).astype(kind)
    return Volume(voxels, oblique_affine() if affine is None else affine)


def largest_gap(one: Volume, other: Volume) -> float:
    """Millimetres between the corners of two volumes."""
    corners = [field_of_view_corners(volume.affine, volume.shape) for volume in (one, other)]
    return float(np.abs(corners[0] - corners[1]).max())


def write_nifti(
    path: Path,
    *,
    shape: tuple[int, ...] = (5, 6, 7),
    datatype: tuple[int, int] = (16, 32),
    sform: np.ndarray | None = None,
    sform_code: int = 1,
    offset: tuple[float, float, float] | None = None,
) -> None:
    """A NIfTI file as other programs write it: ``shape`` is i, j, k; ``offset`` makes a qform without rotation."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<2h", header, 70, *datatype)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    struct.pack_into("<2h", header, 252, int(offset is not None), sform_code if sform is not None else 0)
    if offset is not None:
        struct.pack_into("<6f", header, 256, 0, 0, 0, *offset)
    if sform is not None:
        struct.pack_into("<12f", header, 280, *sform[:3].ravel())
    header[344:348] = b"n+1\0"
    voxels = np.random.default_rng(0).bytes(int(np.prod(shape)) * datatype[1] // 8)
    path.write_bytes(bytes(header) + voxels)


def refused(path: Path, kind: type[MedSRError] = InputError) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(kind) as caught:
        read_volume(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(path.name) in sentence or str(path.stem) in sentence
    return sentence


class TestRoundTrip:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("kind", KINDS)
    def test_voxels_and_their_type_come_back(self, tmp_path: Path, suffix: str, kind: type) -> None:
        limits = np.iinfo(kind) if np.issubdtype(kind, np.integer) else np.finfo(kind)
        voxels = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(kind)
        voxels[0, 0, :2] = limits.min, limits.max
        write_volume(Volume(voxels, np.eye(4)), tmp_path / f"a{suffix}")
        back = read_volume(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(back.voxels, voxels)
        assert back.voxels.dtype == kind

    @pytest.mark.parametrize("suffix", EXACT_SUFFIXES)
    @pytest.mark.parametrize("affine", [oblique_affine(), sheared_affine()], ids=["oblique", "sheared"])
    def test_nrrd_and_metaimage_keep_any_place_to_a_billionth(
        self, tmp_path: Path, suffix: str, affine: np.ndarray
    ) -> None:
        volume = noise_volume(affine)
        write_volume(volume, tmp_path / f"a{suffix}")
        assert largest_gap(read_volume(tmp_path / f"a{suffix}"), volume) < 1e-9

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_nifti_keeps_an_oblique_place_to_float32_rounding(self, tmp_path: Path, suffix: str) -> None:
        volume = noise_volume()
        write_volume(volume, tmp_path / f"a{suffix}")
        assert largest_gap(read_volume(tmp_path / f"a{suffix}"), volume) < 2e-4

    def test_nifti_read_and_written_again_does_not_drift(self, tmp_path: Path) -> None:
        write_volume(noise_volume(), tmp_path / "first.nii")
        first = read_volume(tmp_path / "first.nii")
        write_volume(first, tmp_path / "second.nii")
        assert largest_gap(read_volume(tmp_path / "second.nii"), first) < 2e-4

    def test_a_real_oblique_volume_lies_where_itk_says(self) -> None:
        volume = read_volume(OBLIQUE_FILE)
        image = sitk.ReadImage(str(OBLIQUE_FILE))
        for index in [(0, 0, 0), (63, 0, 0), (0, 63, 0), (0, 0, 23), (10, 20, 5)]:
            left, posterior, superior = image.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], [-left, -posterior, superior], atol=1e-9)
            assert volume.voxels[index[::-1]] == image[index]

    def test_a_real_uint16_volume_keeps_its_range(self, tmp_path: Path) -> None:
        volume = read_volume(UINT16_FILE)
        assert volume.voxels.dtype == np.uint16
        assert volume.voxels.max() > 32767
        write_volume(volume, tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").voxels, volume.voxels)

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
    def test_one_slice_is_a_volume_of_one_slice(self, tmp_path: Path, suffix: str) -> None:
        picture = np.random.default_rng(0).integers(0, 100, (6, 7)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(picture), str(tmp_path / f"a{suffix}"))
        volume = read_volume(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(volume.voxels, picture[None])

    def test_a_detached_nrrd_header_is_read(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.ReadImage(str(OBLIQUE_FILE)), str(tmp_path / "a.nhdr"))
        np.testing.assert_array_equal(read_volume(tmp_path / "a.nhdr").voxels, read_volume(OBLIQUE_FILE).voxels)


class TestExactTypes:
    @pytest.mark.parametrize(
        ("voxels", "kind"),
        [
            (np.array([True, False]), np.uint8),
            (np.array([0.5, -3], np.float16), np.float32),
            (np.array([-(2**31), 2**31 - 1], np.int64), np.int32),
            (np.array([0, 2**32 - 1], np.uint64), np.uint32),
            (np.array([-5, 7], ">i2"), np.int16),
        ],
        ids=["bool", "half", "int64", "uint64", "big-endian"],
    )
    def test_types_that_files_do_not_know_are_stored_exactly(
        self, tmp_path: Path, voxels: np.ndarray, kind: type
    ) -> None:
        write_volume(Volume(voxels.reshape(1, 1, -1), np.eye(4)), tmp_path / "a.nrrd")
        back = read_volume(tmp_path / "a.nrrd").voxels
        np.testing.assert_array_equal(back.ravel(), voxels)
        assert back.dtype == kind

    @pytest.mark.parametrize("voxels", [np.array([0, 2**33]), np.array([-1, 2**31]), np.array([1j])])
    def test_types_that_would_lose_something_are_refused(self, tmp_path: Path, voxels: np.ndarray) -> None:
        with pytest.raises(InputError, match=r"beyond 32 bits|not grey levels"):
            write_volume(Volume(voxels.reshape(1, 1, -1), np.eye(4)), tmp_path / "a.nrrd")
        assert list(tmp_path.iterdir()) == []

    def test_a_64_bit_file_that_fits_32_bits_is_read(self, tmp_path: Path) -> None:
        wide = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
        sitk.WriteImage(sitk.GetImageFromArray(wide), str(tmp_path / "a.nii.gz"))
        assert read_volume(tmp_path / "a.nii.gz").voxels.dtype == np.int32


class TestNiftiGeometry:
    def test_a_sheared_sform_is_kept(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii", sform=sheared_affine())
        np.testing.assert_allclose(read_volume(tmp_path / "a.nii").affine, sheared_affine(), atol=1e-6)

    def test_a_sheared_sform_wins_over_a_straight_qform(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii", sform=sheared_affine(), offset=(10, 20, 30))
        np.testing.assert_allclose(read_volume(tmp_path / "a.nii").affine, sheared_affine(), atol=1e-6)

    def test_an_sform_whose_scale_contradicts_pixdim_is_kept(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii", sform=np.diag([2.0, 3.0, 4.0, 1.0]))
        assert read_volume(tmp_path / "a.nii").spacing == (2, 3, 4)

    @pytest.mark.parametrize(("code", "expected"), [(1, 5.0), (2, 5.0), (0, 10.0)])
    def test_the_form_in_force_is_the_sform_where_its_code_is_the_higher_or_equal(
        self, tmp_path: Path, code: int, expected: float
    ) -> None:
        sform = np.eye(4)
        sform[:3, 3] = 5
        write_nifti(tmp_path / "a.nii", sform=sform, sform_code=code, offset=(10, 10, 10))
        volume = read_volume(tmp_path / "a.nii")
        assert volume.affine[0, 3] == expected
        assert bool(code) == any("disagree by up to 8.66 mm: the sform is taken" in note for note in volume.notes)

    def test_one_oblique_slice_keeps_its_place(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii", shape=(5, 6), sform=oblique_affine())
        np.testing.assert_allclose(read_volume(tmp_path / "a.nii").affine, oblique_affine(), rtol=1e-6)

    def test_rotations_by_quaternion_alone_agree_with_itk(self, tmp_path: Path) -> None:
        write_volume(noise_volume(), tmp_path / "a.nii")
        raw = bytearray((tmp_path / "a.nii").read_bytes())
        struct.pack_into("<h", raw, 254, 0)
        (tmp_path / "a.nii").write_bytes(raw)
        assert largest_gap(read_volume(tmp_path / "a.nii"), noise_volume()) < 1e-3

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_writing_a_sheared_volume_as_nifti_is_refused(self, tmp_path: Path, suffix: str) -> None:
        with pytest.raises(OutputError, match=r"sheared.*\.nrrd"):
            write_volume(noise_volume(sheared_affine()), tmp_path / f"a{suffix}")
        assert list(tmp_path.iterdir()) == []

    def test_the_shear_of_the_input_is_reported_before_the_work(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="sheared"):
            require_writable(tmp_path / "a.nii", volume=noise_volume(sheared_affine()))


class TestRefusals:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        assert "does not exist" in refused(tmp_path / "none.nii.gz")

    def test_an_unknown_suffix_names_the_known_ones(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpeg").touch()
        sentence = refused(tmp_path / "a.jpeg", UsageError)
        assert all(suffix in sentence for suffix in files.READABLE)
        with pytest.raises(UsageError, match=r"\.nii\.gz"):
            write_volume(noise_volume(), tmp_path / "a.png")

    def test_a_folder_without_dicom(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("nothing here")
        assert "no DICOM" in refused(tmp_path)

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_file_cut_short(self, tmp_path: Path, suffix: str, share: float) -> None:
        path = tmp_path / f"a{suffix}"
        write_volume(read_volume(OBLIQUE_FILE), path)
        cut = path if suffix != ".mhd" else path.with_suffix(".zraw")
        whole = cut.read_bytes()
        cut.write_bytes(whole[: int(share * len(whole))])
        assert "again" in refused(path)

    @pytest.mark.parametrize("missing", [1, 4, 8, 9])
    def test_a_gzip_file_that_lacks_its_last_bytes(self, tmp_path: Path, missing: int) -> None:
        write_volume(noise_volume(), tmp_path / "a.nii.gz")
        whole = (tmp_path / "a.nii.gz").read_bytes()
        (tmp_path / "a.nii.gz").write_bytes(whole[:-missing])
        assert "again" in refused(tmp_path / "a.nii.gz")

    def test_a_gzip_file_whose_content_is_cut_short(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii")
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()[:-1]))
        assert "cut short" in refused(tmp_path / "a.nii.gz")

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
    def test_a_file_with_a_damaged_byte_amid_compressed_voxels(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        write_volume(read_volume(OBLIQUE_FILE), path)
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 0x55
        path.write_bytes(damaged)
        assert "again" in refused(path)

    def test_an_uncompressed_metaimage_cut_short(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6), np.int16)), str(tmp_path / "a.mhd"), False)
        data = tmp_path / "a.raw"
        data.write_bytes(data.read_bytes()[:-2])
        assert "238 of 240 bytes" in refused(tmp_path / "a.mhd")
        data.unlink()
        assert "missing" in refused(tmp_path / "a.mhd")

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
    def test_a_file_of_something_else(self, tmp_path: Path, suffix: str) -> None:
        (tmp_path / f"a{suffix}").write_text("this is no image\n" * 50)
        assert "again" in refused(tmp_path / f"a{suffix}")

    def test_an_empty_nifti(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii", shape=(5, 0, 7))
        assert "no voxels" in refused(tmp_path / "a.nii")

    def test_an_empty_metaimage(self, tmp_path: Path) -> None:
        header = "ObjectType = Image\nNDims = 3\nDimSize = 0 4 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        (tmp_path / "a.mha").write_text(header)
        assert "no voxels" in refused(tmp_path / "a.mha")

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
    @pytest.mark.parametrize("shape", [(3, 4, 5, 3), (4, 5, 3)], ids=["volume", "picture"])
    def test_a_colour_image(self, tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
        colour = sitk.GetImageFromArray(np.zeros(shape, np.uint8), isVector=True)
        sitk.WriteImage(colour, str(tmp_path / f"a{suffix}"))
        assert "3 values per voxel" in refused(tmp_path / f"a{suffix}")

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
    def test_a_time_series_where_one_volume_is_wanted(self, tmp_path: Path, suffix: str) -> None:
        image = sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.int16), isVector=False)
        sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
        sentence = refused(tmp_path / f"a{suffix}")
        assert "2 frames" in sentence
        assert "--frame" in sentence

    def test_complex_numbers(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.complex64)), str(tmp_path / "a.nrrd"))
        refused(tmp_path / "a.nrrd")

    def test_a_series_of_a_file(self) -> None:
        with pytest.raises(UsageError, match="not a folder"):
            read_volume(OBLIQUE_FILE, series="1.2.3")


class TestModality:
    @pytest.mark.parametrize("padding", [-1024, -2000, -3024])
    @pytest.mark.parametrize("kind", [np.int16, np.float32])
    def test_hounsfield_units_look_like_ct(self, padding: int, kind: type) -> None:
        rng = np.random.default_rng(0)
        voxels = np.concatenate([rng.normal(-900, 60, 4000), rng.normal(40, 30, 4000)]).clip(-1024, 3071)
        voxels = np.concatenate([voxels, np.full(3000, padding)]).round().astype(kind).reshape(10, 10, 110)
        assert guess_modality(voxels) == "CT"

    def test_magnitudes_phases_differences_and_fractions_do_not(self) -> None:
        rng = np.random.default_rng(0)
        shape = (10, 20, 20)
        assert guess_modality(rng.integers(0, 4096, shape)) == "other"
        assert guess_modality(rng.integers(-4096, 4096, shape)) == "other"
        assert guess_modality(rng.normal(0, 150, shape).round().astype(np.int16)) == "other"
        assert guess_modality(rng.normal(-900, 100, shape)) == "other"
        assert guess_modality(np.zeros((0, 4, 4), np.int16)) == "other"

    def test_the_real_mr_is_no_ct(self) -> None:
        assert read_volume(OBLIQUE_FILE).modality == "other"
        assert read_volume(UINT16_FILE).modality == "other"

    def test_a_guess_is_a_note_and_what_is_said_is_none(self, tmp_path: Path) -> None:
        assert "taken for MR or the like" in read_volume(OBLIQUE_FILE).notes[0]
        assert read_volume(OBLIQUE_FILE, modality="MR").notes == ()
        voxels = np.random.default_rng(0).integers(-1000, 400, (3, 20, 20)).astype(np.int16)
        write_volume(Volume(voxels, np.eye(4)), tmp_path / "ct.nii.gz")
        assert "taken for CT" in read_volume(tmp_path / "ct.nii.gz").notes[0]

    def test_the_caller_knows_best(self) -> None:
        assert read_volume(OBLIQUE_FILE, modality="MR").modality == "MR"

    def test_a_metaimage_may_say_so_itself(self, tmp_path: Path) -> None:
        write_volume(read_volume(OBLIQUE_FILE), tmp_path / "a.mha")
        raw = (tmp_path / "a.mha").read_bytes()
        (tmp_path / "a.mha").write_bytes(raw.replace(b"NDims = 3\n", b"NDims = 3\nModality = MET_MOD_MR\n"))
        assert read_volume(tmp_path / "a.mha").modality == "MR"
