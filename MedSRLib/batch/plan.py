"""What a batch will do: which studies, with which model, to which files, and what is complete already."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MedSRLib.batch.discover import Study, find_studies, short_uid
from MedSRLib.batch.journal import JOURNAL, read_journal
from MedSRLib.errors import UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.itk import NIFTI

FORMATS = ("nii.gz", "nrrd", "mha")
SHEARED_SUFFIX = ".nrrd"
"""NIfTI cannot keep sheared axes: such a result is written as NRRD."""
_SAME_FORMAT = {"": ".nii.gz", ".hdr": ".nii.gz", ".hdr.gz": ".nii.gz", ".nhdr": ".nrrd", ".mhd": ".mha"}
_NO_EFFECT_ON_VOXELS = ("device", "force")


@dataclass(frozen=True)
class Settings:
    """What is asked for every study.

    Args:
        model: resolved once, so that all studies get the same.
        options: keyword arguments of ``enhance`` beside the model.
        modality: of the inputs, or None for what their files say.
        uncertainty: also write the uncertainty beside each output.
        report: also write the fidelity report beside each output.
        format: one of ``FORMATS``, or None: image files keep theirs, DICOM becomes NIfTI.
    """

    model: Model
    options: Mapping[str, Any]
    modality: str | None = None
    uncertainty: bool = False
    report: bool = False
    format: str | None = None

    def described(self) -> dict[str, Any]:
        """What an output depends on; outputs of other settings are not complete for these."""
        manifest = self.model.manifest
        return {
            "model": self.model.title,
            "sha256": {name: entry["sha256"] for name, entry in manifest.weights.items()},
            **{name: value for name, value in self.options.items() if name not in _NO_EFFECT_ON_VOXELS},
            "modality": self.modality,
            "uncertainty": self.uncertainty,
            "report": self.report,
            "format": self.format,
        }


@dataclass(frozen=True)
class Task:
    """One study and where its results go; paths are below the output folder, with "/".

    Args:
        study: the input.
        stem: common beginning of its files' names, which no other task has.
        suffix: of the output, unless the volume turns out to be sheared.
        replace: whether what stands at these paths may be replaced.
    """

    study: Study
    stem: str
    suffix: str
    replace: bool = False

    def files(self, settings: Settings, suffix: str | None = None) -> dict[str, str]:
        """The paths to write: "volume", and "uncertainty" and "report" where they are asked for.

        Args:
            settings: which files are asked for.
            suffix: of the volumes, where it is not the planned one.
        """
        suffix = suffix or self.suffix
        files = {"volume": self.stem if self.stem.lower().endswith(suffix) else self.stem + suffix}
        if settings.uncertainty:
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
    """

    source: Path
    output: Path
    settings: Settings
    tasks: list[Task]
    complete: list[tuple[Task, dict[str, Any]]]


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
            whose files are there with the size they were written with; what the journal says was written by an
            earlier run, and is not complete, may be replaced.
        overwrite: replace whatever stands at an output's path.

    Raises:
        UsageError: as ``find_studies``; or outputs exist, and neither ``resume`` nor ``overwrite`` is given.
        InputError: as ``find_studies``; or the journal cannot be read.
    """
    tasks = name_tasks(find_studies(source, output=output, pattern=pattern), settings, replace=overwrite)
    if not resume:
        existing = [path for task in tasks for path in task.files(settings).values() if (output / path).exists()]
        if existing and not overwrite:
            raise UsageError(
                f"{len(existing)} outputs exist in {output}, such as {existing[0]}: use --resume to go on with "
                "an earlier batch, --overwrite to replace them, or another output folder"
            )
        return Plan(source, output, settings, tasks, [])
    last: dict[tuple[str, str], dict[str, Any]] = {}
    ours: set[str] = set()
    for event in read_journal(output / JOURNAL):
        last[str(event.get("input")), str(event.get("series"))] = event
        ours.update((*event.get("claims", ()), *event.get("files", ())))
    to_do, complete = [], []
    for task in tasks:
        event = last.get(task.study.key, {})
        if _is_complete(task, event, output, settings):
            complete.append((task, event))
        else:
            existing = [path for path in task.possible_files(settings) if (output / path).exists()]
            replace = overwrite or (bool(existing) and ours.issuperset(existing))
            to_do.append(Task(task.study, task.stem, task.suffix, replace))
    return Plan(source, output, settings, to_do, complete)


def name_tasks(studies: Sequence[Study], settings: Settings, *, replace: bool = False) -> list[Task]:
    """Gives every study paths of its own, also on file systems that do not tell capitals from small letters.

    ``a.nii.gz`` goes to ``a.nii.gz``, with ``a.report.json`` beside it. Where there is ``a.nrrd`` too, each keeps its
    full name as its stem: ``a.nrrd`` with ``a.nrrd.report.json``, or ``a.nrrd.nii.gz`` where NIfTI was asked for.
    """
    sharing = Counter(study.stem.casefold() for study in studies)
    taken: set[str] = set()
    tasks = []
    for study in studies:
        suffix = f".{settings.format}" if settings.format else _SAME_FORMAT.get(study.suffix, study.suffix)
        for stem in _stems(study, alone=sharing[study.stem.casefold()] == 1):
            task = Task(study, stem, suffix, replace)
            files = {path.casefold() for path in task.possible_files(settings)}
            if files.isdisjoint(taken):
                break
        taken |= files
        tasks.append(task)
    return tasks


def _stems(study: Study, *, alone: bool) -> Iterator[str]:
    """Names for a study's files, the best first, without end."""
    if alone:
        yield study.stem
    full = study.name if study.suffix else f"{study.name}-{short_uid(study.series)}"
    yield full
    yield from (f"{full}-{number}" for number in itertools.count(2))


def _is_complete(task: Task, event: Mapping[str, Any], output: Path, settings: Settings) -> bool:
    """Whether the last event of a study says that what is asked for now is there and is still of this input."""
    if event.get("state") != "done" or event.get("settings") != settings.described():
        return False
    if event.get("fingerprint") != task.study.fingerprint or event.get("output") not in task.possible_files(settings):
        return False
    return all(_size(output / path) == size for path, size in event.get("files", {}).items())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
