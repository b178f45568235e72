"""Packed volumes: nothing is lost, what is damaged is refused by name, and a run takes a pack as it takes a folder."""

from __future__ import annotations

import bz2
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import OBLIQUE
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from MedSRLib.commands.main import main
from MedSRLib.errors import InputError, UsageError
from MedSRLib.training.config import DataConfig, PairsConfig, TrainingConfig
from MedSRLib.training.data import read_data
from MedSRLib.training.packing import pack
from MedSRLib.volumes.files import read_volume, write_volume
from MedSRLib.volumes.packed import SUFFIX, pack_volume, read_packed, unpack_volume
from MedSRLib.volumes.volume import Volume

DTYPES = st.sampled_from(["<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<f4", "<f8", ">i2", ">f4"])
SHAPE = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns and runs begin in the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Two volumes and a label map."""
    folder = tmp_path / "volumes"
    for name, part in (("a/head.nii.gz", slice(0, 9)), ("b/head.nii.gz", slice(9, 18))):
        (folder / name).parent.mkdir(parents=True)
        write_volume(head(part), folder / name)
    return folder


def head(part: slice = slice(0, 24)) -> Volume:
    volume = read_volume(OBLIQUE)
    return volume.with_voxels(volume.voxels[part].copy())


def config_of(*patterns: str, **data: tuple[str, ...]) -> TrainingConfig:
    return TrainingConfig(name="tiny", data=DataConfig(train=patterns, **data), pairs=PairsConfig(patch=8, margin=1))  # type: ignore[arg-type]


@settings(max_examples=80, deadline=None)
@given(voxels=DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, SHAPE)), thickness=st.none() | st.floats(0.1, 9))
def test_every_bit_comes_back(voxels: np.ndarray, thickness: float | None) -> None:
    affine = np.array([[0.1, 0, 0.3, -7], [0, 1 / 3, 0, 1e-9], [0.2, 0, 2.7, 5], [0, 0, 0, 1]])
    volume = Volume(voxels, affine, "MR", slice_thickness=thickness)
    again, is_stack = unpack_volume(pack_volume(volume, is_stack=True))
    assert is_stack
    assert again.voxels.dtype == voxels.dtype.newbyteorder("<")
    assert again.voxels.tobytes() == voxels.astype(voxels.dtype.newbyteorder("<")).tobytes()
    np.testing.assert_array_equal(again.affine, affine)
    assert (again.modality, again.slice_thickness) == ("MR", thickness)


def test_it_can_be_read_with_numpy_alone() -> None:
    """As the module describes it."""
    volume = head()
    line, stream = pack_volume(volume).split(b"\n", 1)
    header = json.loads(line)
    planes = np.frombuffer(bz2.decompress(stream), np.uint8).reshape(np.dtype(header["dtype"]).itemsize, -1)
    zigzag = sum(plane.astype(np.int64) << (8 * n) for n, plane in enumerate(planes))
    difference = np.where(zigzag % 2, -(zigzag + 1) // 2, zigzag // 2).reshape(header["shape"])
    modulus = 2 ** (8 * len(planes))
    np.testing.assert_array_equal(np.cumsum(difference, 2) % modulus, volume.voxels.astype(np.int64) % modulus)


def test_it_is_smaller_than_a_compressed_file(tmp_path: Path) -> None:
    write_volume(head(), tmp_path / "head.nii.gz")
    assert len(pack_volume(head())) < 0.8 * (tmp_path / "head.nii.gz").stat().st_size


def damaged() -> dict[str, bytes]:
    """Contents that are no packed volume, by what is wrong with them."""
    whole = pack_volume(head(slice(0, 2)))
    line, stream = whole.split(b"\n", 1)
    header = json.loads(line)

    def changed(**values: object) -> bytes:
        return json.dumps({**header, **values}).encode() + b"\n" + stream

    return {
        "empty": b"",
        "text": b"scanned on Monday\n",
        "cut": whole[:-40],
        "flipped": whole[:-60] + bytes([whole[-60] ^ 1]) + whole[-59:],
        "larger": changed(shape=[3, 64, 64]),
        "smaller": changed(shape=[1, 64, 64]),
        "absurd": changed(shape=[10**9, 10**9, 10**9]),
        "flat": changed(shape=[64, 64]),
        "nothing": changed(shape=[0, 64, 64]),
        "objects": changed(dtype="|O8"),
        "no affine": changed(affine=None),
        "no place": changed(affine=np.zeros((4, 4)).tolist()),
        "unknown": changed(modality="sonar"),
        "list": b"[1, 2]\n" + stream,
    }


@pytest.mark.parametrize("kind", damaged())
def test_what_is_damaged_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"a{SUFFIX}").write_bytes(damaged()[kind])
    with pytest.raises(InputError) as caught:
        read_data(config_of("*"), tmp_path)
    assert str(caught.value).startswith("a: ")
    assert "\n" not in str(caught.value)


def test_a_newer_format_is_said_to_be_one() -> None:
    line, stream = pack_volume(head(slice(0, 2))).split(b"\n", 1)
    newer = json.dumps({**json.loads(line), "medsr": 2}).encode()
    with pytest.raises(InputError, match="newer MedSR"):
        unpack_volume(newer + b"\n" + stream)


def test_a_run_takes_a_pack_as_it_takes_a_folder(volumes: Path, tmp_path: Path) -> None:
    pack(["volumes"], tmp_path / "pack", modality="MR", stacks=["volumes/b"])
    plain = read_data(config_of("volumes", stacks=("volumes/b",)), tmp_path)
    packed = read_data(config_of("pack"), tmp_path)
    assert packed.names == ["a_head.nii.gz", "b_head.nii.gz"]
    for one, other in zip(plain.train, packed.train, strict=True):
        np.testing.assert_array_equal(one.voxels, other.voxels)
        assert (one.scaling, one.spacing, one.is_stack) == (other.scaling, other.spacing, other.is_stack)
    assert [volume.modality for volume in packed.train] == ["MR", "MR"]
    held_out = read_data(config_of("pack", validation=("pack/b*",)), tmp_path)
    assert (held_out.names, list(held_out.validation)) == (["a_head.nii.gz"], ["b_head.nii.gz"])


def test_packs_can_be_packed_again_and_keep_what_they_know(volumes: Path, tmp_path: Path) -> None:
    pack(["volumes/a"], tmp_path / "one", modality="US", stacks=["volumes/a"])
    pack(["one"], tmp_path / "two")
    (first,), (second,) = ((tmp_path / name).glob("*") for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_the_command_packs_and_says_where(volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "pack", "volumes", "--out", "pack"]) == 0
    said = capsys.readouterr()
    assert said.out == "pack\n"
    assert "2 volumes" in said.err
    assert [path.name for path in sorted((tmp_path / "pack").iterdir())] == [
        f"a_head.nii.gz{SUFFIX}",
        f"b_head.nii.gz{SUFFIX}",
    ]
    volume, _ = read_packed(tmp_path / "pack" / f"a_head.nii.gz{SUFFIX}")
    np.testing.assert_array_equal(volume.voxels, head(slice(0, 9)).voxels)


def test_parts_are_no_larger_than_asked_for(volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = len(pack_volume(read_volume(volumes / "a" / "head.nii.gz"))) / 1e6
    assert main(["data", "pack", "volumes", "--out", "pack", "--part-size", str(1.5 * size)]) == 0
    parts = sorted(path.name for path in (tmp_path / "pack").iterdir())
    assert parts == ["part1", "part2"]
    assert len(read_data(config_of("pack"), tmp_path).train) == 2
    capsys.readouterr()
    assert main(["data", "pack", "volumes", "--out", "less", "--part-size", str(0.5 * size)]) == 2
    assert "--part-size" in capsys.readouterr().err
    assert not (tmp_path / "less").exists()


def test_what_cannot_be_packed_is_named_and_the_rest_is_packed(
    volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (volumes / "c.nii.gz").write_bytes(b"no image")
    write_volume(head().with_voxels((head().voxels > 300).astype(np.uint8)), volumes / "labels.nii.gz")
    assert main(["data", "pack", "volumes", "--out", "pack"]) == 4
    said = capsys.readouterr().err
    assert "c.nii.gz" in said
    assert "labels.nii.gz looks like a label map" in said
    assert len(list((tmp_path / "pack").iterdir())) == 2


def test_nothing_is_made_where_nothing_can_be_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    before = sorted(tmp_path.iterdir())
    assert main(["data", "pack", "a.nii.gz", "--out", "pack"]) == 3
    assert "a.nii.gz" in capsys.readouterr().err
    assert main(["data", "pack", "missing", "--out", "pack"]) == 3
    assert main(["data", "pack", "a.nii.gz", "--out", "pack", "--part-size", "0"]) == 2
    assert sorted(tmp_path.iterdir()) == before


def test_a_pack_that_is_there_is_not_overwritten(volumes: Path, tmp_path: Path) -> None:
    pack(["volumes"], tmp_path / "pack")
    before = {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()}
    with pytest.raises(UsageError, match="--out"):
        pack(["volumes/a"], tmp_path / "pack")
    assert {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()} == before


def test_a_cancelled_pack_leaves_nothing_behind(volumes: Path, tmp_path: Path) -> None:
    from MedSRLib.errors import EnhancementCancelled

    with pytest.raises(EnhancementCancelled):
        pack(["volumes"], tmp_path / "pack", cancelled=lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["volumes"]
