"""The panel's Trust section: the fidelity report, the views to judge a result in, and the way back."""

from __future__ import annotations

import html
import json
from typing import Any

import slicer
from slicer.i18n import tr as _

from MedSRLib.enhancement.result import FidelityReport
from MedSRLib.errors import InputError, MedSRError

_REPORT = "MedSR.Report"
_SOURCE = "MedSR.Source"
"""Attribute and node reference of a result, written by ``MedSRLib.scene.output``, whose import takes a while."""


class TrustSection:
    """Shows a result's report, and shows the result.

    Args:
        ui: the panel's widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._result: Any = None
        self._views_before: Any = None
        self.ui.compareButton.connect("clicked(bool)", self.on_compare)
        self.ui.restoreButton.connect("clicked(bool)", self.on_restore)

    def on_compare(self, checked: bool = False) -> None:
        """Shows input, result and difference in linked views."""
        with slicer.util.tryWithErrorDisplay(_("The volumes cannot be compared."), waitCursor=True):
            self.compare()

    def on_restore(self, checked: bool = False) -> None:
        """Makes the slice views as they were before the result came."""
        with slicer.util.tryWithErrorDisplay(_("The views cannot be restored."), waitCursor=False):
            self.restore(slicer.mrmlScene)

    def show(self, result: Any) -> None:
        """Shows the report of a result.

        Args:
            result: vtkMRMLScalarVolumeNode, or None.
        """
        self._result = result
        text = result.GetAttribute(_REPORT) if result is not None else None
        self.ui.reportLabel.text = _report_text(text) if text else _("No result yet.")
        self.ui.compareButton.enabled = bool(text) and result.GetNodeReference(_SOURCE) is not None
        self.ui.restoreButton.enabled = self._views_before is not None

    def forget(self) -> None:
        """The scene is closed: there is nothing to go back to."""
        self._views_before = None
        self.show(None)

    def put_in_views(self, result: Any, source: Any) -> None:
        """Shows a new result where its input is shown.

        Args:
            result: vtkMRMLScalarVolumeNode in a scene, or None for nothing to show.
            source: its input, or None where that is gone.
        """
        from MedSRLib.scene.views import capture_views, show_instead

        if result is None or source is None:
            return
        views = capture_views(result.GetScene())
        # The way back leads to the input, not to an earlier result in its place.
        if self._views_before is None or any(source.GetID() in view.volumes for view in views.views):
            self._views_before = views
        show_instead(result, source)
        self.show(self._result)

    def compare(self) -> None:
        """Shows input, result and what was added side by side.

        Raises:
            MedSRError: the input is gone, was changed since, or there are no views.
        """
        from MedSRLib.scene.difference import difference_node
        from MedSRLib.scene.views import capture_views, compare

        source = self._result.GetNodeReference(_SOURCE)
        if source is None:
            raise MedSRError("the input is not in the scene any more: there is nothing to compare with")
        added = difference_node(source, self._result)
        if self._views_before is None:
            self._views_before = capture_views(source.GetScene())
        compare(source, self._result, added)
        self.show(self._result)

    def restore(self, scene: Any) -> None:
        """Makes the views of a scene as they were before the result came.

        Args:
            scene: vtkMRMLScene.
        """
        from MedSRLib.scene.views import restore_views

        views, self._views_before = self._views_before, None
        if views is not None:
            restore_views(scene, views)
        self.show(self._result)


def _report_text(text: str) -> str:
    """A result's attribute for people; one that another version of MedSR wrote is named so."""
    try:
        return report_table(FidelityReport.from_json(json.loads(text)))
    except (InputError, ValueError) as error:
        return html.escape(str(error))


def report_table(report: FidelityReport) -> str:
    """A fidelity report for people, as HTML.

    Args:
        report: as ``enhance`` gives it.
    """
    rows = [
        (_("Model"), f"{report.model.name} {report.model.version}"),
        (_("Input taken as"), report.acquisition_text),
        (_("Disagreement with the input"), f"{report.lr_consistency_percent:.2f} %"),
        (_("Shift of the mean"), f"{report.mean_shift_percent:+.3f} %"),
        (_("Edges"), _("{gain} times as steep").format(gain=f"{report.edge_sharpness_gain:.2f}")),
        (_("Detail added (RMS)"), f"{report.added_detail_rms:.3g}"),
        (_("Computed in"), f"{report.seconds:.0f} s, {report.device}"),
    ]
    if report.uncertain_share_percent is not None:
        rows.append((_("Uncertain voxels"), f"{report.uncertain_share_percent:.1f} %"))
    rows += [(_("Warning"), sentence) for sentence in report.warnings]
    rows += [(_("Note"), sentence) for sentence in report.notes]
    body = "".join(f"<tr><td>{html.escape(a)}&nbsp;&nbsp;</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
    return f"<table>{body}</table><p>{html.escape(report.notice)}</p>"
