"""Sentences of the library in the words of Slicer: it has a panel and ``process``, and no command line."""

from __future__ import annotations

_WORDS = {
    "use --device cpu": "choose the device CPU under Advanced",
    "enhance a --roi": "enhance a region",
    "use --fill-nan": "call process with fill_nan=True",
    "use --force": "call process with force=True",
    "check its weights with 'medsr models verify'": "install the extension again",
    "use 'medsr enhance' for a single series": "choose another improvement for a single series",
    "(--no-registration)": "(call fuse with registration=False)",
}


def in_slicer(sentence: str) -> str:
    """An error's sentence without options of the command line.

    Args:
        sentence: of a MedSRError.
    """
    for said, here in _WORDS.items():
        sentence = sentence.replace(said, here)
    return sentence
