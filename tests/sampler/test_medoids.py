"""Medoids against every possible choice, and the traversal against the plain one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pool.schema import BadInput
from sampler.farthest import Points
from sampler.medoids import medoids, spread
from tests.sampler.clouds import cloud


def apart(points: Points) -> Points:
    return np.asarray(cdist(points, points), dtype=np.float32)


def cost(distance: Points, picks: NDArray[np.intp] | list[int]) -> float:
    return float(distance[:, picks].min(axis=1).sum(dtype=np.float64))


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 2**16), copies=st.booleans())
def test_never_worse_than_where_they_began(n: int, share: float, seed: int, copies: bool) -> None:
    points = cloud(n, 4, seed=seed)
    distance = apart(points[np.random.default_rng(seed).integers(0, n, n)] if copies else points)
    k = max(1, round(share * n))
    start, found = spread(distance, k), medoids(distance, k)
    assert len(set(start.tolist())) == len(set(found.tolist())) == k
    assert cost(distance, found) <= cost(distance, start) + 1e-9
    assert found.tolist() == medoids(distance, k).tolist()


def test_each_is_the_best_of_its_group() -> None:
    distance = apart(cloud(300, 6, seed=3))
    found = medoids(distance, 20)
    home = distance[:, found].argmin(axis=1)
    for group, medoid in enumerate(found.tolist()):
        mine = np.flatnonzero(home == group)
        costs = distance[np.ix_(mine, mine)].sum(axis=0)
        assert distance[mine, medoid].sum() == pytest.approx(costs.min(), rel=1e-5)


def test_near_the_best_of_all_choices() -> None:
    ratios = []
    for seed in range(20):
        distance = apart(cloud(12, 4, seed=seed))
        best = min(cost(distance, list(choice)) for choice in itertools.combinations(range(12), 3))
        ratios.append(cost(distance, medoids(distance, 3)) / best)
    assert min(ratios) >= 1 - 1e-6
    assert np.median(ratios) < 1.1


def test_separate_groups_get_one_each() -> None:
    rng = np.random.default_rng(4)
    points = (np.repeat(np.eye(5), 8, axis=0) * 10 + rng.standard_normal((40, 5)) * 0.1).astype(np.float32)
    assert sorted((medoids(apart(points), 5) // 8).tolist()) == [0, 1, 2, 3, 4]


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 30), seed=st.integers(0, 2**16))
def test_the_traversal_takes_the_farthest_from_the_first_on(n: int, seed: int) -> None:
    distance = apart(cloud(n, 3, seed=seed))
    expected = [0]
    while len(expected) < n:
        left = [i for i in range(n) if i not in expected]
        expected.append(max(left, key=lambda i: (distance[i, expected].min(), -i)))
    assert spread(distance, n).tolist() == expected


@pytest.mark.parametrize("k", [0, 4])
def test_what_cannot_be_is_named(k: int) -> None:
    with pytest.raises(BadInput, match="from 1 to 3"):
        medoids(np.zeros((3, 3), np.float32), k)
