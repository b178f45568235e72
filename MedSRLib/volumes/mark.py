"""The mark that a result carries, so that without its report too it is never taken for a measurement."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANUFACTURER = "MedSR"
NOTICE = "not for primary diagnosis"
ENHANCED = "enhanced"
UNCERTAINTY = "uncertainty"

_DESCRIP_BYTES = 79
_LOOK_BYTES = 2**16
_KEY_LINE = re.compile(rb"^MedSR *:?= *\S", re.MULTILINE)
_DESCRIP = re.compile(rb"MedSR \d")
_DESCRIP_PLACE = slice(148, 320)
"""Bytes 148 to 227 of a NIfTI-1 header, 240 to 319 of a NIfTI-2 header."""


@dataclass(frozen=True)
class Mark:
    """Where a result comes from, in plain values.

    Args:
        version: of MedSR.
        model, model_version: of the generator.
        weights: SHA-256 of the model's weight files, by name.
        factors: new over old numbers of voxels along i, j, k.
        fidelity: between the pleasing weights, 0, and the faithful ones, 1.
        input_sha256: as ``digest`` gives it; "" where the input is no file.
        time: when it was made, ISO 8601 in UTC.
        content: ``ENHANCED`` or ``UNCERTAINTY``.
    """

    version: str
    model: str
    model_version: str
    weights: Mapping[str, str]
    factors: tuple[float, ...]
    fidelity: float = 1.0
    input_sha256: str = ""
    time: str = ""
    content: str = ENHANCED

    @classmethod
    def of(cls, report: Mapping[str, Any], content: str = ENHANCED) -> Mark:
        """The mark of what ``enhance`` returned.

        Args:
            report: the fidelity report; ``input_sha256`` and ``time`` where the caller added them.
            content: ``ENHANCED`` or ``UNCERTAINTY``.
        """
        model = report["model"]
        return cls(
            report["version"],
            model["name"],
            model["version"],
            model["sha256"],
            tuple(report["factors"]),
            model.get("fidelity", 1.0),
            report.get("input_sha256", ""),
            report.get("time", ""),
            content,
        )

    @property
    def factors_text(self) -> str:
        """Such as "2x2x1"."""
        return "x".join(f"{factor:.4g}" for factor in self.factors)

    def keys(self) -> dict[str, str]:
        """One-line texts by name, for formats with key and value pairs (NRRD, MetaImage)."""
        texts = {
            "MedSR": self.version,
            "MedSR_content": self.content,
            "MedSR_notice": NOTICE,
            "MedSR_model": f"{self.model} {self.model_version}",
            "MedSR_weights_sha256": " ".join(f"{name}:{sha256}" for name, sha256 in self.weights.items()),
            "MedSR_factors": self.factors_text,
            "MedSR_fidelity": f"{self.fidelity:g}",
            "MedSR_input_sha256": self.input_sha256,
            "MedSR_time": self.time,
        }
        return {name: " ".join(_ascii(text).split()) for name, text in texts.items() if text}

    def descrip(self) -> str:
        """A sentence for NIfTI's 80 bytes; what is cut off stands in the extension."""
        text = f"MedSR {self.version} {self.content}, {NOTICE}; {self.factors_text} {self.model} {self.model_version}"
        return _ascii(text)[:_DESCRIP_BYTES]

    def extension(self) -> bytes:
        """The keys as JSON, for a NIfTI comment."""
        return json.dumps(self.keys()).encode()

    def derivation(self) -> str:
        """A sentence for DICOM's Derivation Description (ST, 1024 characters at most)."""
        weights = ", ".join(f"{name} SHA-256 {sha256}" for name, sha256 in self.weights.items())
        text = (
            f"{self.content} by MedSR {self.version}, model {self.model} {self.model_version} ({weights}), "
            f"factors {self.factors_text}, fidelity {self.fidelity:g}; {NOTICE}"
        )
        return _ascii(text[0].upper() + text[1:])[:1024].replace("\\", "/")


def digest(files: Sequence[Path]) -> str:
    """SHA-256 of a file; of several, the SHA-256 of their own in sorted order, which no file name changes.

    Raises:
        OSError: a file cannot be read.
    """
    each = []
    for path in files:
        with open(path, "rb") as file:
            each.append(hashlib.file_digest(file, "sha256").hexdigest())
    return each[0] if len(each) == 1 else hashlib.sha256("\n".join(sorted(each)).encode()).hexdigest()


def is_marked(path: Path) -> bool:
    """Whether an image file says that MedSR made it; its voxels are not read.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(_LOOK_BYTES)
    if start.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path, "rb") as file:
                start = file.read(_LOOK_BYTES)
        except (OSError, EOFError, zlib.error):
            return False  # damaged, which reading it says
    if start.startswith(b"NRRD") or path.suffix.lower() in (".mha", ".mhd"):
        header = re.split(rb"ElementDataFile|\n\r?\n", start, maxsplit=1)[0]  # before the voxels
        return bool(_KEY_LINE.search(header))
    return bool(_DESCRIP.search(start[_DESCRIP_PLACE]))


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
