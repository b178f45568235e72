"""Comparison pictures: the patient upright, one window for all, and a PNG that shows what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from MedSRLib.errors import MissingPackageError, OutputError
from MedSRLib.evaluation.picture import draw_comparison, grey_text, require_matplotlib
from MedSRLib.evaluation.slice_display import SlicePlane, Window, ZoomBox, best_axis, choose_window
from MedSRLib.volumes.volume import Volume

GREY = Window(0.0, 100.0, "")


def volume_with(directions: dict[str, str], spacing: tuple[float, float, float] = (1, 1, 1)) -> Volume:
    """A volume of 4 x 5 x 6 (k, j, i) voxels whose axes i, j, k run towards the named letters."""
    towards = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    affine = np.eye(4)
    for column, axis in enumerate("ijk"):
        affine[:3, column] = np.array(towards[directions[axis]]) * spacing[column]
    return Volume(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6), affine, "MR")


def ras_at_corner(volume: Volume, plane: SlicePlane, index: int, row: int, column: int) -> np.ndarray:
    """RAS position of a displayed pixel, found by displaying the coordinates themselves."""
    k, j, i = np.indices(volume.shape)
    voxel = [plane.take(grid, index)[row, column] for grid in (i, j, k)]
    return (volume.affine @ [*voxel, 1])[:3]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    "directions",
    [
        {"i": "L", "j": "P", "k": "S"},
        {"i": "R", "j": "A", "k": "S"},
        {"i": "R", "j": "P", "k": "I"},
        {"i": "A", "j": "S", "k": "R"},
        {"i": "P", "j": "I", "k": "L"},
        {"i": "A", "j": "R", "k": "S"},
        {"i": "S", "j": "R", "k": "A"},
    ],
)
def test_the_patient_is_upright_and_right_is_on_the_left(directions: dict[str, str], axis: int) -> None:
    volume = volume_with(directions)
    plane = SlicePlane.of(volume, axis)
    corner = ras_at_corner(volume, plane, 1, 0, 0)
    along_row = ras_at_corner(volume, plane, 1, 0, 1) - corner
    down = ras_at_corner(volume, plane, 1, 1, 0) - corner
    left, top = plane.letters
    assert along_row["RAS".index(left)] == -1
    assert down["RAS".index(top)] == -1
    assert (left, top) in [("R", "A"), ("R", "S"), ("A", "S")]


def test_oblique_volumes_go_by_the_nearest_direction() -> None:
    straight = volume_with({"i": "L", "j": "P", "k": "S"})
    tilt = np.deg2rad(20)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ straight.affine[:3, :3]
    assert SlicePlane.of(straight.with_voxels(straight.voxels, affine), 0) == SlicePlane.of(straight, 0)


def test_pixels_keep_their_shape_when_axes_change_places() -> None:
    volume = volume_with({"i": "A", "j": "R", "k": "S"}, spacing=(0.5, 0.8, 3.0))
    assert SlicePlane.of(volume, 0).pixel == pytest.approx((0.5, 0.8))
    assert SlicePlane.of(volume, 1).pixel == pytest.approx((3.0, 0.5))


def test_slices_are_shown_where_the_gain_is_seen() -> None:
    assert best_axis((2, 2, 1)) == 0
    assert best_axis((2, 2, 2)) == 0
    assert best_axis((1, 1, 3)) == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_the_zoom_is_around_the_voxel_asked_for_and_square_in_millimetres(axis: int) -> None:
    affine = np.diag([-0.5, 0.5, 2.0, 1.0])
    volume = Volume(np.zeros((40, 60, 80), np.int16), affine, "MR")
    mark = volume.voxels.copy()
    row = 30
    mark[(3, row, 50) if axis == 0 else (row, 3, 50)] = 1
    plane = SlicePlane.of(volume, axis)
    box = plane.zoom_around(volume.shape, 50, row, 8)
    inside = plane.take(mark, 3)[box.row : box.row + box.rows, box.column : box.column + box.columns]
    assert inside.sum() == 1
    assert (box.rows * plane.pixel[0], box.columns * plane.pixel[1]) == (4, 4)


def test_a_zoom_at_the_rim_stays_within_the_picture() -> None:
    volume = Volume(np.zeros((4, 30, 20), np.int16), np.eye(4), "MR")
    plane = SlicePlane.of(volume, 0)
    for column, row, size in [(0, 0, 10), (19, 29, 10), (5, 5, 500)]:
        box = plane.zoom_around(volume.shape, column, row, size)
        assert box.row >= 0 <= box.column
        assert box.row + box.rows <= 30
        assert box.column + box.columns <= 20


def test_the_detail_chosen_is_where_the_edges_are() -> None:
    picture = np.zeros((100, 100))
    picture[60:64, 20:40:2] = 100
    plane = SlicePlane.of(Volume(np.zeros((4, 100, 100), np.int16), np.eye(4), "MR"), 0)
    box = plane.detail(picture, GREY)
    assert box.row <= 60 <= box.row + box.rows - 4
    assert box.column <= 22 <= 38 <= box.column + box.columns


def test_edges_outside_the_window_do_not_attract_the_zoom() -> None:
    picture = np.full((100, 100), 1000.0)
    picture[5:95, 5:40:2] = 3000
    picture[40:60, 70:80] = 200
    plane = SlicePlane.of(Volume(np.zeros((4, 100, 100), np.int16), np.eye(4), "CT"), 0)
    box = plane.detail(picture, Window(-160, 240, ""))
    assert box.column <= 70
    assert box.column + box.columns >= 80


def test_of_two_equal_details_the_one_nearer_the_middle_is_chosen() -> None:
    picture = np.zeros((100, 100))
    picture[2:12, 2:12:2] = picture[50:60, 50:60:2] = 100
    plane = SlicePlane.of(Volume(np.zeros((4, 100, 100), np.int16), np.eye(4), "MR"), 0)
    assert plane.detail(picture, GREY).row > 20


def test_chests_get_the_wide_window_and_the_rest_soft_tissue() -> None:
    picture = np.full((50, 50), -1000.0)
    picture[10:40, 10:40] = 40
    assert choose_window(picture, "CT")[:2] == (-160, 240)
    picture[15:30, 15:30] = -850
    chest = choose_window(picture, "CT")
    assert chest[:2] == (-1000, 400)
    assert "chest" in chest.text


def test_mr_windows_are_percentiles_of_the_picture_and_never_empty() -> None:
    picture = np.arange(10_000.0).reshape(100, 100)
    low, high, text = choose_window(picture, "MR")
    assert (low, high) == tuple(np.percentile(picture, [0.5, 99.5]))
    assert "percentiles" in text
    low, high, _ = choose_window(np.zeros((9, 9)), "MR")
    assert high > low


def draw(path: Path, **options: object) -> np.ndarray:
    """A picture of three panels: a dark one, a bright one, and one with a bright corner; as RGB 0..1."""
    dark, bright, corner = np.full((40, 60), 20.0), np.full((40, 60), 80.0), np.full((40, 60), 20.0)
    corner[:8, :8] = 100
    panels = [("dark", dark), ("bright", bright), ("corner", corner)]
    settings: dict = {"window": GREY, "zoom": ZoomBox(0, 0, 10, 10), **options}
    draw_comparison(panels, path, **settings)
    return imread(path)[..., :3]


def test_panels_share_the_window_and_stand_upright(tmp_path: Path) -> None:
    picture = draw(tmp_path / "p.png")
    width = picture.shape[1] // 3
    top = int(0.3 * 120) + 15
    levels = [picture[top + 120, n * width + width // 2].mean() for n in range(3)]
    np.testing.assert_allclose(levels, [0.2, 0.8, 0.2], atol=0.02)
    third = picture[top : top + 200, 2 * width + 8 : 3 * width - 8].mean(axis=2)
    assert third[:15, :15].mean() > 0.8  # the bright corner is top left
    assert third[-15:, -15:].mean() < 0.4


def test_the_difference_row_is_red_above_and_blank_where_nothing_differs(tmp_path: Path) -> None:
    picture = draw(tmp_path / "p.png", against=0)
    width = picture.shape[1] // 3
    row = picture.shape[0] - int(0.35 * 120) - 120
    red, green, blue = picture[row, width + width // 2]
    assert red > blue
    assert red > green
    nothing = picture[row, 2 * width + width // 2]
    np.testing.assert_allclose(nothing, nothing.mean(), atol=0.02)
    assert nothing.mean() > 0.9


def test_pixels_are_drawn_in_their_physical_shape(tmp_path: Path) -> None:
    square, tall = draw(tmp_path / "square.png"), draw(tmp_path / "tall.png", pixel=(3.0, 1.0))
    assert square.shape[1] == tall.shape[1]
    assert tall.shape[0] > 2.5 * square.shape[0]


def test_identical_panels_can_be_drawn(tmp_path: Path) -> None:
    flat = np.zeros((20, 20))
    draw_comparison([("a", flat), ("b", flat)], tmp_path / "p.png", window=GREY, zoom=ZoomBox(0, 0, 5, 5))
    assert imread(tmp_path / "p.png").std() > 0


def test_an_unwritable_target_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        draw(tmp_path / "file" / "p.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_matplotlib_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r'pip install "medsr\[pictures\]"'):
        require_matplotlib()


@pytest.mark.parametrize(("value", "text"), [(1025.4, "1025"), (93.16, "93.2"), (0.01234, "0.0123"), (999.6, "1000")])
def test_the_ends_of_the_difference_bar_have_no_exponent(value: float, text: str) -> None:
    assert grey_text(value) == text
