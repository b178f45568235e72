"""Processes of MedSR's own wait for their threads without spinning and keep the memory they freed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from MedSRLib import process
from MedSRLib.process import environment_before, prepare_process

FAULTS = """
import resource, torch
from MedSRLib.process import prepare_process
{prepare}

def work(rounds):
    x = torch.rand(12 * 2**20)
    for _ in range(rounds):
        y = x + 1
        z = y * 2
        del z

work(12)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work(12)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(process, "_QUOTA", Path("no such file"))


def test_threads_that_wait_sleep() -> None:
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert "OMP_NUM_THREADS" not in os.environ


def test_other_programs_can_be_started_with_what_the_user_has_set_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    prepare_process()
    before = environment_before()
    assert "OMP_WAIT_POLICY" not in before
    assert before["OMP_NUM_THREADS"] == "7"


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    monkeypatch.setattr(process, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    prepare_process()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OMP_NUM_THREADS"]) == ("active", "7")


@pytest.mark.parametrize(
    ("quota", "threads"), [("250000 100000", "3"), ("50000 100000", "1"), ("max 100000", None), ("", None)]
)
def test_there_are_no_more_threads_than_the_container_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, threads: str | None
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(process, "_QUOTA", tmp_path / "cpu.max")
    prepare_process()
    assert os.environ.get("OMP_NUM_THREADS") == threads


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again() -> None:
    def faults(prepare: str) -> int:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        code = FAULTS.format(prepare=prepare)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        return int(done.stdout)

    assert faults("prepare_process()") < faults("") / 4
