"""Seconds learned from lead times: exact where those are, unmoved by lunches, in any order and unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from pool.schema import BadInput
from sampler.effort import DEFAULT, LOOK, Effort, learn, seconds

Floats = NDArray[np.float64]
answers = st.lists(st.tuples(st.floats(0.1, 4000), st.integers(0, 12)), min_size=20, max_size=60)


def worked(seed: int, n: int, noise: float = 0.3) -> tuple[Floats, Floats]:
    """Answers of people who need 8 s for an image and 4 s for a box, give or take."""
    rng = np.random.default_rng(seed)
    boxes = rng.poisson(3, n).astype(np.float64)
    return (8 + 4 * boxes) * np.exp(noise * rng.standard_normal(n)), boxes


def learned(times: Sequence[float | None] | ArrayLike, boxes: ArrayLike) -> Effort:
    effort = learn(times, boxes)
    assert effort is not None
    return effort


def test_exact_times_are_found_exactly() -> None:
    boxes = np.arange(40) % 7
    assert astuple(learned(8 + 4.0 * boxes, boxes)) == pytest.approx((8, 4))


def test_a_tenth_of_lunches_moves_nothing_much() -> None:
    for seed in range(10):
        times, boxes = worked(seed, 600)
        clean = learned(times, boxes)
        times[np.random.default_rng(seed).choice(600, 60, replace=False)] = 3600
        stained = learned(times, boxes)
        assert stained.image == pytest.approx(clean.image, rel=0.15)
        assert stained.box == pytest.approx(clean.box, rel=0.15)
        assert clean.image == pytest.approx(8, rel=0.25)
        assert clean.box == pytest.approx(4, rel=0.25)
        mean_squares = np.polyfit(boxes, times, 1)
        assert mean_squares[1] > 10 * clean.image  # what an ordinary fit makes of the same answers


def test_a_fifth_of_lunches_is_seen_through() -> None:
    """Least absolute deviations alone make a fifth more of all seconds here."""
    for seed in range(5):
        times, boxes = worked(seed, 4000, noise=0.6)
        clean = learned(times, boxes)
        times[np.random.default_rng(seed).choice(4000, 800, replace=False)] = 3600
        assert astuple(learned(times, boxes)) == pytest.approx(astuple(clean), rel=0.1)


def test_answers_without_a_usable_time_are_no_answers() -> None:
    times, boxes = worked(1, 40)
    junk = [None, math.nan, 0.0, -3.0, math.inf]
    assert learned([*times, *junk], [*boxes, *[5.0] * 5]) == learned(times, boxes)
    assert learn([*times[:19], *junk], [*boxes[:19], *[5.0] * 5]) is None
    assert learn(times[:20], boxes[:20]) is not None
    assert learn(times, boxes, least=41) is None
    assert learn([], []) is None


@settings(max_examples=50)
@given(answers, st.data())
def test_neither_order_nor_unit_matters(rows: list[tuple[float, int]], data: st.DataObject) -> None:
    effort = learn([t for t, _ in rows], [n for _, n in rows])
    mixed = data.draw(st.permutations(rows))
    assert learn([t for t, _ in mixed], [n for _, n in mixed]) == effort
    doubled = learn([2 * t for t, _ in rows], [n for _, n in rows])
    if effort is None:
        assert doubled is None
    else:
        assert effort.image > 0
        assert effort.box >= 0
        assert doubled == Effort(2 * effort.image, 2 * effort.box)


@settings(max_examples=50)
@given(answers)
def test_no_other_seconds_leave_less(rows: list[tuple[float, int]]) -> None:
    """Against a linear program, of all answers as they are."""
    times, boxes = np.array([t for t, _ in rows]), np.array([n for _, n in rows], dtype=np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sampler.effort.TOO_LONG", math.inf)
        effort = learn(times, boxes)
    if effort is None:
        return
    n, some = times.size, boxes > 0
    over = np.column_stack((np.ones(n), boxes, -np.eye(n)))
    under = np.column_stack((-np.ones(n), -boxes, -np.eye(n)))
    least = linprog(
        np.concatenate(([0, 0], np.ones(n))),
        A_ub=np.vstack((over, under)),
        b_ub=np.concatenate((times, -times)),
        bounds=[(LOOK * np.median(times), None), (0, np.median(times[some] / boxes[some]))]
        + [(0, None)] * n,
    ).fun
    assert np.abs(times - seconds(effort, boxes)).sum() == pytest.approx(least, rel=1e-6)


def test_boxes_that_cost_nothing_cost_nothing_and_images_always_something() -> None:
    boxes = np.arange(40) % 8
    faster = learned(30.0 - 2 * boxes, boxes)  # crowded images answered faster: nobody is paid back
    assert faster.box == 0
    assert faster.image == pytest.approx(float(np.median(30.0 - 2 * boxes)))
    only = learned(3.0 * np.arange(1, 41), np.arange(1, 41))
    assert only.box == pytest.approx(3, rel=0.05)
    assert only.image > 0


def test_without_different_images_nothing_can_be_told_apart() -> None:
    times = np.full(100, 20.0)
    assert learn(times, np.full(100, 3)) is None
    few = np.where(np.arange(100) < 90, 0, 5)
    assert learn(np.where(few == 5, 3600.0, 8.0), few) is None  # ten lunches are no price of a box
    enough = np.where(np.arange(100) < 70, 0, 5)
    assert astuple(learned(8 + 4 * enough, enough)) == pytest.approx((8, 4))


def test_expected_seconds_of_images() -> None:
    assert seconds(Effort(10, 5), [0, 1, 4]).tolist() == [10, 15, 30]
    assert seconds(DEFAULT, []).shape == (0,)
    assert seconds(DEFAULT, [0]) > 0


@pytest.mark.parametrize(
    ("image", "box", "says"),
    [(0.0, 1.0, "image"), (math.nan, 1.0, "image"), (math.inf, 1.0, "image"), (1.0, -1.0, "box")],
)
def test_no_effort_is_out_of_range(image: float, box: float, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Effort(image, box)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="boxes must be as many as the lead times"):
        learn([1.0, 2.0], [1])
    with pytest.raises(BadInput, match="finite counts"):
        learn([1.0], [-1])
    with pytest.raises(BadInput, match="least"):
        learn([1.0], [1], least=0)
