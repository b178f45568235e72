"""A fusion report in one line, and as a table."""

from __future__ import annotations

import html
from typing import Any

from slicer.i18n import tr as _

from MedSRLib.panel.verdict import LINK, Verdict

_AGREES, _DISAGREES = 3.0, 8.0
"""Percent of the intensity range that a series may be from the result: its noise, and what is no rigid motion."""


def is_fusion(report: Any) -> bool:
    """Whether a result's report is one of several series."""
    return isinstance(report, dict) and "series" in report


def fusion_verdict(report: dict[str, Any]) -> Verdict:
    """Good where the result agrees with every series and nothing is warned of."""
    worst = max(one["consistency_percent"] for one in report["series"])
    if worst > _DISAGREES:
        return Verdict.Bad
    return Verdict.Good if worst <= _AGREES and not report["warnings"] else Verdict.Check


def fusion_verdict_html(name: str, report: dict[str, Any]) -> str:
    """The line for a label, with a coloured dot before it and a link after it, "details".

    Args:
        name: of the result.
        report: as ``fuse`` gives it, with what the scene added.
    """
    worst = max(one["consistency_percent"] for one in report["series"])
    count = len(report["warnings"])
    parts = [
        _("agrees with all {n} series to {misfit} %").format(n=len(report["series"]), misfit=f"{worst:.2g}")
        if fusion_verdict(report) is not Verdict.Bad
        else _("departs from a series by {misfit} %").format(misfit=f"{worst:.2g}"),
        _("no warnings") if count == 0 else _("1 warning") if count == 1 else _("{n} warnings").format(n=count),
    ]
    dot = f'<span style="color:{fusion_verdict(report).value}">\N{BLACK CIRCLE}</span>'
    return (
        f"{dot}&nbsp;<b>{html.escape(name)}</b> {html.escape(', '.join(parts))}. "
        f'<a href="details" style="color:{LINK}">{html.escape(_("Details"))}</a>'
    )


def fusion_table(report: dict[str, Any]) -> str:
    """A fusion report for people, as HTML; what is warned of comes first."""
    model = report["model"]
    rows = [(_("Warning"), sentence) for sentence in report["warnings"]]
    rows.append((_("Model"), _("none") if model is None else f"{model['name']} {model['version']}"))
    said = _("moved {degrees} degrees and {millimetres} mm, disagreement {misfit} % of the range, gain {gain}")
    for one in report["series"]:
        motion = one["motion"]
        text = said.format(
            degrees=f"{motion['turn_deg']:.2f}",
            millimetres=f"{motion['shift_mm']:.2f}",
            misfit=f"{one['consistency_percent']:.2f}",
            gain=f"{one['gain']:.2f}",
        )
        rows.append((one["name"], text))
        if one["outlier_slices"]:
            rows.append((_("Slices that count less"), ", ".join(str(n) for n in one["outlier_slices"])))
    for number, share in report["coverage"]["percent"].items():
        if share > 0:
            rows.append((_("Measured by {n} series").format(n=number), f"{share:.1f} %"))
    rows.append((_("Computed in"), f"{report['seconds']:.0f} s, {report['device']}"))
    rows += [(_("Note"), sentence) for sentence in report["notes"]]
    body = "".join(f"<tr><td>{html.escape(a)}&nbsp;&nbsp;</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
    return f"<table>{body}</table><p>{html.escape(report['notice'])}</p>"
