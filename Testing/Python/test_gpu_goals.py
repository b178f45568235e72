"""The script that holds a GPU to its goals runs to its end where there is none, on small volumes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "Utilities" / "gpu_goals.py"


@pytest.fixture(scope="module")
def script() -> object:
    spec = importlib.util.spec_from_file_location("gpu_goals", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_goals"] = module
    spec.loader.exec_module(module)
    return module


def test_every_goal_is_measured(script: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "FULL", {"features": 4, "blocks": 1, "growth": 2})
    measured = {goal.name: goal for goal in script.goals(torch.device("cpu"), shrink=16)}  # type: ignore[attr-defined]
    assert len(measured) == 7
    assert all(goal.measured >= 0 for goal in measured.values())
    assert measured["largest difference from the CPU, of the range"].measured == 0


@pytest.mark.parametrize(("measured", "at_most", "met"), [(1, True, True), (2, True, False), (2, False, True)])
def test_a_goal_is_met_on_the_right_side(script: object, measured: float, at_most: bool, met: bool) -> None:
    goal = script.Goal("speed", measured, 1.5, at_most)  # type: ignore[attr-defined]
    assert goal.met == met
    assert goal.line().startswith("met" if met else "MISSED")
