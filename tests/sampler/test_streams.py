"""What holds for every strategy of a stream."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler import stream
from sampler.stream import Item, Quota
from sampler.streams import DEFAULT, STREAMS, named, replay
from tests.sampler.clouds import cloud

names = st.sampled_from(sorted(STREAMS))
budgets = st.floats(0.01, 0.6)
uncertainties = st.lists(st.floats(0, 1), max_size=120)
BUCKETED = ["quantile", "vessal", "random"]


def images(n: int, seed: int, d: int = 40) -> list[Item]:
    u = np.random.default_rng(seed).beta(2, 6, n)
    return [Item(float(a), row) for a, row in zip(u, cloud(n, d, seed), strict=True)]


@settings(deadline=None, max_examples=60)
@given(names, st.integers(0, 999), budgets)
def test_asking_changes_nothing_and_spending_does(name: str, seed: int, budget: float) -> None:
    strategy, quota = STREAMS[name], Quota(budget, seed=seed)
    state: Any = strategy.begin(quota)
    for item in images(25, seed):
        before = strategy.dump(state)
        wanted = strategy.wants(state, item, quota)
        assert strategy.wants(state, item, quota) is wanted
        why = strategy.explain(state, item, quota)
        assert 0 < len(why) <= 100
        spent, saved = (strategy.advance(state, item, quota, asked) for asked in (True, False))
        assert strategy.dump(state) == before
        assert spent != saved
        assert (spent.seen, spent.asked) == (state.seen + 1, state.asked + 1)
        assert (saved.seen, saved.asked) == (state.seen + 1, state.asked)
        state = strategy.advance(state, item, quota, wanted)


@pytest.mark.parametrize("name", STREAMS)
def test_a_restart_after_every_image_is_not_noticed(name: str) -> None:
    strategy, quota = named(name), Quota(0.1, seed=5)
    state, picks = strategy.begin(quota), []
    for place, item in enumerate(images(300, 1)):
        text = json.dumps(strategy.dump(state), allow_nan=False)
        assert strategy.load(json.loads(text)) == state
        state = strategy.load(json.loads(text))
        wanted = strategy.wants(state, item, quota)
        state = strategy.advance(state, item, quota, wanted)
        picks += [place] * wanted
    assert picks == replay(images(300, 1), quota, name)
    assert picks


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(BUCKETED), uncertainties, budgets, st.floats(1, 20))
def test_no_stretch_spends_more_than_the_bucket_and_what_flowed_in(
    name: str, values: list[float], budget: float, burst: float
) -> None:
    picks = replay(map(Item, values), Quota(budget, burst), name)
    for i in range(len(picks)):
        for j in range(i, len(picks)):
            assert j - i + 1 <= burst + budget * (picks[j] - picks[i]) + budget + 1e-6


@pytest.mark.parametrize("name", BUCKETED)
def test_a_bucket_of_one_has_to_fill_before_the_next(name: str) -> None:
    picks = replay(images(500, 1), Quota(0.3, burst=1), name)
    assert np.diff(picks).min() == 4  # 3 images bring 0.9 of one
    assert len(picks) > 50


@pytest.mark.parametrize("name", BUCKETED)
@pytest.mark.parametrize("seed", range(3))
def test_under_drift_the_budget_is_met(name: str, seed: int) -> None:
    items = images(1500, seed) + [Item(min(2 * i.uncertainty, 1.0), i.embedding) for i in images(1500, 9)]
    assert len(replay(items, Quota(0.1, seed=seed), name)) == pytest.approx(300, abs=16)


@pytest.mark.parametrize("name", BUCKETED)
def test_after_a_night_in_which_nobody_could_be_asked_the_budget_is_what_it_was(name: str) -> None:
    strategy, quota = named(name), Quota(0.1)
    state: Any = strategy.begin(quota)
    day = images(1000, 3)
    for item in day + day:
        state = strategy.advance(state, item, quota, False)
    asked = 0
    for item in day:
        wanted = strategy.wants(state, item, quota)
        state = strategy.advance(state, item, quota, wanted)
        asked += wanted
    assert 95 <= asked <= 100 + quota.burst


@pytest.mark.parametrize("name", ["split", "vessal", "random"])
def test_seeds_draw_differently_and_the_same_seed_the_same(name: str) -> None:
    items = images(400, 2)
    first, again, other = (replay(items, Quota(0.2, seed=seed), name) for seed in (1, 1, 2))
    assert first == again != other


def test_random_asks_about_each_image_as_often_as_about_another() -> None:
    items = [Item(1.0 if place % 2 else 0.0) for place in range(100)]
    hits = np.zeros(100)
    for seed in range(400):
        hits[replay(items, Quota(0.2, seed=seed), "random")] += 1
    assert abs(hits - 80).max() < 5 * math.sqrt(400 * 0.2 * 0.8)
    assert hits[::2].sum() == pytest.approx(hits[1::2].sum(), rel=0.1)


def test_the_default_is_the_quantile_on_bare_numbers() -> None:
    items = images(500, 4)
    assert DEFAULT == "quantile"
    assert replay(items, Quota(0.1)) == stream.replay([item.uncertainty for item in items], Quota(0.1))


@settings(deadline=None, max_examples=60)
@given(names, st.integers(0, 99), budgets)
def test_reasons_agree_with_what_is_wanted(name: str, seed: int, budget: float) -> None:
    strategy, quota = STREAMS[name], Quota(budget, seed=seed)
    state: Any = strategy.begin(quota)
    for item in images(40, seed):
        wanted, why = strategy.wants(state, item, quota), strategy.explain(state, item, quota)
        if "used up" in why:
            assert not wanted
        elif why.startswith("draw"):
            assert wanted is (" below " in why)
        elif " above " in why or " below " in why:
            assert wanted is (" above " in why)
        state = strategy.advance(state, item, quota, wanted)


@pytest.mark.parametrize(
    ("value", "bar", "says"),
    [
        (0.31, 0.42, "uncertainty 0.31 below the threshold 0.42"),
        (0.5, 0.42, "uncertainty 0.50 above the threshold 0.42"),
        (0.4213, 0.4219, "uncertainty 0.421 below the threshold 0.422"),
        (0.25, 0.25, "uncertainty 0.25 at the threshold 0.25"),
    ],
)
def test_as_many_digits_as_tell_two_numbers_apart(value: float, bar: float, says: str) -> None:
    assert stream.compared("uncertainty", value, "threshold", bar) == says


def test_an_unknown_strategy_lists_those_there_are() -> None:
    with pytest.raises(BadInput, match="quantile, fixed, variable, split, vessal, random"):
        named("quantiles")


@pytest.mark.parametrize("name", ["quantile", "fixed", "random"])
@pytest.mark.parametrize("record", [{"hue": 1}, {"seen": "1"}, {"seen": math.inf}, {"seen": None}])
def test_the_record_of_something_else_is_refused(name: str, record: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="state"):
        named(name).load(record)


@pytest.mark.parametrize("uncertainty", [math.nan, -0.1, 1.1, math.inf])
def test_an_uncertainty_out_of_range_is_named(uncertainty: float) -> None:
    with pytest.raises(BadInput, match="uncertainty"):
        Item(uncertainty)


def test_numbers_of_numpy_leave_a_record_that_json_can_hold() -> None:
    for strategy in STREAMS.values():
        state: Any = strategy.begin(Quota(0.2))
        for u in np.array([0.3, 0.8], dtype=np.float32):
            item = Item(u)
            state = strategy.advance(state, item, Quota(0.2), strategy.wants(state, item, Quota(0.2)))
        json.dumps(strategy.dump(state), allow_nan=False)
