"""Clusters against scikit-learn's k-means, and against what k-means means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

import sampler.clusters
from pool.schema import BadInput
from sampler.clusters import clusters
from sampler.farthest import Points
from tests.sampler.clouds import cloud


def scenes(n: int, count: int, seed: int) -> tuple[Points, NDArray[np.intp]]:
    """Well separated groups of different sizes, and which each point is in."""
    rng = np.random.default_rng(seed)
    of = np.concatenate((np.arange(count), rng.choice(count, n - count, p=_shares(count))))
    points = np.eye(count)[of] + rng.standard_normal((n, count)) * 0.02
    return points.astype(np.float32), of


def _shares(count: int) -> NDArray[np.float64]:
    weights = 1.0 / np.arange(1, count + 1)
    return np.asarray(weights / weights.sum())


def inertia(points: Points, labels: NDArray[np.intp]) -> float:
    groups = (points[labels == c].astype(float) for c in np.unique(labels))
    return sum(float(((g - g.mean(axis=0)) ** 2).sum()) for g in groups)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(0, 50), count=st.integers(1, 60), seed=st.integers(0, 2**16))
def test_names_go_by_size_without_a_gap_and_are_the_same_for_a_seed(n: int, count: int, seed: int) -> None:
    points = cloud(n, 4, seed=seed)
    labels = clusters(points, count, seed)
    assert labels.shape == (n,)
    sizes = np.bincount(labels)
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()
    assert len(sizes) <= min(n, count)
    assert labels.tolist() == clusters(points, count, seed).tolist()


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 80), count=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_everybody_is_with_the_nearest_mean(n: int, count: int, seed: int) -> None:
    points = cloud(n, 4, seed=seed)
    labels = clusters(points, count, seed)
    means = np.stack([points[labels == c].mean(axis=0) for c in range(labels.max() + 1)])
    far = cdist(points, means)
    assert far[np.arange(n), labels] == pytest.approx(far.min(axis=1), abs=1e-3)


def test_about_as_tight_as_scikit_learn_s() -> None:
    for seed in range(3):
        points = cloud(2000, 16, seed=seed)
        theirs = KMeans(40, n_init=1, random_state=seed).fit(points).inertia_
        assert inertia(points, clusters(points, 40, seed)) < 1.1 * theirs


def test_separate_groups_are_found_whatever_their_length_and_order() -> None:
    points, of = scenes(600, 8, seed=1)
    labels = clusters(points, 8, 0)
    assert adjusted_rand_score(of, labels) == 1
    rng = np.random.default_rng(1)
    order, lengths = rng.permutation(600), rng.uniform(0.1, 9, (600, 1))
    assert adjusted_rand_score(of[order], clusters((points * lengths)[order], 8, 0)) == 1


def test_no_seed_is_unlucky_where_groups_are_clear() -> None:
    points, of = scenes(300, 12, seed=3)
    found = [adjusted_rand_score(of, clusters(points, 12, seed)) for seed in range(30)]
    assert np.mean(np.array(found) == 1) > 0.9


def test_a_large_pool_is_clustered_by_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    points, of = scenes(3000, 6, seed=2)
    monkeypatch.setattr(sampler.clusters, "SAMPLE", 500)
    monkeypatch.setattr(sampler.clusters, "ROWS", 700)
    assert adjusted_rand_score(of, clusters(points, 6, 0)) == 1


def test_copies_are_together_and_no_cluster_is_made_up() -> None:
    three = np.repeat(np.eye(3), 10, axis=0)
    labels = clusters(three, 12, 0)
    assert [len(set(labels[i : i + 10].tolist())) for i in (0, 10, 20)] == [1, 1, 1]
    assert sorted(set(labels.tolist())) == [0, 1, 2]
    one = np.tile(np.random.default_rng(0).standard_normal(64), (5000, 1))
    assert not clusters(one, 7, 0).any()
    assert not clusters(np.zeros((4, 2)), 3, 0).any()


@pytest.mark.parametrize(
    ("points", "count", "says"),
    [(np.zeros((2, 2)), 0, "count"), (np.zeros(3), 1, "points"), (np.full((1, 2), np.nan), 1, "finite")],
)
def test_what_cannot_be_is_named(points: NDArray[np.float64], count: int, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        clusters(points, count, 0)
