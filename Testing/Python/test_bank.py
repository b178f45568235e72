"""The volumes on the device: blocks are their voxels, at whole-voxel places, of every kind its share."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from MedSRLib.errors import InputError
from MedSRLib.training.bank import SHARES, AnatomyBank
from MedSRLib.training.randomness import Random
from MedSRLib.training.training_volume import TrainingVolume
from MedSRLib.volumes.volume import Volume

CPU = torch.device("cpu")
SHAPE = (17, 19, 23)
CUBE = (16, 16, 16)


def numbered(dtype: Any = np.int16, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Every voxel has a value of its own."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def prepared(voxels: np.ndarray, modality: str = "MR", spacing: float = 1.0, **more: Any) -> TrainingVolume:
    return TrainingVolume.of(Volume(voxels, np.diag([1.0, 1.0, spacing, 1.0]), modality), 8, **more)


def places(block: torch.Tensor, volume: TrainingVolume) -> np.ndarray:
    """Indices (k, j, i) of the voxels that a block of a numbered volume holds, [a, b, c, 3]."""
    values = block.numpy().astype(np.float64) * volume.scaling.width + volume.scaling.offset
    whole = np.rint(values)
    assert np.abs(values - whole).max() < 0.01
    return np.stack(np.unravel_index(whole.astype(int), SHAPE), -1)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    spacing=st.sampled_from([1.0, 4.0]),
    sliced=st.booleans(),
    around=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
)
def test_blocks_are_voxels_at_whole_voxel_places(
    seed: int, spacing: float, sliced: bool, around: tuple[int, int, int]
) -> None:
    """Along each axis of a block the places go on by one voxel, up or down, until the border, which then goes on."""
    volume = prepared(numbered(), spacing=spacing)
    blocks = AnatomyBank([volume], CPU, sliced=sliced).draw(3, (4, 5, 6), around, Random(seed))
    assert blocks.x.shape == (3, *(side + 2 * beyond for side, beyond in zip((4, 5, 6), around, strict=True)))
    for block in blocks.x:
        index = places(block, volume)
        laid = []
        for axis in range(3):
            line = np.moveaxis(index, axis, 0)[:, 0, 0]
            (moving,) = np.flatnonzero(np.ptp(index, axis=axis).reshape(-1, 3).any(0))
            laid.append(moving)
            steps = np.diff(line[:, moving])
            inner = (line[:-1, moving] > 0) & (line[1:, moving] > 0)
            inner &= (line[:-1, moving] < SHAPE[moving] - 1) & (line[1:, moving] < SHAPE[moving] - 1)
            assert set(steps[inner]) in ({1}, {-1}, set())
            assert set(np.abs(steps)) <= {0, 1}
        assert sorted(laid) == [0, 1, 2]
        if spacing > 1:
            assert laid.index(0) == (0 if sliced else 1)


def test_every_way_to_lay_and_mirror_a_block_occurs() -> None:
    volume = prepared(numbered())
    blocks = AnatomyBank([volume], CPU).draw(600, (4, 5, 6), (0, 0, 0), Random(1))
    seen = set()
    for block in blocks.x:
        index = places(block, volume)
        moves = [np.moveaxis(index, axis, 0)[1, 0, 0] - index[0, 0, 0] for axis in range(3)]
        seen.add(tuple(int(np.flatnonzero(move)[0] + 1) * int(move.sum()) for move in moves))
    turned = [
        tuple(sign * (axis + 1) for sign, axis in zip(signs, order, strict=True))
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]
    assert seen == set(turned)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_grey_levels_are_kept(dtype: Any) -> None:
    """Exactly to 16 bits, and as well as 16 bits can where a volume has more."""
    voxels = (numbered(np.float64, CUBE) % 200 - (100 if np.issubdtype(dtype, np.signedinteger) else 0)).astype(dtype)
    if np.issubdtype(dtype, np.floating):
        voxels = voxels * np.array(0.3137, dtype)
    volume = prepared(voxels)
    x = AnatomyBank([volume], CPU).draw(1, CUBE, (0, 0, 0), Random(0)).x
    expected = np.sort(volume.scaling.normalise(voxels).reshape(-1))
    np.testing.assert_allclose(np.sort(x.numpy().reshape(-1)), expected, atol=2e-5)


def test_one_voxel_far_out_does_not_coarsen_the_others() -> None:
    voxels = numbered(np.float32, CUBE) / 100
    voxels[0, 0, 0] = 1e9
    volume = prepared(voxels)
    x = AnatomyBank([volume], CPU).draw(1, CUBE, (0, 0, 0), Random(0)).x.numpy()
    expected = np.sort(volume.scaling.normalise(voxels).reshape(-1))
    np.testing.assert_allclose(np.sort(x.reshape(-1))[:-1], expected[:-1], atol=2e-4)


def test_slices_of_a_stack_are_seen_alone_and_those_of_a_volume_with_their_neighbours() -> None:
    for is_stack in (True, False):
        volume = prepared(numbered(), spacing=4.0, is_stack=is_stack)
        x = AnatomyBank([volume], CPU).draw(4, (1, 6, 6), (1, 0, 0), Random(3)).x
        assert all(torch.equal(block[0], block[2]) == is_stack for block in x)
    dropped = AnatomyBank([prepared(numbered())], CPU).draw(4, (1, 6, 6), (1, 0, 0), Random(3), alone=1.0).x
    assert all(torch.equal(block[0], block[2]) for block in dropped)


def test_planes_of_thick_slices_are_seen_alone_across_their_slices() -> None:
    x = AnatomyBank([prepared(numbered(), spacing=4.0)], CPU, sliced=False).draw(4, (6, 1, 6), (0, 1, 0), Random(3)).x
    assert all(torch.equal(block[:, 0], block[:, 2]) for block in x)


def test_kinds_have_their_shares_and_larger_volumes_count_more() -> None:
    rest = numbered(shape=(4, 12, 12))
    volumes = [prepared(rest, "MR"), prepared(np.tile(rest, (4, 2, 2)), "MR"), prepared(rest, "US")]
    bank = AnatomyBank(volumes, CPU)
    drawn = bank.draw(4000, (2, 6, 6), (0, 0, 0), Random(4)).volume
    counts = torch.bincount(drawn, minlength=3) / len(drawn)
    speckled = SHARES["US"] / (SHARES["US"] + SHARES["MR"])
    assert counts[2].item() == pytest.approx(speckled, abs=0.03)
    assert (counts[1] / counts[0]).item() == pytest.approx(4.0, rel=0.3)
    kinds = bank.kinds(torch.tensor([0, 2]))
    assert kinds.is_magnitude.tolist() == [True, False]
    assert kinds.is_speckled.tolist() == [False, True]
    assert not kinds.is_ct.any()


def test_places_with_anatomy_are_preferred() -> None:
    voxels = np.zeros((24, 24, 24), np.int16)
    voxels[:6] = 1000
    blocks = AnatomyBank([prepared(voxels)], CPU).draw(200, (4, 4, 4), (0, 0, 0), Random(5)).x
    assert (blocks > 0.05).float().mean((1, 2, 3)).ge(0.2).float().mean() > 0.6


def test_large_volumes_are_taken_where_large_ones_are_needed_and_there_are_some() -> None:
    small, large = prepared(numbered(shape=(4, 12, 12))), prepared(numbered(shape=(4, 30, 30)))
    drawn = AnatomyBank([small, large], CPU).draw(50, (1, 6, 6), (0, 0, 0), Random(6), least=20).volume
    assert drawn.all()
    assert len(AnatomyBank([small], CPU).draw(5, (1, 6, 6), (0, 9, 9), Random(6), least=20).x) == 5


def test_no_volumes_are_an_error_that_says_where_to_name_some() -> None:
    with pytest.raises(InputError, match=r"data\.train"):
        AnatomyBank([], CPU)
