"""``medsr benchmark`` times models against the computer's limit and other ways that give the same result."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.commands.main import main
from MedSRLib.enhancement import finishing, slabs
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.evaluation import rivals
from MedSRLib.evaluation.speed import Timing, flops_per_voxel, phantom, time_enhancement
from MedSRLib.evaluation.speed_table import Growth, Subject, random_subject
from MedSRLib.models.catalogue import Model
from MedSRLib.networks.compact import CompactGenerator

CPU = torch.device("cpu")
KEYS = {
    "seconds",
    "network_fraction_of_limit",
    "whole_over_network",
    "against_plain",
    "against_monai",
    "peak_mib",
}


@pytest.fixture(scope="module")
def measured(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that one run of the command wrote to."""
    folder = tmp_path_factory.mktemp("benchmark")
    files = ["--json", str(folder / "speed.json"), "--markdown", str(folder / "speed.md")]
    arguments = ["--model", str(tiny_model.folder), "--size", "20", "24", "4", "--device", "cpu", *files]
    assert main(["benchmark", *arguments]) == 0
    return folder


def test_every_model_has_the_figures_by_their_names(measured: Path) -> None:
    content = json.loads((measured / "speed.json").read_text())
    assert "threads" in content["device"]
    row = content["models"]["tiny-x2"]
    assert set(row) >= KEYS
    assert all(row[name] > 0 for name in KEYS - {"peak_mib"})
    assert row["whole_over_network"] > 1
    assert row["shape"] == [20, 24, 4]
    assert sum(row["stages"].values()) == pytest.approx(1)


def test_the_plain_way_gives_the_same_result_and_windows_another(measured: Path) -> None:
    row = json.loads((measured / "speed.json").read_text())["models"]["tiny-x2"]
    assert row["plain_difference"] < 1e-4


def test_the_page_names_machine_and_model_and_shows_the_growth(measured: Path) -> None:
    page = (measured / "speed.md").read_text()
    device = json.loads((measured / "speed.json").read_text())["device"]
    assert f"## {device}\n" in page
    assert "| tiny-x2 | 20 x 24 x 4 | float32 |" in page
    assert "tiny-x2 over voxels of the result: time to the power" in page
    assert "](speed.svg)" in page
    assert (measured / "speed.svg").read_text().startswith("<?xml")


def test_files_are_not_replaced_unasked(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, name in (("--json", "speed.json"), ("--markdown", "speed.md")):
        assert main(["benchmark", option, str(measured / name)]) == 2
        assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--size", "8", "24", "3"], "at least 16 x 16"),
        (["--seconds", "0"], "must be positive"),
        (["--markdown", "page.txt"], "does not end with .md"),
        (["--model", "nobody"], "there is no model 'nobody'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_timed(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", *arguments]) != 0
    assert said in capsys.readouterr().err


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["benchmark", "--help"])
    assert "medsr benchmark --json speed.json --markdown speed.md" in capsys.readouterr().out


def test_operations_are_those_of_the_convolutions() -> None:
    generator = CompactGenerator(2, 3, 1, features=5, convolutions=1, factors=(2, 2), predicts_residual=True)
    assert flops_per_voxel(generator, 3) == 2 * 9 * (3 * 5 + 5 * 5 + 5 * 4)


def test_stages_are_timed_and_left_as_they_were(tiny_model: Model) -> None:
    before = (slabs.base_image, finishing.back_project)
    generator = tiny_model.load_generator()
    timing = time_enhancement(phantom((3, 20, 24)), tiny_model.manifest, generator, CPU)
    assert (slabs.base_image, finishing.back_project) == before
    assert not generator._forward_hooks
    assert set(timing.stages) == {"estimating", "network", "base", "projection", "report", "other"}
    assert all(seconds > 0 for seconds in timing.stages.values())
    assert sum(timing.stages.values()) == pytest.approx(timing.seconds)
    border = 2 * tiny_model.manifest.border
    assert timing.flops == pytest.approx(flops_per_voxel(generator, 3) * 3 * (20 + border) * (24 + border))


def test_timing_changes_nothing_of_the_result(tiny_model: Model) -> None:
    volume = phantom((3, 20, 24))
    timing = time_enhancement(volume, tiny_model.manifest, tiny_model.load_generator(), CPU)
    np.testing.assert_array_equal(
        timing.enhanced.volume.voxels, enhance(volume, tiny_model, device="cpu").volume.voxels
    )


def test_the_phantom_has_nothing_that_could_be_skipped(tiny_model: Model) -> None:
    volume = phantom((3, 40, 40))
    assert enhance(volume, tiny_model, device="cpu").report.tiles_skipped == 0
    low = AcquisitionModel((2, 2, 1)).apply(volume.voxels)
    assert low.std() > 50


def test_growth_is_fitted_in_logarithms(tiny_model: Model) -> None:
    enhanced = enhance(phantom((2, 16, 16)), tiny_model, device="cpu")
    values = [1.0, 2.0, 4.0, 8.0, 16.0]

    def timing(value: float) -> Timing:
        voxels = np.zeros((1, 1, int(1000 * value)), np.float32)
        sized = replace(enhanced, volume=enhanced.volume.with_voxels(voxels))
        return Timing(sized, 3 * value**1.5, {}, 1.0, 100 + 0.25 * value)

    growth = Growth.fit("tiny", "size", values, [timing(value) for value in values])
    assert growth.exponent == pytest.approx(1.5)
    assert growth.bytes_per_voxel == pytest.approx(0.25 / 1000 * 2**20)
    unknown = [replace(timing(value), peak_mib=None) for value in values]
    assert Growth.fit("tiny", "size", values, unknown).bytes_per_voxel is None


@pytest.mark.parametrize("seconds", [1.0, 10.0, 1000.0])
def test_a_volume_takes_about_as_long_as_was_allowed(tiny_model: Model, seconds: float) -> None:
    subject = Subject(tiny_model.manifest, tiny_model.load_generator())
    limit = 1e8
    shape = subject.volume_shape(seconds, limit, "cpu")
    takes = flops_per_voxel(subject.generator, 3) * math.prod(shape) / limit
    assert takes <= seconds or shape[0] == 5
    assert takes > seconds / 2.5 or shape == (170, 256, 256) or shape[0] == 5


def test_the_random_network_is_of_esrgans_size() -> None:
    subject = random_subject()
    assert sum(parameter.numel() for parameter in subject.generator.parameters()) > 16e6
    assert subject.manifest.arguments["blocks"] == 23


def test_a_way_that_fails_is_told_with_its_last_words(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        returncode = 1
        stderr = "Traceback\nRuntimeError: no room\n"

    def fail(*_: Any, **__: Any) -> Done:
        return Done()

    monkeypatch.setattr(rivals.subprocess, "run", fail)
    with pytest.raises(rivals.MedSRError, match="RuntimeError: no room"):
        rivals.run_rivals(phantom((2, 16, 16)), tiny_model.manifest, {}, "cpu", rivals.Options())
