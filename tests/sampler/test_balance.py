"""Rare labels weigh more, in proportion, and never turn a doubt upside down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.balance import rare, weigh, weights

counts = st.lists(st.integers(0, 10_000), min_size=1, max_size=8)


@given(counts, st.floats(0, 1))
def test_rarer_weighs_more_and_the_rarest_is_one(known: list[int], power: float) -> None:
    found = weights(known, power)
    assert found.max() == 1.0
    assert (found > 0).all()
    order = np.argsort(known, kind="stable")
    assert (np.diff(found[order]) <= 1e-12).all()


def test_half_as_many_weigh_twice_as_much() -> None:
    np.testing.assert_allclose(weights([99, 199, 399], 1.0), [1, 0.5, 0.25])
    np.testing.assert_allclose(weights([99, 199, 399], 0.0), 1.0)
    np.testing.assert_allclose(weights([99, 399], 0.5), [1, 0.5])


@given(counts, st.floats(0, 1))
def test_names_do_not_matter(known: list[int], power: float) -> None:
    turned = known[::-1]
    np.testing.assert_array_equal(weights(known, power)[::-1], weights(turned, power))


def test_a_doubt_about_nothing_weighs_as_the_most_frequent_label() -> None:
    found = weigh(np.array([0.8, 0.8, 0.8]), np.array([0, 1, -1]), [9, 99], 1.0)
    np.testing.assert_allclose(found, [0.8, 0.08, 0.08])
    np.testing.assert_allclose(weigh(np.array([0.4]), np.array([-1]), [], 0.5), [0.4])


def test_rare_is_below_a_quarter_of_an_equal_share() -> None:
    assert rare([100, 100, 8]).tolist() == [2]
    assert rare([100, 0, 8]).tolist() == [1, 2]
    assert rare([100, 100, 100]).tolist() == []
    assert rare([10, 0, 0]).tolist() == []  # ten boxes say nothing yet
    assert rare([]).tolist() == []


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="power"):
        weights([1], 1.5)
    with pytest.raises(BadInput, match="counts"):
        weights([-1], 0.5)
