"""What Slicer's module list says about MedSR, beside its name."""

from __future__ import annotations

from slicer.i18n import tr as _


def help_text() -> str:
    """What it does, what the first run installs, and what it is not for; HTML."""
    text = _(
        "<p>MedSR makes medical volumes sharper, in the right place and in the right units, and says how far to "
        "trust the result: choose a volume, choose what to improve, click Enhance. The input is never changed.</p>"
        "<p>The first run installs PyTorch, with the help of the PyTorch extension, and a few small packages. "
        "After that no network is needed.</p>"
        "<p>How to use it, what the report says, and its limits: "
        "<a href='https://medsr.github.io/SlicerMedSR/howto/slicer/'>documentation</a>.</p>"
        "<p><b>Not for primary diagnosis.</b> Detail finer than the measurement is an estimate.</p>"
    )
    return str(text)


def acknowledgement_text() -> str:
    """Whose work it rests on."""
    text = _(
        "The generator follows ESRGAN (Wang et al., 2018, arXiv:1809.00219) with PixelShuffle (Shi et al., 2016); "
        "the projection onto the measurement is iterative back-projection (Irani and Peleg, 1991). The sample "
        "volume comes from the NAC-HNCMA brain atlas (Surgical Planning Laboratory, Brigham and Women's Hospital)."
    )
    return str(text)
