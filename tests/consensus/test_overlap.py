"""IoU pair by pair: against counted pixels, closed forms, and the pool's own geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from consensus.overlap import corners, hulls, pair_iou
from pool import boxes as pool_boxes
from pool.schema import Box

unit = st.floats(0, 1)


@st.composite
def quads(draw: st.DrawFn) -> list[float]:
    x, y = draw(st.floats(0, 0.8)), draw(st.floats(0, 0.8))
    return [x, y, x + draw(st.floats(0.02, 0.5)), y + draw(st.floats(0.02, 0.5))]


turns = st.sampled_from([0.0, 45.0, 90.0, 180.0, -90.0, 360.0]) | st.floats(-720, 720)
aspects = st.floats(0.3, 3.0)


def iou(
    a: list[float], b: list[float], turn_a: float = 0.0, turn_b: float = 0.0, aspect: float = 1.0
) -> float:
    one = pair_iou(np.array([a]), np.array([b]), np.array([turn_a]), np.array([turn_b]), np.array([aspect]))
    return float(one[0])


@given(quads(), quads(), turns, turns, aspects)
def test_symmetric_and_between_0_and_1(
    a: list[float], b: list[float], s: float, t: float, aspect: float
) -> None:
    there, back = iou(a, b, s, t, aspect), iou(b, a, t, s, aspect)
    assert 0 <= there <= 1
    assert there == pytest.approx(back, abs=1e-9)


@given(quads(), turns, aspects)
def test_a_box_is_all_of_itself(a: list[float], t: float, aspect: float) -> None:
    assert iou(a, a, t, t, aspect) == 1.0


@given(quads(), quads())
def test_upright_boxes_like_the_pools(a: list[float], b: list[float]) -> None:
    assert iou(a, b) == pytest.approx(float(pool_boxes.iou_matrix([a], [b])[0, 0]), abs=1e-11)


@given(quads(), quads(), aspects, st.sampled_from([360.0, -720.0]))
def test_a_full_turn_is_none(a: list[float], b: list[float], aspect: float, full: float) -> None:
    assert iou(a, b, full, 0.0, aspect) == iou(a, b)


@given(quads(), quads(), aspects)
def test_the_polygon_path_agrees_with_the_upright_one(
    a: list[float], b: list[float], aspect: float
) -> None:
    barely = 1e-9  # turns no corner by more than a rounding error, but takes the other path
    assert iou(a, b, barely, 0.0, aspect) == pytest.approx(iou(a, b), abs=1e-6)


def inside(points: NDArray[np.float64], a: list[float], turn: float, aspect: float) -> NDArray[np.bool_]:
    """Whether points (x stretched by aspect) lie in a turned box, by turning them back."""
    angle = math.radians(turn)
    x, y = points[:, 0] - a[0] * aspect, points[:, 1] - a[1]
    right, down = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return (right >= 0) & (right <= (a[2] - a[0]) * aspect) & (down >= 0) & (down <= a[3] - a[1])


def test_turned_boxes_against_counted_points() -> None:
    rng = np.random.default_rng(5)
    axis = np.linspace(-1.5, 3.0, 700)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for _ in range(12):
        x, y = rng.random(2) * 0.4
        a = [x, y, x + 0.3 + rng.random() * 0.5, y + 0.3 + rng.random() * 0.5]
        b = [a[0] + 0.1, a[1] + 0.05, a[2] + 0.15, a[3]]
        s, t = rng.random(2) * 360
        t = s + rng.normal(0, 40)
        aspect = 0.6 + rng.random()
        in_a, in_b = inside(grid, a, s, aspect), inside(grid, b, t, aspect)
        counted = (in_a & in_b).sum() / (in_a | in_b).sum()
        assert iou(a, b, s, t, aspect) == pytest.approx(counted, abs=0.01)


@pytest.mark.parametrize(
    ("a", "s", "b", "t", "expected"),
    [
        ([0.0, 0.0, 2.0, 1.0], 0.0, [0.0, 0.0, 2.0, 1.0], 180.0, 0.0),  # swung round its corner
        ([0.0, 0.0, 1.0, 1.0], 0.0, [1.0, 0.0, 2.0, 1.0], 90.0, 1.0),  # swung onto the other
        ([0.0, 0.0, 2.0, 2.0], 0.0, [1.0, 0.0, 1 + 2**0.5, 2**0.5], 45.0, 0.5),  # diamond in a square
        ([0.0, 0.0, 4.0, 1.0], 0.0, [2.5, -1.5, 6.5, -0.5], 90.0, 1 / 7),  # a cross
        ([0.0, 0.0, 1.0, 1.0], 0.0, [5.0, 5.0, 6.0, 6.0], 30.0, 0.0),
    ],
)
def test_turned_boxes_in_closed_form(
    a: list[float], s: float, b: list[float], t: float, expected: float
) -> None:
    assert iou(a, b, s, t) == pytest.approx(expected, abs=1e-9)


def test_turning_happens_in_pixels() -> None:
    a, b = [0.5, 0.0, 1.0, 0.25], [0.0, 0.0, 0.5, 0.25]
    assert iou(a, b, 90.0, 0.0, aspect=0.5) == pytest.approx(1.0)  # a is a square of pixels there
    assert iou(a, b, 90.0, 0.0, aspect=1.0) == pytest.approx(1 / 3)


@given(quads(), turns, aspects)
def test_corners_and_hull_like_the_pools(a: list[float], t: float, aspect: float) -> None:
    rows, turn, stretch = np.array([a]), np.array([t]), np.array([aspect])
    box = Box(a[0], a[1], a[2], a[3], t)
    expected = pool_boxes.corners(box, aspect, 1.0) * (aspect, 1.0)
    assert corners(rows, turn, stretch)[0] == pytest.approx(expected, abs=1e-9)
    around = pool_boxes.upright(box, aspect, 1.0)
    hull = (around.x1 * aspect, around.y1, around.x2 * aspect, around.y2)
    assert hulls(rows, turn, stretch)[0] == pytest.approx(hull, abs=1e-9)


def test_exactly_half_is_half_wherever_it_lies() -> None:
    for shift in np.linspace(0, 0.7, 200):
        assert (
            iou([shift, shift, shift + 0.1, shift + 0.2], [shift, shift, shift + 0.1, shift + 0.1]) == 0.5
        )
