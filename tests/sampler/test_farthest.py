"""Farthest-first against the plain algorithm, which reads the pool once per pick."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pool.schema import BadInput
from sampler.farthest import farthest_first
from tests.sampler.clouds import cloud


def naive(points: NDArray[np.float32], k: int, context: NDArray[np.float32] | None = None) -> list[int]:
    """One pass over all distances for each pick, by scipy, in float64."""
    exact = points.astype(np.float64)
    if context is None:
        picks = [int(cdist(exact, exact.mean(axis=0, keepdims=True)).argmin())]
        nearest = cdist(exact, exact[picks])[:, 0]
    else:
        picks = []
        nearest = cdist(exact, context.astype(np.float64)).min(axis=1)
    taken = np.zeros(len(points), dtype=bool)
    taken[picks] = True
    while len(picks) < min(k, len(points)):
        best = int(np.where(taken, -1.0, nearest).argmax())
        picks.append(best)
        taken[best] = True
        nearest = np.minimum(nearest, cdist(exact, exact[[best]])[:, 0])
    return picks


def test_a_thousand_picks_are_those_of_the_plain_algorithm() -> None:
    # Not on the unit sphere: there some distances are equal as far as float32 can tell.
    points = np.random.default_rng(1).standard_normal((6000, 32)).astype(np.float32)
    assert farthest_first(points, 1000, candidates=512, block=64).tolist() == naive(points, 1000)


def test_every_pick_is_the_farthest_as_far_as_float32_can_tell() -> None:
    points = cloud(6000, 32, seed=1)
    check(points, farthest_first(points, 1000, candidates=512, block=64))


def check(points: NDArray[np.float32], picks: NDArray[np.intp]) -> None:
    """Each pick was the farthest there was when it was picked, up to float32."""
    assert len(set(picks.tolist())) == len(picks)
    if not len(picks):
        return
    exact = points.astype(np.float64)
    from_mean = cdist(exact, exact.mean(axis=0, keepdims=True))[:, 0] ** 2
    assert from_mean[picks[0]] < from_mean.min() + 1e-5
    nearest = cdist(exact, exact[picks[:1]])[:, 0] ** 2
    for pick in picks[1:]:
        assert nearest[pick] > nearest.max() - 1e-5
        nearest = np.minimum(nearest, cdist(exact, exact[[pick]])[:, 0] ** 2)


def test_with_labelled_images_as_context() -> None:
    points, labelled = cloud(3000, 24, seed=2), cloud(400, 24, seed=3)
    found = farthest_first(points, 300, context=labelled, candidates=256, block=32)
    assert found.tolist() == naive(points, 300, labelled)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 60),
    k=st.integers(0, 70),
    candidates=st.integers(1, 80),
    block=st.integers(1, 20),
    seed=st.integers(0, 2**16),
)
def test_how_it_is_cut_into_blocks_changes_nothing(
    n: int, k: int, candidates: int, block: int, seed: int
) -> None:
    points = cloud(n, 5, seed=seed)
    found = farthest_first(points, k, candidates=candidates, block=block)
    assert len(found) == min(n, k)
    check(points, found)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 40), seed=st.integers(0, 2**16), data=st.data())
def test_the_order_of_the_pool_changes_names_only(n: int, seed: int, data: st.DataObject) -> None:
    points = cloud(n, 4, seed=seed)
    order = np.array(data.draw(st.permutations(range(n))))
    check(points, order[farthest_first(points[order], n // 2)])


def test_copies_come_last_and_each_point_once() -> None:
    points = np.repeat(cloud(10, 3, seed=5), 4, axis=0)
    found = farthest_first(points, 40, candidates=7, block=3)
    assert sorted(found.tolist()) == list(range(40))
    assert len({i // 4 for i in found[:10].tolist()}) == 10


def test_a_pool_on_disk_is_read_as_it_lies(tmp_path: Path) -> None:
    points = cloud(500, 16, seed=6)
    on_disk = np.memmap(tmp_path / "points", dtype=np.float32, mode="w+", shape=points.shape)
    on_disk[:] = points
    assert farthest_first(on_disk, 50, candidates=64).tolist() == farthest_first(points, 50).tolist()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"points": np.zeros(3), "k": 1}, "points"),
        ({"points": np.full((2, 2), np.nan), "k": 1}, "finite"),
        ({"points": np.zeros((2, 2)), "k": -1}, "k must be"),
        ({"points": np.zeros((2, 2)), "k": 1, "context": np.zeros((1, 3))}, "context"),
        ({"points": np.zeros((2, 2)), "k": 1, "block": 0}, "block"),
    ],
)
def test_what_cannot_be_is_named(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        farthest_first(**arguments)  # type: ignore[arg-type]
