"""Who the patient is stays in the DICOM files, and nothing leaves this machine."""

from __future__ import annotations

import gzip
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from batch_fixtures import Batch, batch  # noqa: F401 (fixture)
from dicom_objects import write_enhanced_mr, write_series

from MedSRLib.commands.main import main

pytestmark = pytest.mark.usefixtures("models_folder")

MARKS = ("Zzyzxname", "Zzyzxident", "19010203", "Zzyzxstreet", "Zzyzxdoctor", "Zzyzxprivate")
PATIENT = {
    "PatientName": "Zzyzxname^Given",
    "PatientID": "Zzyzxident",
    "PatientBirthDate": "19010203",
    "PatientAddress": "Zzyzxstreet 5",
    "ReferringPhysicianName": "Zzyzxdoctor^A",
    "SeriesDescription": "Thorax Zzyzxname zzyzxident 2.5",
}

_events: list[tuple[str, tuple[Any, ...]]] | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _events is None:
        return
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise PermissionError(f"{event}{arguments}: no network")
    if event in ("open", "os.mkdir", "os.rename", "os.link", "os.symlink", "tempfile.mkdtemp", "tempfile.mkstemp"):
        _events.append((event, arguments))


sys.addaudithook(_listen)  # it stays, and does nothing but within offline()


@contextmanager
def offline() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Every socket refuses to connect or listen; what is opened, made and renamed is noted."""
    global _events
    noted: list[tuple[str, tuple[Any, ...]]] = []
    _events = noted
    try:
        yield noted
    finally:
        _events = None


def identified(folder: Path, modality: str, **tags: Any) -> Path:
    """A series that says in every way who the patient is."""
    write_series(folder, modality, **PATIENT, **tags)
    for path in folder.iterdir():
        one = pydicom.dcmread(path)
        one.private_block(0x0011, "MedSR test", create=True).add_new(0x01, "LO", "Zzyzxprivate")
        one.save_as(path)
    return folder


def find_marks(*texts: str | bytes) -> list[str]:
    """The marks that occur in any of the texts, whatever their capitals."""
    joined = b"\n".join(text.encode(errors="surrogateescape") if isinstance(text, str) else text for text in texts)
    return [mark for mark in MARKS if mark.lower().encode() in joined.lower()]


def contents(folder: Path) -> list[str | bytes]:
    """Names and bytes, decompressed too, of everything below a folder that is no DICOM file."""
    found: list[str | bytes] = []
    for path in folder.rglob("*"):
        found.append(str(path.relative_to(folder)))
        if path.is_file() and path.suffix != ".dcm":
            found.append(path.read_bytes())
            if path.suffix == ".gz":
                found.append(gzip.decompress(path.read_bytes()))
    return found


def test_the_marks_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"...ZZYZXNAME..."))
    assert find_marks(*contents(tmp_path)) == ["Zzyzxname"]
    with offline(), pytest.raises(PermissionError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ""])
def test_enhancing_dicom_writes_no_name_and_opens_no_connection(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, results = identified(tmp_path / "in", "CT"), tmp_path / "results"
    results.mkdir()
    words = [source, results / f"out{suffix}", "--report", results / "out.json", "--model", "tiny-x2", "--json"]
    with offline() as noted:
        assert main(["enhance", *map(str, words)]) == 0
    out, err = capsys.readouterr()
    assert find_marks(*contents(results), out, err) == []
    assert find_marks(*(repr(event) for event in noted)) == []
    assert any(event == "tempfile.mkdtemp" for event, _ in noted)  # the notes hold what they should


def test_neither_do_refusals_of_damaged_and_odd_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = identified(tmp_path / "several", "CT")
    for number, path in enumerate(several.iterdir()):
        one = pydicom.dcmread(path)
        one.SeriesInstanceUID = f"1.2.{number}"
        one.save_as(path)
    cut = identified(tmp_path / "cut", "MR")
    victim = next(cut.iterdir())
    victim.write_bytes(victim.read_bytes()[:900])
    malformed = identified(tmp_path / "malformed", "CT")
    for path in malformed.iterdir():
        path.write_bytes(path.read_bytes().replace(b"0.9\\0.8", b"0,9\\0,8"))
    garbled = write_enhanced_mr(tmp_path / "garbled.dcm")
    garbled.write_bytes(garbled.read_bytes().replace(b"Case^Test", b"Zzyzxname").replace(b"\x52\x09", b"\x53\x09"))
    for source in (several, cut, malformed, garbled):
        with offline():
            code = main(["enhance", str(source), str(tmp_path / "out.nrrd"), "--model", "tiny-x2"])
        out, err = capsys.readouterr()
        assert code in (0, 3)
        assert find_marks(out, err) == []


def test_a_batch_writes_no_name_to_journal_summary_reports_and_results(tmp_path: Path, batch: Batch) -> None:  # noqa: F811
    for modality in ("CT", "MR", "PT"):
        identified(tmp_path / "in" / modality, modality)
    victim = next((tmp_path / "in" / "MR").iterdir())
    victim.write_bytes(victim.read_bytes()[:900])
    for words in (["--report"], ["--format", "dicom", "--report", "--uncertainty", "--overwrite"]):
        with offline() as noted:
            code, out, err = batch(tmp_path / "in", tmp_path / "out", *words, "--json")
        assert code == 4
        assert find_marks(*contents(tmp_path / "out"), out, err, *(repr(event) for event in noted)) == []
    assert (tmp_path / "out" / "CT" / "003-Thorax_2.5" / "0001.dcm").exists()
