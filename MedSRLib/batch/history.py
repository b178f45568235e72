"""What earlier runs made in an output folder, as its journal tells it, and whether that still stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MedSRLib.batch.discover import Study
from MedSRLib.errors import MedSRError
from MedSRLib.volumes.source import Source

Key = tuple[str, str]
"""``Study.key``: name and series."""


@dataclass
class History:
    """What the events of a journal come to.

    Args:
        last: the newest event of every study.
        finished: the newest "done" event of every study whose files no later run has begun to replace.
        unfinished: paths that a run which was broken off may have written to.
    """

    last: dict[Key, dict[str, Any]] = field(default_factory=dict)
    finished: dict[Key, dict[str, Any]] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> History:
        """Goes through events, oldest first.

        Args:
            events: as ``read_journal`` gives them.
        """
        history, claims = cls(), dict[Key, set[str]]()
        for event in events:
            key = str(event.get("input")), str(event.get("series"))
            history.last[key] = dict(event)
            if event.get("state") == "started":
                claims[key] = set(event.get("claims", ()))
                made = history.finished.get(key, {}).get("files", {})
                if not claims[key].isdisjoint(made):
                    del history.finished[key]
            elif event.get("state") == "done":
                history.finished[key] = dict(event)
            if event.get("state") != "started" and not event.get("died"):
                claims.pop(key, None)  # it left nothing but what it says
        history.unfinished = set().union(*claims.values())
        return history


def is_there(event: Mapping[str, Any], output: Path) -> bool:
    """Whether every file that a "done" event names is there, of the size it had."""
    return all(size_of(output / path) == size for path, size in event.get("files", {}).items())


def other_options(event: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """The options in which a "done" event differs from what is asked for now, such as "fidelity 1.0, now 0.5".

    Args:
        event: what was done.
        settings: ``Settings.described()``.
    """
    before = event.get("settings", {})
    names = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    return [
        "other weights of the model" if name == "sha256" else f"{name} {before.get(name)}, now {settings.get(name)}"
        for name in names
        if name != "sha256" or "model" not in names
    ]


def is_of_this_input(event: Mapping[str, Any], study: Study) -> bool:
    """Whether a "done" event was made of what the study's files hold now: of one size, and of one time or SHA-256."""
    before, now = event.get("fingerprint", {}), study.fingerprint
    if before == now:
        return True
    if any(before.get(name) != now.get(name) for name in ("files", "bytes")):
        return False
    report = event.get("report", {})
    told = report.get("series", ()) if study.members else (report,)
    try:
        hashes = [_sha256(one) for one in study.members or (study,)]
    except MedSRError:  # it cannot be read any more
        return False
    return hashes == [one.get("input_sha256") for one in told]


def _sha256(study: Study) -> Any:
    return Source(study.source, study.series or None).described()["input_sha256"]


def size_of(path: Path) -> int | None:
    """Bytes of a file, or of all files in a folder; None where there is neither."""
    try:
        if path.is_dir():
            return sum(one.stat().st_size for one in path.iterdir())
        return path.stat().st_size
    except OSError:
        return None
