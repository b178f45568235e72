"""The volumes that the extension carries, offered in Slicer's Sample Data module; no network is needed."""

from __future__ import annotations

from pathlib import Path

SAMPLES = {
    "MedSR head, 1.5 mm": (
        "MRHeadLow",
        "mr_t1_head_1.5mm.nrrd",
        "35161cfe83194b4e3d4f5972e66a08864c832f819d5aa35b3ca5f28f6fa4585e",
    ),
    "MedSR head, 0.75 mm": (
        "MRHeadReference",
        "mr_t1_head_0.75mm.nrrd",
        "7df769842c26c4d91f74e6be95a5c2f10f3d696f38560a08d3b075ed1cec7201",
    ),
}
"""Name for people: node name, file, SHA-256. Slicer copies a file to its cache, and again when that does not match."""


def register_samples(sample_folder: Path, icon_folder: Path) -> None:
    """Registers the samples; once more changes nothing.

    Args:
        sample_folder: with the files.
        icon_folder: with a picture of each, named after the node.
    """
    import SampleData

    for name, (node_name, file_name, sha256) in SAMPLES.items():
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="MedSR",
            sampleName=name,
            thumbnailFileName=str(icon_folder / f"{node_name}.png"),
            uris=(sample_folder / file_name).as_uri(),
            fileNames=file_name,
            checksums=f"SHA256:{sha256}",
            nodeNames=node_name,
        )
