"""What may be enhanced: a grey-level image with finite voxels, not a label map."""

from __future__ import annotations

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.volumes.files import sample_slices
from MedSRLib.volumes.volume import Volume

LABEL_MAP_SHARE = 0.6
"""Between the images (41 real MR and CT volumes: 0.28 at most; doubled by nearest neighbour: 0.58) and label maps."""

SMALL_LABELS_SHARE = 0.3
"""Labels of a few voxels each have fewer equal neighbours, but still more than images (0.28 at most)."""

UNRELATED_SHARE = 0.25
"""Of the step between any two voxels, the step between unequal neighbours: 1 for labels in no order, 0.07 at most in
63 real images."""

_LARGEST, _SMALLEST = 1e30, 1e-30
"""Of grey levels that float32 (1e-38 to 3e38) holds with room for sums of squares."""

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
            raise InputError(
                f"{count} of {voxels.size} voxels are NaN or infinite: replace them first, or use --fill-nan"
            )
    low, high = voxels.min(), voxels.max()
    _require_float32(float(low), float(high))
    if force:
        return
    if low == high:
        raise InputError(f"every voxel is {low}, there is nothing to enhance: choose a volume that holds an image")
    if is_label_map(voxels):
        raise InputError("this looks like a label map, whose labels would be blended: choose the image, or use --force")


def _require_float32(low: float, high: float) -> None:
    """Refuse grey levels that float32 cannot hold, in which everything is computed."""
    if max(abs(low), abs(high)) > _LARGEST:
        raise InputError(
            f"grey levels of up to {max(abs(low), abs(high)):g} are too large for float32: rescale them first"
        )
    if 0 < high - low < _SMALLEST:
        raise InputError(f"grey levels that span {high - low:g} are too small for float32: rescale them first")


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
    equal = np.count_nonzero((left == right) & counted)
    if not pairs or equal <= SMALL_LABELS_SHARE * pairs:
        return False
    return bool(equal > LABEL_MAP_SHARE * pairs or _unrelated(left, right, counted))


def _unrelated(left: np.ndarray, right: np.ndarray, counted: np.ndarray) -> bool:
    """Whether neighbours that differ do so as much as any two voxels do: numbers of labels, no grey levels."""
    steps = np.abs(left[counted].astype(np.float64) - right[counted])
    shuffled = np.random.default_rng(0).permutation(right[counted]).astype(np.float64)
    anywhere = np.abs(left[counted] - shuffled)
    return bool(np.median(steps[steps > 0]) > UNRELATED_SHARE * np.median(anywhere[anywhere > 0]))
