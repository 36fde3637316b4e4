"""Seeds by rule: A1111's batches for a fixed one, and draws that are even, independent and repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from generator import infotext
from generator.recipe import Recipe, key
from generator.seeds import seed, seed_of
from pool.schema import BadInput
from tests.generator.recipes import SNOW

JOBS = st.integers(-(2**70), 2**70)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def test_a_pasted_recipe_gives_what_it_says() -> None:
    snow = infotext.parse(SNOW)
    assert [seed_of(snow, 1, "a", k) for k in range(3)] == [712934690, 712934691, 712934692]
    assert seed_of(snow, 2, "b", 0) == 712934690
    assert seed_of(Recipe("a", seed=2**32 - 1), 0, "a", 1) == 0
    assert seed_of(Recipe("a", seed=0), 7, "a", 0) == 0


@given(JOBS, NAMES, st.integers(0, 10**9))
def test_a_recipe_without_a_seed_has_one_drawn(job: int, parent: str, k: int) -> None:
    recipe = Recipe("night")
    assert seed_of(recipe, job, parent, k) == seed(job, parent, key(recipe), k)


@given(JOBS, NAMES, NAMES, st.integers(0, 10**9))
def test_a_draw_is_a_seed_and_the_same_again(job: int, parent: str, name: str, k: int) -> None:
    drawn = seed(job, parent, name, k)
    assert 0 <= drawn < 2**32
    assert seed(job, parent, name, k) == drawn


def test_whatever_differs_draws_another() -> None:
    given = [(0, "a", "b", 0), (1, "a", "b", 0), (0, "c", "b", 0), (0, "a", "c", 0), (0, "a", "b", 1)]
    joined = [
        (0, "ab", "", 0),
        (0, "", "ab", 0),
        (0, "a\0b", "", 0),
        (0, 'a", "b', "", 0),
        (-1, "a", "b", 0),
    ]
    assert len({seed(*each) for each in given + joined}) == len(given) + len(joined)


def test_draws_are_even_and_apart() -> None:
    drawn = np.array([[seed(0, f"parent {i}", "recipe", k) for k in range(4)] for i in range(1500)])
    assert stats.kstest(drawn.ravel() / 2**32, "uniform").pvalue > 0.001
    bits = drawn.ravel()[:, None] >> np.arange(32) & 1
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.035  # five standard errors of 6000 draws
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.1
    assert len(np.unique(drawn)) == drawn.size


def test_draws_stay_what_they_are() -> None:
    # printf '[0, "parent", "recipe", 0]' | sha256sum, its first eight digits
    assert seed(0, "parent", "recipe", 0) == 2340524399


@pytest.mark.parametrize("recipe", [Recipe("a"), Recipe("a", seed=3)])
def test_variants_count_from_0(recipe: Recipe) -> None:
    with pytest.raises(BadInput, match="0 or more"):
        seed_of(recipe, 0, "a", -1)
