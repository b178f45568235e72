"""Series from files, as a fusion takes them: one volume each."""

from __future__ import annotations

from pathlib import Path

from MedSRLib.errors import InputError
from MedSRLib.volumes.files import read_sequence
from MedSRLib.volumes.volume import Volume


def read_series(path: Path, *, modality: str | None = None, series: str | None = None) -> Volume:
    """Reads one series.

    Args:
        path: an image file, or the folder of a DICOM series.
        modality, series: as for ``read_volume``.

    Raises:
        InputError: as ``read_volume``; or the series has several frames, of which nobody knows which belongs to the
            other series.
        UsageError: as ``read_volume``.
    """
    sequence = read_sequence(path, modality=modality, series=series)
    if len(sequence) > 1:
        raise InputError(
            f"{path} is 4D, with {len(sequence)} frames, and a fusion takes one volume of each series: save the frame "
            "that belongs to the other series as a file of its own"
        )
    return sequence.volumes[0]
