from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.batch import Lane, compose, queue_scores

images = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)


@given(images, st.integers(0, 30))
def test_a_batch_keeps_its_promises(pool: list[tuple[float, bool]], size: int) -> None:
    uncertainty = np.array([u for u, _ in pool], dtype=np.float64)
    holdout = np.array([h for _, h in pool], dtype=np.bool_)
    picks = compose(uncertainty, holdout, size)
    indices = [p.index for p in picks]
    assert len(set(indices)) == len(indices)
    own = [p for p in picks if p.lane == "strategy"]
    measuring = [p for p in picks if p.lane == "holdout"]
    assert len(own) == min(size, int((~holdout).sum()))
    assert len(measuring) == min((size + 1) // 2, int(holdout.sum()))
    assert all(not holdout[p.index] and p.route == "human" for p in own)
    assert all(holdout[p.index] and p.route == "double" for p in measuring)
    left = [u for i, u in enumerate(uncertainty) if not holdout[i] and i not in indices]
    if own and left:
        assert min(uncertainty[p.index] for p in own) >= max(left)


def test_shapes_and_sizes_are_checked() -> None:
    with pytest.raises(BadInput, match="holdout"):
        compose(np.zeros(3), np.zeros(2, dtype=np.bool_), 1)
    with pytest.raises(BadInput, match="size"):
        compose(np.zeros(3), np.zeros(3, dtype=np.bool_), -1)


picks = st.tuples(st.floats(0, 1), st.sampled_from(["strategy", "holdout"]))


@given(st.lists(picks, min_size=1, max_size=40))
def test_queue_scores_keep_the_order_and_mix_the_holdout_in(rows: list[tuple[float, Lane]]) -> None:
    uncertainty = np.array([u for u, _ in rows])
    lanes = [lane for _, lane in rows]
    scores = queue_scores(uncertainty, lanes)
    own = np.array([lane == "strategy" for lane in lanes])
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.allclose(scores[own], 1 - uncertainty[own])
    if own.any() and (~own).any():
        assert scores[~own].min() >= scores[own].min() - 1e-12
        assert scores[~own].max() <= scores[own].max() + 1e-12
