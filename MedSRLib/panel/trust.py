"""The verdict on a result, the Trust section with its report, the views to judge it in, and the way back."""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MedSRLib.enhancement.result import FidelityReport
from MedSRLib.errors import InputError, MedSRError
from MedSRLib.panel.fusion_verdict import fusion_table, fusion_verdict_html, is_fusion
from MedSRLib.panel.verdict import report_table, verdict_html
from MedSRLib.scene.browsing import sequence_of
from MedSRLib.scene.roles import REPORT, SOURCE_ROLE, UNCERTAINTY_ROLE

_UPPER_EDGE = 7
"""vtkCornerAnnotation::UpperEdge, which Slicer's own annotations leave free."""


class TrustSection:
    """Shows a result, and how far to trust it.

    Args:
        ui: the panel's widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._result: Any = None
        self._views_before: Any = None
        ui.compareButton.connect("clicked(bool)", self.on_compare)
        ui.restoreButton.connect("clicked(bool)", self.on_restore)
        ui.verdictLabel.connect("linkActivated(QString)", self.on_details)

    def on_compare(self, checked: bool = False) -> None:
        """Shows input, result and difference in linked views."""
        with slicer.util.tryWithErrorDisplay(_("The volumes cannot be compared."), waitCursor=True):
            try:
                self.compare()
            except MedSRError as error:
                slicer.util.errorDisplay(str(error))

    def on_restore(self, checked: bool = False) -> None:
        """Makes the slice views as they were before the result came."""
        with slicer.util.tryWithErrorDisplay(_("The views cannot be restored."), waitCursor=False):
            self.restore(slicer.mrmlScene)

    def on_details(self, link: str = "") -> None:
        """Unfolds the report that the verdict is about."""
        self.ui.trustCollapsibleButton.collapsed = False

    def show(self, result: Any, *, working: bool = False) -> None:
        """Shows the verdict on a result, and its report.

        Args:
            result: vtkMRMLScalarVolumeNode, or None.
            working: something goes on, beside which an old verdict would be misread.
        """
        self._result = result
        text = _report_of(result)
        report, problem = _read(text)
        ui = self.ui
        ui.verdictLabel.visible = report is not None and not working
        line, table = (fusion_verdict_html, fusion_table) if is_fusion(report) else (verdict_html, report_table)
        ui.verdictLabel.text = "" if report is None else line(result.GetName(), report)
        ui.reportLabel.text = table(report) if report is not None else problem or _("No result yet.")
        ui.compareButton.enabled = bool(text) and result.GetNodeReference(SOURCE_ROLE) is not None
        ui.restoreButton.enabled = self._views_before is not None

    def forget(self) -> None:
        """The scene is closed: there is nothing to go back to."""
        self._views_before = None
        self.show(None)

    def put_in_views(self, result: Any, source: Any) -> str:
        """Shows a new result: beside its input where they are compared, in its input's place elsewhere.

        Where no view shows the input, or it is gone, the result goes to all views of the layout.

        Args:
            result: vtkMRMLScalarVolumeNode in a scene.
            source: its input, or None where that is gone.

        Returns:
            Where it is shown, for the status.
        """
        from MedSRLib.scene.views import capture_views, is_comparing, show_everywhere, show_instead

        scene = result.GetScene()
        comparing = is_comparing(scene)
        views = capture_views(scene)
        looked_at = source is not None and any(source.GetID() in view.volumes for view in views.views)
        # The way back leads to the input, not to an earlier result in its place, nor to where they are compared.
        if self._views_before is None or (looked_at and not comparing):
            self._views_before = views
        shown = show_instead(result, source)
        self.show(result)
        if comparing and source is not None:
            with contextlib.suppress(MedSRError):  # the input was changed while the job ran: shown like any other then
                self.compare()
                return str(_("shown beside its input"))
        if comparing:
            self._leave_comparison(scene)
            shown = show_instead(result, source)
        if not shown:
            shown = show_everywhere(result)
            _fit(shown)
        if not shown:
            return str(_("not shown, as no slice view is open"))
        return str(_("shown in {views}").format(views=", ".join(shown)))

    def compare(self) -> None:
        """Shows input, result and what was added side by side, with the uncertainty map where there is one.

        Raises:
            MedSRError: the input is gone, was changed since, or there are no views.
        """
        from MedSRLib.scene.comparison import compare
        from MedSRLib.scene.difference import difference_node
        from MedSRLib.scene.views import capture_views

        source = self._result.GetNodeReference(SOURCE_ROLE)
        if source is None:
            raise MedSRError("the input is not in the scene any more: there is nothing to compare with")
        others = [self._result.GetNthNodeReference(SOURCE_ROLE, n) for n in range(1, 3)]
        if any(others):  # of several series no single one tells what was added
            self._compare_series([source, *filter(None, others)])
            return
        added = difference_node(source, self._result)
        if self._views_before is None:
            self._views_before = capture_views(source.GetScene())
        spread = self._result.GetNodeReference(UNCERTAINTY_ROLE)
        names = compare(source, self._result, added, spread, settle=_settle)
        _annotate(names, [_("Input"), _("MedSR result"), _("Added detail"), _("Uncertainty")])
        self.show(self._result)

    def _compare_series(self, sources: Sequence[Any]) -> None:
        """Shows the first series, the result and the other series side by side."""
        from MedSRLib.scene.comparison import compare
        from MedSRLib.scene.views import capture_views

        first, *others = sources
        if self._views_before is None:
            self._views_before = capture_views(first.GetScene())
        names = compare(first, self._result, *others, settle=_settle, letters="IR23")
        _annotate(names, [first.GetName(), _("MedSR result"), *(other.GetName() for other in others)])
        self.show(self._result)

    def restore(self, scene: Any, *, place: bool = True) -> None:
        """Makes the views of a scene as they were before the result came.

        Args:
            scene: vtkMRMLScene.
            place: also lets them look where they looked.
        """
        from MedSRLib.scene.views import restore_views

        views, self._views_before = self._views_before, None
        if views is not None:
            restore_views(scene, views, place=place)
        self.show(self._result)

    def _leave_comparison(self, scene: Any) -> None:
        """Back to the layout before: with the input gone there is nothing to compare."""
        from MedSRLib.scene.views import layout_of

        layout_of(scene).SetViewArrangement(self._views_before.arrangement)


def _report_of(result: Any) -> str | None:
    """The report on a result: of all frames, where it shows one of a sequence."""
    if result is None:
        return None
    sequence = sequence_of(result)
    whole = None if sequence is None else sequence.GetAttribute(REPORT)
    return whole or result.GetAttribute(REPORT)


def _read(text: str | None) -> tuple[Any, str]:
    """A result's attribute as a report, or why it cannot be read: another version of MedSR may have written it."""
    if not text:
        return None, ""
    try:
        content = json.loads(text)
        return content if is_fusion(content) else FidelityReport.from_json(content), ""
    except (InputError, ValueError) as error:
        return None, html.escape(str(error))


def _settle() -> None:
    """Lets Slicer create and lay out views; a click that waits is not taken meanwhile."""
    slicer.app.processEvents(qt.QEventLoop.ExcludeUserInputEvents)


def _fit(names: Sequence[str]) -> None:
    """Lets slice views see all of what they show."""
    manager = slicer.app.layoutManager()
    for name in names if manager is not None else ():
        manager.sliceWidget(name).sliceLogic().FitSliceToBackground()


def _annotate(names: Sequence[str], texts: Sequence[str]) -> None:
    """Writes at the upper edge of slice views what they show; their bars have room for a letter only."""
    manager = slicer.app.layoutManager()
    for name, text in zip(names, texts, strict=False) if manager is not None else ():
        view = manager.sliceWidget(name).sliceView()
        view.cornerAnnotation().SetText(_UPPER_EDGE, text)
        view.scheduleRender()
