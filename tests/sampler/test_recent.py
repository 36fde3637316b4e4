"""Look-alikes of what was asked lately, against the pool's own count of differing bits."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pool.phash import BITS as WHOLE
from pool.phash import near_duplicates
from sampler.recent import MOST, dump, load, nearest, remember, seen

hashes = st.integers(0, 2**WHOLE - 1)


@given(st.lists(hashes, max_size=20), hashes, st.integers(0, 64), st.integers(0, 64))
def test_seen_is_what_the_pool_calls_a_near_duplicate(
    known: list[int], phash: int, flips: int, bits: int
) -> None:
    known.append(phash ^ ((1 << flips) - 1))  # as far as `flips` bits
    expected = near_duplicates(phash, np.array(known, dtype=np.uint64), bits).any()
    assert seen(tuple(known), phash, bits) is bool(expected)


def test_nothing_is_like_nothing() -> None:
    assert nearest((), 0) is None
    assert not seen((), 0, 64)
    assert nearest((0b1011, 0), 0b0011) == 1


@given(st.lists(hashes, max_size=12), st.integers(1, 5))
def test_the_oldest_go(order: list[int], most: int) -> None:
    recent: tuple[int, ...] = ()
    for phash in order:
        before = recent
        recent = remember(recent, phash, most)
        assert before == recent[: len(before)] or len(before) == most
    assert recent == tuple(order[-most:])


def test_as_many_are_remembered_as_is_said() -> None:
    recent: tuple[int, ...] = ()
    for phash in range(MOST + 1):
        recent = remember(recent, phash << 8)
    assert not seen(recent, 0, 0)
    assert seen(recent, 1 << 8, 0)


@given(st.lists(hashes, max_size=20).map(tuple))
def test_a_record_in_json_is_read_back(recent: tuple[int, ...]) -> None:
    assert load(json.loads(json.dumps(dump(recent)))) == recent
