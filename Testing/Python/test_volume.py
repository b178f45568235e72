"""A volume is checked once, cannot be moved by accident, and means the same place to MONAI."""

from __future__ import annotations

import numpy as np
import pytest

from MedSRLib.errors import InputError
from MedSRLib.volumes.volume import Volume

OBLIQUE = np.array([[0.0, 0.3, -1.9, 10.0], [0.8, 0.1, 0.2, -20.0], [0.1, -0.9, -0.4, 30.0], [0, 0, 0, 1]])


def numbered(shape: tuple[int, int, int] = (3, 4, 5)) -> Volume:
    """Every voxel holds its own number."""
    return Volume(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), OBLIQUE, "MR", 2.5)


def places(volume: Volume) -> dict[int, tuple[float, ...]]:
    """Where each numbered voxel lies."""
    found = {}
    for (k, j, i), value in np.ndenumerate(volume.voxels):
        found[int(value)] = tuple(np.round(volume.affine @ [i, j, k, 1], 5)[:3])
    return found


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 5)])
def test_only_three_axes_are_accepted(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=f"three axes, this one has {len(shape)}"):
        Volume(np.zeros(shape), np.eye(4))


@pytest.mark.parametrize("affine", [np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.0, 1, 0, 1])])
def test_an_affine_that_places_nothing_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(InputError, match="invertible"):
        Volume(np.zeros((2, 2, 2)), affine)


def test_an_unknown_modality_is_refused() -> None:
    with pytest.raises(InputError, match="CT, MR, US, XR, other"):
        Volume(np.zeros((2, 2, 2)), np.eye(4), "PET")


def test_the_affine_is_a_copy_that_cannot_be_changed() -> None:
    affine = np.eye(4)
    volume = Volume(np.zeros((2, 2, 2)), affine)
    affine[0, 3] = 99
    assert volume.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        volume.affine[0, 3] = 1


def test_spacing_is_along_i_j_k_and_shape_is_in_array_order() -> None:
    volume = Volume(np.zeros((3, 4, 5)), np.diag([0.5, 0.6, -3.0, 1.0]))
    assert volume.spacing == pytest.approx((0.5, 0.6, 3.0))
    assert volume.shape == (3, 4, 5)


def test_other_voxels_keep_everything_else() -> None:
    volume = numbered()
    other = volume.with_voxels(np.zeros((6, 8, 10)), np.eye(4))
    assert (other.modality, other.slice_thickness, other.shape) == ("MR", 2.5, (6, 8, 10))
    np.testing.assert_array_equal(volume.with_voxels(volume.voxels).affine, OBLIQUE)


def test_the_way_to_monai_and_back_changes_nothing() -> None:
    volume = numbered()
    back = Volume.from_metatensor(volume.to_metatensor())
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    np.testing.assert_array_equal(back.affine, volume.affine)
    assert back.voxels.dtype == volume.voxels.dtype
    assert (back.modality, back.slice_thickness) == ("MR", 2.5)


def test_monai_indexes_the_same_voxel_at_the_same_place() -> None:
    volume = numbered()
    tensor = volume.to_metatensor()
    for (k, j, i), value in np.ndenumerate(volume.voxels):
        assert int(tensor[0, i, j, k]) == value
    np.testing.assert_array_equal(np.asarray(tensor.affine), volume.affine)


def test_what_monai_crops_and_flips_stays_in_its_place() -> None:
    from monai.transforms import Flip, SpatialCrop

    volume = numbered()
    cropped = SpatialCrop(roi_start=(1, 2, 0), roi_end=(4, 4, 2))(volume.to_metatensor())
    moved = Volume.from_metatensor(Flip(spatial_axis=(0, 2))(cropped))
    assert moved.shape == (2, 2, 3)
    before = places(volume)
    assert places(moved) == {value: before[value] for value in places(moved)}


def test_a_tensor_of_several_channels_is_refused() -> None:
    from monai.data import MetaTensor

    with pytest.raises(InputError, match="one-channel"):
        Volume.from_metatensor(MetaTensor(np.zeros((2, 3, 4, 5))))
