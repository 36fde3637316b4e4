"""A contact sheet: what is where, in which colour, and that nothing is lost or drawn over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ImageColor

from generator.grid import BOX, FRAMES, PLAIN, Cell, Row, sheet
from generator.pixels import Boxes, Pixels
from pool.schema import BadInput

RED, GREEN, BLUE = (200, 20, 30), (30, 160, 40), (20, 40, 200)


def plain(colour: Sequence[int], height: int = 75, width: int = 100) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def spots(paper: Pixels, colour: Sequence[int] | str) -> NDArray[np.bool_]:
    wanted = ImageColor.getrgb(colour)[:3] if isinstance(colour, str) else colour
    return np.asarray((paper == wanted).all(axis=2))


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """left, top, width, height of what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def test_each_picture_has_its_place() -> None:
    row = Row(plain(RED), "street", {"night": Cell(plain(GREEN)), "haze": Cell(plain(BLUE))})
    paper = sheet([row], ["haze", "rain", "night"], width=200)
    red, green, blue = (extent(spots(paper, colour)) for colour in (RED, GREEN, BLUE))
    assert red[2:] == green[2:] == blue[2:] == (200, 150)
    assert red[1] == green[1] == blue[1]
    # haze is first, rain has no variant and leaves its place, night is last.
    step = blue[0] - red[0]
    assert 200 < step < 230
    assert green[0] == red[0] + 3 * step
    assert (paper[red[1] - 2 : red[1] + 150, red[0] + 2 * step - 3 : red[0] + 2 * step + 203] == 255).all()


def test_rows_stand_below_each_other_in_their_shapes() -> None:
    rows = [
        Row(plain(RED), "a", {}),
        Row(plain(GREEN, 140, 100), "b", {}),
        Row(plain(BLUE, 900, 100), "c", {}),
    ]
    red, green, blue = (extent(spots(sheet(rows, [], width=100), c)) for c in (RED, GREEN, BLUE))
    assert red[2:] == (100, 75)
    assert green[2:] == (100, 140)
    # Nine times as tall as wide: twice the width is tall enough, and it keeps its shape.
    assert blue[2:] == (22, 200)
    assert red[1] + 75 < green[1]
    assert green[1] + 140 < blue[1]
    assert blue[0] == red[0] + 39


@pytest.mark.parametrize("state", ["rejected", "accepted", "passed", ""])
def test_frames_tell_the_state_and_cover_nothing(state: str) -> None:
    row = Row(plain(RED), "street", {"night": Cell(plain(GREEN), state, "structure")})
    paper = sheet([row], ["night"])
    left, top, width, height = extent(spots(paper, GREEN))
    assert (width, height) == (220, 165)
    assert spots(paper, GREEN).sum() == width * height
    frame = FRAMES.get(state, PLAIN)
    around = spots(paper, frame)[top - 1 : top + height + 1, left - 1 : left + width + 1]
    assert around[0].all()
    assert around[-1].all()
    assert around[:, [0, -1]].all()
    for other in set(FRAMES.values()) - {frame}:
        assert not spots(paper, other).any()


def test_a_caption_in_the_colour_of_the_state_names_the_gate() -> None:
    def below(cell: Cell) -> Pixels:
        paper = sheet([Row(plain(RED), "street", {"night": cell})], ["night"])
        _, top, _, height = extent(spots(paper, GREEN))
        return paper[top + height + 4 :, 240:]

    said, other, nothing = (
        below(Cell(plain(GREEN), *words)) for words in (("rejected", "copy"), ("rejected", "black"), ())
    )
    assert spots(said, FRAMES["rejected"]).sum() > 20
    assert (said != other).any()
    assert (nothing == 255).all()


def test_boxes_are_drawn_on_request_where_they_are() -> None:
    boxes = np.array([[0.25, 0.2, 0.75, 0.8]])
    row = Row(plain(RED), "street", {"night": Cell(plain(GREEN), boxes=boxes)})
    paper = sheet([row], ["night"], width=200)
    left, top, *_ = extent(spots(paper, GREEN))
    x, y, width, height = extent(spots(paper, BOX))
    assert (x, y) == (left + 50, top + 30)
    assert abs(width - 100) <= 2
    assert abs(height - 90) <= 2
    assert spots(paper, GREEN)[top + 75, left + 100]
    parent = Row(plain(RED), "street", {}, boxes)
    assert spots(sheet([parent], []), BOX).any()
    assert not spots(sheet([Row(plain(RED), "street", {})], []), BOX).any()


@pytest.mark.parametrize(
    "boxes", [[[-1.0, -1.0, 2.0, 2.0]], [[0.6, 0.2, 0.4, 0.8]], [[0.5, 0.5, 0.5, 0.9]]]
)
def test_boxes_beyond_the_picture_and_empty_ones_do_no_harm(boxes: list[list[float]]) -> None:
    wrong: Boxes = np.array(boxes)
    paper = sheet([Row(plain(RED), "street", {}, wrong)], [], width=200)
    bare = sheet([Row(plain(RED), "street", {})], [], width=200)
    left, top, width, height = extent(spots(bare, RED))
    outside = np.ones(bare.shape[:2], bool)
    outside[top - 1 : top + height + 1, left - 1 : left + width + 1] = False
    assert (paper == bare)[outside].all()


@pytest.mark.parametrize("text", ["x" * 400, "未满溢的垃圾桶 " * 40, "two\nlines " * 50])
def test_long_words_stay_in_their_column(text: str) -> None:
    row = Row(plain(RED), text, {"night": Cell(plain(GREEN), "rejected", text)})
    long, empty = (
        sheet([row], ["night", text]),
        sheet([Row(plain(RED), "", {"night": Cell(plain(GREEN))})], ["night", ""]),
    )
    assert long.shape == empty.shape
    gaps = [extent(spots(empty, colour)) for colour in (RED, GREEN)]
    between = slice(gaps[0][0] + 221, gaps[1][0] - 4)
    assert between.stop - between.start > 2
    assert (long[:, between] == 255).all()
    assert (long[:, -4:] == 255).all()


def test_chinese_is_drawn_and_the_head_names_conditions() -> None:
    def head(name: str) -> Pixels:
        return sheet([], [name])

    assert (head("夜") != head("雪")).any()
    assert (head("night") != 255).any()
    assert (head("night") != head("snow")).any()


@given(st.integers(60, 260), st.integers(0, 3), st.integers(0, 3), st.integers(16, 60), st.integers(16, 60))
@settings(max_examples=15, deadline=None)
def test_any_sheet_has_room_for_all(width: int, rows: int, columns: int, high: int, wide: int) -> None:
    names = [f"c{k}" for k in range(columns)]
    row = Row(plain(RED, high, wide), "street", {name: Cell(plain(GREEN, wide, high)) for name in names})
    paper = sheet([row] * rows, names, width=width)
    assert paper.dtype == np.uint8
    assert paper.shape[2] == 3
    assert paper.shape[1] > (columns + 1) * width
    assert (spots(paper, RED).sum() > 0) == (rows > 0)
    assert (paper == sheet([row] * rows, names, width=width)).all()


def test_too_narrow_a_sheet_is_refused() -> None:
    with pytest.raises(BadInput, match="width must be at least 60 pixels, but got 59"):
        sheet([], [], width=59)
