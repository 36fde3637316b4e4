"""Choosing: against a sort, against the binomial, and twice the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.selection import random_n, top_n

values = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5, 1.0]) | st.floats(0, 1), max_size=40)


@given(values, st.integers(0, 50))
def test_top_n_is_a_stable_sort_cut_short(uncertainty: list[float], n: int) -> None:
    expected = sorted(range(len(uncertainty)), key=lambda i: (-uncertainty[i], i))[:n]
    assert top_n(uncertainty, n).tolist() == expected


@given(values, st.integers(0, 50), st.integers(0, 2**32))
def test_a_seed_changes_ties_only(uncertainty: list[float], n: int, seed: int) -> None:
    chosen = top_n(uncertainty, n, seed)
    plain = top_n(uncertainty, n)
    assert chosen.tolist() == top_n(uncertainty, n, seed).tolist()
    assert len(set(chosen.tolist())) == len(plain)
    assert [uncertainty[i] for i in chosen] == [uncertainty[i] for i in plain]


def test_ties_are_drawn_evenly() -> None:
    rng = np.random.default_rng(7)
    draws = 4000
    hits = np.zeros(4)
    for _ in range(draws):
        hits[top_n([0.3, 0.3, 0.9, 0.3], 2, rng)] += 1
    assert hits[2] == draws
    spread = 5 * math.sqrt(draws * (1 / 3) * (2 / 3))
    assert np.abs(hits[[0, 1, 3]] - draws / 3).max() < spread


@given(st.integers(0, 60), st.integers(0, 80), st.integers(0, 2**32))
def test_random_n_draws_without_replacement(images: int, n: int, seed: int) -> None:
    indices, chance = random_n(images, n, seed)
    assert len(set(indices.tolist())) == len(indices) == min(n, images)
    assert all(0 <= i < images for i in indices)
    assert indices.tolist() == random_n(images, n, seed).indices.tolist()
    assert chance == (len(indices) / images if images else 0.0)


def test_random_n_keeps_its_promise() -> None:
    rng = np.random.default_rng(3)
    draws = 3000
    hits = np.zeros(10)
    for _ in range(draws):
        drawn = random_n(10, 3, rng)
        hits[drawn.indices] += 1
    assert drawn.p_select == pytest.approx(0.3)
    assert np.abs(hits / draws - 0.3).max() < 5 * math.sqrt(0.3 * 0.7 / draws)


@pytest.mark.parametrize("bad", [[0.1, math.nan], [math.inf], [[0.1], [0.2]]])
def test_uncertainties_must_be_a_row_of_numbers(bad: list[float]) -> None:
    with pytest.raises(BadInput, match="uncertainty must be a row of finite numbers"):
        top_n(bad, 1)


def test_counts_must_not_be_negative() -> None:
    with pytest.raises(BadInput, match="n must be 0 or more, but got -1"):
        top_n([0.1], -1)
    with pytest.raises(BadInput, match="n must be 0 or more"):
        random_n(3, -1, 0)
    with pytest.raises(BadInput, match="images must be 0 or more"):
        random_n(-3, 1, 0)
