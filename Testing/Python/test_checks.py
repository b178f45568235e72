"""Only images are enhanced: not label maps, not blanks, not voxels that are no numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from MedSRLib.errors import InputError
from MedSRLib.volumes.checks import is_label_map, require_enhanceable
from MedSRLib.volumes.files import read_volume
from MedSRLib.volumes.volume import Volume

DATA = Path(__file__).parent / "data"
IMAGES = ["mr_t1_oblique_64x64x24.nrrd", "mr_t1_uint16_48x48x24.mha"]


def normalised(name: str) -> np.ndarray:
    """A real MR volume, 0 to 1."""
    voxels = read_volume(DATA / name).voxels.astype(np.float64)
    return voxels / voxels.max()


def volume_of(voxels: np.ndarray) -> Volume:
    return Volume(voxels, np.eye(4))


def vessels() -> np.ndarray:
    """A mask of lines one voxel wide: hardly any two neighbours along i are equal."""
    mask = np.zeros((20, 40, 40), np.int16)
    mask[:, ::3, ::5] = 1
    return mask


def blocks() -> np.ndarray:
    """Ninety labels, like an atlas, on a background of zeros."""
    labels = np.zeros((24, 64, 64), np.int32)
    labels[4:20, 8:56, 8:56] = np.arange(1, 91).repeat(8)[: 48 * 8].reshape(8, 48)[:, None, :].repeat(2, 0)
    return labels


@pytest.mark.parametrize("name", IMAGES)
def test_real_images_pass(name: str) -> None:
    require_enhanceable(read_volume(DATA / name))


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_8_bits_pass_even_when_doubled(name: str) -> None:
    image = np.rint(255 * normalised(name))
    for order in (0, 1, 3):
        doubled = ndimage.zoom(image[:12], (1, 2, 2), order=order).clip(0, 255).astype(np.uint8)
        require_enhanceable(volume_of(doubled))


def test_ct_with_a_large_padding_passes() -> None:
    image = np.random.default_rng(0).normal(0, 20, (20, 64, 64)).round().astype(np.int16)
    image[:, :, :40] = -2000
    require_enhanceable(volume_of(image))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_a_thresholded_image_is_a_label_map(name: str, kind: type) -> None:
    with pytest.raises(InputError, match=r"label map.*--force"):
        require_enhanceable(volume_of((normalised(name) > 0.3).astype(kind)))


@pytest.mark.parametrize("name", IMAGES)
def test_tissue_classes_are_a_label_map(name: str) -> None:
    assert is_label_map(np.floor(4 * normalised(name)).astype(np.uint8))


@pytest.mark.parametrize("labels", [vessels(), blocks(), blocks() * 1000], ids=["vessels", "atlas", "sparse"])
def test_masks_and_atlases_are_label_maps(labels: np.ndarray) -> None:
    assert is_label_map(labels)
    assert is_label_map(labels.astype(np.float64))


def test_fractions_are_no_labels() -> None:
    assert not is_label_map(blocks() + 0.5)


def test_force_lets_label_maps_and_blanks_through() -> None:
    require_enhanceable(volume_of(blocks()), force=True)
    require_enhanceable(volume_of(np.zeros((3, 4, 5))), force=True)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_voxels_that_are_not_finite_are_counted(force: bool, kind: type) -> None:
    voxels = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(kind)
    voxels[0, 0, 0] = np.nan
    voxels[2, 1, :2] = np.inf, -np.inf
    with pytest.raises(InputError, match="3 of 60 voxels"):
        require_enhanceable(volume_of(voxels), force=force)


@pytest.mark.parametrize("force", [False, True])
def test_no_voxels_is_refused(force: bool) -> None:
    with pytest.raises(InputError, match="no voxels"):
        require_enhanceable(volume_of(np.zeros((0, 4, 5), np.int16)), force=force)


@pytest.mark.parametrize("value", [0, -1024])
def test_a_blank_volume_is_refused(value: int) -> None:
    with pytest.raises(InputError, match=f"every voxel is {value}"):
        require_enhanceable(volume_of(np.full((3, 4, 5), value, np.int16)))


@pytest.mark.parametrize("ordered", [False, True])
def test_a_map_of_many_small_labels_is_refused(ordered: bool) -> None:
    """Parcels of an atlas, nuclei of a microscope: labels of a few voxels each, beside any other number."""
    random = np.random.default_rng(3)
    seeds = random.random((600, 3)) * (6, 36, 36)
    if ordered:
        seeds = seeds[np.argsort(seeds[:, 0])]
    grid = np.stack(np.meshgrid(*map(np.arange, (6, 36, 36)), indexing="ij"), axis=-1)
    labels = np.argmin(((grid[..., None, :] - seeds) ** 2).sum(-1), axis=-1).astype(np.int32) + 1
    with pytest.raises(InputError, match="label map"):
        require_enhanceable(volume_of(labels))


@pytest.mark.parametrize(("scale", "word"), [(1e31, "too large"), (1e60, "too large"), (1e-33, "too small")])
@pytest.mark.parametrize("force", [False, True])
def test_grey_levels_that_float32_does_not_hold_are_refused(scale: float, word: str, force: bool) -> None:
    voxels = scale * np.random.default_rng(0).random((3, 4, 5))
    with pytest.raises(InputError, match=word):
        require_enhanceable(volume_of(voxels), force=force)


@pytest.mark.parametrize("scale", [1e-12, 3e-3, 3.7e7, 1e20])
def test_grey_levels_in_any_unit_are_not(scale: float) -> None:
    require_enhanceable(volume_of(scale * np.random.default_rng(0).random((3, 4, 5))))
