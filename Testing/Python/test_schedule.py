"""How long a run trains: by iterations or by the clock, which is read only when nothing has to be waited for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import config_of, losses, stop_after, workplace  # noqa: F401 (a fixture)

from MedSRLib.commands.main import main
from MedSRLib.errors import EnhancementCancelled, UsageError
from MedSRLib.training import budget, run, schedule
from MedSRLib.training.budget import Budget
from MedSRLib.training.data import read_data
from MedSRLib.training.fidelity_stage import FidelityStage
from MedSRLib.training.run import train
from MedSRLib.training.schedule import ByClock, ByIterations

CPU = torch.device("cpu")


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hands = Clock()
    for module in (schedule, budget):
        monkeypatch.setattr(module, "monotonic", hands)
    return hands


@pytest.fixture
def slow(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Every iteration takes two seconds and every validation ten, by the clock that is set by hand."""

    def taking(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def worked(*arguments: Any, **options: Any) -> Any:
            clock.now += seconds
            return work(*arguments, **options)

        return worked

    monkeypatch.setattr(FidelityStage, "step", taking(2, FidelityStage.step))
    monkeypatch.setattr(run, "score_generator", taking(10, run.score_generator))
    return clock


def test_iterations_are_counted() -> None:
    twelve = ByIterations(12)
    assert [twelve.part(n) for n in (0, 3, 12, 15)] == [0.0, 0.25, 1.0, 1.0]
    assert [twelve.is_over(n) for n in (0, 11, 12)] == [False, False, True]


def test_time_passes_by_the_iteration_between_two_looks_at_the_clock(clock: Clock) -> None:
    minute = ByClock(clock.now + 60, CPU)
    minute.begin(0, 0.0)
    assert minute.part(5) == 0.0
    clock.now += 6
    minute.mark(3)
    assert minute.part(3) == pytest.approx(0.1)
    assert minute.part(6) == pytest.approx(0.2)
    clock.now += 30
    minute.mark(4)
    assert minute.part(4) == pytest.approx(0.6)


def test_it_ends_before_the_iteration_that_would_end_too_late(clock: Clock) -> None:
    minute = ByClock(clock.now + 60, CPU)
    minute.begin(0, 0.0)
    for iteration in range(1, 100):
        clock.now += 7
        minute.mark(iteration)
        if minute.is_over(iteration):
            break
    assert clock.now == 1000 + 56


def test_what_was_left_of_a_resumed_stage_is_spread_over_its_time(clock: Clock) -> None:
    minute = ByClock(clock.now + 60, CPU)
    minute.begin(50, 0.6)
    assert minute.part(50) == pytest.approx(0.6)
    clock.now += 30
    minute.mark(60)
    assert minute.part(60) == pytest.approx(0.8)
    finished = ByClock(clock.now + 60, CPU)
    finished.begin(50, 1.0)
    assert finished.is_over(50)


def test_one_iteration_is_made_however_little_time_there_is(clock: Clock) -> None:
    late = ByClock(clock.now - 5, CPU)
    late.begin(0, 0.0)
    assert not late.is_over(0)
    assert late.is_over(1)


def test_minutes_are_divided_between_the_stages_and_what_follows_them(workplace: Path, clock: Clock) -> None:  # noqa: F811
    config = config_of(workplace, "run.minutes=10", "gan.iterations=1", "gan.share=0.25")
    minutes = Budget(config, CPU)
    clock.now += 22  # the volumes were read

    def validate() -> None:
        clock.now += 10

    minutes.time_validation(validate)
    first = minutes.fidelity(0.0, validations=8)
    training = 600 * 0.97 - 22 - 10 - 8 * 10
    assert first.deadline == pytest.approx(clock.now + 0.75 * training)
    clock.now = first.deadline + 2 * 10
    assert minutes.gan(validations=6).deadline == pytest.approx(1000 + 600 * 0.97 - 6 * 10)
    clock.now = 1000
    assert minutes.fidelity(0.9, validations=0).seconds_left == pytest.approx(582 * 0.075 / 0.325)


def test_too_few_minutes_are_an_error_that_says_what_takes_them(workplace: Path, clock: Clock) -> None:  # noqa: F811
    minutes = Budget(config_of(workplace, "run.minutes=1"), CPU)
    clock.now += 70
    with pytest.raises(UsageError, match=r"--minutes 1 .*give more"):
        minutes.fidelity(0.0, validations=1)


def test_a_run_by_the_clock_ends_in_time_with_weights_and_scores(workplace: Path, slow: Clock) -> None:  # noqa: F811
    """A validation to know its time, 19 iterations, the last one with a low learning rate, and a validation."""
    model = train(config_of(workplace, "run.minutes=1", "run.validate_every=1000"), workplace)
    assert slow.now == 1000 + 10 + 19 * 2 + 10
    assert np.isfinite(model.manifest.scores["psnr"])
    assert losses(workplace)[-1][0] == 19
    state = torch.load(workplace / "runs" / "tiny" / "checkpoint.pt", weights_only=True)
    assert (state["part"], state["iteration"]) == (1.0, 19)
    assert state["optimiser"]["param_groups"][0]["lr"] < 0.02 * 1e-3


def test_a_finished_run_by_the_clock_is_not_trained_further(workplace: Path, slow: Clock) -> None:  # noqa: F811
    train(config_of(workplace, "run.minutes=1"), workplace)
    before = losses(workplace)
    train(config_of(workplace, "run.minutes=1"), workplace, resume=True)
    assert losses(workplace) == before


def test_a_run_by_iterations_may_go_on_by_the_clock(workplace: Path, slow: Clock) -> None:  # noqa: F811
    with pytest.raises(EnhancementCancelled):
        train(config_of(workplace), workplace, cancelled=stop_after(3 + 6))
    before = slow.now
    train(config_of(workplace, "run.minutes=1", "run.validate_every=1000"), workplace, resume=True)
    assert losses(workplace)[-1][0] == 6 + (slow.now - before - 20) / 2 > 20


def test_the_command_takes_minutes(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert main(["train", str(workplace / "tiny.toml"), "--minutes", "-1"]) == 2
    assert "run.minutes = -1.0 must be a number of at least 0" in capsys.readouterr().err
    assert main(["train", str(workplace / "tiny.toml"), "--minutes", "5", "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert "in all     5 min" in plan or "in all     6 min" in plan


@pytest.mark.parametrize(("wanted", "compiles"), [("auto", False), ("never", False), ("always", True)])
def test_a_generator_is_compiled_where_that_is_asked_for(
    workplace: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    compiles: bool,
) -> None:
    """On a CPU not by itself. The compiler is a stand-in that counts its calls; a real one takes a minute."""
    calls = []

    def compiler(network: torch.nn.Module, *, dynamic: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        def compiled(x: torch.Tensor) -> torch.Tensor:
            calls.append(x.shape)
            return network(x)

        return compiled

    monkeypatch.setattr(torch, "compile", compiler)
    said: list[str] = []
    train(config_of(workplace, f"run.compile={wanted}", "optimiser.iterations=2"), workplace, warn=said.append)
    assert set(calls) == ({(2, 6, 12, 12)} if compiles else set())
    assert len(calls) == (3 if compiles else 0)  # once to try it
    assert not said


def test_a_generator_that_cannot_be_compiled_is_trained_as_it_is_and_that_is_said(
    workplace: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = train(config_of(workplace, "name=plain"), workplace).load_generator().state_dict()

    def compiler(network: torch.nn.Module, *, dynamic: bool) -> torch.nn.Module:
        class Broken(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                raise RuntimeError("long story\nno C compiler was found")

        return Broken()

    monkeypatch.setattr(torch, "compile", compiler)
    said: list[str] = []
    model = train(config_of(workplace, "run.compile=always"), workplace, warn=said.append)
    assert said == ["the fidelity stage trains without torch.compile, more slowly (no C compiler was found)"]
    weights = model.load_generator().state_dict()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("stage", ["fidelity", "gan"])
def test_an_iteration_waits_for_nothing_on_a_gpu(workplace: Path, stage: str) -> None:  # noqa: F811
    from MedSRLib.training.gan import GanStage

    config = config_of(workplace, "run.device=cuda", "gan.iterations=9", "gan.perceptual=0.0", "gan.features=2")
    volumes, device = read_data(config, workplace).train, torch.device("cuda")
    first = FidelityStage(config, volumes, workplace / "runs", device=device)
    trained = (
        first
        if stage == "fidelity"
        else GanStage(config, volumes, workplace / "runs", start=first.generator.state_dict(), device=device)
    )
    for _ in range(3):
        trained.step(trained.draw())
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            trained.step(trained.draw())
    finally:
        torch.cuda.set_sync_debug_mode("default")
