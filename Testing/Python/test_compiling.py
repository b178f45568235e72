"""A network on a GPU is compiled where the rest of the job repays it, and runs as it is where it cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from MedSRLib.enhancement import compiling
from MedSRLib.enhancement.compiling import GAIN, MARGIN, SECONDS_PER_CONVOLUTION, Compiling

CUDA = torch.device("cuda")
TILE = torch.ones(2, 3, 10, 10)
"""Of 200 voxels."""


class Clock:
    """A device that takes a second for every call."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.compiled: list[nn.Module] = []

    def now(self, device: torch.device) -> float:
        return self.seconds


class Network(nn.Module):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 1, 3, padding=1)
        self.clock = clock
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        self.clock.seconds += 1.0
        return x.sum(1, keepdim=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()

    def compile_(network: nn.Module) -> Callable[[Tensor], Tensor]:
        made.compiled.append(network)
        return lambda x: -x.sum(1, keepdim=True)

    monkeypatch.setattr(compiling, "now", made.now)
    monkeypatch.setattr(torch, "compile", compile_)
    return made


def repaid() -> int:
    """Tiles of a second each after the second one whose saving is just worth it."""
    return int(MARGIN * SECONDS_PER_CONVOLUTION / (1 - 1 / GAIN)) + 1


@pytest.mark.parametrize(("tiles", "expected"), [(repaid() + 2, True), (repaid() + 1, False), (1, False)])
def test_the_second_tile_tells_whether_the_rest_repays_it(clock: Clock, tiles: int, expected: bool) -> None:
    running = Compiling(Network(clock), CUDA, pytest.fail)
    running.expect(tiles * 200)
    for _ in range(tiles):
        running(TILE)
    assert bool(clock.compiled) == expected


def test_a_compiled_network_takes_over_and_is_kept_for_the_next_volume(clock: Clock) -> None:
    running = Compiling(network := Network(clock), CUDA, pytest.fail)
    running.expect(10**6)
    assert [float(running(TILE)[0, 0, 0, 0]) for _ in range(4)] == [3, 3, -3, -3]
    running.expect(200)
    assert float(running(TILE)[0, 0, 0, 0]) == -3
    assert (network.runs, len(clock.compiled)) == (2, 1)


def test_a_short_volume_after_a_long_one_is_judged_anew(clock: Clock) -> None:
    running = Compiling(Network(clock), CUDA, pytest.fail)
    for tiles in (3, 3, 1000):
        running.expect(tiles * 200)
        assert not clock.compiled
        for _ in range(3):
            running(TILE)
    assert len(clock.compiled) == 1


@pytest.mark.parametrize("error", [RuntimeError("Cannot find a working triton installation.\nmore"), ImportError("no")])
def test_without_a_compiler_the_network_runs_as_it_is_and_that_is_said_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(network: nn.Module) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            raise error

        return run

    monkeypatch.setattr(torch, "compile", fails)
    said: list[str] = []
    running = Compiling(Network(clock), CUDA, said.append)
    for _ in range(2):
        running.expect(10**6)
        assert [float(running(TILE)[0, 0, 0, 0]) for _ in range(4)] == [3, 3, 3, 3]
    (sentence,) = said
    assert sentence.endswith(f"takes longer ({str(error).splitlines()[0]})")


def test_memory_that_ends_while_compiling_is_left_to_the_tiles(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(network: nn.Module) -> Callable[[Tensor], Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", fails)
    running = Compiling(Network(clock), CUDA, pytest.fail)
    running.expect(10**6)
    running(TILE)
    with pytest.raises(torch.OutOfMemoryError):
        running(TILE)


def test_nothing_is_compiled_on_a_cpu(clock: Clock) -> None:
    running = Compiling(Network(clock), torch.device("cpu"), pytest.fail)
    running.expect(10**9)
    for _ in range(4):
        running(TILE)
    assert not clock.compiled
