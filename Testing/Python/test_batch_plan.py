"""Where the results of a batch go: every study has files of its own, near its own name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedSRLib.batch.discover import Study
from MedSRLib.batch.plan import FORMATS, Settings, Task, name_tasks
from MedSRLib.enhancement.request import Options
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.files import READABLE

SUFFIXES = (*READABLE, "")


def study(stem: str, suffix: str, series: str = "") -> Study:
    return Study(Path("/data") / (stem + suffix), stem + suffix, suffix, series)


def settings(tiny_model: Model, *, uncertainty: bool = False, **changes: object) -> Settings:
    return Settings(tiny_model, Options(uncertainty=uncertainty), **changes)  # type: ignore[arg-type]


def volumes(tasks: list[Task], chosen: Settings) -> list[str]:
    return [task.files(chosen)["volume"] for task in tasks]


def test_image_files_keep_place_name_and_format_and_dicom_becomes_nifti(tiny_model: Model) -> None:
    chosen = settings(tiny_model)
    studies = [study("a", ".nii.gz"), study("s/b", ".nrrd"), study("c", ".mhd"), study("ct/002-Thorax", "", "1.2")]
    assert volumes(name_tasks(studies, chosen), chosen) == ["a.nii.gz", "s/b.nrrd", "c.mha", "ct/002-Thorax.nii.gz"]


def test_a_format_is_given_to_all(tiny_model: Model) -> None:
    chosen = settings(tiny_model, format="nrrd")
    assert volumes(name_tasks([study("a", ".nii.gz"), study("ct/x", "", "1.2")], chosen), chosen) == [
        "a.nrrd",
        "ct/x.nrrd",
    ]


def test_studies_of_one_stem_keep_their_full_names(tiny_model: Model) -> None:
    studies = [study("a", ".nii.gz"), study("a", ".nrrd"), study("a", ".mhd")]
    same = settings(tiny_model, report=True)
    tasks = name_tasks(studies, same)
    assert volumes(tasks, same) == ["a.nii.gz", "a.nrrd", "a.mhd.mha"]
    assert [task.files(same)["report"] for task in tasks] == [
        f"a.{end}.report.json" for end in ("nii.gz", "nrrd", "mhd")
    ]
    nifti = settings(tiny_model, format="nii.gz")
    assert volumes(name_tasks(studies, nifti), nifti) == ["a.nii.gz", "a.nrrd.nii.gz", "a.mhd.nii.gz"]


def test_names_that_differ_in_capitals_only_are_told_apart(tiny_model: Model) -> None:
    chosen = settings(tiny_model)
    first, second = volumes(name_tasks([study("A", ".nii"), study("a", ".nii")], chosen), chosen)
    assert first == "A.nii"
    assert second.casefold() != first.casefold()


def test_series_of_one_number_and_description_are_told_apart_by_their_uid(tiny_model: Model) -> None:
    chosen = settings(tiny_model)
    studies = [study("ct/1-x", "", "1.2.840.113619.2.55.3.1"), study("ct/1-x", "", "1.2.840.113619.2.55.3.2")]
    assert volumes(name_tasks(studies, chosen), chosen) == ["ct/1-x-619.2.55.3.1.nii.gz", "ct/1-x-619.2.55.3.2.nii.gz"]


@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from(["a", "A", "b", "a.uncertainty", "a.nii", "a-2", "a.nii.gz", "a.nrrd-2", "s/a"]),
            st.sampled_from(SUFFIXES),
        ),
        unique=True,
        max_size=12,
    ),
    format=st.sampled_from([None, *FORMATS]),
    uncertainty=st.booleans(),
)
def test_no_two_studies_ever_share_a_file(
    tiny_model: Model, pairs: list[tuple[str, str]], format: str | None, uncertainty: bool
) -> None:
    chosen = settings(tiny_model, format=format, uncertainty=uncertainty, report=True)
    tasks = name_tasks([study(*pair) for pair in sorted(pairs)], chosen)
    files = [path.casefold() for task in tasks for path in task.possible_files(chosen)]
    assert len(tasks) == len(pairs)
    assert len(set(files)) == len(files)
    for task in tasks:
        assert Path(task.files(chosen)["volume"]).parent == Path(task.study.name).parent


def described(model: Model, options: dict[str, object]) -> dict[str, object]:
    return Settings(model, Options.from_json(options)).described()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"device": "cpu"}, {"device": "cuda"}, True),
        ({"force": True}, {"force": False}, True),
        ({"consistency": True}, {"consistency": False}, False),
        ({"precision": "float32"}, {"precision": "float16"}, False),
    ],
)
def test_only_what_changes_voxels_tells_settings_apart(
    tiny_model: Model, one: dict[str, object], other: dict[str, object], same: bool
) -> None:
    assert (described(tiny_model, one) == described(tiny_model, other)) == same


def test_the_weights_a_model_is_named_with_tell_settings_apart(tiny_model: Model) -> None:
    """ "NAME@0" and "NAME" are other voxels: what one made is not complete for the other."""
    pleasing = replace(tiny_model, fidelity=0.0)
    assert described(pleasing, {}) != described(tiny_model, {})
