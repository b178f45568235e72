"""A preview shows what the full run will give: parts in any order, each equal to that part of the whole result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_tiny_model

from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.preview import Preview
from MedSRLib.enhancement.request import Options
from MedSRLib.errors import EnhancementCancelled, InputError, UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.volume import Volume

SIZE = (6, 40, 36)
BOXES = [(10, 30, 12, 28, 2, 3), (0, 10, 0, 12, 2, 3), (30, 36, 28, 40, 4, 6)]


def part_of_whole(whole: np.ndarray, box: Any, low: tuple[int, ...]) -> np.ndarray:
    """What of a whole result lies over a box of its input."""
    f = [high // n for high, n in zip(whole.shape, low, strict=True)]
    i0, i1, j0, j1, k0, k1 = box
    return whole[k0 * f[0] : k1 * f[0], j0 * f[1] : j1 * f[1], i0 * f[2] : i1 * f[2]]


@pytest.mark.parametrize("point_spread", [None, 0.8, "kspace"])
def test_a_part_equals_the_full_runs(
    tiny_model: Model, smooth_volume: Callable[..., Volume], point_spread: Any
) -> None:
    volume = smooth_volume(SIZE)
    options = Options(device="cpu", point_spread=point_spread)
    whole = enhance(volume, tiny_model, **options.to_json())
    preview = Preview(volume, tiny_model, options)
    parts = list(preview.parts(BOXES)) + list(preview.parts(BOXES[::-1]))
    for box, voxels in parts:
        assert voxels.dtype == volume.voxels.dtype
        assert np.abs(voxels.astype(int) - part_of_whole(whole.volume.voxels, box, SIZE)).max() <= 1  # rounding
    boxes = [box for box, _ in parts]
    if whole.report.point_spread == "kspace":  # two of the boxes are of one slice
        slices = [(0, 36, 0, 40, 2, 3), (0, 36, 0, 40, 4, 6)]
        assert boxes == [*slices, *slices[::-1]]
    else:
        assert boxes == [*BOXES, *BOXES[::-1]]


def test_slices_along_another_axis_are_previewed_on_the_volumes_own_axes(
    tiny_model: Model, smooth_volume: Callable[..., Volume]
) -> None:
    volume = smooth_volume(SIZE)
    turned = replace(
        volume,
        voxels=np.ascontiguousarray(volume.voxels.transpose(2, 0, 1)),
        affine=volume.affine[:, [1, 2, 0, 3]],
    )
    options = Options(device="cpu", point_spread=0.8)
    whole = enhance(turned, tiny_model, **options.to_json())
    box = (4, 30, 2, 3, 6, 30)
    ((there, voxels),) = Preview(turned, tiny_model, options).parts([box])
    assert there == box
    assert voxels.shape == (48, 1, 52)
    assert np.abs(voxels.astype(int) - part_of_whole(whole.volume.voxels, box, turned.shape)).max() <= 1


def test_gaps_are_put_back_in_a_part(tiny_model: Model, smooth_volume: Callable[..., Volume]) -> None:
    volume = smooth_volume(SIZE, np.float32)
    voxels = volume.voxels.copy()
    voxels[:, :4] = np.nan
    gapped = volume.with_voxels(voxels)
    preview = Preview(gapped, tiny_model, Options(device="cpu", point_spread=0.8, fill_nan=True))
    ((_, part),) = preview.parts([(0, 20, 0, 10, 3, 4)])
    assert np.isnan(part[:, :8]).all()
    assert np.isfinite(part[:, 8:]).all()


def test_point_spread_and_noise_are_estimated_once(
    tiny_model: Model, smooth_volume: Callable[..., Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    import MedSRLib.enhancement.estimation as estimation

    asked = []
    known = estimation.estimate_acquisition
    monkeypatch.setattr(estimation, "estimate_acquisition", lambda *a: (asked.append(1), known(*a))[1])
    preview, told = Preview(smooth_volume(SIZE), tiny_model, Options(device="cpu")), []
    for _ in range(2):
        list(preview.parts(BOXES[:1], progress=lambda fraction, message: told.append(message)))
    assert len(asked) == 1
    assert told == ["estimating point spread and noise"]


def test_cancelling_ends_it_and_the_next_part_is_computed(
    tiny_model: Model, smooth_volume: Callable[..., Volume]
) -> None:
    preview = Preview(smooth_volume(SIZE), tiny_model, Options(device="cpu", point_spread=0.8))
    with pytest.raises(EnhancementCancelled):
        next(preview.parts(BOXES, cancelled=lambda: True))
    assert len(list(preview.parts(BOXES))) == 3


def test_what_cannot_be_enhanced_is_refused_as_in_a_full_run(
    tiny_model: Model, smooth_volume: Callable[..., Volume]
) -> None:
    volume = smooth_volume(SIZE)
    with pytest.raises(InputError, match="nothing to enhance"):
        Preview(volume.with_voxels(np.full(SIZE, 7, np.int16)), tiny_model)
    with pytest.raises(UsageError, match="must lie within"):
        next(Preview(volume, tiny_model, Options(device="cpu")).parts([(0, 99, 0, 4, 0, 1)]))


def test_a_slice_is_all_that_is_computed_for_a_slice(tmp_path: Path, smooth_volume: Callable[..., Volume]) -> None:
    """Its neighbours are fed as channels; nobody asked for what the generator makes of them."""
    model = make_tiny_model(tmp_path / "three", slices=3, arguments={"in_channels": 3})
    volume = smooth_volume((6, 24, 20))
    whole = enhance(volume, model, point_spread=1.0)
    part = enhance(volume, model, point_spread=1.0, roi=(0, 20, 0, 24, 2, 3))
    assert (whole.report.tiles, part.report.tiles) == (6, 1)
    assert np.array_equal(part.volume.voxels, whole.volume.voxels[2:3])
