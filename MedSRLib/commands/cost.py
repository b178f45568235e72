"""What an enhancement will take, said on a terminal before it begins, and what it took, kept for the next estimate."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from MedSRLib.enhancement.estimate import Estimate, estimate, remember_speed
from MedSRLib.enhancement.request import Options
from MedSRLib.enhancement.result import FidelityReport
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.sequence import VolumeSequence


def say_cost(sequence: VolumeSequence, model: Model, options: Options, roi: Sequence[int] | None) -> Estimate | None:
    """Says the size, memory and time on a terminal; elsewhere nobody waits, and nothing is worked out.

    Args:
        sequence: what will be enhanced.
        model: that will run.
        options, roi: as for ``enhance``.

    Raises:
        MedSRError: as ``estimate``.
    """
    from MedSRLib.enhancement.devices import device_label, resolve_device

    if not sys.stderr.isatty():
        return None
    first = sequence.volumes[0]
    label = device_label(resolve_device(options.device))
    one = estimate(first.shape, first.voxels.dtype, model.manifest, label, options, spacing=first.spacing, roi=roi)
    expected = one.of_frames(len(sequence))
    print(f"medsr: {expected.line()}", file=sys.stderr)
    return expected


def keep_cost(expected: Estimate | None, report: FidelityReport) -> None:
    """Keeps how fast the device was, where something was expected of it.

    Args:
        expected: from ``say_cost``.
        report: of the same enhancement.
    """
    if expected is not None:
        remember_speed(expected, report.device, report.seconds)
