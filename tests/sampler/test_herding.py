"""Herding against the plain greedy that computes every gain at every step, with scipy's distances."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pool.schema import BadInput
from sampler.herding import NARROWEST, RADIUS, herding
from tests.sampler.clouds import cloud

Array = NDArray[np.float64]


def kernel(a: NDArray[np.float32], b: NDArray[np.float32], h: float) -> Array:
    return np.asarray(np.exp(-cdist(a.astype(float), b.astype(float), "sqeuclidean") / h**2))


def objective(k: Array, u: Array, picks: list[int], covered: Array) -> float:
    best = np.maximum(k[picks].max(axis=0), covered) if picks else covered
    return float(best @ u)


def naive(
    points: NDArray[np.float32], u: Array, k: int, h: float, context: NDArray[np.float32]
) -> list[int]:
    gram = kernel(points, points, h)
    covered = kernel(context, points, h).max(axis=0) if len(context) else np.zeros(len(points))
    picks: list[int] = []
    for _ in range(k):
        gains = np.maximum(gram - covered, 0) @ u
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        covered = np.maximum(covered, gram[picks[-1]])
    return picks


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 80), seed=st.integers(0, 2**16), labelled=st.integers(0, 12), h=st.floats(0.2, 1.5))
def test_lazy_picks_are_worth_what_plain_ones_are(n: int, seed: int, labelled: int, h: float) -> None:
    points, context = cloud(n, 6, seed=seed), cloud(labelled, 6, seed=seed + 1)
    u = np.random.default_rng(seed).random(n)
    k = max(1, n // 4)
    found = herding(points, k, 0, uncertainty=u, context=context, radius=h).tolist()
    expected = naive(points, u, k, h, context)
    gram = kernel(points, points, h)
    covered = kernel(context, points, h).max(axis=0) if labelled else np.zeros(n)
    assert len(set(found)) == k
    for size in range(1, k + 1):
        ours, theirs = (objective(gram, u, picks[:size], covered) for picks in (found, expected))
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_greedy_reaches_its_guarantee() -> None:
    """At least 1 - 1/e of the best set, found by trying all of them."""
    for seed in range(10):
        points = cloud(12, 4, seed=seed)
        u = np.random.default_rng(seed).random(12)
        gram, nothing = kernel(points, points, 0.7), np.zeros(12)
        best = max(objective(gram, u, list(s), nothing) for s in itertools.combinations(range(12), 3))
        found = herding(points, 3, 0, uncertainty=u, radius=0.7).tolist()
        assert objective(gram, u, found, nothing) >= (1 - 1 / np.e) * best


def test_without_doubt_nothing_is_worth_more_but_enough_are_picked() -> None:
    points = cloud(30, 5, seed=1)
    found = herding(points, 10, 0, uncertainty=np.zeros(30))
    assert len(set(found.tolist())) == 10


def test_what_labelled_images_resemble_is_left_out() -> None:
    """Two clusters, equally doubtful; one is labelled."""
    points = np.array([[1, 0.0], [1, 0.01], [1, -0.01], [0, 1], [0.01, 1]], dtype=np.float32)
    found = herding(points, 1, 0, uncertainty=np.ones(5), context=points[:1], radius=0.3)
    assert found.tolist()[0] in (3, 4)
    alone = herding(points, 1, 0, uncertainty=np.ones(5), radius=0.3)
    assert alone.tolist()[0] in (0, 1, 2)  # the larger cluster stands for more


@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 40), seed=st.integers(0, 2**16), factor=st.floats(0.1, 50), data=st.data())
def test_order_and_length_change_nothing(n: int, seed: int, factor: float, data: st.DataObject) -> None:
    points, u = cloud(n, 4, seed=seed), np.random.default_rng(seed).random(n)
    order = np.array(data.draw(st.permutations(range(n))))
    gram = kernel(points, points, RADIUS)
    plain = herding(points, n // 2, 0, uncertainty=u).tolist()
    moved = order[herding(points[order] * factor, n // 2, 0, uncertainty=u[order])].tolist()
    for picks in (plain, moved):
        assert objective(gram, u, picks, np.zeros(n)) == pytest.approx(
            objective(gram, u, plain, np.zeros(n)), rel=1e-4
        )


def test_a_large_pool_is_chosen_from_by_part_of_it_the_same_way_each_time() -> None:
    points = cloud(3000, 8, seed=4)
    u = np.random.default_rng(4).random(3000)
    found = herding(points, 50, 7, uncertainty=u, reference=400, candidates=300)
    assert found.tolist() == herding(points, 50, 7, uncertainty=u, reference=400, candidates=300).tolist()
    assert found.tolist() != herding(points, 50, 8, uncertainty=u, reference=400, candidates=300).tolist()
    gram, nothing = kernel(points, points, RADIUS), np.zeros(3000)
    whole = herding(points, 50, 7, uncertainty=u)
    part, best = (objective(gram, u, p.tolist(), nothing) for p in (found, whole))
    assert part > 0.95 * best


def test_the_radius_is_the_least_distance_of_labelled_images() -> None:
    points, labelled = cloud(60, 5, seed=9), cloud(20, 5, seed=10)
    u = np.random.default_rng(9).random(60)
    apart = float(np.sort(cdist(labelled, labelled)[np.triu_indices(20, 1)])[0])
    given_h = herding(points, 8, 0, uncertainty=u, context=labelled, radius=max(apart, NARROWEST)).tolist()
    assert herding(points, 8, 0, uncertainty=u, context=labelled).tolist() == given_h
    twins = np.repeat(labelled, 2, axis=0)
    narrow = herding(points, 8, 0, uncertainty=u, context=twins, radius=NARROWEST).tolist()
    assert herding(points, 8, 0, uncertainty=u, context=twins).tolist() == narrow


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"uncertainty": [0.1]}, "uncertainty"),
        ({"uncertainty": [0.1, -0.1, 0.2]}, "0 or more"),
        ({"uncertainty": [0.1, np.nan, 0.2]}, "finite"),
        ({"radius": 0.0}, "radius"),
        ({"context": np.ones((2, 5))}, "context"),
        ({"reference": 0}, "reference"),
    ],
)
def test_what_cannot_be_is_named(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        herding(np.eye(3), 1, 0, **arguments)  # type: ignore[arg-type]
