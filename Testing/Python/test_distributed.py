"""Several processes that train as one (gloo on the CPU): joint gradients, own pairs, one writer, exact resume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from conftest import OBLIQUE

from MedSRLib.errors import EnhancementCancelled, UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.training.config import load_config
from MedSRLib.training.data import read_data
from MedSRLib.training.fidelity_stage import FidelityStage
from MedSRLib.training.gan import GanStage
from MedSRLib.training.pairs import Acquired, PairBatch
from MedSRLib.training.randomness import Random
from MedSRLib.training.run import train
from MedSRLib.training.samplers import make_sampler
from MedSRLib.volumes.files import read_volume, write_volume

PROCESSES = 2
CPU = torch.device("cpu")
CONFIG = """
name = "tiny"
modalities = ["MR"]
[generator]
features = 4
blocks = 1
growth = 4
predicts_residual = false
[data]
train = ["volumes/*.nrrd"]
[pairs]
patch = 12
margin = 2
[optimiser]
iterations = 6
batch = 2
gradient_clip = 1e6
[run]
device = "cpu"
threads = 1
log_every = 1
checkpoint_every = 2
[gan]
iterations = 4
features = 2
perceptual = 0.0
adversarial = 1.0
gradient_clip = 1e6
"""
Gradients = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration, one real volume, and what two processes made of them."""
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "tiny.toml").write_text(CONFIG)
    (folder / "volumes").mkdir()
    write_volume(read_volume(OBLIQUE), folder / "volumes" / "one.nrrd")
    multiprocessing.spawn(work, args=(folder,), nprocs=PROCESSES)
    return folder


def work(rank: int, folder: Path) -> None:
    """What each of the processes does."""
    torch.set_num_threads(1)
    os.chdir(folder)
    dist.init_process_group(
        "gloo", f"file://{folder / 'meeting'}", timedelta(minutes=2), rank=rank, world_size=PROCESSES
    )
    share = slice(2 * rank, 2 * rank + 2)
    for name, gradients in gradients_of(folder, share, folder / "together").items():
        torch.save(gradients, folder / f"{name}_{rank}.pt")
    train(load_config(folder / "tiny.toml", ["output=straight"]), folder)
    # Only one process is told to stop; the others have to stop with it.
    asked = iter(range(100))
    with pytest.raises(EnhancementCancelled, match="iteration 3"):
        train(
            load_config(folder / "tiny.toml", ["output=stopped"]),
            folder,
            cancelled=lambda: next(asked) >= 9 and rank == 1,
        )
    train(load_config(folder / "tiny.toml", ["output=stopped"]), folder, resume=True)
    dist.destroy_process_group()


def gradients_of(folder: Path, share: slice, runs: Path) -> dict[str, Gradients]:
    """Gradients of one step of both stages on a share of the same four pairs."""
    config = load_config(folder / "tiny.toml")
    volumes = read_data(config, folder).train
    drawn = make_sampler(volumes, config, Random(5)).draw(4)
    acquired = drawn.measurements
    measurements = Acquired(acquired.matrix[share], acquired.y[share], acquired.axes, acquired.margin)
    batch = PairBatch(drawn.low[share], drawn.base[share], drawn.high[share], measurements)
    first = FidelityStage(config, volumes, runs, device=CPU)
    second = GanStage(config, volumes, runs, start=first.generator.state_dict(), device=CPU)
    with torch.no_grad():  # verdicts far from zero, where it matters which mean they are compared with
        second._discriminator.network.verdict.weight.mul_(1000.0)  # type: ignore[union-attr, operator]
    assert first.step(batch).finite
    assert second.step(batch).finite
    networks = {
        "fidelity": first.generator,
        "generator": second.generator,
        "discriminator": second._discriminator.network,
    }
    return {name: {key: p.grad for key, p in network.named_parameters()} for name, network in networks.items()}  # type: ignore[misc]


@pytest.mark.parametrize("name", ["fidelity", "generator", "discriminator"])
def test_two_processes_have_the_gradient_of_one_with_the_joint_batch(workplace: Path, name: str) -> None:
    alone = gradients_of(workplace, slice(0, 4), workplace / "alone")[name]
    half = gradients_of(workplace, slice(0, 2), workplace / "alone")[name]
    for rank in range(PROCESSES):
        together = torch.load(workplace / f"{name}_{rank}.pt", weights_only=True)
        scale = max(float(value.abs().max()) for value in alone.values())
        assert scale > 0
        for key, value in alone.items():
            assert torch.allclose(together[key], value, atol=2e-5 * scale), key
    assert any(not torch.allclose(half[key], value, atol=1e-3 * scale) for key, value in alone.items())


def test_every_process_draws_its_own_pairs_and_resumes_them(workplace: Path) -> None:
    state = torch.load(workplace / "straight" / "tiny" / "checkpoint.pt", weights_only=True)
    first, second = (process["random"]["generator"] for process in state["processes"])
    assert not torch.equal(first, second)


def test_a_stopped_and_resumed_run_of_two_processes_gives_the_same_history_and_weights(workplace: Path) -> None:
    straight, stopped = (workplace / name / "tiny" for name in ("straight", "stopped"))
    for name in ("history.jsonl", "gan_history.jsonl"):
        assert entries(straight / name) == entries(stopped / name)
    for value in (0.0, 1.0):
        one, other = (
            Model.read(run / "model").load_generator(fidelity=value).state_dict() for run in (straight, stopped)
        )
        assert all(torch.equal(one[key], other[key]) for key in one)


def entries(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key != "time"} for entry in lines]


def test_a_run_is_not_resumed_by_another_number_of_processes(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    with pytest.raises(UsageError, match="--nproc-per-node 2"):
        train(load_config(workplace / "tiny.toml", ["output=straight"]), workplace, resume=True)


def test_torchrun_trains_and_names_the_model(workplace: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)]
    command += ["-m", "MedSRLib.training", str(workplace / "tiny.toml")]
    command += ["--set", "output=torchrun", "--set", "optimiser.iterations=2", "--set", "gan.iterations=0"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(workplace / "torchrun" / "tiny" / "model")]
    assert len(entries(workplace / "torchrun" / "tiny" / "history.jsonl")) == 2
