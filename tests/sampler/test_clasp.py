"""The noisy choice against what its formula says, and against counting."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.clasp import SHARED, SHARPEST, TURNS, clasp

pools = st.lists(st.tuples(st.floats(0, 1), st.integers(-1, 4)), max_size=40)


@given(pools, st.integers(0, 50), st.integers(0, 20), st.integers(0, 2**16))
def test_each_image_once_and_the_same_for_a_seed(
    pool: list[tuple[float, int]], k: int, turn: int, seed: int
) -> None:
    u, kind = [p[0] for p in pool], [p[1] for p in pool]
    found = clasp(u, k, seed, kind=kind, turn=turn).tolist()
    assert len(found) == len(set(found)) == min(k, len(pool))
    assert set(found) <= set(range(len(pool)))
    assert found == clasp(u, k, seed, kind=kind, turn=turn).tolist()


@given(pools, st.integers(1, 40), st.integers(0, 2**16))
def test_two_thirds_are_shared_out_evenly(pool: list[tuple[float, int]], k: int, seed: int) -> None:
    kind = [p[1] for p in pool]
    found = clasp([p[0] for p in pool], k, seed, kind=kind)
    shared = Counter(kind[i] for i in found[: round(SHARED * min(k, len(pool)))].tolist())
    available = Counter(kind)
    for a in shared:
        for b in (c for c in available if c >= 0):
            # A class that got more than another by two or more had nobody else to give way to.
            assert shared[b] >= min(shared[a] - 1, available[b]) or a < 0


@given(pools, st.permutations(range(5)), st.integers(0, 2**16))
def test_names_of_classes_mean_nothing(pool: list[tuple[float, int]], names: list[int], seed: int) -> None:
    u = [p[0] for p in pool]
    renamed = [names[p[1]] if p[1] >= 0 else -1 for p in pool]
    found = clasp(u, 10, seed, kind=[p[1] for p in pool])
    again = clasp(u, 10, seed, kind=renamed)
    assert Counter(found.tolist()) == Counter(again.tolist())


def test_the_first_pick_follows_the_power_of_the_uncertainty() -> None:
    """The largest of ln u + Gumbel / beta is image i with probability u_i^beta / sum (Gumbel-max trick)."""
    u, rng = np.array([0.9, 0.5, 0.3, 0.1]), np.random.default_rng(5)
    draws = 6000
    for turn in (0, 3):
        beta = SHARPEST ** (turn / TURNS)
        expected = u**beta / (u**beta).sum()
        hits = Counter(int(clasp(u, 1, rng, turn=turn)[0]) for _ in range(draws))
        for i, p in enumerate(expected):
            assert abs(hits[i] - draws * p) < 5 * np.sqrt(draws * p * (1 - p)) + 1


def test_in_the_end_it_is_the_uncertainty_alone() -> None:
    u = np.linspace(0.05, 0.95, 19)
    agree = [clasp(u, 5, seed, turn=TURNS).tolist() == [18, 17, 16, 15, 14] for seed in range(50)]
    assert np.mean(agree) > 0.3
    assert all(set(clasp(u, 5, s, turn=TURNS).tolist()) <= set(range(12, 19)) for s in range(50))


def test_images_without_doubt_come_last() -> None:
    u = np.array([0.0, 1e-9, 0.0, 0.5])
    for seed in range(20):
        assert set(clasp(u, 2, seed).tolist()) == {1, 3}


@pytest.mark.parametrize(
    ("arguments", "says"), [({"k": -1}, "k"), ({"turn": -1}, "turn"), ({"kind": [1]}, "kind")]
)
def test_what_cannot_be_is_named(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        clasp([0.1, 0.2], **{"k": 1, "rng": 0, **arguments})  # type: ignore[arg-type]
