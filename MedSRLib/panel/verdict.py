"""A fidelity report in one line, and as a table."""

from __future__ import annotations

import enum
import html

from slicer.i18n import tr as _

from MedSRLib.enhancement.result import FidelityReport

LINK = "#2f86d6"
"""Readable on light and dark ground; not every dark style has a colour of its own for links."""
_AGREES, _DISAGREES = 1.0, 3.0
"""Percent of the intensity range, about the noise of a usual scan and three times as much."""
_WITHIN_NOISE = 1.3
"""Times the scan's noise that a result may be from it: what was taken off as noise is no disagreement."""


class Verdict(enum.Enum):
    """How a result stands to its input; the values are colours that can be read on light and dark ground."""

    Good = "#2e9e5b"
    Check = "#c98300"
    Bad = "#d64545"


def verdict_of(report: FidelityReport) -> Verdict:
    """Good where the result agrees with the scan and nothing is warned of."""
    misfit, noise = report.lr_consistency_percent, _WITHIN_NOISE * report.noise_percent
    if misfit > max(_DISAGREES, noise):
        return Verdict.Bad
    return Verdict.Good if misfit <= max(_AGREES, noise) and not report.warnings else Verdict.Check


def verdict_line(report: FidelityReport) -> str:
    """In plain words how far a result agrees with the scan, what it gained, and whether something is warned of."""
    misfit, gain = report.lr_consistency_percent, 100 * (report.edge_sharpness_gain - 1)
    count = len(report.warnings)
    parts = [
        _("agrees with the scan to {misfit} %").format(misfit=f"{misfit:.2g}")
        if verdict_of(report) is not Verdict.Bad
        else _("departs from the scan by {misfit} %").format(misfit=f"{misfit:.2g}"),
        _("edges {gain} % steeper").format(gain=f"{gain:.0f}") if gain >= 1 else _("edges no steeper"),
        _("no warnings") if count == 0 else _("1 warning") if count == 1 else _("{n} warnings").format(n=count),
    ]
    return ", ".join(parts)


def verdict_html(name: str, report: FidelityReport) -> str:
    """The line for a label, with a coloured dot before it and a link after it, "details".

    Args:
        name: of the result.
        report: its.
    """
    dot = f'<span style="color:{verdict_of(report).value}">\N{BLACK CIRCLE}</span>'
    details = _("Details")
    return (
        f"{dot}&nbsp;<b>{html.escape(name)}</b> {html.escape(verdict_line(report))}. "
        f'<a href="details" style="color:{LINK}">{html.escape(details)}</a>'
    )


def report_table(report: FidelityReport) -> str:
    """A fidelity report for people, as HTML; what is warned of comes first.

    Args:
        report: as ``enhance`` gives it, with what the scene added.
    """
    grey = _("{x} % of the grey-level range")
    rows = [(_("Warning"), sentence) for sentence in report.warnings]
    rows += [
        (_("Model"), f"{report.model.name} {report.model.version}"),
        (_("Input taken as"), report.acquisition_text),
        (_("Disagreement with the input"), grey.format(x=f"{report.lr_consistency_percent:.2f}")),
        (_("What was taken off"), report.residual_text),
        (_("Shift of the mean"), grey.format(x=f"{report.mean_shift_percent:+.3f}")),
        (_("Edges"), _("{gain} times as steep").format(gain=f"{report.edge_sharpness_gain:.2f}")),
        (_("Detail added"), _("{rms} grey levels (root mean square)").format(rms=f"{report.added_detail_rms:.3g}")),
        (_("Computed in"), f"{report.seconds:.0f} s, {report.device}"),
    ]
    if report.uncertain_share_percent is not None:
        rows.append((_("Uncertain voxels"), f"{report.uncertain_share_percent:.1f} %"))
    if report.frames:
        rows.append((_("Frames"), _("{n}; the figures above are the worst of all").format(n=len(report.frames))))
        each = _("disagreement {x} %, edges {gain} times as steep")
        rows += [
            (
                _("Frame {name}").format(name=frame["name"]),
                each.format(x=f"{frame['lr_consistency_percent']:.2f}", gain=f"{frame['edge_sharpness_gain']:.2f}"),
            )
            for frame in report.frames
        ]
    rows += [(_("Note"), sentence) for sentence in report.notes]
    body = "".join(f"<tr><td>{html.escape(a)}&nbsp;&nbsp;</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
    return f"<table>{body}</table><p>{html.escape(report.notice)}</p>"
