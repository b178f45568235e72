"""``medsr batch`` on real volumes with a tiny model: what it writes, records and skips."""

# ruff: noqa: F811 (fixtures are imported, and named again as arguments)

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import dicom_objects
import numpy as np
import pydicom
import pytest
from batch_fixtures import (  # noqa: F401 (fixtures)
    Batch,
    batch,
    events,
    good,
    output,
    results,
    source,
    states,
    table,
    tree,
)
from test_dicom import write_series

from MedSRLib.batch import journal
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.files import read_sequence, read_volume, write_volume
from MedSRLib.volumes.sequence import VolumeSequence
from MedSRLib.volumes.volume import Volume


class TestOneRun:
    def test_a_study_that_fails_is_recorded_and_the_rest_is_done(
        self, batch: Batch, source: Path, output: Path, tiny_model: Model
    ) -> None:
        before = tree(source)
        code, out, err = batch(source, output, "--json")
        assert code == 4
        assert tree(source) == before
        assert results(output) == {"a.nii.gz", "sub", "sub/c.mha"}
        assert states(output) == {"a.nii.gz": "done", "b.nrrd": "failed", "sub/c.mha": "done"}

        rows = table(output)
        assert "b.nrrd" in rows[1]["error"]
        assert float(rows[0]["seconds"]) > 0
        done = [event for event in events(output) if event["state"] == "done"]
        assert float(rows[0]["edge_sharpness_gain"]) == pytest.approx(
            done[0]["report"]["edge_sharpness_gain"], rel=1e-5
        )
        assert done[0]["settings"]["sha256"] == {"fidelity": tiny_model.manifest.weights["fidelity"]["sha256"]}
        assert done[1]["files"] == {"sub/c.mha": (output / "sub" / "c.mha").stat().st_size}
        assert [event["state"] for event in events(output)] == [
            "started",
            "done",
            "started",
            "failed",
            "started",
            "done",
        ]

        summary = json.loads(out)
        assert summary["counts"] == {"done": 2, "failed": 1}
        assert [study["input"] for study in summary["studies"]] == ["a.nii.gz", "b.nrrd", "sub/c.mha"]
        assert err.index("plan: 3 studies (3 files, 0 DICOM series)") < err.index("[1/3] a.nii.gz done")
        assert "[2/3] b.nrrd failed" in err
        assert all(line.startswith("medsr: ") for line in err.splitlines())

    def test_the_result_is_that_of_enhance(self, batch: Batch, good: Path, output: Path, tiny_model: Model) -> None:
        assert batch(good, output, "--no-consistency")[0] == 0
        expected = enhance(read_volume(good / "sub/c.mha"), tiny_model, device="cpu", consistency=False).volume
        written = read_volume(output / "sub/c.mha")
        np.testing.assert_array_equal(written.voxels, expected.voxels)
        assert written.voxels.dtype == np.uint16
        np.testing.assert_allclose(written.affine, expected.affine, atol=1e-6)

    def test_uncertainty_and_report_lie_beside_each_output(self, batch: Batch, good: Path, output: Path) -> None:
        shutil.copy(good / "a.nii.gz", good / "sub" / "c.nii.gz")
        assert batch(good, output, "--uncertainty", "--report", "--pattern", "sub/*")[0] == 0
        files = {"sub/c.mha", "sub/c.mha.uncertainty.mha", "sub/c.mha.report.json"}
        files |= {"sub/c.nii.gz", "sub/c.nii.gz.uncertainty.nii.gz", "sub/c.nii.gz.report.json"}
        assert results(output) == {"sub", *files}
        report = json.loads((output / "sub/c.mha.report.json").read_text())
        assert (report["input"], report["output"], report["factors"]) == ("sub/c.mha", "sub/c.mha", [2, 2, 1])
        assert read_volume(output / "sub/c.mha.uncertainty.mha").voxels.dtype == np.float32

    def test_every_series_of_a_dicom_folder_gets_a_volume(self, batch: Batch, tmp_path: Path, output: Path) -> None:
        folder = tmp_path / "input" / "patient"
        folder.mkdir(parents=True)
        write_series(folder, prefix="a", SeriesInstanceUID="1.2.30", SeriesNumber=2)
        write_series(folder, prefix="b", SeriesInstanceUID="1.2.31", SeriesNumber=3, step=(0, -0.8, 2.5))
        write_series(folder, prefix="c", SeriesInstanceUID="1.2.32", SeriesNumber=4, skip=(2,))
        before = tree(folder)
        code, _, err = batch(folder.parent, output)
        assert code == 4
        assert tree(folder) == before
        assert results(output) == {"patient", "patient/002-Thorax.nii.gz", "patient/003-Thorax.nrrd"}
        rows = table(output)
        assert [row["series"] for row in rows] == ["1.2.30", "1.2.31", "1.2.32"]
        assert rows[1]["output"] == "patient/003-Thorax.nrrd"
        assert "slices are missing" in rows[2]["error"]
        assert "3 DICOM series" in err
        sheared = read_volume(output / rows[1]["output"])
        original = read_volume(folder, series="1.2.31")
        np.testing.assert_allclose(sheared.affine[:3, 2], original.affine[:3, 2], atol=1e-9)
        assert batch(folder.parent, output, "--resume")[0] == 4
        assert [row["state"] for row in table(output)] == ["complete", "complete", "failed"]

    def test_with_the_format_dicom_a_series_becomes_a_derived_series_in_a_folder(
        self, batch: Batch, tmp_path: Path, output: Path, smooth_volume: Callable[..., Volume]
    ) -> None:
        dicom_objects.write_series(tmp_path / "input" / "scan", "CT")
        write_volume(smooth_volume((4, 14, 12)), tmp_path / "input" / "a.nrrd")
        words = (tmp_path / "input", output, "--format", "dicom", "--report", "--uncertainty")
        assert batch(*words)[0] == 0
        series = output / "scan" / "003-Thorax_2.5_B30f"
        assert sorted(path.name for path in series.iterdir()) == ["0001.dcm", "0002.dcm", "0003.dcm", "0004.dcm"]
        assert {path.name for path in (output / "scan").iterdir()} == {
            series.name,
            f"{series.name}.uncertainty",
            f"{series.name}.report.json",
        }
        assert (output / "a.nrrd").is_file()
        assert "MedSR" in pydicom.dcmread(series / "0001.dcm").SeriesDescription
        assert "steps of" in (output / "scan" / f"{series.name}.report.json").read_text()  # of the uncertainty
        before = tree(output)
        assert batch(*words, "--resume")[0] == 0
        assert set(states(output).values()) == {"complete"}
        (series / "0002.dcm").unlink()
        assert batch(*words, "--resume")[0] == 0
        assert states(output) == {"a.nrrd": "complete", "scan/003-Thorax_2.5_B30f": "done"}
        assert tree(output).keys() == before.keys()

    def test_every_frame_of_a_4d_file_is_enhanced_into_one(
        self, batch: Batch, tmp_path: Path, output: Path, smooth_volume: Callable[..., Volume]
    ) -> None:
        first = smooth_volume((4, 14, 12))
        frames = VolumeSequence.from_frames(first, np.stack([first.voxels, first.voxels[::-1]]), step=2.0)
        (tmp_path / "input").mkdir()
        write_volume(frames, tmp_path / "input" / "a.nii.gz")
        assert batch(tmp_path / "input", output, "--report", "--uncertainty")[0] == 0
        assert [len(read_sequence(output / name)) for name in ("a.nii.gz", "a.uncertainty.nii.gz")] == [2, 2]
        assert len(json.loads((output / "a.report.json").read_text())["frames"]) == 2

    def test_a_dry_run_prints_the_plan_and_writes_nothing(self, batch: Batch, source: Path, output: Path) -> None:
        code, out, err = batch(source, output, "--dry-run", "--format", "nrrd")
        assert code == 0
        assert out.splitlines() == ["a.nii.gz -> a.nrrd", "b.nrrd -> b.nrrd", "sub/c.mha -> sub/c.nrrd"]
        assert "model  tiny-x2 1.0.0, factors 2 x 2 x 1" in err
        assert "device CPU" in err
        plan = json.loads(batch(source, output, "--dry-run", "--json")[1])
        assert plan["studies"][0] == {"input": "a.nii.gz", "series": "", "output": "a.nii.gz", "state": "to do"}
        assert not output.exists()

    def test_an_output_folder_inside_the_input_is_left_out(self, batch: Batch, good: Path) -> None:
        for more in ([], ["--overwrite"]):
            code, _, err = batch(good, good / "enhanced", *more)
            assert code == 0
            assert "plan: 2 studies" in err
            assert "are not inputs" in err


class TestResume:
    def test_what_is_complete_is_skipped_and_the_rest_is_done(self, batch: Batch, source: Path, output: Path) -> None:
        batch(source, output)
        before = tree(output)
        shutil.copy(source / "a.nii.gz", source / "d.nii.gz")
        code, _, err = batch(source, output, "--resume")
        assert code == 4
        assert "2 complete, 2 to do" in err
        wanted = {"a.nii.gz": "complete", "b.nrrd": "failed", "d.nii.gz": "done", "sub/c.mha": "complete"}
        assert states(output) == wanted
        assert {name: tree(output)[name] for name in ("a.nii.gz", "sub/c.mha")}.items() <= before.items()
        write_volume(read_volume(source / "a.nii.gz"), source / "b.nrrd", overwrite=True)
        assert batch(source, output, "--resume")[0] == 0
        assert set(states(output).values()) == {"complete", "done"}
        assert float(table(output)[0]["edge_sharpness_gain"]) > 0

    @pytest.mark.parametrize("change", ["gone", "cut", "report"])
    def test_an_output_that_is_not_whole_any_more_is_done_again(
        self, batch: Batch, good: Path, output: Path, change: str
    ) -> None:
        batch(good, output, "--report")
        if change == "gone":
            (output / "a.nii.gz").unlink()
        elif change == "cut":
            (output / "a.nii.gz").write_bytes((output / "a.nii.gz").read_bytes()[:-9])
        else:
            (output / "a.report.json").unlink()
        assert batch(good, output, "--report", "--resume")[0] == 0
        assert states(output) == {"a.nii.gz": "done", "sub/c.mha": "complete"}
        read_volume(output / "a.nii.gz")
        assert (output / "a.report.json").exists()

    def test_an_input_that_changed_is_refused_and_done_again_with_overwrite(
        self, batch: Batch, good: Path, output: Path
    ) -> None:
        batch(good, output)
        before = tree(output)["a.nii.gz"]
        volume = read_volume(good / "a.nii.gz")
        write_volume(volume.with_voxels(volume.voxels[::-1].copy()), good / "a.nii.gz", overwrite=True)
        code, _, err = batch(good, output, "--resume")
        assert code == 4
        assert "a.nii.gz is another input than a.nii.gz was made of: use --overwrite" in err
        assert states(output) == {"a.nii.gz": "refused", "sub/c.mha": "complete"}
        assert tree(output)["a.nii.gz"] == before
        assert batch(good, output, "--resume")[0] == 4
        assert batch(good, output, "--resume", "--overwrite")[0] == 0
        assert states(output) == {"a.nii.gz": "done", "sub/c.mha": "complete"}
        assert tree(output)["a.nii.gz"] != before

    @pytest.mark.parametrize("contents", ["the same", "others of the same size"])
    def test_a_new_time_is_no_new_input_but_new_contents_are(
        self, batch: Batch, tmp_path: Path, output: Path, contents: str, smooth_volume: Callable[..., Volume]
    ) -> None:
        (tmp_path / "input").mkdir()
        path = tmp_path / "input" / "a.nii"
        write_volume(smooth_volume((4, 14, 12)), path)
        batch(tmp_path / "input", output)
        if contents != "the same":
            path.write_bytes(path.read_bytes()[:-2] + b"!!")
        os.utime(path, ns=(0, 10**18))
        assert batch(tmp_path / "input", output, "--resume")[0] == (0 if contents == "the same" else 4)
        assert states(output) == {"a.nii": "complete" if contents == "the same" else "refused"}

    @pytest.mark.parametrize("change", ["options", "model"])
    def test_other_options_or_another_model_are_refused_at_once_and_taken_with_overwrite(
        self, batch: Batch, good: Path, output: Path, change: str, models_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch(good, output, "--report")
        (output / "a.nii.gz").unlink()
        batch(good, output, "--report", "--resume")
        before, first = tree(output), read_volume(output / "a.nii.gz").voxels
        words = ["--no-consistency"] if change == "options" else []
        if change == "model":
            shelf = good.parent / "shelf"
            shutil.copytree(models_folder, shelf)
            retrain(shelf / "tiny-x2")
            monkeypatch.setenv("MEDSR_MODELS", str(shelf))
        code, _, err = batch(good, output, "--resume", "--report", *words)
        assert code == 2
        assert ("(consistency True, now False)" if words else "(other weights of the model)") in err
        assert "--overwrite" in err
        assert tree(output) == before
        assert batch(good, output, "--resume", "--report", "--overwrite", *words)[0] == 0
        assert set(states(output).values()) == {"done"}
        assert not np.array_equal(read_volume(output / "a.nii.gz").voxels, first)

    @pytest.mark.parametrize("words", [["--overwrite"], ["--overwrite", "--resume"]])
    def test_no_old_report_or_volume_stays_beside_a_new_volume(
        self, batch: Batch, good: Path, output: Path, words: list[str]
    ) -> None:
        batch(good, output, "--report", "--uncertainty")
        (output / "sub" / "c.report.json").write_text("changed by hand")
        assert batch(good, output, *words, "--format", "nrrd")[0] == 0
        assert results(output) == {"a.nrrd", "sub", "sub/c.nrrd", "sub/c.report.json"}

    def test_the_summary_keeps_the_studies_that_a_later_run_leaves_out(
        self, batch: Batch, source: Path, output: Path
    ) -> None:
        batch(source, output)
        assert batch(source, output, "--resume", "--pattern", "*.mha")[0] == 0
        assert states(output) == {"a.nii.gz": "complete", "b.nrrd": "failed", "sub/c.mha": "complete"}

    def test_a_file_that_no_batch_wrote_is_kept(self, batch: Batch, good: Path, output: Path) -> None:
        output.mkdir()
        (output / "a.nii.gz").write_text("mine")
        assert batch(good, output, "--resume")[0] == 4
        assert (output / "a.nii.gz").read_text() == "mine"
        assert "exists" in table(output)[0]["error"]
        assert batch(good, output, "--resume")[0] == 4
        assert (output / "a.nii.gz").read_text() == "mine"
        assert batch(good, output, "--resume", "--overwrite")[0] == 0
        read_volume(output / "a.nii.gz")

    def test_a_run_that_was_killed_in_mid_study_is_taken_up_where_it_broke_off(
        self, batch: Batch, good: Path, output: Path
    ) -> None:
        batch(good, output)
        (output / journal.SUMMARY).unlink()
        # Killed after c's files were moved and before that was journalled, in the middle of the line.
        lines = (output / journal.JOURNAL).read_bytes().splitlines(keepends=True)
        assert b'"started"' in lines[2]
        (output / journal.JOURNAL).write_bytes(b"".join(lines[:3]) + lines[3][:40])
        assert batch(good, output, "--resume")[0] == 0
        assert states(output) == {"a.nii.gz": "complete", "sub/c.mha": "done"}
        told = [event["state"] for event in journal.read_journal(output / journal.JOURNAL)]
        assert told == ["started", "done", "started", "started", "done"]
        assert batch(good, output, "--resume")[0] == 0
        assert set(states(output).values()) == {"complete"}

    def test_existing_outputs_are_refused_at_once_unless_they_may_be_replaced(
        self, batch: Batch, good: Path, output: Path
    ) -> None:
        batch(good, output)
        before = tree(output)
        code, _, err = batch(good, output)
        assert code == 2
        assert "--resume" in err
        assert tree(output) == before
        assert batch(good, output, "--overwrite")[0] == 0
        assert set(states(output).values()) == {"done"}
        assert tree(output)["a.nii.gz"] != before["a.nii.gz"]


def retrain(folder: Path) -> None:
    """Doubles a model's weights, as a later version of it might have them."""
    from MedSRLib.models.catalogue import save_model

    model = Model.read(folder)
    state = {name: 2 * value for name, value in model.load_generator().state_dict().items()}
    save_model(folder, model.manifest, state)
