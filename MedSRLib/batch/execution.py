"""Carries a plan out: journals every event, and leaves a summary whatever happens."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MedSRLib import __version__
from MedSRLib.batch.journal import JOURNAL, SUMMARY, Journal, write_summary
from MedSRLib.batch.plan import Plan, Task
from MedSRLib.errors import OutputError
from MedSRLib.progress import Cancelled, Progress, part_of

STATES = ("done", "complete", "refused", "failed", "cancelled", "not started")
"""How a study can end; "complete" was done by an earlier run, "refused" too, but of another input."""


_NO_LOCK = "the file system of {folder} knows no locks: start no other batch into it before this one ends"


@dataclass(frozen=True)
class Summary:
    """What became of a batch.

    Args:
        rows: one a study, sorted by name: ``input``, ``series``, ``state`` (one of ``STATES``) and what
            ``process_study`` answered.
        seconds: of the whole run.
        cancelled: whether it was stopped before its end.
        notes: sentences for the user.
    """

    rows: list[dict[str, Any]]
    seconds: float
    cancelled: bool
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of studies in each state that occurs."""
        found = Counter(row["state"] for row in self.rows)
        return {state: found[state] for state in STATES if state in found}


def run_batch(
    plan: Plan,
    *,
    workers: int = 1,
    told: Callable[[Task, dict[str, Any]], None] = lambda task, answer: None,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
) -> Summary:
    """Enhances every study of a plan; one that fails is recorded, and the rest goes on.

    Every study is done in another process than this one: what ends that process ends one study.

    Args:
        plan: what to do.
        workers: number of those processes.
        told: called after each study with the answer of ``process_study``.
        progress: of the whole batch.
        cancelled: asked at every tile; stops the batch, and leaves nothing of the study at work.

    Raises:
        OutputError: the output folder, the journal or the summary cannot be written; another batch is at work there,
            or was since the plan was made.
    """
    from MedSRLib.batch.workers import run_in_processes

    begun = time.monotonic()
    try:
        plan.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{plan.output} cannot be made ({error.strerror}): choose another output folder") from error
    answers: dict[tuple[str, str], dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal(plan.output / JOURNAL))
        if journal.bytes_before != plan.journal_bytes:
            raise OutputError(f"another batch was at work in {plan.output} a moment ago: start this one again")
        stack.callback(_remove_empty_folders, plan)
        stack.callback(lambda: write_summary(plan.output / SUMMARY, [*_rows(plan, answers), *_other_rows(plan)]))

        def started(task: Task) -> None:
            claims = [path for path in task.possible_files(plan.settings) if _is_ours(task, plan.output / path)]
            journal.write({**_identity(task, plan), "state": "started", "claims": sorted(claims)})

        def within(fraction: float, at_work: str) -> None:
            part_of(progress, len(answers), len(plan.tasks))(fraction, at_work)

        for task, sentence in plan.refused:
            answer = {"state": "refused", "error": sentence}
            journal.write({**_identity(task, plan), **answer})
            told(task, answer)
        outcomes = run_in_processes(
            plan.tasks,
            plan.settings,
            plan.output,
            workers=workers,
            started=started,
            progress=within,
            cancelled=cancelled,
        )
        stack.enter_context(contextlib.closing(outcomes))
        for task, answer in outcomes:
            answers[task.study.key] = answer
            journal.write({**_identity(task, plan), **answer})
            told(task, answer)
            progress(len(answers) / len(plan.tasks), task.study.name)
        notes = () if journal.is_locked else (_NO_LOCK.format(folder=plan.output),)
    rows = _rows(plan, answers)
    stopped = any(row["state"] in ("cancelled", "not started") for row in rows)
    return Summary(rows, time.monotonic() - begun, stopped, notes)


def _identity(task: Task, plan: Plan) -> dict[str, Any]:
    """The part of an event that says which input, how, and by which version."""
    return {
        "input": task.study.name,
        "series": task.study.series,
        "fingerprint": task.study.fingerprint,
        "output": task.files(plan.settings)["volume"],
        "settings": plan.settings.described(),
        "version": __version__,
    }


def _is_ours(task: Task, path: Path) -> bool:
    """Whether what stands at a path from now on was written by this batch."""
    return task.replace or not path.exists()


def _rows(plan: Plan, answers: dict[tuple[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a study, sorted by name."""
    rows = [{**event, "state": "complete"} for _, event in plan.complete]
    for task, sentence in plan.refused:
        rows.append({"input": task.study.name, "series": task.study.series, "state": "refused", "error": sentence})
    for task in plan.tasks:
        answer = answers.get(task.study.key, {"state": "not started"})
        rows.append({"input": task.study.name, "series": task.study.series, **answer})
    return sorted(rows, key=lambda row: (row["input"], row["series"]))


def _other_rows(plan: Plan) -> list[dict[str, Any]]:
    """The newest row of every study that an earlier run had and this one has not."""
    ended = {"done": "complete", "started": "not started"}
    rows = [{**event, "state": ended.get(event["state"], event["state"])} for event in plan.others if "state" in event]
    return sorted(rows, key=lambda row: (row["input"], row["series"]))


def _remove_empty_folders(plan: Plan) -> None:
    """Removes folders that were made for studies that left nothing, deepest first."""
    folders = {plan.output / task.files(plan.settings)["volume"] for task in plan.tasks}
    made = {parent for path in folders for parent in path.parents if parent.is_relative_to(plan.output)}
    for folder in sorted(made - {plan.output}, key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
