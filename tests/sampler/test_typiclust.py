"""TypiClust against picking one by one with scipy's distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

import sampler.typiclust
from pool.schema import BadInput
from sampler.clusters import clusters
from sampler.farthest import Points
from sampler.typiclust import NEIGHBOURS, typiclust
from tests.sampler.clouds import cloud


def spread(points: Points, neighbours: int) -> NDArray[np.float64]:
    """Mean distance to the nearest others: the lowest is the most typical."""
    far = np.sort(cdist(points.astype(float), points.astype(float)), axis=1)[:, 1:]  # without themselves
    return np.asarray(far[:, :neighbours].mean(axis=1) if len(points) > 1 else np.zeros(1))


def one_by_one(
    of: NDArray[np.intp], labelled: NDArray[np.intp], points: Points, k: int, neighbours: int
) -> list[tuple[int, float]]:
    """Cluster and spread of each pick."""
    taken = {c: int((labelled == c).sum()) for c in range(of.max() + 1)}
    left = {c: sorted(spread(points[of == c], neighbours).tolist()) for c in set(of.tolist())}
    sizes = {c: len(rows) for c, rows in left.items()}
    picks = []
    for _ in range(k):
        best = min((c for c in left if left[c]), key=lambda c: (taken[c], -sizes[c], c))
        picks.append((best, left[best].pop(0)))
        taken[best] += 1
    return picks


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 60),
    k=st.integers(1, 70),
    labelled=st.integers(0, 15),
    neighbours=st.integers(1, 25),
    most=st.integers(1, 20),
    seed=st.integers(0, 2**16),
)
def test_picks_are_worth_those_made_one_by_one(
    n: int, k: int, labelled: int, neighbours: int, most: int, seed: int
) -> None:
    points, context = cloud(n, 5, seed=seed), cloud(labelled, 5, seed=seed + 1)
    found = typiclust(points, k, seed, context=context, neighbours=neighbours, most=most)
    wanted = min(n, k)
    assert len(set(found.tolist())) == len(found) == wanted
    of = clusters(np.concatenate((points, context)), min(labelled + wanted, most), seed)
    expected = one_by_one(of[:n], of[n:], points, wanted, neighbours)
    assert of[found].tolist() == [c for c, _ in expected]
    mine = np.zeros(n)
    for c in set(of[:n].tolist()):
        mine[of[:n] == c] = spread(points[of[:n] == c], neighbours)
    assert mine[found] == pytest.approx([far for _, far in expected], abs=1e-3)


def scenes(sizes: list[int], seed: int = 0) -> Points:
    """Groups around orthogonal directions, tight in the middle; the first of each is its middle."""
    rng = np.random.default_rng(seed)
    rows = [np.eye(8)[c] + rng.standard_normal((size, 8)) * 0.05 for c, size in enumerate(sizes)]
    for c, group in enumerate(rows):
        group[0] = np.eye(8)[c]
    return np.asarray(np.concatenate(rows), dtype=np.float32)


def test_the_middle_of_the_largest_scenes_without_a_label() -> None:
    points = scenes([40, 30, 20, 10])
    assert typiclust(points, 4, 0, neighbours=39).tolist() == [0, 40, 70, 90]
    with_labels = typiclust(points, 2, 0, context=points[[3, 75]], neighbours=39)  # four clusters again
    assert with_labels.tolist() == [40, 90]


def test_when_all_have_had_a_turn_they_go_round_again() -> None:
    points = scenes([12, 6, 3])
    picks = typiclust(points, 21, 0, most=3)
    assert sorted(picks.tolist()) == list(range(21))
    turns = [0 if i < 12 else 1 if i < 18 else 2 for i in picks.tolist()]
    assert turns == [0, 1, 2] * 3 + [0, 1] * 3 + [0] * 6


def test_copies_and_a_pool_of_one_image_seen_often() -> None:
    same = np.tile(np.random.default_rng(1).standard_normal(16), (50, 1))
    for points in (same, np.zeros((50, 3)), np.repeat(cloud(10, 3, seed=5), 5, axis=0)):
        for k in (1, 9, 10, 50, 80):
            assert len(set(typiclust(points, k, 0).tolist())) == min(k, 50)
    every_scene = typiclust(np.repeat(scenes([1] * 8), 5, axis=0), 8, 0)
    assert sorted((every_scene // 5).tolist()) == list(range(8))


def test_the_same_for_a_seed_and_length_means_nothing() -> None:
    points = cloud(500, 8, seed=6)
    found = typiclust(points, 30, 3).tolist()
    assert found == typiclust(points, 30, 3).tolist()
    assert found == typiclust(points * 8, 30, 3).tolist()
    assert found != typiclust(points, 30, 4).tolist()


def test_in_a_large_cluster_neighbours_are_looked_for_among_some(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(900, 8, seed=7, clusters=1)
    exact = spread(points, NEIGHBOURS)
    monkeypatch.setattr(sampler.typiclust, "MEMBERS", 300)
    monkeypatch.setattr(sampler.typiclust, "_ROWS", 128)
    found = typiclust(points, 20, 0, most=1)
    assert len(set(found.tolist())) == 20
    assert exact[found].mean() < np.quantile(exact, 0.1)


def test_nothing_of_nothing() -> None:
    assert typiclust(np.zeros((0, 3)), 5, 0).tolist() == []
    assert typiclust(np.ones((3, 3)), 0, 0).tolist() == []
    assert typiclust(np.ones((1, 3)), 5, 0, context=np.zeros((0, 3))).tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"k": -1}, "k must be"),
        ({"neighbours": 0}, "neighbours"),
        ({"most": 0}, "most"),
        ({"context": np.ones((2, 5))}, "context"),
        ({"points": np.ones(3)}, "points"),
        ({"points": np.full((2, 2), np.inf)}, "finite"),
    ],
)
def test_what_cannot_be_is_named(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        typiclust(**{"points": np.eye(3), "k": 1, "rng": 0, **arguments})  # type: ignore[arg-type]
