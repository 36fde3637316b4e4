"""Thinning against a plain walk with integers' own bit counts and cosines in float64."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import sampler.lookalikes
from pool.phash import near_duplicates
from pool.schema import BadInput
from sampler.lookalikes import thin

Vectors = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Evidence = tuple[Vectors | None, Hashes | None]


def pictures(n: int, seed: int) -> tuple[Vectors, Hashes]:
    """Few scenes, shaken a little, and independently few hashes with a few bits turned."""
    rng = np.random.default_rng(seed)
    scenes = rng.standard_normal((4, 6))
    vectors = scenes[rng.integers(0, 4, n)] + rng.standard_normal((n, 6)) * rng.choice(
        [0, 0.1, 0.4], (n, 1)
    )
    vectors *= rng.uniform(0.1, 5, (n, 1))
    hashes = rng.integers(0, 2**64, 3, dtype=np.uint64)[rng.integers(0, 3, n)]
    for _ in range(5):
        turned = np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64)
        hashes = np.where(rng.random(n) < 0.5, hashes ^ turned, hashes)
    return vectors, hashes


def cosine(a: Vectors, b: Vectors) -> float:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths else 0.0


def plain(
    order: list[int],
    pool: Evidence,
    context: Evidence | None,
    alike: float,
    bits: int,
) -> list[int]:
    seen = [] if context is None else pairs(*context)
    everyone, kept = pairs(*pool), []
    for i in order:
        vector, phash = everyone[i]
        for other, hash_ in seen:
            told = []
            if vector is not None and other is not None:
                told.append(cosine(vector, other) >= alike - 1e-6)
            if phash is not None and hash_ is not None:
                told.append((phash ^ hash_).bit_count() <= bits)
            if all(told):
                break
        else:
            kept.append(i)
            seen.append(everyone[i])
    return kept


def pairs(vectors: Vectors | None, hashes: Hashes | None) -> list[tuple[Vectors | None, int | None]]:
    n = len(vectors) if vectors is not None else len(hashes) if hashes is not None else 0
    left = [None] * n if vectors is None else list(vectors)
    right = [None] * n if hashes is None else [int(h) for h in hashes]
    return list(zip(left, right, strict=True))


@settings(deadline=None, max_examples=120)
@given(
    n=st.integers(0, 40),
    labelled=st.integers(0, 6),
    seed=st.integers(0, 2**16),
    evidence=st.sampled_from(["embedding", "phash", "both"]),
    alike=st.sampled_from([0.5, 0.95, 0.995, 1.0]),
    bits=st.sampled_from([0, 2, 4, 64]),
)
def test_the_walk_is_the_plain_one(
    n: int, labelled: int, seed: int, evidence: str, alike: float, bits: int
) -> None:
    order = np.random.default_rng(seed).permutation(n)[: n - n // 5]
    vectors, hashes = pictures(n + labelled, seed)
    seen, hashed = evidence != "phash", evidence != "embedding"
    pool: Evidence = (vectors[:n] if seen else None, hashes[:n] if hashed else None)
    context: Evidence = (vectors[n:] if seen else None, hashes[n:] if hashed else None)
    found = thin(
        order, *pool, alike=alike, bits=bits, context=context[0], context_phash=context[1]
    ).tolist()
    assert found == plain(order.tolist(), pool, context, alike, bits)
    alone = thin(order, *pool, alike=alike, bits=bits).tolist()
    assert alone == plain(order.tolist(), pool, None, alike, bits)


def test_blocks_change_nothing_and_fewer_are_the_first_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, hashes = pictures(120, 7)
    order = np.random.default_rng(7).permutation(120)
    whole = thin(order, vectors, hashes, bits=5).tolist()
    assert 10 < len(whole) < 120
    known = functools.partial(thin, order, vectors, hashes, context=vectors[:9], context_phash=hashes[:9])
    less = known().tolist()
    for block in (1, 7, 64):
        monkeypatch.setattr(sampler.lookalikes, "BLOCK", block)
        monkeypatch.setattr(sampler.lookalikes, "ROWS", block)
        assert thin(order, vectors, hashes, bits=5).tolist() == whole
        assert known().tolist() == less
        for k in (0, 1, 5, 120):
            assert thin(order, vectors, hashes, bits=5, k=k).tolist() == whole[:k]


def test_both_must_say_so() -> None:
    """The first three share a hash, as a fixed camera's frames do; all but the second an embedding."""
    vectors = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [1, 0]])
    hashes = np.array([7, 7, 7, 2**63 + 24, 2**40 - 1], dtype=np.uint64)  # 7 and 2**63 + 24: six bits
    assert thin(range(5), vectors, hashes).tolist() == [0, 1, 3, 4]
    assert thin(range(5), vectors).tolist() == [0, 1]
    assert thin(range(5), None, hashes, bits=5).tolist() == [0, 3, 4]
    assert thin(range(5), None, hashes, bits=6).tolist() == [0, 4]
    assert thin([4, 1, 0]).tolist() == [4, 1, 0]
    assert thin([4, 1, 0], k=2).tolist() == [4, 1]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12), st.integers(0, 64))
def test_hashes_are_compared_as_the_ledger_compares_them(values: list[int], bits: int) -> None:
    hashes = np.array(values, dtype=np.uint64)
    rest = thin(range(1, len(values)), None, hashes, bits=bits, context_phash=hashes[:1]).tolist()
    near = near_duplicates(values[0], hashes, bits)
    assert not near[rest].any()
    assert len(rest) > 0 or near.all() or len(values) == 1


def test_an_image_without_an_embedding_is_like_nothing() -> None:
    assert thin(range(3), np.zeros((3, 4)), context=np.zeros((2, 4))).tolist() == [0, 1, 2]
    assert thin(range(2), np.eye(2), [1, 2], context=np.zeros((0, 2))).tolist() == [0, 1]


def test_a_copy_is_left_out_at_the_strictest_limits() -> None:
    vectors = np.random.default_rng(8).standard_normal((50, 300))
    twice = np.concatenate((vectors, vectors * 3))
    hashes = np.tile(np.random.default_rng(8).integers(0, 2**64, 50, dtype=np.uint64), 2)
    assert thin(range(100), twice, hashes, alike=1, bits=0).tolist() == list(range(50))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"order": [0, 0]}, "order"),
        ({"order": [3]}, "order"),
        ({"order": [-1]}, "order"),
        ({"order": [[0]]}, "order"),
        ({"order": [1, 1], "embedding": None}, "order"),
        ({"k": -1}, "k must be"),
        ({"alike": 0.0}, "alike"),
        ({"alike": 1.1}, "alike"),
        ({"bits": -1}, "bits"),
        ({"bits": 65}, "bits"),
        ({"phash": [1, 2]}, "phash"),
        ({"embedding": None, "phash": [[1]]}, "phash"),
        ({"embedding": np.full((3, 2), np.nan)}, "finite"),
        ({"context": np.ones((1, 4))}, "context"),
        ({"context_phash": [1]}, "context"),
        ({"phash": [1, 2, 3], "context": np.ones((1, 3))}, "context"),
        ({"embedding": None, "context": np.ones((1, 3))}, "context"),
    ],
)
def test_what_cannot_be_is_named(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        thin(**{"order": [0, 1, 2], "embedding": np.eye(3), **arguments})  # type: ignore[arg-type]
