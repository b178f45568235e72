"""NIfTI as it is found: both versions, pairs, units, forms that disagree, and voxels as they are stored."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_fixtures import noise, oblique, write_nifti

from MedSRLib.errors import InputError
from MedSRLib.volumes.files import read_sequence, read_volume, write_volume
from MedSRLib.volumes.forms import affine_quaternion, quaternion_affine
from MedSRLib.volumes.volume import Volume


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestKinds:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("version", [1, 2])
    def test_both_versions_in_both_byte_orders(self, tmp_path: Path, version: int, order: str) -> None:
        path = write_nifti(tmp_path / "a.nii.gz", noise(3, 4, 5), sform=oblique(), version=version, order=order)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.voxels, noise(3, 4, 5))
        assert volume.voxels.dtype == np.int16
        assert volume.voxels.dtype.isnative
        np.testing.assert_allclose(volume.affine, oblique(), atol=1e-7)

    @pytest.mark.parametrize("image", ["a.img", "a.img.gz"])
    def test_a_pair_is_read_by_its_header(self, tmp_path: Path, image: str) -> None:
        whole = write_nifti(tmp_path / "whole.nii", noise(3, 4, 5), sform=oblique(), magic=b"ni1\0").read_bytes()
        (tmp_path / "a.hdr").write_bytes(whole[:108] + struct.pack("<f", 0) + whole[112:348])
        voxels = whole[352:]
        (tmp_path / image).write_bytes(gzip.compress(voxels) if image.endswith(".gz") else voxels)
        np.testing.assert_array_equal(read_volume(tmp_path / "a.hdr").voxels, noise(3, 4, 5))
        (tmp_path / image).unlink()
        assert "a.img, which is missing" in refused(tmp_path / "a.hdr")

    def test_a_gzip_file_named_nii_is_read(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii.gz", noise(3, 4, 5)).rename(tmp_path / "a.nii")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").voxels, noise(3, 4, 5))

    def test_the_file_that_is_named_is_read_not_its_neighbour(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "v.nii", noise(3, 4, 5))
        write_nifti(tmp_path / "v.nii.gz", noise(3, 4, 5) + 1000)
        assert read_volume(tmp_path / "v.nii.gz").voxels.min() > 1000
        assert read_volume(tmp_path / "v.nii").voxels.max() < 1000

    def test_analyze_is_refused_as_what_it_is(self, tmp_path: Path) -> None:
        assert "Analyze 7.5" in refused(write_nifti(tmp_path / "a.nii", noise(3, 4, 5), magic=b"\0\0\0\0"))

    def test_complex_numbers_are_refused_as_what_they_are(self, tmp_path: Path) -> None:
        assert "complex" in refused(write_nifti(tmp_path / "a.nii", np.ones((3, 4, 5), np.complex64)))

    def test_vectors_are_refused(self, tmp_path: Path) -> None:
        assert "3 values per voxel" in refused(write_nifti(tmp_path / "a.nii", noise(3, 1, 3, 4, 5)))

    @pytest.mark.parametrize("dims", [(5, 4, 3, 1), (5, 4, 3, 1, 1), (5, 4, 3, 1, 1, 1, 1)])
    def test_trailing_axes_of_one_voxel_are_nothing(self, tmp_path: Path, dims: tuple[int, ...]) -> None:
        assert read_volume(write_nifti(tmp_path / "a.nii", noise(3, 4, 5), dims=dims)).shape == (3, 4, 5)

    def test_a_name_that_is_no_utf8_is_read(self, tmp_path: Path) -> None:
        path = Path(str(tmp_path / "K\udcf6pf.nii.gz"))
        write_nifti(path, noise(3, 4, 5))
        np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))


class TestValues:
    def test_nan_stays_nan(self, tmp_path: Path) -> None:
        voxels = noise(3, 4, 5, dtype=np.float32)
        voxels[1, 2, 3] = np.nan
        assert np.isnan(read_volume(write_nifti(tmp_path / "a.nii", voxels)).voxels[1, 2, 3])

    @pytest.mark.parametrize("scale", [(0, 5), (np.nan, np.nan), (1, 0), (np.inf, 0)])
    def test_no_scaling_keeps_the_type(self, tmp_path: Path, scale: tuple[float, float]) -> None:
        volume = read_volume(write_nifti(tmp_path / "a.nii", noise(3, 4, 5), scale=scale))
        np.testing.assert_array_equal(volume.voxels, noise(3, 4, 5))
        assert volume.voxels.dtype == np.int16

    @pytest.mark.parametrize(("stored", "wide"), [(np.int16, np.float32), (np.int32, np.float64)])
    def test_scaling_is_applied_in_float64(self, tmp_path: Path, stored: type, wide: type) -> None:
        volume = read_volume(write_nifti(tmp_path / "a.nii", noise(3, 4, 5, dtype=stored), scale=(0.1, 5)))
        assert volume.voxels.dtype == wide
        expected = noise(3, 4, 5) * np.float64(np.float32(0.1)) + 5
        np.testing.assert_allclose(volume.voxels, expected, rtol=np.finfo(wide).eps)


class TestUnits:
    @pytest.mark.parametrize(("units", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (8 + 3, 0.001)])
    @pytest.mark.parametrize("form", ["sform", "qform", "neither"])
    def test_lengths_become_millimetres_whatever_places_the_volume(
        self, tmp_path: Path, units: int, factor: float, form: str
    ) -> None:
        spacing = (380.0, 400.0, 900.0)
        forms = {
            "sform": {"sform": np.diag([*spacing, 1.0])},
            "qform": {"quaternion": (0, 0, 0, 50, 60, 70)},
            "neither": {},
        }[form]
        volume = read_volume(write_nifti(tmp_path / "a.nii", noise(3, 4, 5), pixdim=spacing, units=units, **forms))
        np.testing.assert_allclose(volume.spacing, np.array(spacing) * factor)
        if form == "qform":
            np.testing.assert_allclose(volume.affine[:3, 3], np.array([50, 60, 70]) * factor)
        assert any("millimetres are made" in note for note in volume.notes) == (factor != 1)

    @pytest.mark.parametrize(("units", "factor"), [(8, 1), (16, 1e-3), (24, 1e-6), (0, 1)])
    def test_time_becomes_seconds(self, tmp_path: Path, units: int, factor: float) -> None:
        path = write_nifti(tmp_path / "a.nii", noise(2, 3, 4, 5), units=2 + units, step=2500)
        assert read_sequence(path).step == pytest.approx(2500 * factor)


class TestForms:
    def test_a_header_without_forms_lies_as_in_slicer_and_says_so(self, tmp_path: Path) -> None:
        volume = read_volume(write_nifti(tmp_path / "a.nii", noise(3, 4, 5), pixdim=(2, 3, 4)))
        np.testing.assert_array_equal(volume.affine, np.diag([-2, -3, 4, 1]))
        assert any("neither sform nor qform" in note for note in volume.notes)

    def test_a_picture_keeps_its_thickness(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", noise(1, 4, 5), dims=(5, 4), pixdim=(2, 3, 4))
        assert read_volume(path).spacing == (2, 3, 4)

    def test_a_pixel_size_that_is_made_up_is_said(self, tmp_path: Path) -> None:
        volume = read_volume(write_nifti(tmp_path / "a.nii", noise(3, 4, 5), pixdim=(0, 0, 0)))
        assert volume.spacing == (1, 1, 1)
        assert any("taken as 1 mm" in note for note in volume.notes)

    @pytest.mark.parametrize("useless", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
    def test_an_sform_that_places_nothing_leaves_the_qform(self, tmp_path: Path, useless: np.ndarray) -> None:
        path = write_nifti(tmp_path / "a.nii", noise(3, 4, 5), sform=useless, quaternion=(0, 0, 0, 5, 6, 7))
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.affine[:3, 3], [5, 6, 7])
        assert any("sform is no affine" in note for note in volume.notes)
        alone = write_nifti(tmp_path / "b.nii", noise(3, 4, 5), sform=useless)
        assert "no sform or qform of finite numbers" in refused(alone)

    def test_a_scale_that_pixdim_contradicts_is_said(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", noise(3, 4, 5), sform=np.eye(4), pixdim=(0.87, 0.87, 0.8))
        assert any("they disagree, the sform is taken" in note for note in read_volume(path).notes)

    @pytest.mark.parametrize(("sform_code", "qform_code"), [(1, 1), (4, 1), (1, 2), (0, 2), (3, 0)])
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_both_forms_and_their_codes_are_written_again(
        self, tmp_path: Path, sform_code: int, qform_code: int, suffix: str
    ) -> None:
        forms = {"sform_code": sform_code, "qform_code": qform_code}
        path = write_nifti(
            tmp_path / "a.nii", noise(3, 4, 5), sform=oblique(), quaternion=(0.1, 0.2, -0.3, 5, 6, 7), **forms
        )
        first = read_volume(path)
        write_volume(first, tmp_path / f"b{suffix}")
        second = read_volume(tmp_path / f"b{suffix}")
        assert first.forms is not None
        assert second.forms is not None
        for name in ("sform", "qform"):
            one, other = getattr(first.forms, name), getattr(second.forms, name)
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(other, one, atol=1e-5)
        assert (second.forms.sform_code, second.forms.qform_code) == (sform_code, qform_code)
        np.testing.assert_allclose(second.affine, first.affine, atol=1e-5)

    def test_both_forms_follow_the_voxels_to_a_new_grid(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", noise(3, 4, 5), sform=oblique(), quaternion=(0.1, 0, 0, 5, 6, 7))
        volume = read_volume(path)
        step = np.diag([0.5, 0.5, 1, 1])
        step[:2, 3] = -0.25
        finer = volume.with_voxels(noise(3, 8, 10), volume.affine @ step)
        assert volume.forms is not None
        assert finer.forms is not None
        np.testing.assert_allclose(finer.forms.qform, volume.forms.qform @ step, atol=1e-9)

    @given(st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.booleans())
    def test_a_quaternion_is_the_affine_it_came_from(self, numbers: list[float], left_handed: bool) -> None:
        matrix = np.reshape(numbers, (3, 3)) + 2 * np.eye(3)
        rotation, _ = np.linalg.qr(matrix)
        rotation *= np.sign(np.linalg.det(rotation))
        affine = np.eye(4)
        affine[:3, :3] = rotation * [0.5, 1.25, -3.0 if left_handed else 3.0]
        affine[:3, 3] = (1, 2, 3)
        quaternion, spacing, handedness = affine_quaternion(affine)
        np.testing.assert_allclose(quaternion_affine(quaternion, affine[:3, 3], spacing, handedness), affine, atol=1e-7)


def test_a_volume_of_tiny_voxels_has_a_place(tmp_path: Path) -> None:
    """Electron microscopy: 4 nm are 4e-6 mm, whose product over three axes is no reason to refuse."""
    affine = np.diag([4e-6, 4e-6, 4e-5, 1.0])
    write_volume(Volume(noise(3, 4, 5), affine), tmp_path / "a.nrrd")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nrrd").spacing, (4e-6, 4e-6, 4e-5))
