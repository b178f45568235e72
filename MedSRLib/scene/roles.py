"""The names under which a result keeps what belongs to it; light, for the panel reads them before it shows anything."""

from __future__ import annotations

REPORT = "MedSR.Report"
"""Attribute of an output: the fidelity report as JSON. What has it is MedSR's own."""
UNCERTAINTY_ROLE = "MedSR.Uncertainty"
"""Node reference from an output to its uncertainty map. Unlike an ID in an attribute it survives an import."""
SOURCE_ROLE = "MedSR.Source"
"""Node reference from an output to its input, which stays right where ``MedSR.SourceNodeID`` is renumbered."""
DIFFERENCE_ROLE = "MedSR.Added"
"""Node reference from an output to the volume of what it added, which goes with it."""
