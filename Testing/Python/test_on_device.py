"""Between the file's voxels and the result's, everything is computed on the device that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch._subclasses.fake_tensor import FakeTensorMode

from MedSRLib.acquisition import operator
from MedSRLib.acquisition.interpolation import back_project, bspline_matrix, interpolate
from MedSRLib.acquisition.operator import AcquisitionModel, along_axis
from MedSRLib.enhancement.slabs import base_image, neighbourhoods, run_ensemble, with_neighbours
from MedSRLib.enhancement.transfer import Download, Measurement, as_written, restored
from MedSRLib.volumes.intensity import IntensityScaling, cast_like

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
KINDS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]
WHOLE = (slice(None), slice(None), slice(None))
ACQUISITIONS = [
    AcquisitionModel((2, 2, 1)),
    AcquisitionModel((2, 2, 1), in_plane_profile="kspace"),
    AcquisitionModel((1, 1, 2.5), slice_profile="box"),
    AcquisitionModel((2, 2, 2)),
]


@pytest.fixture
def card() -> Iterator[None]:
    """A CUDA device that works out shapes and types alone, and refuses to mix its tensors with the CPU's."""
    operator._on_devices.clear()
    with FakeTensorMode():
        yield
    operator._on_devices.clear()


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_base_and_projection_stay_on_the_device(acquisition: AcquisitionModel) -> None:
    y = torch.rand(4, 10, 12, device=CUDA)
    shape = acquisition.high_shape(y.shape)
    base = base_image(y, shape, acquisition, 3)
    x = back_project(base, y, acquisition, 6, floor=0.0, noise=0.01)
    assert x.device == base.device == CUDA
    assert tuple(x.shape) == shape
    assert {device for _, _, device in operator._on_devices} == {CUDA}


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("dtype", [np.dtype(kind) for kind in KINDS])
def test_what_the_generator_sees_and_what_is_written_stay_on_the_device(dtype: np.dtype) -> None:
    y = torch.rand(4, 10, 12, device=CUDA)
    seen = neighbourhoods(y, slice(0, 4), 4, 3)
    mean, spread = run_ensemble(lambda x: x.select(1, 0) * 2, seen, uncertainty=True, turned=True)
    assert spread is not None
    written = as_written(restored(mean, IntensityScaling(-1000.0, 2000.0)), dtype)
    assert {seen.device, mean.device, spread.device, written.device} == {CUDA}


@pytest.mark.usefixtures("card")
def test_the_card_of_these_tests_refuses_to_mix_devices() -> None:
    with pytest.raises(RuntimeError, match=r"device"):
        torch.rand(3, 3, device=CUDA) @ torch.rand(3, 3, device=CPU)


def test_a_matrix_is_brought_to_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    operator._on_devices.clear()
    brought, tensor = [], torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda *given, **named: brought.append(1) or tensor(*given, **named))
    y = torch.rand(3, 8, 9)
    for _ in range(4):
        back_project(interpolate(y, (3, 16, 18)), y, ACQUISITIONS[0], 6, noise=0.1)
    assert len(brought) == 6, "interpolation, acquisition and noise window of two axes"


def test_the_tensors_of_a_matrix_go_with_it() -> None:
    operator._on_devices.clear()
    matrix = np.eye(4)[:2]
    matrix.setflags(write=False)
    along_axis(matrix, torch.rand(4, 4), -2)
    assert len(operator._on_devices) == 1
    del matrix
    assert not operator._on_devices


def test_a_matrix_that_may_change_is_brought_anew() -> None:
    matrix = np.eye(4)
    x = torch.rand(4, 4)
    torch.testing.assert_close(along_axis(matrix, x, -2), x)
    matrix *= 2
    torch.testing.assert_close(along_axis(matrix, x, -2), 2 * x)


@pytest.mark.parametrize("axis", [-1, -2, -3])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_tensors_and_arrays_are_transformed_alike_with_leading_axes(axis: int, lead: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((*lead, 6, 6, 6))
    matrix = bspline_matrix(6, 9)
    expected = np.moveaxis(np.tensordot(matrix, x, (1, x.ndim + axis)), 0, axis)
    np.testing.assert_allclose(along_axis(matrix, x, axis), expected, atol=1e-12)
    turned = torch.from_numpy(x).transpose(-1, -2).contiguous().transpose(-1, -2)
    np.testing.assert_allclose(along_axis(matrix, turned, axis).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_measurement_is_what_normalising_its_voxels_gives(kind: str, data: st.DataObject) -> None:
    bound = 6e4 if kind == "float16" else 1e6
    elements = st.floats(-bound, bound, width=16) if kind == "float16" else None
    if elements is None and kind.startswith("float"):
        elements = st.floats(-1e6, 1e6, width=32)
    grey = data.draw(hnp.arrays(kind, (2, 3, 4), elements=elements))
    scaling = IntensityScaling(-3.5, 250.0)
    y = Measurement(grey, scaling, CPU)
    box = (slice(0, 2), slice(1, 3), slice(0, 4))
    np.testing.assert_allclose(y[box].numpy(), scaling.normalise(grey[box]), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(y.grey().numpy(), grey.astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_comes_back_is_rounded_and_clipped_like_any_result(kind: str, data: st.DataObject) -> None:
    bound = 6e4 if kind == "float16" else 2.0**40
    values = data.draw(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-bound, bound, width=32)))
    dtype = np.dtype(kind)
    target = np.empty(values.shape, dtype)
    download = Download(target, CPU)
    written = as_written(torch.from_numpy(values), dtype)
    for k in range(2):
        download.put(written[k : k + 1], (slice(k, k + 1), slice(0, 3), slice(0, 4)))
    download.finish()
    np.testing.assert_array_equal(target, cast_like(values, dtype))
    np.testing.assert_array_equal(written.numpy(), target.astype(np.float32))


@given(count=st.integers(1, 9), slices=st.sampled_from([1, 3, 5]), data=st.data())
def test_some_planes_have_the_neighbours_that_they_have_among_all(count: int, slices: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count - 1))
    wanted = slice(start, data.draw(st.integers(start + 1, count)))
    planes = torch.arange(count).view(count, 1, 1)
    seen = neighbourhoods(planes[with_neighbours(wanted, count, slices)], wanted, count, slices)
    reach = slices // 2
    for n, row in zip(range(wanted.start, wanted.stop), seen[:, :, 0, 0].tolist(), strict=True):
        assert row == [min(max(n + step, 0), count - 1) for step in range(-reach, reach + 1)]


class Stream:
    """A CUDA stream that has copied nothing before somebody waits for it."""

    def __init__(self, *_: object) -> None:
        self.copies: list[Callable[[], object]] = []

    def wait_stream(self, other: object) -> None:
        """The slabs of this test are computed at once."""


class Event:
    def record(self, stream: Stream) -> None:
        self.copies, stream.copies = stream.copies, []

    def synchronize(self) -> None:
        for copy in self.copies:
            copy()


def test_a_page_locked_buffer_is_emptied_before_it_is_filled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, empty, copy = Stream(), torch.empty, torch.Tensor.copy_
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **named: empty(*size, **named))

    def later(buffer: torch.Tensor, part: torch.Tensor, non_blocking: bool) -> None:
        assert non_blocking
        stream.copies.append(lambda: copy(buffer, part))

    monkeypatch.setattr(torch.Tensor, "copy_", later)
    target = np.zeros((5, 2, 3), np.uint16)
    download = Download(target, CUDA)
    values = torch.arange(30.0).view(5, 2, 3) * 2000
    for k in range(5):
        download.put(values[k : k + 1], (slice(k, k + 1), slice(0, 2), slice(0, 3)))
    assert not target[3:].any(), "two are under way"
    download.finish()
    np.testing.assert_array_equal(target, values.numpy().astype(np.uint16))
