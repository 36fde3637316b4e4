from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.batch import Lane, compose, queue_scores
from sampler.strategies import Signals

images = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)


@given(images, st.integers(0, 30))
def test_a_batch_keeps_its_promises(pool: list[tuple[float, bool]], size: int) -> None:
    uncertainty = np.array([u for u, _ in pool], dtype=np.float64)
    holdout = np.array([h for _, h in pool], dtype=np.bool_)
    picks = compose(Signals(uncertainty), holdout, size)
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
        compose(Signals(np.zeros(3)), np.zeros(2, dtype=np.bool_), 1)
    with pytest.raises(BadInput, match="size"):
        compose(Signals(np.zeros(3)), np.zeros(3, dtype=np.bool_), -1)
    with pytest.raises(BadInput, match="strategy"):
        compose(Signals(np.zeros(3)), np.zeros(3, dtype=np.bool_), 1, "hopes")


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 999))
def test_a_drawing_says_what_chance_each_image_had(n: int, size: int, seed: int) -> None:
    holdout = np.arange(n) % 5 == 4
    picks = compose(Signals(np.full(n, 0.5)), holdout, size, "random", seed)
    chances = {p.p_select for p in picks if p.lane == "strategy"}
    assert chances <= {min(1.0, size / (~holdout).sum())}


picks = st.tuples(st.floats(0, 1), st.sampled_from(["strategy", "holdout"]))


@given(st.lists(picks, min_size=1, max_size=40), st.floats(1e-6, 1))
def test_picks_are_served_by_doubt_before_all_others_and_the_holdout_in_passing(
    rows: list[tuple[float, Lane]], ahead_of: float
) -> None:
    uncertainty = np.array([u for u, _ in rows])
    lanes = [lane for _, lane in rows]
    scores = queue_scores(uncertainty, lanes, ahead_of)
    assert ((scores >= 0) & (scores < ahead_of)).all()
    assert len(np.unique(scores)) == len(rows)
    served = np.argsort(scores)
    own = [i for i in served if lanes[i] == "strategy"]
    assert [uncertainty[i] for i in own] == sorted(uncertainty[own], reverse=True)
    # However many were served, the share of holdout images among them is that of the whole batch.
    measuring = np.array([lanes[i] == "holdout" for i in served])
    so_far = np.cumsum(measuring) - measuring.mean() * np.arange(1, len(rows) + 1)
    assert np.abs(so_far).max() <= 1.0 + 1e-9
