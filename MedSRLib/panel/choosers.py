"""The panel's lists of improvements, models and devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer import util
from slicer.i18n import tr as _

from MedSRLib.errors import MissingPackageError
from MedSRLib.jobs.device_query import DeviceQuery, Devices
from MedSRLib.models.catalogue import AUTO
from MedSRLib.models.installed import Installed
from MedSRLib.panel.improvement import Improvement
from MedSRLib.panel.qprocess import QProcessTransport

_ITEM_FLAGS_ROLE = 1
"""Below Qt::UserRole: where QStandardItemModel keeps an item's flags; 0 are those of a disabled one."""
_DEVICE = "MedSR/Device"
_LAST_DEVICE = "MedSR/LastDevice"
_CPU = "CPU"


class ModelChooser:
    """Two lists: what to improve, and with which model.

    Args:
        improvement_box: QComboBox whose items the parameter node fills, in the order of ``Improvement``.
        model_box: QComboBox.
        parameters: gives the MedSRParameterNode, which holds what is chosen.
    """

    def __init__(self, improvement_box: Any, model_box: Any, parameters: Callable[[], Any]) -> None:
        self._improvement_box = improvement_box
        self._model_box = model_box
        self._installed = Installed((), ())
        self._shown: tuple[Improvement, str] | None = None
        self._parameters = parameters
        improvement_box.connect("activated(int)", self._improvement_chosen)
        model_box.connect("activated(int)", self._model_chosen)

    def _improvement_chosen(self, index: int) -> None:
        """A model that was chosen before is for something else."""
        self._parameters().model = AUTO

    def _model_chosen(self, index: int) -> None:
        self._parameters().model = self._model_box.itemData(index)

    def refresh(self) -> None:
        """Looks again for what is installed."""
        self._installed = Installed.find()
        self._shown = None

    def mark_improvements(self) -> None:
        """Greys out what no installed model does; call it whenever the list has been filled anew."""
        for index, improvement in enumerate(Improvement):
            there = self._automatic(improvement) is not None
            tip = improvement.explanation() if there else _("No model for this is installed yet")
            self._improvement_box.setItemData(index, tip, qt.Qt.ToolTipRole)
            if not there:
                self._improvement_box.setItemData(index, 0, int(qt.Qt.UserRole) - _ITEM_FLAGS_ROLE)

    def show(self, improvement: Improvement, model: str) -> str | None:
        """Offers the models for an improvement.

        Args:
            improvement: what is wanted.
            model: what is chosen, a name or "auto".

        Returns:
            What to ask ``enhance`` for; None when that is not installed.
        """
        fitting = self._installed.for_task(*improvement.models)
        there = model == AUTO or model in [m.name for m in fitting]
        if self._shown != (improvement, model):
            self._shown = (improvement, model)
            box = self._model_box
            box.clear()
            box.addItem(_("Automatic"), AUTO)
            for manifest in fitting:
                box.addItem(manifest.name, manifest.name)
                box.setItemData(box.count - 1, manifest.description, qt.Qt.ToolTipRole)
            if not there:
                box.addItem(_("{model} (not for this)").format(model=model), model)
            box.setCurrentIndex(box.findData(model))
            tip = _("Another model for the same improvement, your own among them.")
            box.toolTip = "\n".join([tip, *self._installed.problems])
        if not there:
            return None
        return self._automatic(improvement) if model == AUTO else model

    def _automatic(self, improvement: Improvement) -> str | None:
        return self._installed.automatic(self._installed.for_task(*improvement.models))


class DeviceChooser:
    """The list of devices. The choice is this computer's and kept in the application's settings.

    Args:
        box: QComboBox.
        on_changed: called when another one is chosen, and when the names have become known.
    """

    def __init__(self, box: Any, on_changed: Callable[[], None]) -> None:
        self._box = box
        self._on_changed = on_changed
        self._query: DeviceQuery | None = None
        self._labels: dict[str, str] = {}
        self._fill([("cpu", _CPU)])
        box.connect("activated(int)", self._chosen)

    def _chosen(self, index: int) -> None:
        self.keep()
        self._on_changed()

    @property
    def name(self) -> str:
        """As ``enhance`` takes it."""
        return str(self._box.itemData(self._box.currentIndex))

    @property
    def label(self) -> str:
        """As a report names it; for the automatic choice that of the last run."""
        if self.name == AUTO:
            return str(util.settingsValue(_LAST_DEVICE, _CPU))
        return self._labels.get(self.name, self.name)

    def keep(self) -> None:
        """Remembers the choice for the next time."""
        qt.QSettings().setValue(_DEVICE, self.name)

    def keep_used(self, label: str) -> None:
        """Remembers what the automatic choice came to.

        Args:
            label: from a report.
        """
        if self.name == AUTO:
            qt.QSettings().setValue(_LAST_DEVICE, label.partition(",")[0])

    def look(self) -> None:
        """Asks for the names of all devices, once, in the background; torch must be there."""
        if self._query is not None:
            return
        self._query = DeviceQuery(QProcessTransport)
        try:
            self._query.start(self._found)
        except MissingPackageError as error:
            self._box.toolTip = str(error)

    def look_again(self) -> None:
        """Another Python, which may see other devices, does the work from now on."""
        self.close()
        self._query = None
        self._on_changed()

    def close(self) -> None:
        """Ends a question that is not answered yet."""
        if self._query is not None:
            self._query.close()

    def _found(self, devices: Devices) -> None:
        self._fill(devices)
        self._on_changed()

    def _fill(self, devices: Devices) -> None:
        self._labels = dict(devices)
        kept = util.settingsValue(_DEVICE, AUTO)
        self._box.clear()
        self._box.addItem(_("Automatic"), AUTO)
        for name, label in devices:
            self._box.addItem(label, name)
        if self._box.findData(kept) < 0:
            self._box.addItem(kept, kept)
        self._box.setCurrentIndex(self._box.findData(kept))
