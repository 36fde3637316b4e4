"""PPAL's formulas against loops over single boxes; its medoids in `test_medoids`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import sampler.ppal
from pool.schema import BadInput
from sampler.ppal import (
    ABSENT,
    UNKNOWN,
    BoxColumns,
    difficulty_weights,
    distance,
    ppal,
    quality,
    utility,
)
from sampler.selection import top_n

Array = NDArray[np.float64]
shares = st.floats(0, 1)


def street(n: int, seed: int, most: int = 4, blank: float = 0.1) -> BoxColumns:
    """Images with up to ``most`` boxes; now and then a score of 0 or a vector of zeros."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, n)
    m = int(counts.sum())
    vectors = rng.standard_normal((m, 5)) * (rng.random((m, 1)) >= blank)
    score = rng.random(m) * (rng.random(m) > 0.2)
    starts = np.concatenate(([0], np.cumsum(counts)))
    return BoxColumns(vectors.astype(np.float16), score, rng.integers(-1, 3, m), starts)


def one_way(a: BoxColumns, b: BoxColumns) -> float:
    """From a single image to another, box by box."""
    far, weight = 0.0, 0.0
    scores = a.score.tolist() if a.score.any() else [1.0] * len(a.score)
    for f, s, c in zip(a.embedding.astype(float), scores, a.label.tolist(), strict=True):
        nearest = ABSENT
        for g, other in zip(b.embedding.astype(float), b.label.tolist(), strict=True):
            if c == other:
                lengths = math.sqrt(f @ f) * math.sqrt(g @ g)
                nearest = min(nearest, 1 - f @ g / lengths if lengths else 1.0)
        far, weight = far + s * nearest, weight + s
    return far / weight


def naive(boxes: BoxColumns, embedding: Array | None) -> Array:
    n = len(boxes)
    out = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            a, b = boxes.of(np.array([i])), boxes.of(np.array([j]))
            if i == j:
                continue
            if len(a.label) and len(b.label):
                out[i, j] = (one_way(a, b) + one_way(b, a)) / 2
            elif len(a.label) or len(b.label):
                out[i, j] = ABSENT
            elif embedding is None:
                out[i, j] = UNKNOWN
            else:
                x, y = embedding[i], embedding[j]
                out[i, j] = 1 - x @ y / math.sqrt((x @ x) * (y @ y))
    return out


@settings(deadline=None, max_examples=60)
@given(n=st.integers(0, 9), seed=st.integers(0, 2**16), known=st.booleans())
def test_distances_are_those_of_single_boxes(n: int, seed: int, known: bool) -> None:
    boxes = street(n, seed)
    whole = np.random.default_rng(seed).standard_normal((n, 4)) if known else None
    found = distance(boxes, whole)
    assert found == pytest.approx(naive(boxes, whole), abs=1e-5)
    assert (found == found.T).all()
    assert (np.diagonal(found) == 0).all()


def test_how_boxes_are_cut_into_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = street(60, 3, most=9)
    whole = distance(boxes)
    for rows in (1, 7, 50):
        monkeypatch.setattr(sampler.ppal, "_ROWS", rows)
        assert distance(boxes) == pytest.approx(whole, abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 9), seed=st.integers(0, 2**16), data=st.data())
def test_order_names_and_lengths_mean_nothing(n: int, seed: int, data: st.DataObject) -> None:
    boxes = street(n, seed)
    order = np.array(data.draw(st.permutations(range(n))))
    names = np.array(data.draw(st.permutations([7, 11, -5, 0])))
    found = distance(boxes)
    assert distance(boxes.of(order)) == pytest.approx(found[np.ix_(order, order)], abs=1e-5)
    renamed = BoxColumns(boxes.embedding * 4, boxes.score / 2, names[boxes.label], boxes.starts)
    assert distance(renamed) == pytest.approx(found, abs=1e-5)


def test_copies_lie_at_nothing_and_images_without_boxes_apart() -> None:
    boxes = street(30, 1, blank=0)
    full = np.diff(boxes.starts) > 0
    assert 0 < full.sum() < 30
    twice = distance(boxes.of(np.repeat(np.flatnonzero(full), 2)))
    assert twice[::2, 1::2].diagonal() == pytest.approx(0, abs=1e-5)
    found = distance(boxes)
    assert (found[np.ix_(full, ~full)] == ABSENT).all()
    bare = found[np.ix_(~full, ~full)]
    assert (bare == UNKNOWN * (1 - np.eye(len(bare)))).all()


def test_no_boxes_anywhere() -> None:
    nothing = BoxColumns(np.zeros((0, 0)), np.zeros(0), np.zeros(0, int), np.zeros(4, int))
    assert distance(nothing).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    opposite = distance(nothing, [[1, 0], [-1, 0], [2, 0]])
    assert opposite == pytest.approx(np.array([[0, 2, 0], [2, 0, 2], [0, 2, 0]]), abs=1e-6)
    assert ppal([0.1, 0.3, 0.2], 2, 0, boxes=nothing).tolist() == [1, 2]
    assert distance(nothing.of(np.zeros(0, int))).shape == (0, 0)


@given(n=st.integers(1, 8), seed=st.integers(0, 2**16), images=st.lists(st.integers(0, 7), max_size=9))
def test_the_boxes_of_some_are_theirs(n: int, seed: int, images: list[int]) -> None:
    boxes, some = street(n, seed), np.array([i % n for i in images], dtype=int)
    part = boxes.of(some)
    assert len(part) == len(some)
    for place, image in enumerate(some.tolist()):
        mine, theirs = slice(*part.starts[place : place + 2]), slice(*boxes.starts[image : image + 2])
        assert part.score[mine].tolist() == boxes.score[theirs].tolist()
        assert part.label[mine].tolist() == boxes.label[theirs].tolist()
        assert part.embedding[mine].tolist() == boxes.embedding[theirs].tolist()


objects = st.lists(st.tuples(shares, shares, st.integers(0, 3)), max_size=20)


@given(objects, st.floats(0.05, 0.95))
def test_quality_is_the_mean_over_a_class_s_objects(
    rows: list[tuple[float, float, int]], xi: float
) -> None:
    p, iou, label = ([row[i] for row in rows] for i in range(3))
    found = quality(p, iou, label, 4, xi)
    for c in range(4):
        own = [p**xi * iou ** (1 - xi) for p, iou, of in rows if of == c]
        assert found[c] == pytest.approx(math.fsum(own) / len(own) if own else math.nan, nan_ok=True)


def test_a_missed_object_counts_as_nothing() -> None:
    assert quality([0.8, 0], [0.8, 0], [1, 1], 3) == pytest.approx([np.nan, 0.4, np.nan], nan_ok=True)


@given(st.lists(shares, min_size=1, max_size=6), st.floats(0.05, 3), st.floats(0, 2))
def test_weights_are_the_paper_s(q: list[float], alpha: float, beta: float) -> None:
    gamma = math.exp(1 / alpha) - 1
    expected = [1 + alpha * beta * math.log(1 + gamma * (1 - x)) for x in q]
    found = difficulty_weights(q, alpha, beta)
    assert found == pytest.approx(expected, rel=1e-9)
    assert ((found >= 1) & (found <= 1 + beta + 1e-9)).all()
    assert (np.diff(found[np.argsort(q)]) <= 1e-12).all()


def test_weights_at_their_ends_and_of_classes_never_measured() -> None:
    assert difficulty_weights([1.0, 0.0]) == pytest.approx([1.0, 1.2])
    assert difficulty_weights([1.0, 0.0], alpha=1e-3) == pytest.approx([1.0, 1.2])  # e^1000 is no float
    some = difficulty_weights([0.2, np.nan, 0.6])
    assert some == pytest.approx(difficulty_weights([0.2, 0.4, 0.6]))
    assert difficulty_weights([np.nan] * 3).tolist() == [1, 1, 1]
    assert difficulty_weights([]).tolist() == []


images = st.lists(st.lists(st.tuples(shares, st.integers(-1, 2)), min_size=1, max_size=5), max_size=6)


@given(images, st.lists(st.floats(1, 3), min_size=3, max_size=3))
def test_utility_is_a_weighted_sum(pool: list[list[tuple[float, int]]], weights: list[float]) -> None:
    rows = [row for image in pool for row in image]
    starts = np.cumsum([0] + [len(image) for image in pool])[:-1]
    found = utility([row[0] for row in rows], [row[1] for row in rows], starts, weights)
    expected = [math.fsum(h * (weights[c] if c >= 0 else 1) for h, c in image) for image in pool]
    assert found == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(0, 30), k=st.integers(0, 35), delta=st.integers(1, 5), seed=st.integers(0, 2**16))
def test_each_pick_once_and_out_of_the_most_useful(n: int, k: int, delta: int, seed: int) -> None:
    boxes = street(n, seed)
    useful = np.random.default_rng(seed).integers(0, 6, n) / 5
    found = ppal(useful, k, seed, boxes=boxes, delta=delta)
    assert len(set(found.tolist())) == len(found) == min(n, k)
    assert set(found.tolist()) <= set(top_n(useful, delta * k, seed).tolist())
    assert (np.diff(useful[found]) <= 0).all()
    assert found.tolist() == ppal(useful, k, seed, boxes=boxes, delta=delta).tolist()
    if delta == 1:
        assert found.tolist() == top_n(useful, k, seed).tolist()


def test_one_of_each_scene_and_no_second_before_the_useless() -> None:
    """Four scenes, ten views each, and images that are unlike all others and of no use."""
    rng = np.random.default_rng(2)
    scenes = np.concatenate((np.repeat(np.eye(8)[:4], 10, axis=0), np.eye(8)[4:]))
    vectors = scenes + rng.standard_normal(scenes.shape) * 0.01
    n = len(scenes)
    boxes = BoxColumns(vectors, np.ones(n), np.zeros(n, int), np.arange(n + 1))
    useful = np.concatenate((1 + rng.random(40), np.zeros(4)))
    picks = ppal(useful, 4, 0, boxes=boxes, delta=10)
    assert sorted((picks // 10).tolist()) == [0, 1, 2, 3]


def test_there_are_never_more_candidates_than_memory_is_meant_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler.ppal, "MOST", 12)
    boxes, useful = street(100, 5), np.random.default_rng(5).random(100)
    best = top_n(useful, 100).tolist()
    assert set(ppal(useful, 10, 0, boxes=boxes).tolist()) <= set(best[:12])
    assert ppal(useful, 20, 0, boxes=boxes).tolist() == best[:20]


def columns(**change: object) -> BoxColumns:
    plain = {"embedding": np.ones((2, 3)), "score": np.ones(2), "label": np.zeros(2, int)}
    return BoxColumns(**{**plain, "starts": np.array([0, 1, 2]), **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: columns(starts=np.array([0, 1])), "starts"),
        (lambda: columns(starts=np.array([0, 2, 1, 2])), "starts"),
        (lambda: columns(starts=np.zeros(0, int)), "starts"),
        (lambda: columns(embedding=np.ones((3, 3))), "embedding"),
        (lambda: columns(score=np.array([1, np.nan])), "score"),
        (lambda: columns(score=np.array([1, -1.0])), "score"),
        (lambda: distance(columns(embedding=np.full((2, 3), np.inf))), "finite"),
        (lambda: distance(columns(), np.ones((3, 2))), "one for each of 2"),
        (lambda: quality([0.5], [0.5], [3], 3), "label"),
        (lambda: quality([0.5], [0.5, 0.5], [0], 3), "iou"),
        (lambda: quality([np.nan], [0.5], [0], 3), "confidence"),
        (lambda: quality([1.5], [0.5], [0], 3), "confidence"),
        (lambda: quality([], [], [], 0), "classes"),
        (lambda: quality([], [], [], 1, xi=1.0), "xi"),
        (lambda: difficulty_weights([1.1]), "quality"),
        (lambda: difficulty_weights([0.5], alpha=0), "alpha"),
        (lambda: difficulty_weights([0.5], beta=-1), "beta"),
        (lambda: utility([1.0], [2], [0], [1, 1]), "label"),
        (lambda: utility([1.0], [-2], [0], [1, 1]), "label"),
        (lambda: utility([1.0, 1.0], [0, 0], [0, 2], [1]), "starts"),
        (lambda: utility([1.0, 1.0], [0, 0], [1], [1]), "starts"),
        (lambda: utility([1.0], [0], [], [1]), "starts"),
        (lambda: ppal([1.0], 1, 0, boxes=columns()), "utility"),
        (lambda: ppal([1.0, np.nan], 1, 0, boxes=columns()), "finite"),
        (lambda: ppal([1.0, 2.0], -1, 0, boxes=columns()), "k must be"),
        (lambda: ppal([1.0, 2.0], 1, 0, boxes=columns(), delta=0), "delta"),
    ],
)
def test_what_cannot_be_is_named(call: Callable[[], object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        call()
