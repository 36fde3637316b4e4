"""The promise against binomial tables, against trying every threshold, and kept in thousands of draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pool.schema import BadInput
from sampler.guarantee import MARGIN, Promise, broken, chance, needed, promise, walk

GRID = np.linspace(0.5, 0.99, 50)
shares = st.floats(0.01, 0.5)


@given(st.integers(0, 60), st.integers(0, 400), shares)
def test_the_chance_is_the_binomial_one(wrong: int, more: int, alpha: float) -> None:
    assert chance(wrong, wrong + more, alpha) == pytest.approx(
        float(binom.cdf(wrong, wrong + more, alpha)), rel=1e-9, abs=1e-12
    )


@given(st.integers(0, 30), shares, shares)
def test_needed_is_the_fewest(wrong: int, alpha: float, delta: float) -> None:
    n = needed(wrong, alpha, delta)
    assert binom.cdf(wrong, n, alpha) <= delta * (1 + 1e-9)
    assert n == wrong + 1 or binom.cdf(wrong, n - 1, alpha) > delta * (1 - 1e-9)


images = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=120)


@given(images, shares, shares)
def test_the_walk_ends_before_the_first_threshold_that_fails(
    rows: list[tuple[float, bool]], alpha: float, delta: float
) -> None:
    sure, wrong = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=bool)
    found = promise(sure, wrong, GRID, alpha=alpha, delta=delta)
    expected = None
    for threshold in GRID[::-1]:
        kept = sure >= threshold
        if binom.cdf(wrong[kept].sum(), kept.sum(), alpha) > delta:
            break
        expected = threshold
    assert found.threshold == expected
    kept = sure >= (GRID[-1] if expected is None else expected)
    assert (found.accepted, found.wrong) == (kept.sum(), wrong[kept].sum())
    if expected is None:
        assert binom.cdf(found.wrong, found.accepted + found.missing, alpha) <= delta * (1 + 1e-9)


def test_in_two_thousand_draws_the_promise_is_broken_in_no_more_than_delta_of_them() -> None:
    """An image of confidence c is wrong with probability (1 - c) / 2; what is accepted is known exactly."""
    rng, alpha, delta, draws = np.random.default_rng(3), 0.1, 0.1, 2000
    grid = np.linspace(0.5, 0.8, 31)
    broken = given_out = 0
    for _ in range(draws):
        sure = rng.random(600)
        wrong = rng.random(600) < (1 - sure) / 2
        found = promise(sure, wrong, grid, alpha=alpha, delta=delta)
        if found.threshold is not None:
            given_out += 1
            truly = (1 - found.threshold) / 4  # the mean of (1 - c) / 2 over c in [threshold, 1]
            broken += truly > alpha
    assert broken <= delta * draws + 3 * np.sqrt(draws * delta * (1 - delta))
    assert given_out > 0.1 * draws


def test_too_little_data_says_how_much_is_missing() -> None:
    assert promise([0.99] * 40, [False] * 40, GRID, alpha=0.05, delta=0.05) == Promise(None, 40, 40, 0, 19)
    assert promise([], [], GRID, alpha=0.05, delta=0.05).missing == 59
    assert promise([0.99] * 59, [False] * 59, GRID, alpha=0.05, delta=0.05).threshold == GRID[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"delta": 1.0}, "delta"),
        ({"wrong": [True]}, "wrong"),
        ({"thresholds": []}, "thresholds"),
        ({"confidence": [np.nan, 1.0]}, "finite"),
    ],
)
def test_what_cannot_be_is_named(change: dict[str, object], says: str) -> None:
    fine = {
        "confidence": [0.5, 0.9],
        "wrong": [True, False],
        "thresholds": GRID,
        "alpha": 0.1,
        "delta": 0.1,
    }
    with pytest.raises(BadInput, match=says):
        promise(**(fine | change))  # type: ignore[arg-type]


@given(st.integers(0, 40), st.integers(0, 300), shares, shares)
def test_broken_is_the_exact_binomial_test(wrong: int, more: int, alpha: float, delta: float) -> None:
    tail = float(binom.sf(wrong - 1, wrong + more, alpha))
    if abs(tail - delta) > 1e-9:
        assert broken(wrong, wrong + more, alpha, delta) == (wrong > 0 and tail <= delta)


def test_a_kept_promise_is_seldom_called_broken() -> None:
    draw = np.random.default_rng(5)
    wrong = draw.binomial(60, 0.05, size=2000)
    assert np.mean([broken(int(w), 60, 0.05, 0.1) for w in wrong]) <= 0.1


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(0, 300), shares, shares)
def test_the_walk_begins_where_a_promise_can_first_be_kept(
    pool: list[float], labelled: int, alpha: float, delta: float
) -> None:
    found = walk(pool, labelled, alpha, delta)
    assert (np.diff(found) < 0).all()
    assert (found > 0).all()
    if labelled < needed(0, alpha, delta) or not any(value > 0 for value in pool):
        assert not found.size
    elif all(value > 0 for value in pool):
        accepted = np.mean(np.array(pool) >= found[0])
        assert accepted >= min(MARGIN * needed(0, alpha, delta) / labelled, 1) - 1 / len(pool)
        assert found[-1] == pytest.approx(min(pool))


def test_promises_along_the_walk_are_kept_in_two_thousand_draws() -> None:
    """The whole way: thresholds from an unlabelled pool, a promise from 200 labels, truth from the pool."""
    draw = np.random.default_rng(11)
    pool = draw.beta(3, 1, size=20_000)
    wrong = draw.random(20_000) > pool**0.35  # the surer, the seldomer wrong
    alpha, delta, broken_ones, given_ = 0.1, 0.1, 0, 0
    thresholds = walk(pool, 200, alpha, delta)
    for _ in range(2000):
        some = draw.choice(20_000, 200, replace=False)
        kept = promise(pool[some], wrong[some], thresholds, alpha=alpha, delta=delta)
        if kept.threshold is not None:
            given_ += 1
            broken_ones += wrong[pool >= kept.threshold].mean() > alpha
    assert given_ > 500
    assert broken_ones / 2000 <= delta
