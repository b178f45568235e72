"""``--device auto`` takes a GPU that works, and says why not where one is there that does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fusion_fixtures import AXIAL, SAGITTAL, Blobs, stack

from MedSRLib.commands.main import main
from MedSRLib.enhancement import devices
from MedSRLib.enhancement.devices import device_notes, resolve_device
from MedSRLib.errors import UsageError
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume

TOO_NEW = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be reported"
TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver."


class Card:
    """What torch says of a CUDA device: the devices of the tests have none of their own.

    Args:
        listed: torch lists it.
        starts: error of its initialisation.
        runs: error of a kernel on it.
    """

    def __init__(self, listed: bool, starts: str = "", runs: Exception | None = None) -> None:
        self.listed, self.starts, self.runs = listed, starts, runs
        self.tried = 0

    def initialise(self) -> None:
        self.tried += 1
        if self.starts:
            raise RuntimeError(self.starts)

    def ones(self, *shape: int, **_: Any) -> torch.Tensor:
        if self.runs is not None:
            raise self.runs
        return torch.zeros(shape) + 1


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Card], Card]]:
    """Puts a card into this computer."""

    def put(card: Card) -> Card:
        monkeypatch.setattr(torch.version, "cuda", "12.8")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: card.listed)
        monkeypatch.setattr(torch.cuda, "init", card.initialise)
        monkeypatch.setattr(torch, "ones", card.ones)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        devices._try_cuda.cache_clear()
        return card

    yield put
    devices._try_cuda.cache_clear()


def test_a_card_that_runs_a_kernel_is_taken(install: Callable[[Card], Card]) -> None:
    install(Card(listed=True))
    assert resolve_device("auto") == torch.device("cuda")
    assert device_notes("auto") == ()


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (Card(listed=True, runs=RuntimeError(TOO_NEW)), "no kernel image is available for execution on the device"),
        (Card(listed=False, starts=TOO_OLD), "too old (found version 11040). Please update your GPU driver"),
        (Card(listed=True, starts="CUDA unknown error"), "CUDA unknown error"),
    ],
    ids=["torch too old for the card", "driver too old", "does not start"],
)
def test_a_card_that_runs_none_is_passed_over_with_the_reason(
    install: Callable[[Card], Card], card: Card, reason: str
) -> None:
    install(card)
    assert resolve_device("auto") == torch.device("cpu")
    (note,) = device_notes("auto")
    assert note.startswith(f"the CPU is used, because PyTorch {torch.__version__} cannot use the GPU: ")
    assert note.endswith(reason)


@pytest.mark.parametrize("said", ["Found no NVIDIA driver on your system. Please check", "No CUDA GPUs are available"])
def test_nothing_is_said_where_there_is_no_card(install: Callable[[Card], Card], said: str) -> None:
    install(Card(listed=False, starts=said))
    assert resolve_device("auto") == torch.device("cpu")
    assert device_notes("auto") == ()


def test_a_card_whose_memory_is_taken_works(install: Callable[[Card], Card]) -> None:
    install(Card(listed=True, runs=torch.OutOfMemoryError("CUDA out of memory")))
    assert resolve_device("auto") == torch.device("cuda")


def test_the_card_is_tried_once_a_process(install: Callable[[Card], Card]) -> None:
    card = install(Card(listed=True, runs=RuntimeError(TOO_NEW)))
    for _ in range(3):
        resolve_device("auto")
        device_notes("auto")
    assert card.tried == 1


def test_who_names_a_device_is_told_nothing(install: Callable[[Card], Card]) -> None:
    card = install(Card(listed=True, runs=RuntimeError(TOO_NEW)))
    assert device_notes("cpu") == ()
    assert resolve_device("cpu") == torch.device("cpu")
    assert card.tried == 0
    with pytest.raises(UsageError, match="this machine has no device 'cuda:99'"):
        resolve_device("cuda:99")


def test_a_device_that_is_named_and_runs_no_kernel_is_refused_with_the_reason(install: Callable[[Card], Card]) -> None:
    install(Card(listed=True, runs=RuntimeError(TOO_NEW)))
    with pytest.raises(UsageError, match=r"cannot use the device 'cuda' \(CUDA error: no kernel image .*--device cpu"):
        resolve_device("cuda")
    install(Card(listed=False, starts=TOO_OLD))
    with pytest.raises(UsageError, match=r"'cuda' \(The NVIDIA driver on your system is too old"):
        resolve_device("cuda")
    install(Card(listed=True))
    assert resolve_device("cuda") == torch.device("cuda")


@pytest.mark.usefixtures("models_folder")
def test_the_reason_is_said_once_and_stands_in_the_report(
    install: Callable[[Card], Card],
    smooth_volume: Callable[..., Volume],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(Card(listed=False, starts=TOO_OLD))
    write_volume(smooth_volume(), tmp_path / "input.nrrd")
    report = tmp_path / "report.json"
    arguments = ["--model", "tiny-x2", "--report", str(report)]
    assert main(["enhance", str(tmp_path / "input.nrrd"), str(tmp_path / "out.nrrd"), *arguments]) == 0
    (note,) = device_notes()
    assert capsys.readouterr().err.count(f"medsr: {note}\n") == 1
    content = json.loads(report.read_text())
    assert note in content["notes"]
    assert content["device"] == "CPU"


def test_fusing_says_the_reason_once_before_it_begins(
    install: Callable[[Card], Card], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(Card(listed=False, starts=TOO_OLD))
    names = [str(tmp_path / "axial.nrrd"), str(tmp_path / "sagittal.nrrd")]
    for name, directions in zip(names, (AXIAL, SAGITTAL), strict=True):
        write_volume(stack(Blobs(), directions, side=28.0, dtype=np.int16), Path(name))
    report = tmp_path / "report.json"
    options = ["--no-generator", "--no-registration", "--spacing", "2", "--report", str(report)]
    assert main(["fuse", *names, str(tmp_path / "out.nrrd"), *options]) == 0
    (note,) = device_notes()
    said = capsys.readouterr().err
    assert said.count(f"medsr: {note}\n") == 1
    assert note in json.loads(report.read_text())["warnings"]
