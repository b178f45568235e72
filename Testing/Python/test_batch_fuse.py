"""``medsr batch --fuse``: series that belong together become one volume, whatever happens to the other groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from batch_fixtures import events, results, run_here, states, table, tree
from fusion_fixtures import AXIAL, CORONAL, SAGITTAL, Blobs, stack, write_dicom_stack

from MedSRLib.batch import workers
from MedSRLib.batch.discover import Study, find_studies
from MedSRLib.batch.groups import group_series
from MedSRLib.commands.main import main
from MedSRLib.volumes.files import read_volume, write_volume

SIDE = 28.0
DIRECTIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL}

FuseBatch = Callable[..., tuple[int, str, str]]


def files(*names: str) -> list[Study]:
    found = []
    for name in names:
        stem, dot, suffix = name.partition(".")
        found.append(Study(Path("/data") / name, stem + dot + suffix, dot + suffix))
    return found


def grouped(*names: str) -> dict[str, list[str]]:
    groups, _ = group_series(files(*names))
    return {group.name: [member.name for member in group.members] for group in groups}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """``a_*`` in three directions, ``b_*`` of which one is damaged, ``sub/c_*``, and a volume that is alone."""
    folder = tmp_path / "input"
    (folder / "sub").mkdir(parents=True)
    for name in ("a_axial.nii.gz", "a_sagittal.nii.gz", "a_coronal.nii.gz", "b_axial.nrrd", "sub/c_axial.mha"):
        word = Path(name).name.partition(".")[0].partition("_")[2]
        write_volume(stack(Blobs(), DIRECTIONS[word], side=SIDE, dtype=np.int16), folder / name)
    write_volume(stack(Blobs(), SAGITTAL, side=SIDE, dtype=np.int16), folder / "sub" / "c_sag.mha")
    write_volume(stack(Blobs(), AXIAL, side=SIDE, dtype=np.int16), folder / "localizer.nii.gz")
    (folder / "b_sag.nrrd").write_text("not an image")
    return folder


@pytest.fixture
def fuse_batch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> FuseBatch:
    """Runs the command with its work in this process; returns its exit code, stdout and stderr."""
    monkeypatch.setattr(workers, "run_in_processes", run_here)

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["batch", *map(str, words), "--fuse", "--no-generator", "--spacing", "2", "--device", "cpu"])
        return code, *capsys.readouterr()

    return run


def test_files_of_one_folder_and_name_but_for_the_direction_are_one_group() -> None:
    assert grouped("t2_sag.nii.gz", "t2_ax.nii.gz", "t1_ax.nii.gz", "t1_cor.nii.gz", "s/t2_cor.nii.gz") == {
        "t1.nii.gz": ["t1_ax.nii.gz", "t1_cor.nii.gz"],
        "t2.nii.gz": ["t2_ax.nii.gz", "t2_sag.nii.gz"],
    }


def test_runs_and_stacks_are_one_group_in_the_order_of_their_names() -> None:
    assert grouped("sub-01_run-2_T2w.nii.gz", "sub-01_run-1_T2w.nii.gz", "sub-02_run-1_T2w.nii.gz") == {
        "sub_01_T2w.nii.gz": ["sub-01_run-1_T2w.nii.gz", "sub-01_run-2_T2w.nii.gz"]
    }
    assert grouped("stack1.nrrd", "stack2.nrrd") == {"fused.nrrd": ["stack1.nrrd", "stack2.nrrd"]}


def test_numbers_alone_make_no_group_as_they_may_be_patients() -> None:
    assert grouped("001_t2_ax.nii.gz", "002_t2_sag.nii.gz", "a.nii.gz", "b.nii.gz") == {}


def test_a_name_without_a_direction_belongs_to_no_group() -> None:
    """``t2.nii.gz`` beside ``t2_ax.nii.gz`` may be the 3D acquisition, or what an earlier run made."""
    groups, alone = group_series(files("t2.nii.gz", "t2_ax.nii.gz", "t2_sag.nii.gz"))
    assert [len(group.members) for group in groups] == [2]
    assert [study.name for study in alone] == ["t2.nii.gz"]


def dicom_study(folder: Path) -> Path:
    """T2 in two directions in folders of their own, twice T1 in one direction, T2 of another frame of reference."""
    axial, sagittal = (stack(Blobs(), way, side=SIDE, dtype=np.int16) for way in (AXIAL, SAGITTAL))
    write_dicom_stack(folder / "1", sagittal, series="1.2.1", description="SAG T2 TSE")
    write_dicom_stack(folder / "2", axial, series="1.2.2", description="AX T2 TSE")
    write_dicom_stack(folder / "3", axial, series="1.2.3", description="T1 AX")
    write_dicom_stack(folder / "3", axial, series="1.2.4", description="T1 AX")
    write_dicom_stack(folder / "4", sagittal, series="1.2.5", description="SAG T2 TSE", FrameOfReferenceUID="1.9")
    return folder


def test_dicom_series_of_one_frame_of_reference_and_description_are_one_group(tmp_path: Path) -> None:
    groups, alone = group_series(find_studies(dicom_study(tmp_path / "in"), output=tmp_path / "out"))
    assert [(group.name, [member.series for member in group.members]) for group in groups] == [
        ("T2_TSE", ["1.2.2", "1.2.1"])
    ]
    assert sorted(study.series for study in alone) == ["1.2.3", "1.2.4", "1.2.5"]


def test_dicom_series_without_a_description_are_not_guessed_at(tmp_path: Path) -> None:
    for number, way in enumerate((AXIAL, SAGITTAL)):
        volume = stack(Blobs(), way, side=SIDE, dtype=np.int16)
        write_dicom_stack(tmp_path / "in", volume, series=f"1.2.{number}", description="")
    groups, alone = group_series(find_studies(tmp_path / "in", output=tmp_path / "out"))
    assert groups == []
    assert len(alone) == 2


def test_dicom_groups_are_fused_and_their_fingerprint_is_of_all_members(
    tmp_path: Path, output: Path, fuse_batch: FuseBatch
) -> None:
    code, _, err = fuse_batch(dicom_study(tmp_path / "in"), output)
    assert code == 0
    assert results(output) == {"T2_TSE.nii.gz"}
    assert "passed over" in err
    assert events(output)[-1]["fingerprint"]["files"] == 2 * 7
    assert read_volume(output / "T2_TSE.nii.gz").spacing == pytest.approx((2, 2, 2))


def test_every_group_is_fused_and_one_that_fails_does_not_end_the_batch(
    source: Path, output: Path, fuse_batch: FuseBatch
) -> None:
    before = tree(source)
    code, _, err = fuse_batch(source, output, "--report")
    assert code == 4
    assert states(output) == {"a.nii.gz": "done", "b.nrrd": "failed", "sub/c.mha": "done"}
    assert "localizer.nii.gz" in err
    assert results(output) == {"a.nii.gz", "a.report.json", "sub", "sub/c.mha", "sub/c.report.json"}
    report = json.loads((output / "a.report.json").read_text())
    assert [one["name"] for one in report["series"]] == ["a_axial.nii.gz", "a_sagittal.nii.gz", "a_coronal.nii.gz"]
    assert all(len(one["input_sha256"]) == 64 for one in report["series"])
    failed = next(row for row in table(output) if row["state"] == "failed")
    assert "b_sag.nrrd" in failed["error"]
    assert float(table(output)[0]["lr_consistency_percent"]) > 0
    assert tree(source) == before


def test_a_dry_run_lists_the_groups_and_writes_nothing(source: Path, output: Path, fuse_batch: FuseBatch) -> None:
    code, out, err = fuse_batch(source, output, "--dry-run")
    assert code == 0
    assert "a_axial.nii.gz + a_sagittal.nii.gz + a_coronal.nii.gz -> a.nii.gz" in out
    assert "3 groups of 7 series" in err
    assert not output.exists()


def test_resuming_does_what_is_not_done_yet(source: Path, output: Path, fuse_batch: FuseBatch) -> None:
    fuse_batch(source, output)
    made = (output / "a.nii.gz").stat().st_mtime_ns
    write_volume(stack(Blobs(), SAGITTAL, side=SIDE, dtype=np.int16), source / "b_sag.nrrd", overwrite=True)
    code, _, _ = fuse_batch(source, output, "--resume")
    assert code == 0
    assert states(output) == {"a.nii.gz": "complete", "b.nrrd": "done", "sub/c.mha": "complete"}
    assert (output / "a.nii.gz").stat().st_mtime_ns == made


def test_resuming_refuses_a_group_of_which_one_series_has_changed(
    source: Path, output: Path, fuse_batch: FuseBatch
) -> None:
    fuse_batch(source, output)
    write_volume(stack(Blobs(seed=6), CORONAL, side=SIDE, dtype=np.int16), source / "a_coronal.nii.gz", overwrite=True)
    code, _, _ = fuse_batch(source, output, "--resume")
    assert code == 4
    assert states(output)["a.nii.gz"] == "refused"
    assert states(output)["sub/c.mha"] == "complete"


def test_copied_series_of_the_same_content_are_complete(source: Path, output: Path, fuse_batch: FuseBatch) -> None:
    fuse_batch(source, output)
    for path in source.glob("a_*"):
        path.touch()
    fuse_batch(source, output, "--resume")
    assert states(output)["a.nii.gz"] == "complete"


def test_nothing_that_belongs_together_is_bad_input(tmp_path: Path, output: Path, fuse_batch: FuseBatch) -> None:
    write_volume(stack(Blobs(), AXIAL, side=SIDE, dtype=np.int16), tmp_path / "only.nii.gz")
    code, _, err = fuse_batch(tmp_path, output)
    assert code == 3
    assert "belong together" in err
    assert not output.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fuse", "--uncertainty"], "--uncertainty is for enhancing"),
        (["--fuse", "--fidelity", "0.5"], "--fidelity is for enhancing"),
        (["--fuse", "--format", "dicom"], "another --format"),
        (["--fuse", "--spacing", "-1"], "positive number of millimetres"),
        (["--slice-motion"], "add --fuse"),
        (["--no-registration"], "--no-registration is for fusing"),
    ],
)
def test_options_of_the_other_kind_of_work_are_refused(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["batch", str(tmp_path), str(output), *words]) == 2
    assert said in capsys.readouterr().err
