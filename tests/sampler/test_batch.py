from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.batch import BLIND, Lane, Shares, compose, deal, queue_scores, release, rivals
from sampler.strategies import Signals
from tests.sampler.clouds import cloud

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


@given(images, st.integers(0, 30), st.integers(0, 99), st.lists(st.integers(0, 59), unique=True))
def test_lanes_have_their_shares_and_no_image_is_in_two(
    pool: list[tuple[float, bool]], size: int, seed: int, wanted: list[int]
) -> None:
    holdout = np.array([h for _, h in pool], dtype=np.bool_)
    signals = Signals(np.array([u for u, _ in pool], dtype=np.float64))
    given_ = [i for i in wanted if i < len(pool)]
    picks = compose(signals, holdout, size, "top_n", seed, shares=Shares(0.1, 0.2), wanted=given_)
    indices = [p.index for p in picks]
    assert len(set(indices)) == len(indices)
    lanes = {
        lane: [p for p in picks if p.lane == lane] for lane in ("strategy", "audit", "free", "holdout")
    }
    free = int((~holdout).sum())
    assert sum(len(lanes[lane]) for lane in ("strategy", "audit", "free")) == min(size, free)
    assert len(lanes["audit"]) == min(round(0.1 * size), free)
    open_ = [i for i in given_ if not holdout[i] and i not in {p.index for p in lanes["audit"]}]
    assert [p.index for p in lanes["free"]] == open_[
        : min(math.ceil(0.2 * size), max(min(size, free) - len(lanes["audit"]), 0))
    ]
    assert {p.p_select for p in lanes["audit"]} <= {len(lanes["audit"]) / max(free, 1)}
    assert picks == compose(signals, holdout, size, "top_n", seed, shares=Shares(0.1, 0.2), wanted=given_)


def test_the_audit_lane_gives_every_image_the_same_chance() -> None:
    holdout = np.arange(50) >= 40
    signals = Signals(np.linspace(0, 1, 50))
    hits = np.zeros(50)
    for seed in range(2000):
        for pick in compose(signals, holdout, 10, "top_n", seed, shares=Shares(0.2, 0.1), wanted=[0, 1, 2]):
            hits[pick.index] += pick.lane == "audit"
    assert (hits[40:] == 0).all()
    # 2 of 40 in each of 2,000 draws: 100 expected, with a standard deviation below 10.
    assert (np.abs(hits[:40] - 100) < 45).all()


def test_two_people_see_what_is_costly() -> None:
    picks = compose(
        Signals(np.array([0.9, 0.8, 0.7])), np.zeros(3, np.bool_), 3, double=np.array([True, False, False])
    )
    assert {p.index: p.route for p in picks} == {0: "double", 1: "human", 2: "human"}


def test_of_look_alikes_one_is_picked_while_others_are_there() -> None:
    uncertainty = np.array([0.9, 0.89, 0.88, 0.5, 0.4])
    phash = np.array([7, 7, 6, 0xFFFF0000FFFF, 0xFFFFFFFF00000000], dtype=np.uint64)
    signals = Signals(uncertainty, phash=phash)
    nobody = np.zeros(5, np.bool_)
    assert sorted(p.index for p in compose(signals, nobody, 3)) == [0, 3, 4]
    assert sorted(p.index for p in compose(signals, nobody, 5)) == [0, 1, 2, 3, 4]
    # By looks alone they are alike, by what the model sees in them they are not.
    seen = Signals(uncertainty, phash=phash, embedding=np.eye(5))
    assert sorted(p.index for p in compose(seen, nobody, 3)) == [0, 1, 2]


def test_some_of_the_sure_ones_are_asked_all_the_same() -> None:
    sure = np.arange(100) % 2 == 0
    nobody, again = release(sure, 0.1, 3)
    assert sorted([*nobody, *again]) == np.flatnonzero(sure).tolist()
    assert len(again) == 5
    assert [len(part) for part in release(np.array([True]), 0.01, 0)] == [0, 1]
    assert [len(part) for part in release(np.zeros(4, np.bool_), 0.5, 0)] == [0, 0]
    with pytest.raises(BadInput, match="recheck"):
        release(sure, 1.5, 0)


def test_shares_are_parts_of_a_whole() -> None:
    for audit, free in ((-0.1, 0.0), (0.6, 0.5)):
        with pytest.raises(BadInput, match="shares"):
            Shares(audit, free)


picks = st.tuples(st.floats(0, 1), st.sampled_from(["strategy", "holdout", "audit", "free", "recheck"]))


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
    own = [i for i in served if lanes[i] not in BLIND]
    assert [uncertainty[i] for i in own] == sorted(uncertainty[own], reverse=True)
    # However many were served, the share of blind images among them is that of the whole batch.
    measuring = np.array([lanes[i] in BLIND for i in served])
    so_far = np.cumsum(measuring) - measuring.mean() * np.arange(1, len(rows) + 1)
    assert np.abs(so_far).max() <= 1.0 + 1e-9


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 99))
def test_groups_are_used_up_together(n: int, groups: int, seed: int) -> None:
    points = cloud(n, 6, seed)
    picked = np.random.default_rng(seed).random(n) < 0.4
    picked[seed % n] = True
    found = deal(points, picked, groups, seed)
    many = min(groups, int(picked.sum()))
    sizes = np.bincount(found[picked], minlength=many)
    assert sizes.size == many
    assert sizes.max() - sizes.min() <= 1
    assert set(found) <= set(range(many))
    np.testing.assert_array_equal(found, deal(points, picked, groups, seed))
    # Everybody else is where the pick is that they resemble most.
    alike = points @ points[picked].T
    for image in np.flatnonzero(~picked):
        best = np.flatnonzero(np.isclose(alike[image], alike[image].max(), atol=1e-5))
        assert found[image] in found[picked][best]


def test_groups_are_of_look_alikes() -> None:
    points = np.repeat(np.eye(4), 5, axis=0)
    found = deal(points, np.ones(20, np.bool_), 4, 0)
    assert all(len(set(found[start : start + 5])) == 1 for start in range(0, 20, 5))


def test_groups_need_picks() -> None:
    with pytest.raises(BadInput, match="picked"):
        deal(np.eye(3), np.zeros(3, np.bool_), 2, 0)
    with pytest.raises(BadInput, match="groups"):
        deal(np.eye(3), np.ones(3, np.bool_), 0, 0)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([None, "p", "q", "r"])), max_size=30),
    st.integers(0, 12),
)
def test_rivals_are_every_camera_image_and_the_best_generated_ones_of_different_parents(
    rows: list[tuple[float, str | None]], most: int
) -> None:
    values, parents = np.array([v for v, _ in rows]), [p for _, p in rows]
    kept = rivals(values, parents, most).tolist()
    assert kept == sorted(set(kept))
    made = [i for i in kept if parents[i] is not None]
    assert len(made) == min(most, sum(p is not None for p in parents))
    assert set(range(len(rows))) - set(kept) <= {i for i, p in enumerate(parents) if p is not None}
    for i in set(range(len(rows))) - set(kept):
        mine = [j for j in made if parents[j] == parents[i]]
        assert all(values[j] >= values[i] for j in mine)
        taken = Counter(parents[j] for j in made)
        assert max(taken.values(), default=0) <= len(mine) + 1  # nobody's second before its first


def test_rivals_need_a_parent_or_none_for_each() -> None:
    with pytest.raises(BadInput, match="parents"):
        rivals(np.zeros(2), [None], 1)


def test_no_generated_image_is_drawn_for_the_audit() -> None:
    signals = Signals(np.linspace(0, 1, 40))
    generated = np.arange(40) >= 10
    picks = compose(
        signals, np.zeros(40, np.bool_), 20, "top_n", 3, shares=Shares(0.5, 0), generated=generated
    )
    audit = [p for p in picks if p.lane == "audit"]
    assert len(audit) == 10
    assert not generated[[p.index for p in audit]].any()
    with pytest.raises(BadInput, match="generated"):
        compose(signals, np.zeros(40, np.bool_), 2, "top_n", generated=[True])
