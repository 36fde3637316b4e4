"""The door to all strategies."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler import strategies
from sampler.selection import Indices, Rng
from sampler.strategies import STRATEGIES, Signals, names, select
from tests.sampler.clouds import cloud


def pool(n: int, seed: int = 0, embedded: bool = True) -> Signals:
    rng = np.random.default_rng(seed)
    return Signals(
        rng.random(n),
        embedding=cloud(n, 6, seed) if embedded else None,
        context=cloud(5, 6, seed + 1) if embedded else None,
        boxes=rng.integers(0, 9, n),
        kind=rng.integers(-1, 3, n),
        turn=2,
    )


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    n=st.integers(0, 50),
    k=st.integers(0, 60),
    seed=st.integers(0, 999),
    embedded=st.booleans(),
)
def test_every_strategy_chooses_and_again_the_same(
    name: str, n: int, k: int, seed: int, embedded: bool
) -> None:
    signals = pool(n, seed, embedded)
    found = select(signals, k, name, seed)
    assert len(set(found.tolist())) == min(n, k)
    assert found.tolist() == select(signals, k, name, seed).tolist()


def test_a_pool_of_numbers_alone_is_enough() -> None:
    assert select(Signals(np.array([0.1, 0.9, 0.4])), 2).tolist() == [1, 2]


def test_herding_spreads_where_the_uncertain_ones_are_alike() -> None:
    twins = np.repeat(cloud(1, 6, 3), 30, axis=0)
    signals = Signals(np.r_[np.full(30, 0.9), np.full(30, 0.8)], embedding=np.r_[twins, cloud(30, 6, 4)])
    assert set(select(signals, 10, "top_n").tolist()) <= set(range(30))
    assert sum(i < 30 for i in select(signals, 10).tolist()) == 1


def test_count_prefers_crowds_and_random_nobody() -> None:
    signals = pool(200, 1)
    assert signals.boxes is not None
    assert signals.boxes[select(signals, 10, "count")].min() == signals.boxes.max()
    hits = np.zeros(200)
    for seed in range(400):
        hits[select(signals, 20, "random", seed)] += 1
    assert abs(hits - 40).max() < 5 * np.sqrt(400 * 0.1 * 0.9)


def test_a_function_of_ones_own_and_a_registered_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert select(pool(9), 3, last).tolist() == [8, 7, 6]
    point = EntryPoint("backwards", f"{__name__}:last", strategies.GROUP)

    def registered(group: str, name: str | None = None) -> list[EntryPoint]:
        return [point] if group == strategies.GROUP and name in (None, "backwards") else []

    monkeypatch.setattr(strategies, "entry_points", registered)
    assert "backwards" in names()
    assert select(pool(9), 2, "backwards").tolist() == [8, 7]


def last(signals: Signals, k: int, rng: Rng) -> Indices:
    return np.arange(len(signals))[::-1][:k]


def test_what_is_no_choice_is_named() -> None:
    with pytest.raises(BadInput, match="uncertainty_herding"):
        select(pool(3), 1, "hopes")
    with pytest.raises(BadInput, match="twice"):
        select(pool(3), 2, twice)
    with pytest.raises(BadInput, match="k must be"):
        select(pool(3), -1)
    with pytest.raises(BadInput, match="embedding"):
        Signals(np.zeros(3), embedding=np.zeros((2, 4)))
    with pytest.raises(BadInput, match="finite"):
        Signals(np.array([0.1, np.nan]))


def twice(signals: Signals, k: int, rng: Rng) -> Indices:
    return np.zeros(k, dtype=np.intp)
