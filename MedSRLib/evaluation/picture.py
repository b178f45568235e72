"""The comparison picture: panels side by side, the same detail of each, and what differs from one of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib.errors import MissingPackageError
from MedSRLib.evaluation.slice_display import Window, ZoomBox
from MedSRLib.volumes.storage import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DISCLAIMER = "Not for primary diagnosis."

_PANEL_INCHES = 3.0
_DPI = (120.0, 200.0)
"""Least, and most: between them a voxel gets a pixel, so that fine structures are not thinned out."""
_INK = "white"
_PAPER = "black"
_MARK = "#ffd23f"
_DIFFERENCE_PERCENTILE = 99.5


def require_matplotlib() -> None:
    """Check that pictures can be drawn.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingPackageError('pictures need matplotlib: pip install "medsr[pictures]"') from error


def draw_comparison(
    panels: Sequence[tuple[str, np.ndarray]],
    path: Path,
    *,
    window: Window,
    zoom: ZoomBox,
    against: int = -1,
    pixel: tuple[float, float] = (1.0, 1.0),
    letters: tuple[str, str] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Draws a PNG of three rows: the pictures with the zoom box, the zoomed detail, the differences.

    Args:
        panels: title and 2D array of each column, all of one shape and in one unit, the way up they are shown.
        path: the PNG; written whole or not at all, and replaced when it exists.
        window: grey levels, shared by all panels.
        zoom: the detail.
        against: index of the panel that is subtracted from the others; its own cell holds the scale.
        pixel: height and width of a pixel in millimetres.
        letters: anatomical directions at the left edge and the top.
        notes: lines under the picture, before the disclaimer.

    Raises:
        MissingPackageError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    against %= len(panels)
    rows, columns = panels[0][1].shape
    tall = rows * pixel[0] / (columns * pixel[1])
    detail = zoom.rows * pixel[0] / (zoom.columns * pixel[1])
    below = 0.25 * (len(notes) + 1) + 0.1
    above = 0.3 + 0.18 * max(title.count("\n") for title, _ in panels)
    height = _PANEL_INCHES * (2 * tall + detail) + above + below
    dpi = float(np.clip(columns / _PANEL_INCHES, *_DPI))
    figure = Figure((_PANEL_INCHES * len(panels), height), dpi=dpi, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        3,
        len(panels),
        squeeze=False,
        gridspec_kw={
            "height_ratios": [tall, detail, tall],
            "left": 0.002,
            "right": 0.998,
            "bottom": below / height,
            "top": 1 - above / height,
            "wspace": 0.02,
            "hspace": 0.02,
        },
    )
    _draw_pictures(grid, panels, window, zoom, pixel[0] / pixel[1])
    _draw_differences(grid[2], panels, against, pixel[0] / pixel[1])
    if letters is not None:
        _write_letters(grid[0, 0], letters)
    _write_notes(figure, [*notes, DISCLAIMER], height)
    content = io.BytesIO()
    figure.savefig(content, format="png", facecolor=_PAPER)
    write_atomically(path, content.getvalue())


def _draw_pictures(
    grid: Any, panels: Sequence[tuple[str, np.ndarray]], window: Window, zoom: ZoomBox, aspect: float
) -> None:
    """The first two rows."""
    from matplotlib.patches import Rectangle

    shown: dict[str, Any] = {"cmap": "gray", "vmin": window.low, "vmax": window.high, "aspect": aspect}
    for column, (title, picture) in enumerate(panels):
        whole, part = grid[0, column], grid[1, column]
        whole.imshow(picture, **shown)
        whole.set_title(title, color=_INK, fontsize=10, pad=4)
        corner = (zoom.column - 0.5, zoom.row - 0.5)
        whole.add_patch(Rectangle(corner, zoom.columns, zoom.rows, fill=False, edgecolor=_MARK, linewidth=1.0))
        detail = picture[zoom.row : zoom.row + zoom.rows, zoom.column : zoom.column + zoom.columns]
        part.imshow(detail, interpolation="nearest", **shown)
        for axes in (whole, part):
            _hide_ticks(axes)
        for spine in part.spines.values():
            spine.set(visible=True, edgecolor=_MARK)


def _draw_differences(cells: Any, panels: Sequence[tuple[str, np.ndarray]], against: int, aspect: float) -> None:
    """The third row, all on one symmetric scale, which stands in the cell of the panel subtracted.

    The scale is the median of the panels' 99.5 percentiles, so that one bad panel does not hide the others.
    """
    subtracted = panels[against][1].astype(np.float64)
    differences = [picture.astype(np.float64) - subtracted for _, picture in panels]
    others = [difference for index, difference in enumerate(differences) if index != against]
    spans = [float(np.percentile(np.abs(one), _DIFFERENCE_PERCENTILE)) for one in others]
    largest = float(np.median(spans)) if spans else 0.0
    largest = largest or max(spans, default=0.0) or 1.0
    for index, (axes, difference) in enumerate(zip(cells, differences, strict=True)):
        _hide_ticks(axes)
        if index != against:
            shown = axes.imshow(difference, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect=aspect)
            shown.set_interpolation_stage("data")  # shrinking mixes values, not red and blue to purple
    axes = cells[against]
    axes.set_facecolor(_PAPER)
    name = panels[against][0].splitlines()[0]
    axes.text(0.5, 0.68, f"difference from\n{name}", color=_INK, ha="center", va="center", fontsize=10)
    bar = axes.inset_axes((0.1, 0.42, 0.8, 0.06))
    bar.imshow(np.linspace(-1, 1, 256)[None], cmap="RdBu_r", aspect="auto", extent=(-largest, largest, 0, 1))
    bar.set_yticks([])
    bar.set_xticks([-largest, 0, largest], [f"-{grey_text(largest)}", "0", f"+{grey_text(largest)}"])
    bar.tick_params(colors=_INK, labelsize=9)


def grey_text(value: float) -> str:
    """A difference in grey levels in three digits or, of hundreds, as a whole number: never with an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _hide_ticks(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_letters(axes: Axes, letters: tuple[str, str]) -> None:
    left, top = letters
    look: dict[str, Any] = {"color": _MARK, "fontsize": 9, "transform": axes.transAxes}
    look["bbox"] = {"facecolor": _PAPER, "edgecolor": "none", "pad": 1.0}
    axes.text(0.015, 0.5, left, va="center", **look)
    axes.text(0.5, 0.985, top, ha="center", va="top", **look)


def _write_notes(figure: Figure, lines: Sequence[str], height: float) -> None:
    for position, line in enumerate(reversed(lines)):
        figure.text(0.005, (0.1 + 0.25 * position) / height, line, color=_INK, fontsize=9)
