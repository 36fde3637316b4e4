"""An image is novel by what is usual in its own pool."""

from __future__ import annotations

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from sampler.herding import unit
from sampler.novelty import nearest, novel


def test_the_nearest_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    points, known = (
        draw.normal(size=(50, 8)).astype(np.float32),
        draw.normal(size=(30, 8)).astype(np.float32),
    )
    ours = nearest(unit(points), unit(known))
    np.testing.assert_allclose(ours, cosine_similarity(points, known).max(axis=1), rtol=1e-5, atol=1e-6)


def test_what_stands_apart_is_novel_and_the_usual_is_not() -> None:
    draw = np.random.default_rng(1)
    usual = np.array([1.0, 0, 0, 0]) + 0.1 * draw.normal(size=(400, 4))
    strange = np.array([[0.0, 0, 0, 1]])
    pool = np.concatenate((usual, strange)).astype(np.float16)
    known = usual[:20]
    assert novel(strange, pool, known).tolist() == [True]
    told = novel(pool, pool, known)
    assert told[-1]
    assert told[:20].sum() == 0  # labelled ones are like themselves
    assert told.mean() <= 0.06


def test_without_labels_nothing_can_be_told() -> None:
    pool = np.eye(4)
    assert novel(pool, pool, None).tolist() == [False] * 4
    assert novel(pool, pool, np.zeros((0, 4))).tolist() == [False] * 4
    assert novel(pool[:0], pool, pool).tolist() == []


def test_the_same_seed_tells_the_same() -> None:
    pool = np.random.default_rng(2).normal(size=(5000, 6))
    first, again = (novel(pool[:200], pool, pool[::50], 7) for _ in range(2))
    np.testing.assert_array_equal(first, again)
