"""Asking in a stream: what it may spend, what it remembers, and how good its picks are."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pool.schema import BadInput
from sampler.stream import Quota, Stream, advance, replay, wants

Array = NDArray[np.float64]
budgets = st.floats(0.01, 0.6)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=200), budgets, st.floats(1, 20))
def test_no_stretch_spends_more_than_the_bucket_and_what_flowed_in(
    values: list[float], budget: float, burst: float
) -> None:
    picks = replay(np.array(values), Quota(budget, burst))
    for i in range(len(picks)):
        for j in range(i, len(picks)):
            assert j - i + 1 <= burst + budget * (picks[j] - picks[i]) + budget + 1e-6


@given(st.floats(-10, 10), budgets)
def test_asking_changes_nothing_and_spending_does(u: float, budget: float) -> None:
    quota = Quota(budget)
    state = Stream(100, 5, 0.4, 0.1, 3.0)
    assert wants(state, u, quota) is wants(state, u, quota)
    spent, saved = (advance(state, u, quota, asked=asked) for asked in (True, False))
    assert (spent.asked, saved.asked) == (6, 5)
    assert spent.tokens == pytest.approx(saved.tokens - 1)
    assert (spent.threshold, spent.spread) == (saved.threshold, saved.spread)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.floats(0.001, 1000), st.floats(-50, 50), budgets)
def test_scale_and_origin_mean_nothing(seed: int, factor: float, shift: float, budget: float) -> None:
    values = np.round(np.random.default_rng(seed).random(300), 3)
    quota = Quota(budget)
    ours, theirs = replay(values, quota), replay(values * factor + shift, quota)
    # Rounding may turn a single decision at the threshold, after which both go on alike.
    assert abs(len(ours) - len(theirs)) <= 2


def test_a_restart_in_the_middle_is_not_noticed() -> None:
    values, quota = np.random.default_rng(1).random(400), Quota(0.1)
    state, picks = quota.begin(), []
    for i, u in enumerate(values.tolist()):
        state = Stream(**json.loads(json.dumps(asdict(state))))  # as a row of the ledger
        asked = wants(state, u, quota)
        state = advance(state, u, quota, asked=asked)
        picks += [i] * asked
    assert picks == replay(values, quota)


def drifting(seed: int, n: int = 6000) -> Array:
    """Everything gets harder in the middle, and a storm comes."""
    rng = np.random.default_rng(seed)
    values = rng.beta(2, 6, n)
    values[n // 2 :] = rng.beta(4, 4, n - n // 2)
    values[4000:4200] = rng.beta(8, 2, 200)
    return np.asarray(values)


@pytest.mark.parametrize("seed", range(3))
def test_under_drift_and_bursts_the_budget_is_met_and_the_picks_are_the_best(seed: int) -> None:
    values, budget = drifting(seed), 0.05
    picks = np.array(replay(values, Quota(budget)))
    assert abs(len(picks) / len(values) - budget) < 0.02 * budget
    # A pick's rank among its 500 neighbours; with hindsight the best 5 % would reach .975 on average.
    ranks = [(values[max(0, i - 250) : i + 250] < values[i]).mean() for i in picks]
    assert np.mean(ranks) > 0.93
    assert ((picks >= 4000) & (picks < 4200)).sum() <= 30 + 0.05 * 200 + 1


def test_equal_images_are_asked_about_as_often_as_the_budget_says() -> None:
    picks = replay(np.full(2000, 0.5), Quota(0.1))
    assert abs(len(picks) - 200) <= 20


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Quota(0.0), "budget"),
        (lambda: Quota(1.0), "budget"),
        (lambda: Quota(0.1, 0.5), "burst"),
        (lambda: Quota(0.1, math.inf), "burst"),
        (lambda: wants(Stream(), math.nan, Quota(0.1)), "uncertainty"),
    ],
)
def test_what_cannot_be_is_named(make: object, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        make()  # type: ignore[operator]


def test_after_a_night_in_which_nobody_could_be_asked_the_picks_are_as_good_as_before() -> None:
    values, quota = np.random.default_rng(6).beta(2, 6, 6000), Quota(0.05)
    state, picks = quota.begin(), []
    for place, u in enumerate(values.tolist()):
        asked = wants(state, u, quota) and not 2000 <= place < 4000
        state = advance(state, u, quota, asked=asked)
        picks += [place] * asked
    evening, morning = (
        [float((values < values[i]).mean()) for i in picks if first <= i < first + 2000]
        for first in (0, 4000)
    )
    assert np.mean(morning) == pytest.approx(np.mean(evening), abs=0.02)
    assert len(morning) <= len(evening) + quota.burst
