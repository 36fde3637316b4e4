"""Fixed, variable and split thresholds against the managers of scikit-activeml, decision by decision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skactiveml.stream.budgetmanager import (
    FixedUncertaintyBudgetManager,
    SplitBudgetManager,
    VariableUncertaintyBudgetManager,
)

from sampler.draws import draw
from sampler.stream import Item, Quota
from sampler.streams import named, replay
from sampler.thresholds import ANSWERS, LOWEST, SHARE, STEP, WINDOW, Threshold

Array = NDArray[np.float64]

budgets = st.floats(0.02, 0.6)
seeds = st.integers(0, 2**32)


class Drawn(np.random.RandomState):
    """Draws at our places: the manager asks once or twice per image, then again when it is told."""

    at = 0

    def __init__(self, seed: int) -> None:
        super().__init__(0)
        self.seed_ours = seed

    def random_sample(self, size: Any = None) -> Any:
        self.at += 1
        return draw(self.seed_ours, self.at - 1)

    def get_state(self, legacy: bool = True) -> Any:
        return self.at

    def set_state(self, state: Any) -> None:
        self.at = state


def managed(manager: Any, values: Array) -> list[int]:
    picks = []
    for place in range(len(values)):
        if isinstance(getattr(manager, "random_state_", None), Drawn):
            manager.random_state_.at = 2 * place
        chosen = manager.query_by_utility(values[place : place + 1])
        manager.update(np.zeros((1, 1)), chosen)
        picks += [place] * len(chosen)
    return picks


def stream(seed: int, n: int = 600) -> Array:
    """Hard and easy stretches, with many equal values, 0 and 1 among them."""
    rng = np.random.default_rng(seed)
    values = rng.beta(rng.uniform(0.3, 4), rng.uniform(0.3, 4), n)
    values[n // 3 : n // 2] = rng.integers(0, 3, n // 2 - n // 3) / 2
    return np.asarray(values)


def ours(values: Array, budget: float, name: str, seed: int = 0) -> list[int]:
    return replay([Item(u) for u in values.tolist()], Quota(budget, seed=seed), name)


@settings(deadline=None, max_examples=15)
@given(seeds, budgets)
def test_fixed_asks_what_the_manager_asks(seed: int, budget: float) -> None:
    values = stream(seed)
    manager = FixedUncertaintyBudgetManager(classes=list(range(ANSWERS)), w=WINDOW, budget=budget)
    assert ours(values, budget, "fixed") == managed(manager, values)


@settings(deadline=None, max_examples=15)
@given(seeds, budgets)
def test_variable_asks_what_the_manager_asks(seed: int, budget: float) -> None:
    values = stream(seed)
    manager = VariableUncertaintyBudgetManager(s=STEP, w=WINDOW, budget=budget)
    assert ours(values, budget, "variable") == managed(manager, values)


@settings(deadline=None, max_examples=10)
@given(seeds, budgets)
def test_split_asks_what_the_manager_asks_with_the_same_draws(seed: int, budget: float) -> None:
    """The manager draws from a generator only where budget is left; ours has two places for each image."""
    values = stream(seed)
    manager = SplitBudgetManager(v=SHARE, s=STEP, w=WINDOW, budget=budget)
    manager.random_state_ = Drawn(seed)
    assert ours(values, budget, "split", seed) == managed(manager, values)


@pytest.mark.parametrize("name", ["fixed", "variable", "split"])
@pytest.mark.parametrize("budget", [0.05, 0.3])
def test_the_estimate_of_what_was_spent_keeps_the_budget(name: str, budget: float) -> None:
    """û is never above b w + 1, and forgets a share 1 / w of itself for each image: so much is asked."""
    values = np.ones(5000)
    picks = ours(values, budget, name)
    assert len(picks) <= (budget + 1 / WINDOW) * (len(values) + WINDOW)
    assert len(picks) > (1 - SHARE) * budget * len(values)


def test_a_threshold_survives_a_night_in_which_nobody_is_asked_and_one_in_which_all_are_certain() -> None:
    variable, quota = named("variable"), Quota(0.5)
    state = variable.begin(quota)
    for _ in range(2000):
        state = variable.advance(state, Item(0.9), quota, False)
    assert 1 <= state.theta <= 1 + STEP
    for _ in range(5000):
        state = variable.advance(state, Item(1.0), quota, True)
    assert state.theta >= LOWEST
    rested = Threshold(theta=LOWEST)
    assert variable.wants(rested, Item(1.0), quota)


def test_what_is_left_to_chance_does_not_move_the_threshold() -> None:
    split, quota = named("split"), Quota(0.2, seed=3)
    state, moved = split.begin(quota), []
    for place in range(300):
        after = split.advance(state, Item(0.5), quota, False)
        moved.append((after.theta != state.theta, draw(3, 2 * place) >= SHARE))
        state = Threshold(after.seen, after.asked, after.spent, 0.5)
    assert all(is_ == should for is_, should in moved)
    assert {should for _, should in moved} == {True, False}


def test_a_posterior_at_the_threshold_is_asked_about_where_it_stands_still_and_not_where_it_moves() -> None:
    at = np.array([0.25])  # 1 / 2 + 0.5 * (1 - 1 / 2) is exactly 0.75
    manager = FixedUncertaintyBudgetManager(classes=[0, 1], w=WINDOW, budget=0.5)
    assert ours(at, 0.5, "fixed") == managed(manager, at) == [0]
    moving = VariableUncertaintyBudgetManager(s=STEP, w=WINDOW, budget=0.5)
    assert ours(at * 0, 0.5, "variable") == managed(moving, at * 0) == []
