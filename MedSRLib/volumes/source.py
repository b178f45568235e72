"""The files that an input is read from: their hash, and whether MedSR made them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from MedSRLib.errors import InputError
from MedSRLib.volumes import dicom, mark
from MedSRLib.volumes.dicom_frames import pydicom_without_warnings
from MedSRLib.volumes.dicom_template import Template, is_derived, read_template
from MedSRLib.volumes.files import is_dicom
from MedSRLib.volumes.itk import one_line

ENHANCED_BEFORE = (
    "the input was made by MedSR: what is added to it now rests on what was added then, so enhance the measurement"
)
_DETACHED = (".mhd", ".nhdr")
_HEADER_BYTES = 2**16


@dataclass(frozen=True)
class Source:
    """What ``read_volume`` reads.

    Args:
        path: an image file, a DICOM file or the folder of a DICOM series.
        series: SeriesInstanceUID, or its end, where the folder holds several series.
        frame: number of the volume, from 1, where there are several.
    """

    path: Path
    series: str | None = None
    frame: int | None = None

    @cached_property
    def files(self) -> list[Path]:
        """The slices of a series, or an image file with the files that its header names.

        Raises:
            InputError: as for ``read_volume``.
        """
        if self.is_dicom:
            with pydicom_without_warnings():
                return dicom.series_files(self.path, self.series)
        return [self.path, *data_files(self.path)]

    @property
    def is_dicom(self) -> bool:
        """Whether a derived series can be made of it."""
        return is_dicom(self.path)

    def template(self) -> Template | None:
        """The headers of a DICOM series, for ``write_volume``.

        Raises:
            InputError: as for ``read_volume``.
        """
        return read_template(self.path, self.series, self.frame) if self.is_dicom else None

    def warnings(self) -> list[str]:
        """Sentences for the report: whether MedSR made the input."""
        marked = is_derived(self.files[0]) if self.is_dicom else mark.is_marked(self.path)
        return [ENHANCED_BEFORE] if marked else []

    def described(self) -> dict[str, Any]:
        """What a report says of its input beside its name: ``input_sha256``, as ``digest`` gives it, and the ``time``.

        Raises:
            InputError: a file cannot be read.
        """
        try:
            sha256 = mark.digest(self.files)
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read ({one_line(error)})") from error
        return {"input_sha256": sha256, "time": datetime.now(UTC).isoformat(timespec="seconds")}


def data_files(header: Path) -> list[Path]:
    """The files beside a detached header that hold its voxels.

    Raises:
        OSError: the header or its folder cannot be read.
    """
    if header.suffix.lower() == ".hdr":
        pair = (header.with_suffix(suffix) for suffix in (".img", ".img.gz"))
        return [path for path in pair if path.is_file()]
    if header.suffix.lower() not in _DETACHED:
        return []
    with open(header, "rb") as file:
        text = file.read(_HEADER_BYTES)
    return sorted(
        path
        for path in header.parent.iterdir()
        if path != header and path.is_file() and (path.name.encode(errors="surrogateescape") in text)
    )
