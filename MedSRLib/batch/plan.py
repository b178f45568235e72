"""What a batch will do: which studies, with which model, to which files, and what is complete already."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from MedSRLib.batch.discover import Study, find_studies, short_uid
from MedSRLib.batch.groups import group_series
from MedSRLib.batch.history import History, is_of_this_input, is_there, other_options, size_of
from MedSRLib.batch.journal import JOURNAL, read_journal
from MedSRLib.enhancement.request import Options
from MedSRLib.errors import InputError, UsageError
from MedSRLib.fusion.request import FusionOptions
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.itk import NIFTI

FORMATS = ("nii.gz", "nrrd", "mha", "dicom")
SHEARED_SUFFIX = ".nrrd"
"""NIfTI cannot keep sheared axes: such a result is written as NRRD."""
_SAME_FORMAT = {"": ".nii.gz", ".hdr": ".nii.gz", ".hdr.gz": ".nii.gz", ".nhdr": ".nrrd", ".mhd": ".mha"}
_OTHER_INPUT = (
    "{source} is another input than {output} was made of: use --overwrite to do it again, or another output folder"
)
_NO_EFFECT_ON_VOXELS = ("device", "force")


@dataclass(frozen=True)
class Settings:
    """What is asked for every study.

    Args:
        model: resolved once, so that all studies get the same; None for a fusion without a generator.
        options: of every enhancement; with uncertainty, it is written beside each output.
        modality: of the inputs, or None for what their files say.
        report: also write the fidelity report beside each output.
        format: one of ``FORMATS``, or None: image files keep theirs, DICOM becomes NIfTI. With "dicom" image files keep
            theirs too, as DICOM is only made of DICOM.
        fusion: how series that belong together become one volume; None where every volume is enhanced by itself.
    """

    model: Model | None
    options: Options
    modality: str | None = None
    report: bool = False
    format: str | None = None
    fusion: FusionOptions | None = None

    def described(self) -> dict[str, Any]:
        """What an output depends on; outputs of other settings are not complete for these."""
        model, options = self.model, (self.fusion or self.options).to_json()
        weights = {} if model is None else model.manifest.weights
        return {
            **({} if self.fusion is None else {"fuse": True}),
            "model": None if model is None else model.title,
            "sha256": {name: entry["sha256"] for name, entry in weights.items()},
            **{name: value for name, value in options.items() if name not in _NO_EFFECT_ON_VOXELS},
            "modality": self.modality,
            "report": self.report,
            "format": self.format,
        }


@dataclass(frozen=True)
class Task:
    """One study and where its results go; paths are below the output folder, with "/".

    Args:
        study: the input.
        stem: common beginning of its files' names, which no other task has.
        suffix: of the output, unless the volume turns out to be sheared; "" for a folder with a DICOM series.
        replace: whether what stands at these paths may be replaced.
        previous: what an earlier run made of the study, bytes by path: where it is replaced, none of it stays.
    """

    study: Study
    stem: str
    suffix: str
    replace: bool = False
    previous: Mapping[str, int] = field(default_factory=dict)

    def files(self, settings: Settings, suffix: str | None = None) -> dict[str, str]:
        """The paths to write: "volume", and "uncertainty" and "report" where they are asked for.

        Args:
            settings: which files are asked for.
            suffix: of the volumes, where it is not the planned one.
        """
        suffix = suffix or self.suffix
        files = {"volume": self.stem if self.stem.lower().endswith(suffix) else self.stem + suffix}
        if settings.options.uncertainty:
            files["uncertainty"] = f"{self.stem}.uncertainty{suffix}"
        if settings.report:
            files["report"] = f"{self.stem}.report.json"
        return files

    def suffixes(self) -> list[str]:
        """The planned suffix and, for NIfTI, the one that shear would ask for."""
        return [self.suffix, SHEARED_SUFFIX] if self.suffix in NIFTI else [self.suffix]

    def possible_files(self, settings: Settings) -> set[str]:
        """Every path that may be written to, as only reading the volume tells whether it is sheared."""
        return {path for suffix in self.suffixes() for path in self.files(settings, suffix).values()}


@dataclass(frozen=True)
class Plan:
    """What a batch will do.

    Args:
        source: the input folder.
        output: the output folder.
        settings: the same for all.
        tasks: to do, in order.
        complete: done in an earlier run, with the event that says so.
        refused: not to be done, with the sentence that says why.
        alone: series that belong to no others, where series are fused: nothing is made of them.
        others: newest events of studies that are not in this plan.
        journal_bytes: size of the journal that was read for it.
    """

    source: Path
    output: Path
    settings: Settings
    tasks: list[Task]
    complete: list[tuple[Task, dict[str, Any]]] = field(default_factory=list)
    refused: list[tuple[Task, str]] = field(default_factory=list)
    alone: list[Study] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    journal_bytes: int = 0


def plan_batch(
    source: Path,
    output: Path,
    settings: Settings,
    *,
    pattern: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Finds the studies and decides where each goes. Nothing is written.

    Args:
        source: the input folder.
        output: the output folder; it need not exist.
        settings: what is asked for every study.
        pattern: as for ``find_studies``.
        resume: leave out what the journal in ``output`` calls done with these settings, whose input is unchanged and
            whose files are there with the size they were written with. A study that is done, but of another input,
            is refused; what a run that was broken off left of one is replaced.
        overwrite: replace whatever stands at an output's path.

    Raises:
        UsageError: as ``find_studies``; outputs exist, and neither ``resume`` nor ``overwrite`` is given; or, with
            ``resume`` alone, studies are done with other options.
        InputError: as ``find_studies``; no series belong together, where they are to be fused; or the journal cannot be
            read.
    """
    journal_bytes = size_of(output / JOURNAL) or 0
    history = History.of(read_journal(output / JOURNAL))
    studies = find_studies(source, output=output, pattern=pattern)
    alone: list[Study] = []
    if settings.fusion is not None:
        studies, alone = group_series(studies)
        if not studies:
            raise InputError(
                f"none of the {len(alone)} volumes in {source} belong together: series of one frame of reference and "
                "description, or files such as t2_axial.nii.gz and t2_sagittal.nii.gz, are fused"
            )
    tasks = name_tasks(studies, settings, replace=overwrite)
    tasks = _with_previous(tasks, history, settings)
    if not resume and not overwrite:
        existing = [path for task in tasks for path in task.files(settings).values() if (output / path).exists()]
        if existing:
            raise UsageError(
                f"{len(existing)} outputs exist in {output}, such as {existing[0]}: use --resume to go on with "
                "an earlier batch, --overwrite to replace them, or another output folder"
            )
    planned = {task.study.key for task in tasks}
    others = [event for key, event in history.last.items() if key not in planned]
    plan = Plan(source, output, settings, [], alone=alone, others=others, journal_bytes=journal_bytes)
    if not resume:
        plan.tasks.extend(tasks)
        return plan
    if not overwrite:
        _require_same_options(tasks, history, plan)
    for task in tasks:
        event = history.finished.get(task.study.key)
        if event is None or not is_there(event, output):
            written = history.unfinished.union(task.previous)
            existing = [path for path in task.possible_files(settings) if (output / path).exists()]
            plan.tasks.append(replace(task, replace=overwrite or (bool(existing) and written.issuperset(existing))))
        elif other_options(event, settings.described()):
            plan.tasks.append(task)
        elif is_of_this_input(event, task.study):
            plan.complete.append((task, event))
        elif overwrite:
            plan.tasks.append(task)
        else:
            plan.refused.append((task, _OTHER_INPUT.format(source=task.study.source, output=event.get("output"))))
    return plan


def _require_same_options(tasks: Sequence[Task], history: History, plan: Plan) -> None:
    """One tree holds what was made in one way.

    Raises:
        UsageError: studies of the plan are done with other options than are asked for now.
    """
    differing = {}
    for task in tasks:
        event = history.finished.get(task.study.key)
        if event is not None and is_there(event, plan.output):
            differences = other_options(event, plan.settings.described())
            if differences:
                differing[task.study.name] = differences
    if differing:
        name, differences = next(iter(differing.items()))
        raise UsageError(
            f"{len(differing)} studies in {plan.output} are done with other options, such as {name} "
            f"({'; '.join(differences)}): resume with the same options, use --overwrite to do them again, or choose "
            "another output folder"
        )


def _with_previous(tasks: Sequence[Task], history: History, settings: Settings) -> list[Task]:
    """Tasks with what was made of their studies before, but for files that are another task's now."""
    owners = {path: task for task in tasks for path in task.possible_files(settings)}
    told = []
    for task in tasks:
        made = history.finished.get(task.study.key, {}).get("files", {})
        told.append(
            replace(task, previous={path: size for path, size in made.items() if owners.get(path, task) is task})
        )
    return told


def name_tasks(studies: Sequence[Study], settings: Settings, *, replace: bool = False) -> list[Task]:
    """Gives every study paths of its own, also on file systems that do not tell capitals from small letters.

    ``a.nii.gz`` goes to ``a.nii.gz``, with ``a.report.json`` beside it. Where there is ``a.nrrd`` too, each keeps its
    full name as its stem: ``a.nrrd`` with ``a.nrrd.report.json``, or ``a.nrrd.nii.gz`` where NIfTI was asked for.
    """
    parents = {str(parent).casefold() for study in studies for parent in PurePosixPath(study.name).parents}
    sharing = Counter(study.stem.casefold() for study in studies)
    taken: set[str] = set()
    tasks = []
    for study in studies:
        suffix = _suffix(study, settings.format)
        for stem in _stems(study, alone=sharing[study.stem.casefold()] == 1):
            task = Task(study, stem, suffix, replace)
            files = {path.casefold() for path in task.possible_files(settings)}
            # The folder of a DICOM series must not be one that other outputs go into.
            if files.isdisjoint(taken) and (suffix or files.isdisjoint(parents)):
                break
        taken |= files
        tasks.append(task)
    return tasks


def _suffix(study: Study, wanted: str | None) -> str:
    if wanted == "dicom" and not study.suffix:
        return ""
    return _SAME_FORMAT.get(study.suffix, study.suffix) if wanted in (None, "dicom") else f".{wanted}"


def _stems(study: Study, *, alone: bool) -> Iterator[str]:
    """Names for a study's files, the best first, without end."""
    if alone:
        yield study.stem
    full = study.name if study.suffix else f"{study.name}-{short_uid(study.series)}"
    yield full
    yield from (f"{full}-{number}" for number in itertools.count(2))
