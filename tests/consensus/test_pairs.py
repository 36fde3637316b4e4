"""Pairs by trying all of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import pairs
from consensus.overlap import pair_iou
from consensus.pairs import intersection, meeting, product
from tests.consensus.scenes import Quad, columns

numbers = st.lists(st.integers(0, 4), max_size=12)


@given(numbers, numbers, st.integers(1, 30))
def test_product(left: list[int], right: list[int], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "PAIRS_AT_ONCE", at_once)
        blocks = list(product(np.array(left, dtype=np.intp), np.array(right, dtype=np.intp)))
    found = [pair for i, j in blocks for pair in zip(i.tolist(), j.tolist(), strict=True)]
    assert sorted(found) == [(i, j) for i, x in enumerate(left) for j, y in enumerate(right) if x == y]
    most = max((right.count(x) for x in left), default=0)
    assert all(len(i) <= max(at_once, most) for i, _ in blocks)


def areas(one: Quad, other: Quad) -> float:
    wide, high = (max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in (0, 1))
    return wide * high


@given(columns())
def test_meeting(given_: tuple[list[Quad], list[str | None], list[int], list[int]]) -> None:
    boxes, _, groups, _ = given_
    blocks = meeting(np.array(boxes).reshape(-1, 4), np.array(groups, dtype=np.intp))
    found = [frozenset(pair) for i, j in blocks for pair in zip(i.tolist(), j.tolist(), strict=True)]
    near = {
        frozenset((i, j))
        for i, j in combinations(range(len(boxes)), 2)
        if groups[i] == groups[j] and areas(boxes[i], boxes[j]) > 0.0
    }
    assert len(found) == len(set(found))
    assert set(found) == near


@given(columns())
def test_intersection(given_: tuple[list[Quad], list[str | None], list[int], list[int]]) -> None:
    boxes = np.array(given_[0]).reshape(-1, 4)
    i, j = np.triu_indices(len(boxes))
    zero = np.zeros(len(i))
    size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    shared = intersection(pair_iou(boxes[i], boxes[j], zero, zero, zero + 1.0), size[i], size[j])
    expected = [areas(given_[0][a], given_[0][b]) for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    np.testing.assert_allclose(shared, expected, atol=1e-12)
