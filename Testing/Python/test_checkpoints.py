"""A checkpoint is the old one or the new one, whole, also where it is cut into files that can be carried."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from MedSRLib.errors import InputError, OutputError
from MedSRLib.training.arguments import add_run_arguments, requested_run
from MedSRLib.training.checkpoints import load_checkpoint, parts_of, save_checkpoint

CPU = torch.device("cpu")


def state(value: float) -> dict[str, object]:
    return {"iteration": int(value), "weights": torch.full((20_000,), value)}


@pytest.mark.parametrize("megabytes", [0.0, 0.03, 1.0])
def test_what_is_saved_is_loaded(tmp_path: Path, megabytes: float) -> None:
    path = tmp_path / "checkpoint.pt"
    for value in (1.0, 2.0):
        save_checkpoint(state(value), path, megabytes)
        loaded = load_checkpoint(path, CPU)
        assert loaded["iteration"] == value
        assert torch.equal(loaded["weights"], state(value)["weights"])
    files = list(tmp_path.iterdir())
    assert len(files) == (4 if megabytes == 0.03 else 1), "nothing of the checkpoint before is left"
    assert max(file.stat().st_size for file in files) <= 1e6 * (megabytes or 1)


def test_a_later_run_may_choose_another_size(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for megabytes in (0.03, 0.0, 0.05):
        save_checkpoint(state(3.0), path, megabytes)
        assert load_checkpoint(path, CPU)["iteration"] == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_the_checkpoint_before_stays_whole_until_the_new_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(state(1.0), path, 0.03)

    def killed(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(OutputError, match="--resume"):
        save_checkpoint(state(2.0), path, 0.03)
    assert load_checkpoint(path, CPU)["iteration"] == 1


def test_the_command_line_says_how_large_files_may_be() -> None:
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    config, _ = requested_run(parser.parse_args(["quickstart", "--data", "x", "--checkpoint-size", "50"]))
    assert config.run.checkpoint_size == 50


def test_a_part_that_was_not_carried_along_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(state(1.0), path, 0.03)
    last = parts_of(path)[-1]
    last.unlink()
    with pytest.raises(InputError, match=last.name):
        load_checkpoint(path, CPU)
