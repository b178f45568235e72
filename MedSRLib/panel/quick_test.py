# ruff: noqa: PT009, PT027 (inside Slicer tests are unittest)
"""A quick check inside Slicer, run by the module's own test; ``Testing/Slicer`` holds the thorough ones."""

from __future__ import annotations

from typing import Any

import slicer

from MedSRLib.errors import MissingPackageError
from MedSRLib.panel.packages import missing_packages

_SAMPLE = "MedSR head, 1.5 mm"


def refuses_what_is_no_volume(test: Any, logic: Any) -> None:
    """Bad input gives ValueError and changes nothing.

    Args:
        test: the unittest.TestCase that runs this.
        logic: MedSRLogic.
    """
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    count = slicer.mrmlScene.GetNumberOfNodes()
    for bad in (None, labels):
        with test.assertRaises(ValueError):
            logic.process(bad, waitForCompletion=False, listener=test)
    test.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), count)


def enhances_a_region_in_place(test: Any, logic: Any) -> None:
    """The sample volume's middle becomes sharper where it is; without packages, a sentence says what is missing.

    Args:
        test, logic: as above.
    """
    import SampleData

    volume = SampleData.downloadSample(_SAMPLE)
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    region.SetCenter([(bounds[0] + bounds[1]) / 2, (bounds[2] + bounds[3]) / 2, (bounds[4] + bounds[5]) / 2])
    region.SetSize(48.0, 48.0, 4.0)
    if missing_packages():
        with test.assertRaises(MissingPackageError):
            logic.process(volume, region=region, device="cpu")
        return
    result = logic.process(volume, region=region, device="cpu")
    low, high = volume.GetSpacing(), result.GetSpacing()
    for axis, factor in enumerate((2, 2, 1)):
        test.assertAlmostEqual(low[axis] / high[axis], factor)
    inner = [0.0] * 6
    result.GetRASBounds(inner)
    for axis in range(3):
        test.assertGreater(inner[2 * axis] + 1e-3, bounds[2 * axis])
        test.assertLess(inner[2 * axis + 1] - 1e-3, bounds[2 * axis + 1])
    test.assertEqual(result.GetNodeReference("MedSR.Source"), volume)


def the_panel_is_ready(test: Any, logic: Any) -> None:
    """The panel opens, and enables Enhance when there is a volume.

    Args:
        test, logic: as above.
    """
    import SampleData

    widget = slicer.util.getModuleWidget("MedSR")
    widget.initializeParameterNode()
    test.assertFalse(widget.ui.enhanceButton.enabled)
    widget._parameterNode.inputVolume = SampleData.downloadSample(_SAMPLE)
    test.assertTrue(widget.ui.enhanceButton.enabled)


CHECKS = (refuses_what_is_no_volume, enhances_a_region_in_place, the_panel_is_ready)
