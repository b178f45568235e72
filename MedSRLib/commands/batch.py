"""``medsr batch``: every volume below a folder, into a tree of the same shape."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.commands.enhance import add_input_options
from MedSRLib.commands.fusion_options import add_fusion_options, read_fusion_options, require_options_of_work
from MedSRLib.commands.options import add_options, read_options
from MedSRLib.commands.progress import progress_bar
from MedSRLib.errors import EnhancementCancelled, UsageError
from MedSRLib.progress import Cancelled

if TYPE_CHECKING:
    from MedSRLib.batch.execution import Summary
    from MedSRLib.batch.plan import Plan, Settings, Task

SOME_FAILED = 4
_NAMED = 6
EXAMPLES = """examples:
  medsr batch study/ enhanced/ --dry-run
  medsr batch study/ enhanced/ --pattern '*_T1w.nii.gz' --workers 2 --report
  medsr batch study/ enhanced/ --resume
  medsr batch archive/ derived/ --format dicom
  medsr batch studies/ fused/ --fuse --dry-run
  medsr batch studies/ fused/ --fuse --slice-profile slr --report

NIfTI, NRRD and MetaImage files keep their place, name and format (.nhdr becomes .nrrd, .mhd becomes .mha); every
series of a DICOM folder becomes FOLDER/NUMBER-DESCRIPTION.nii.gz. A sheared volume, which NIfTI cannot hold,
becomes .nrrd. Hidden files are passed over, and so is OUTPUT_DIR where it lies in INPUT_DIR. OUTPUT_DIR also gets
the journal medsr-batch.jsonl (one event a line) and the summary medsr-batch.csv (one study a row); one batch at a
time works in it. --resume does what is not done yet: what is done stays, is not done again with other options, and is
refused where its input has changed, unless --overwrite is given too.
--fuse makes one volume of series that belong together: DICOM series of one study, frame of reference and description
but for words such as AX or SAG; files of one folder and name but for such words or run-1, stack2. Series that have no
partner of another direction are named and passed over.
Exit codes: 0 all done, 2 wrong usage, 3 nothing could be started, 4 some studies failed, 130 cancelled."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``medsr batch``."""
    parser.add_argument("input", metavar="INPUT_DIR", type=Path, help="folder to search; it is never written to")
    parser.add_argument("output", metavar="OUTPUT_DIR", type=Path, help="folder for the results; made if need be")
    parser.add_argument("--pattern", metavar="GLOB", help="only names that end so, such as 'anat/*_T1w.nii.gz'")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="studies at once, each in a process of its own, whose death ends no other (default: 1)",
    )
    parser.add_argument("--resume", action="store_true", help="skip what an earlier run of this batch completed")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    add_options(parser)
    add_input_options(parser)
    parser.add_argument("--report", action="store_true", help="also write X.report.json beside each output")
    parser.add_argument(
        "--format",
        choices=("nii.gz", "nrrd", "mha", "dicom"),
        help="of all outputs (default: the input's; NIfTI for DICOM); dicom: a derived series of every DICOM series, "
        "the input's format for others",
    )
    fusion = parser.add_argument_group("several series to one volume")
    fusion.add_argument(
        "--fuse", action="store_true", help="fuse series that belong together instead of enhancing each"
    )
    add_fusion_options(fusion)
    parser.add_argument("--json", action="store_true", help="print the summary (with --dry-run: the plan) as JSON")
    parser.epilog = EXAMPLES


def run(arguments: argparse.Namespace) -> int:
    """Prints the plan, carries it out, and prints what became of it."""
    from MedSRLib.batch.execution import run_batch
    from MedSRLib.batch.journal import SUMMARY
    from MedSRLib.batch.plan import plan_batch

    if arguments.workers < 1:
        raise UsageError("--workers must be 1 or more")
    settings = read_settings(arguments)
    _say(f"looking for volumes in {arguments.input}")
    plan = plan_batch(
        arguments.input,
        arguments.output,
        settings,
        pattern=arguments.pattern,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
    )
    for line in describe(plan, arguments.workers):
        _say(line)
    if arguments.dry_run:
        _print_plan(plan, as_json=arguments.json)
        return 0
    with _until_interrupted() as cancelled, progress_bar("medsr") as progress:
        summary = run_batch(
            plan,
            workers=arguments.workers,
            told=_teller(len(plan.tasks) + len(plan.refused)),
            progress=progress,
            cancelled=cancelled,
        )
    counts = ", ".join(f"{number} {state}" for state, number in summary.counts.items())
    _say(f"{counts} in {summary.seconds:.0f} s: see {plan.output / SUMMARY}")
    for note in summary.notes:
        _say(note)
    if arguments.json:
        print(json.dumps(_as_json(plan, summary), indent=2))
    if summary.cancelled:
        return EnhancementCancelled.exit_code
    return SOME_FAILED if {"failed", "refused"} & summary.counts.keys() else 0


def read_settings(arguments: argparse.Namespace) -> Settings:
    """What is asked for every study; options are tried out here, so that a wrong one fails once and at once.

    Raises:
        UsageError: the device or precision is not there, the fidelity is out of range, or an option is of the other
            kind of work.
        ModelError: the model is unknown, damaged, or has no weights for that fidelity.
    """
    from MedSRLib.batch.plan import Settings
    from MedSRLib.enhancement.devices import resolve_device
    from MedSRLib.models.catalogue import resolve_model

    require_options_of_work(arguments)
    options = read_options(arguments)
    device = resolve_device(options.device)
    if arguments.fuse:
        fusion = read_fusion_options(arguments)
        if fusion.generator:
            from MedSRLib.fusion.generator import choose_model

            model = choose_model(arguments.model, device)
            model.load_generator(fidelity=None)
        else:
            model = None
        return Settings(model, options, arguments.modality, arguments.report, arguments.format, fusion)
    model = resolve_model(arguments.model, device.type)
    options.check(model.manifest)
    model.load_generator(fidelity=options.fidelity)
    return Settings(model, options, arguments.modality, arguments.report, arguments.format)


def describe(plan: Plan, workers: int) -> list[str]:
    """The plan in a few lines."""
    from MedSRLib.enhancement.devices import device_label, resolve_device

    model = plan.settings.model
    studies = [task.study for task in plan.tasks] + [task.study for task, _ in (*plan.complete, *plan.refused)]
    members = [member for study in studies for member in study.members or (study,)]
    series = sum(not member.suffix for member in members)
    groups = "" if plan.settings.fusion is None else f"groups of {len(members)} series "
    processes = f", {workers} processes" if workers > 1 else ""
    lines = [
        f"plan: {len(studies)} {groups or 'studies '}({len(members) - series} files, {series} DICOM series), "
        f"{len(plan.complete)} complete, {f'{len(plan.refused)} refused, ' if plan.refused else ''}"
        f"{len(plan.tasks)} to do",
        "  model  none"
        if model is None
        else f"  model  {model.manifest.name} {model.manifest.version}, factors {model.manifest.factors_text}",
        f"  device {device_label(resolve_device(plan.settings.options.device))}{processes}",
        f"  output {plan.output}",
    ]
    if plan.output.resolve().is_relative_to(plan.source.resolve()):
        lines.append(f"  volumes in {plan.output} are not inputs")
    if plan.alone:
        named = ", ".join(study.name for study in plan.alone[:_NAMED])
        more = f" and {len(plan.alone) - _NAMED} others" if len(plan.alone) > _NAMED else ""
        lines.append(f"  passed over, as they have no partner to be fused with: {named}{more}")
    return lines


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    rows = [(task, "to do") for task in plan.tasks]
    rows += [(task, "complete") for task, _ in plan.complete]
    rows += [(task, f"refused: {sentence}") for task, sentence in plan.refused]
    rows.sort(key=lambda row: row[0].study.key)
    if as_json:
        studies = [
            {
                "input": task.study.name,
                "series": task.study.series,
                "output": task.files(plan.settings)["volume"],
                "state": state,
                **({"members": [member.name for member in task.study.members]} if task.study.members else {}),
            }
            for task, state in rows
        ]
        print(json.dumps({**_as_json(plan), "studies": studies}, indent=2))
        return
    for task, state in rows:
        note = "" if state == "to do" else f"  ({state})"
        inputs = " + ".join(member.name for member in task.study.members) or task.study.name
        print(_printable(f"{inputs} -> {task.files(plan.settings)['volume']}{note}"))


def _as_json(plan: Plan, summary: Summary | None = None) -> dict[str, Any]:
    from MedSRLib import __version__

    content = {
        "input": str(plan.source),
        "output": str(plan.output),
        "settings": plan.settings.described(),
        "version": __version__,
    }
    if summary is None:
        return content
    return {**content, "seconds": summary.seconds, "counts": summary.counts, "studies": summary.rows}


def _teller(total: int) -> Callable[[Task, dict[str, Any]], None]:
    """Prints one line a study; on a terminal, where the bar is, only what went wrong."""
    from tqdm import tqdm

    number = 0

    def tell(task: Task, answer: dict[str, Any]) -> None:
        nonlocal number
        number += 1
        line = f"medsr: [{number}/{total}] {task.study.name} {answer['state']}"
        if answer["state"] == "done":
            if sys.stderr.isatty():
                return
            line += f" in {answer['seconds']:.1f} s: {answer['output']}, "
            line += f"{answer['report']['lr_consistency_percent']:.3f} % of the range from the input"
        elif "error" in answer:
            line += f": {answer['error']}"
        tqdm.write(_printable(line), file=sys.stderr)

    return tell


def _say(text: str) -> None:
    print(_printable(f"medsr: {text}"), file=sys.stderr)


def _printable(text: str) -> str:
    """File names may hold bytes that are no characters, and not every stream takes those."""
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def _until_interrupted() -> Iterator[Cancelled]:
    """Turns the first Ctrl-C (or SIGTERM) into a flag, so that nothing is broken off in the middle of a write."""
    flag = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()
        if sys.stderr.isatty():
            os.write(2, b"\nmedsr: stopping\n")

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield flag.is_set
        return
    heeded = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield flag.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: a program around Python had set it
