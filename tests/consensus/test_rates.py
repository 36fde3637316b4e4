"""Rates and their bounds: by hand, by statsmodels, and by how often the bounds hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from consensus.rates import Rate, rates, wilson
from pool.schema import BadInput


def test_by_hand() -> None:
    # Newcombe 1998, Statistics in Medicine 17: 81 of 263 gives 0.2553 to 0.3662, 1 of 29 0.0061 to 0.1718.
    assert Rate(81, 263).value == pytest.approx(81 / 263)
    assert (Rate(81, 263).low, Rate(81, 263).high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (Rate(1, 29).low, Rate(1, 29).high) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_of_nothing_is_unknown() -> None:
    nothing = Rate(0, 0)
    assert all(math.isnan(value) for value in (nothing.value, nothing.low, nothing.high))


@pytest.mark.parametrize("of", [1, 2, 50])
def test_none_and_all_are_no_certainty(of: int) -> None:
    none, every = Rate(0, of), Rate(of, of)
    assert none.value == none.low == 0.0 < none.high < 1.0
    assert 0.0 < every.low < every.value == every.high == 1.0


@given(st.integers(1, 5000), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
@settings(max_examples=100)
def test_like_statsmodels(of: int, data: st.DataObject, level: float) -> None:
    count = data.draw(st.integers(0, of))
    low, high = wilson([count], [of], level)
    expected = proportion_confint(count, of, alpha=1.0 - level, method="wilson")
    assert (low[0], high[0]) == pytest.approx(expected, abs=1e-12)
    assert 0.0 <= low[0] <= count / of <= high[0] <= 1.0


def test_the_bounds_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    for behind, of in [(0.05, 60), (0.2, 40), (0.5, 100)]:
        count = rng.binomial(of, behind, 4000)
        low, high = wilson(count, np.full(4000, of))
        held = np.mean((low <= behind) & (behind <= high))
        assert 0.92 < held < 0.98


def test_columns() -> None:
    assert rates([1, 0], np.array([2, 0])) == (Rate(1, 2), Rate(0, 0))
    assert rates([], []) == ()
    low, high = wilson(np.zeros((2, 3)), np.ones((2, 3)))
    assert low.shape == high.shape == (2, 3)


@pytest.mark.parametrize(("count", "of"), [(-1, 2), (3, 2), (1, 0)])
def test_impossible_counts(count: int, of: int) -> None:
    with pytest.raises(BadInput, match="count must be between"):
        Rate(count, of)
    with pytest.raises(BadInput, match="count must be between"):
        wilson([count], [of])


@pytest.mark.parametrize("level", [0.0, 1.0, float("nan")])
def test_impossible_levels(level: float) -> None:
    with pytest.raises(BadInput, match="level must be"):
        wilson([1], [2], level)


def test_columns_that_do_not_fit() -> None:
    with pytest.raises(BadInput, match="a column like"):
        rates([1, 2], [3])
