"""What a header promises is there, or no memory is taken for it; what is packed is whole to its checksum."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from image_fixtures import noise, write_meta, write_nifti, write_nrrd

from MedSRLib.errors import InputError
from MedSRLib.volumes.files import read_volume

HUGE = [(2000, 2000, 500), (30000, 30000, 30000)]


def claim(folder: Path, kind: str, sizes: tuple[int, int, int]) -> Path:
    """A file of a few voxels whose header promises gigabytes."""
    voxels = noise(3, 4, 5)
    if kind.startswith("nii"):
        return write_nifti(folder / f"a.{kind}", voxels, dims=sizes)
    if kind.startswith("nrrd"):
        return write_nrrd(folder / "a.nrrd", voxels, sizes=sizes, encoding=kind.partition(" ")[2])
    return write_meta(folder / "a.mha", voxels, sizes=sizes, compressed="compressed" in kind)


@pytest.mark.parametrize("sizes", HUGE)
@pytest.mark.parametrize(
    "kind", ["nii", "nii.gz", "nrrd raw", "nrrd gzip", "nrrd ascii", "nrrd hex", "mha", "mha compressed"]
)
def test_a_header_that_promises_gigabytes_is_refused_before_memory_is_taken(
    tmp_path: Path, kind: str, sizes: tuple[int, int, int]
) -> None:
    path = claim(tmp_path, kind, sizes)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="cut short"):
            read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_stream_that_unpacks_without_end_is_given_up(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", noise(3, 4, 5))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes() + bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="far more than the"):
            read_volume(tmp_path / "a.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tail", [bytes(512), gzip.compress(b"a second member")])
def test_what_gzip_allows_after_the_voxels_is_no_damage(tmp_path: Path, tail: bytes) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", noise(3, 4, 5))
    path.write_bytes(path.read_bytes() + tail)
    np.testing.assert_array_equal(read_volume(path).voxels, noise(3, 4, 5))


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_nifti(tmp_path / "a.nii", noise(3, 4, 5))

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(InputError, match=r"a\.nii cannot be read \(Permission denied\)"):
        read_volume(path)


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").symlink_to(tmp_path / "b.nii")
    (tmp_path / "b.nii").symlink_to(tmp_path / "a.nii")
    with pytest.raises(InputError, match="leads nowhere"):
        read_volume(tmp_path / "a.nii")
