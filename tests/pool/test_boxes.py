"""Box geometry against counting: a box on a grid is the set of its cells."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.boxes import area, as_boxes, clip, corners, from_array, iou_matrix, to_array, upright
from pool.schema import BadInput, Box

GRID = 12
edges = st.integers(0, GRID)
grid_boxes = st.lists(st.tuples(edges, edges, edges, edges), max_size=6)
numbers = st.floats(-3, 3)
some_boxes = st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=5)


def cells(box: tuple[int, int, int, int]) -> set[tuple[int, int]]:
    x1, y1, x2, y2 = box
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


@given(left=grid_boxes, right=grid_boxes)
def test_areas_and_overlaps_are_those_of_counted_cells(
    left: list[tuple[int, int, int, int]], right: list[tuple[int, int, int, int]]
) -> None:
    areas = area(as_boxes(left) / GRID)
    assert areas.shape == (len(left),)
    assert areas == pytest.approx([len(cells(box)) / GRID**2 for box in left])
    matrix = iou_matrix(as_boxes(left) / GRID, as_boxes(right) / GRID)
    assert matrix.shape == (len(left), len(right))
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            both, either = cells(one) & cells(other), cells(one) | cells(other)
            assert matrix[i, j] == pytest.approx(Fraction(len(both), len(either)) if either else 0)


@given(left=some_boxes, right=some_boxes)
def test_overlap_is_a_share_and_the_same_from_both_sides(
    left: list[tuple[float, ...]], right: list[tuple[float, ...]]
) -> None:
    matrix = iou_matrix(left, right)
    assert ((matrix >= 0) & (matrix <= 1)).all()
    assert np.array_equal(matrix, iou_matrix(right, left).T)
    own = np.diag(iou_matrix(left, left))
    # Down to sizes whose product still is a normal number.
    big = area(left) > 1e-290
    assert own[big] == pytest.approx(1.0)
    assert (own[area(left) == 0] == 0).all()


@given(boxes=some_boxes)
def test_clipping_keeps_what_is_inside(boxes: list[tuple[float, ...]]) -> None:
    inside = clip(boxes)
    assert ((inside >= 0) & (inside <= 1)).all()
    assert np.array_equal(clip(inside), inside)
    whole = [[0.0, 0.0, 1.0, 1.0]]
    proper = area(boxes) > 0
    overlap = iou_matrix(boxes, whole)[proper, 0]
    clipped = area(inside)[proper]
    expected = clipped / (area(boxes)[proper] + 1 - clipped)
    assert overlap == pytest.approx(expected, abs=1e-12)


@given(boxes=some_boxes)
def test_arrays_and_boxes_are_two_forms_of_the_same(boxes: list[tuple[float, ...]]) -> None:
    made = from_array(boxes)
    assert made == tuple(Box(*box) for box in boxes)
    assert to_array(made).tolist() == [list(box) for box in boxes]


def test_nothing_is_an_answer() -> None:
    assert as_boxes([]).shape == to_array([]).shape == clip([]).shape == (0, 4)
    assert from_array([]) == ()
    assert iou_matrix([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert iou_matrix([[0, 0, 1, 1]], []).shape == (1, 0)


@pytest.mark.parametrize("bad", [[0, 0, 1, 1], [[0, 0, 1]], [[[0, 0, 1, 1]]]])
def test_other_shapes_are_refused(bad: list[object]) -> None:
    with pytest.raises(BadInput, match=r"\(n, 4\)"):
        as_boxes(bad)  # type: ignore[arg-type]


def test_clipping_does_not_change_its_input() -> None:
    given_boxes = np.array([[-1.0, 0.0, 2.0, 1.0]])
    clip(given_boxes)
    assert given_boxes.tolist() == [[-1.0, 0.0, 2.0, 1.0]]


def test_a_quarter_turn_swings_a_box_to_the_left() -> None:
    """In an image of 200 x 100 pixels, 40 x 20 pixels about (100, 50), clockwise as on the screen."""
    turned = upright(Box(0.5, 0.5, 0.7, 0.7, 90), 200, 100)
    assert to_array([turned])[0] * [200, 100, 200, 100] == pytest.approx([80, 50, 100, 90])


@given(
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    w=st.floats(0.01, 0.5),
    h=st.floats(0.01, 0.5),
    angle=st.floats(-720, 720),
    size=st.tuples(st.integers(10, 5000), st.integers(10, 5000)),
)
def test_turning_moves_corners_on_circles_of_pixels(
    x: float, y: float, w: float, h: float, angle: float, size: tuple[int, int]
) -> None:
    box = Box(x, y, x + w, y + h, angle)
    points = corners(box, *size) * size
    sides = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
    wide, high = w * size[0], h * size[1]
    assert sides == pytest.approx([wide, high, wide, high], rel=1e-6)
    assert points[0] == pytest.approx([x * size[0], y * size[1]])
    along = points[1] - points[0]
    assert math.degrees(math.atan2(along[1], along[0])) % 360 == pytest.approx(angle % 360, abs=1e-4) or (
        abs(angle % 360) < 1e-4 or abs(angle % 360 - 360) < 1e-4
    )
    around = upright(box, *size)
    assert around.rotation == 0
    assert (around.x1 <= points[:, 0] / size[0] + 1e-9).all()
    assert (around.y2 >= points[:, 1] / size[1] - 1e-9).all()


@pytest.mark.parametrize("angle", [0.0, 360.0, -720.0])
def test_full_turns_change_nothing(angle: float) -> None:
    assert upright(Box(0.1, 0.2, 0.3, 0.4, angle), 640, 480) == Box(0.1, 0.2, 0.3, 0.4)
