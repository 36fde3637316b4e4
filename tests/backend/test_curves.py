"""The figures of a replay are those of independent libraries, and its verdicts do not boast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from backend.curves import area, caution, holm, paired, reached, summarise
from pool.schema import BadInput
from tests.backend.played import played, run

HEIGHTS = st.lists(st.floats(0, 1), min_size=2, max_size=8)
GAPS = st.lists(st.floats(-1, 1).map(lambda v: round(v, 3)), min_size=2, max_size=8)


def rising(heights: Sequence[float], seed: int) -> list[float]:
    """Places on the axis, one for each height."""
    steps = np.random.default_rng(seed).integers(1, 40, len(heights))
    return [float(v) for v in np.cumsum(steps)]


@given(HEIGHTS, st.integers(0, 99), st.floats(0, 1))
def test_an_area_is_the_integral_by_the_width(heights: list[float], seed: int, share: float) -> None:
    x = rising(heights, seed)
    end = x[0] + share * (x[-1] - x[0])
    assert area(x, heights) == pytest.approx(integrate.trapezoid(heights, x) / (x[-1] - x[0]))
    if end - x[0] > 1e-3:
        whole, _ = integrate.quad(np.interp, x[0], end, args=(x, heights), points=x[1:-1], limit=200)
        assert area(x, heights, end) == pytest.approx(whole / (end - x[0]), abs=1e-6)
    assert min(heights) - 1e-9 <= area(x, heights, end) <= max(heights) + 1e-9


def test_an_area_of_no_width_is_the_last_height() -> None:
    assert area([5], [0.3]) == 0.3
    assert area([5, 5], [0.3, 0.4]) == 0.4
    for x, until in (([2, 1], None), ([1], None), ([1, 2], 3.0), ([1, 2], 0.5)):
        with pytest.raises(BadInput):
            area(x, [0.1, 0.2], until)


@given(HEIGHTS, st.integers(0, 99), st.floats(0, 1))
def test_a_curve_reaches_a_target_where_it_first_crosses_it(
    heights: list[float], seed: int, target: float
) -> None:
    x = rising(heights, seed)
    at = reached(x, heights, target)
    if max(heights) < target:
        assert at is None
        return
    assert at is not None
    if heights[0] >= target:
        assert at == x[0]
        return
    first = next(i for i, h in enumerate(heights) if h >= target)
    root = optimize.brentq(lambda v: np.interp(v, x, heights) - target, x[first - 1], x[first])
    # Compared by height: a slope that is nearly level has its root anywhere.
    assert np.interp(at, x, heights) == pytest.approx(np.interp(root, x, heights), abs=1e-9)
    assert x[first - 1] <= at <= x[first]


@given(GAPS)
def test_pairs_are_scipys_paired_test(gaps: list[float]) -> None:
    theirs = np.random.default_rng(len(gaps)).random(len(gaps))
    ours = theirs + gaps
    found = paired(ours, theirs)
    assert (found.n, found.wins) == (len(gaps), int((ours > theirs).sum()))
    if np.ptp(gaps) < 1e-3:
        return
    oracle = stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)))
    mirrored = paired(theirs, ours)
    assert (mirrored.mean, mirrored.p) == pytest.approx((-found.mean, found.p))


def test_pairs_that_say_little() -> None:
    one = paired([0.5], [0.4])
    assert (one.n, one.wins, one.low, one.p) == (1, 1, None, None)
    same = paired([0.5, 0.5], [0.5, 0.5])
    assert (same.mean, same.p, same.wins) == (0, 1, 0)
    for ours, theirs in (([], []), ([1], [1, 2])):
        with pytest.raises(BadInput):
            paired(ours, theirs)


def test_trying_more_strategies_demands_more_of_each() -> None:
    assert holm([0.01, 0.04, 0.03, None]) == [pytest.approx(0.03), 0.06, 0.06, None]
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([0.02]) == [0.02]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_a_correction_keeps_the_order_and_lies_below_bonferronis(p: list[float]) -> None:
    found = [q for q in holm(p) if q is not None]
    assert all(a <= b + 1e-12 <= min(1, len(p) * a) + 1e-9 or b == 1 for a, b in zip(p, found, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0).all()
    assert found[int(order[0])] == pytest.approx(min(1, len(p) * min(p)))


def test_twice_as_fast_needs_half_the_further_images() -> None:
    found = {s.strategy: s for s in summarise(played(4, fast=2.0, slow=0.5))}
    assert list(found) == ["random", "count", "fast", "slow"]
    assert found["random"].images_to_target == 1
    assert found["fast"].images_to_target == pytest.approx(30 / 50, abs=0.02)
    assert found["fast"].boxes_to_target == pytest.approx(60 / 100, abs=0.02)
    assert found["slow"].images_to_target is None
    assert found["fast"].verdict.startswith("better than random (p = ")
    assert "equal boxes" not in found["fast"].verdict
    assert "on 4 seeds; better than count (p = " in found["fast"].verdict
    assert found["slow"].verdict.startswith("worse than random (p = ")
    assert found["count"].verdict == "not separable from random on 4 seeds"
    assert found["random"].gain is None
    gain = found["fast"].gain
    assert gain is not None
    assert gain.mean == pytest.approx(0.2, abs=0.01)
    assert gain.wins == 4
    assert found["fast"].final == pytest.approx(0.2 + 0.015 + 0.8, abs=0.01)


def test_crowded_images_win_over_images_and_not_over_boxes() -> None:
    runs = []
    for seed in range(3):
        steady = [0.2, 0.3 + seed / 1000, 0.4, 0.5, 0.6]
        runs += [run("random", seed, steady), run("count", seed, [0.2, 0.4, 0.6, 0.8, 1.0], boxes=4)]
    random, count = summarise(runs)
    assert count.area > random.area
    assert count.area_boxes == pytest.approx(random.area_boxes, abs=1e-3)
    assert count.images_to_target == pytest.approx(0.6)
    assert count.boxes_to_target == pytest.approx(1.0)
    assert count.verdict.startswith("better than random (p = ")
    assert count.verdict.endswith(" on 3 seeds, not surely at equal boxes")


def test_one_seed_shows_nothing_yet() -> None:
    fast = summarise(played(1, fast=3.0))[-1]
    assert "one seed" in fast.verdict
    assert fast.final_sd is None


def test_runs_that_are_no_pairs_are_refused() -> None:
    runs = played(2, fast=2.0)
    for broken in (runs[:-1], [r for r in runs if r.strategy != "count"], []):
        with pytest.raises(BadInput, match="runs"):
            summarise(broken)
    shorter = replace(runs[-1], rounds=runs[-1].rounds[:-1])
    with pytest.raises(BadInput, match="runs"):
        summarise([*runs[:-1], shorter])


def test_a_pool_on_which_random_learns_nothing_is_called_out() -> None:
    assert caution(played(3)) == ""
    flat = [run(name, s, [0.3, 0.29 + s / 50]) for s in range(3) for name in ("random", "count")]
    assert "train longer" in caution(flat)
