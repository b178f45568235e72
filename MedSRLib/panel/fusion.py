"""The panel's list of series that become one volume with the input, and what fusing them takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MedSRLib.enhancement.estimate import Estimate
from MedSRLib.errors import InputError, UsageError
from MedSRLib.fusion.estimate import estimate_fusion
from MedSRLib.fusion.request import FusionOptions
from MedSRLib.fusion.suggest import suggest
from MedSRLib.models.manifest import Manifest
from MedSRLib.panel.improvement import Improvement
from MedSRLib.scene.fusion import require_several, series_of
from MedSRLib.scene.nodes import SCALAR_VOLUME
from MedSRLib.scene.roles import REPORT

_CHOSEN = "fusedSeries"
"""Node references of the parameter node: the series that are fused with the input."""
_CHOSEN_FOR = "fusedSeriesInput"
"""Node reference of the parameter node: the input that they were chosen for; another input gets a new proposal."""
_LONGEST_NAME = 34
"""Characters that a narrow panel has room for."""


class SeriesList:
    """Check boxes, one a volume of the scene that may be fused with the input.

    Args:
        ui: the panel's widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._parameters: Any = None
        self._rows: list[tuple[Any, Any]] = []
        self._observed: list[tuple[Any, int]] = []
        self._filling = False
        self.chosen: list[Any] = []
        self.options = FusionOptions()

    def show(self, parameters: Any) -> bool:
        """Shows what can be fused with the input; hidden where something else is to be improved.

        Args:
            parameters: MedSRParameterNode.

        Returns:
            Whether series are to be fused.
        """
        fusing = parameters.improvement is Improvement.FuseSeries
        self._parameters = parameters
        self._ui.seriesLabel.visible = self._ui.sliceMotionCheckBox.visible = fusing
        first = parameters.inputVolume
        if not fusing or first is None:
            self.close()
            self._fill([], [])
            self.chosen = [first] if fusing else []
            return fusing
        self._follow(first.GetScene())
        others = candidates(first)
        node = parameters.parameterNode
        if node.GetNodeReference(_CHOSEN_FOR) is not first:
            self._keep(node, first, proposed(first, others))
        kept = [node.GetNthNodeReference(_CHOSEN, n) for n in range(node.GetNumberOfNodeReferences(_CHOSEN))]
        checked = [other for other in others if other in kept]
        self._fill(others, checked)
        self._ui.seriesLabel.text = _("Fuse with:") if others else _("There is no other volume to fuse it with.")
        self.chosen = [first, *checked]
        return True

    def estimate(self, parameters: Any, manifest: Manifest, device: str, device_label: str) -> Estimate:
        """What fusing the chosen series gives and takes; ``options`` are those to ask for.

        Args:
            parameters: MedSRParameterNode.
            manifest: of the model.
            device: as ``fuse`` takes it.
            device_label: as in a report.

        Raises:
            InputError, UsageError: they cannot be fused.
        """
        self.options = FusionOptions(slice_motion=parameters.sliceMotion, device=device)
        require_several(self.chosen)
        if parameters.outputVolume in self.chosen:
            raise UsageError("the inputs are never overwritten: choose another output")
        first = self.chosen[0]
        volumes = [series_of(first, node) for node in self.chosen]
        names = [node.GetName() for node in self.chosen]
        return estimate_fusion(volumes, names, manifest, device_label, self.options)

    def request(self, parameters: Any, model: str | None) -> dict[str, Any]:
        """What to ask ``MedSRLogic.fuse`` for, by argument.

        Args:
            parameters: MedSRParameterNode, as ``show`` saw it last.
            model: name, or "auto".
        """
        return {
            "inputVolumes": self.chosen,
            "outputVolume": parameters.outputVolume,
            "model": model,
            "modality": parameters.modality.value,
            **self.options.to_json(),
        }

    def close(self) -> None:
        """Follows no scene any more."""
        for scene, tag in self._observed:
            scene.RemoveObserver(tag)
        self._observed = []

    def _follow(self, scene: Any) -> None:
        if self._observed:
            return

        def changed(*_event: Any) -> None:
            # A node that is being loaded has no image yet, and one that goes is still there.
            qt.QTimer.singleShot(0, self._scene_changed)

        self._observed = [
            (scene, scene.AddObserver(event, changed)) for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent)
        ]

    def _scene_changed(self) -> None:
        if self._observed:
            self._parameters.Modified()

    def _fill(self, others: Sequence[Any], checked: Sequence[Any]) -> None:
        """Gives each volume a row; rows that are left over are hidden."""
        self._filling = True
        layout = self._ui.seriesLayout
        while len(self._rows) < len(others):
            box = qt.QCheckBox()
            box.connect("stateChanged(int)", self._clicked)
            layout.addWidget(box)
            self._rows.append((box, None))
        for n, (box, _old) in enumerate(self._rows):
            there = n < len(others)
            box.visible = there
            self._rows[n] = box, others[n] if there else None
            if there:
                name = others[n].GetName()
                box.text = shortened(name)
                box.toolTip = _("{name}: {size} mm").format(name=name, size=_spacing_text(others[n]))
                box.checked = others[n] in checked
        self._filling = False

    def _clicked(self, state: int = 0) -> None:
        if self._filling:
            return
        parameters = self._parameters
        checked = [node for box, node in self._rows if node is not None and box.checked]
        self._keep(parameters.parameterNode, parameters.inputVolume, checked)

    def _keep(self, node: Any, first: Any, chosen: Sequence[Any]) -> None:
        before = node.StartModify()
        node.RemoveNodeReferenceIDs(_CHOSEN)
        for one in chosen:
            node.AddNodeReferenceID(_CHOSEN, one.GetID())
        node.SetNodeReferenceID(_CHOSEN_FOR, first.GetID())
        node.EndModify(before)


def candidates(first: Any) -> list[Any]:
    """The other volumes of a scene that hold slices of a scan; what MedSR made is none.

    Args:
        first: vtkMRMLScalarVolumeNode.
    """
    found = []
    for node in slicer.util.getNodesByClass(SCALAR_VOLUME, first.GetScene()):
        image = node.GetImageData()
        if node is first or node.GetClassName() != SCALAR_VOLUME or node.GetAttribute(REPORT) or image is None:
            continue
        if image.GetDimensions()[2] > 1 and image.GetNumberOfScalarComponents() == 1:
            found.append(node)
    return found


def proposed(first: Any, others: Sequence[Any]) -> list[Any]:
    """Those of some volumes that look like series of one image with the first one.

    Args:
        first: vtkMRMLScalarVolumeNode.
        others: likewise.
    """
    readable, volumes = [], []
    try:
        own = series_of(first, first)
    except InputError:
        return []
    for node in others:
        try:
            volumes.append(series_of(first, node))
        except InputError:
            continue
        readable.append(node)
    chosen = suggest(own, first.GetName(), volumes, [node.GetName() for node in readable])
    return [node for node, fits in zip(readable, chosen, strict=True) if fits]


def shortened(name: str) -> str:
    """A name that fits a narrow panel: what differs is mostly at its ends."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _spacing_text(node: Any) -> str:
    return " x ".join(f"{spacing:.3g}" for spacing in node.GetSpacing())
