"""What may be enhanced: a grey-level image with finite voxels, not a label map."""

from __future__ import annotations

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.files import sample_slices
from MedSRLib.volumes.volume import Volume

LABEL_MAP_SHARE = 0.6
"""Between the images (41 real MR and CT volumes: 0.28 at most; doubled by nearest neighbour: 0.58) and label maps."""

FEWEST_GREY_LEVELS = 8
"""An image has more grey levels than this; a mask of thin vessels has few equal neighbours, but few levels too."""


def require_enhanceable(volume: Volume, *, force: bool = False) -> None:
    """Refuse a volume that super-resolution would only spoil.

    Args:
        volume: the input.
        force: enhance a blank volume or what looks like a label map all the same.

    Raises:
        InputError: no voxels, voxels that are not finite, or (unless ``force``) one grey level only or a label map.
    """
    voxels = volume.voxels
    if voxels.size == 0:
        raise InputError("the volume has no voxels: choose a volume that holds an image")
    if voxels.dtype.kind == "f":
        count = sum(int(np.count_nonzero(~np.isfinite(one))) for one in voxels)
        if count:
            raise InputError(f"{count} of {voxels.size} voxels are NaN or infinite: replace them first")
    if force:
        return
    low, high = voxels.min(), voxels.max()
    if low == high:
        raise InputError(f"every voxel is {low}, there is nothing to enhance: choose a volume that holds an image")
    if is_label_map(voxels):
        raise InputError("this looks like a label map, whose labels would be blended: choose the image, or use --force")


def is_label_map(voxels: np.ndarray) -> bool:
    """Whether voxels look like labels: integers of very few levels, or mostly equal to their neighbour along i.

    Pairs of neighbours that both hold the most common value, the background, do not count.

    Args:
        voxels: [k, j, i]; of large volumes evenly spaced slices are looked at.
    """
    sample = sample_slices(voxels)
    if voxels.dtype.kind == "f" and not all(np.array_equal(one, np.rint(one)) for one in sample):
        return False
    levels, counts = np.unique(sample, return_counts=True)
    if 2 <= levels.size <= FEWEST_GREY_LEVELS:
        return True
    left, right, background = sample[..., :-1], sample[..., 1:], levels[counts.argmax()]
    counted = (left != background) | (right != background)
    pairs = np.count_nonzero(counted)
    return bool(pairs and np.count_nonzero((left == right) & counted) > LABEL_MAP_SHARE * pairs)
