"""VeSSAL against plain linear algebra: matrices built anew for every image."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pool.schema import BadInput
from sampler import vessal
from sampler.draws import rate
from sampler.stream import Item, Quota
from sampler.streams import replay
from sampler.vessal import DIMS, MEMORY, RIDGE, Volume, advance, begin, chance, dump, load, wants
from tests.sampler.clouds import cloud

Array = NDArray[np.float64]


def items(n: int, d: int, seed: int) -> list[Item]:
    u = np.random.default_rng(seed).random(n)
    return [Item(float(a), row) for a, row in zip(u, cloud(n, d, seed), strict=True)]


def rows(images: list[Item]) -> Array:
    """z of each image whose embedding needs no projection, by the formula."""
    z = np.zeros((len(images), DIMS))
    for i, image in enumerate(images):
        assert image.embedding is not None
        unit = np.asarray(image.embedding, dtype=float) / np.linalg.norm(image.embedding)
        z[i, : len(unit)] = np.sqrt(image.uncertainty) * unit
    return z


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 120), budget=st.floats(0.02, 0.6))
def test_chances_are_those_of_matrices_that_are_inverted_each_time(
    seed: int, n: int, budget: float
) -> None:
    images, quota = items(n, 12, seed), Quota(budget, seed=seed)
    z, state, asked = rows(images), begin(quota), [False] * n
    for t, image in enumerate(images):
        inverse = np.linalg.inv(RIDGE * np.eye(DIMS) + z[:t].T @ (z[:t] * np.array(asked[:t])[:, None]))
        seen = z[: t + 1].T @ z[: t + 1] / (t + 1)
        expected = rate(state.tokens, quota) * (z[t] @ inverse @ z[t]) / np.trace(inverse @ seen)
        assert chance(state, image, quota) == pytest.approx(min(expected, 1), rel=2e-3)
        asked[t] = wants(state, image, quota)
        state = advance(state, image, quota, asked[t])


def test_chances_reach_the_rate_on_average() -> None:
    """With the matrices standing still, whatever the images are."""
    images, quota = items(4000, 100, 1), Quota(0.1)
    state = begin(quota)
    for image in images[:2000]:
        state = advance(state, image, quota, wants(state, image, quota))
    found = [chance(state, image, quota) for image in images[2000:]]
    assert np.mean(found) == pytest.approx(rate(state.tokens, quota), rel=0.1)


def test_the_first_image_is_drawn_at_the_rate_and_one_without_doubt_never() -> None:
    quota = Quota(0.1)
    image = items(1, 50, 0)[0]
    assert chance(begin(quota), image, quota) == pytest.approx(rate(quota.level, quota))
    state = advance(begin(quota), image, quota, False)
    assert chance(state, Item(0.0, image.embedding), quota) == 0
    assert chance(begin(quota), Item(0.0), quota) == pytest.approx(rate(quota.level, quota))


def test_what_is_unlike_all_that_was_asked_is_likelier_drawn() -> None:
    quota, (known, other) = Quota(0.05), np.eye(2, 64)
    state = begin(quota)
    for i in range(300):
        state = advance(state, Item(0.5, known), quota, i % 30 == 0)
    state = advance(state, Item(0.5, other), quota, False)
    assert chance(state, Item(0.5, other), quota) > 10 * chance(state, Item(0.5, known), quota)


def test_of_many_kinds_rare_ones_are_asked_about_more_evenly_than_by_chance() -> None:
    rng = np.random.default_rng(2)
    kinds = rng.choice(20, 5000, p=(1 / np.arange(1, 21)) / (1 / np.arange(1, 21)).sum())
    points = rng.standard_normal((20, 200))[kinds] + 0.2 * rng.standard_normal((5000, 200))
    images = [Item(0.5, row) for row in points]

    def rarest(strategy: str) -> float:
        return float((kinds[replay(images, Quota(0.05), strategy)] >= 10).mean())

    assert rarest("vessal") > 1.25 * rarest("random")


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), factor=st.floats(0.01, 1000))
def test_the_length_of_embeddings_means_nothing(seed: int, factor: float) -> None:
    quota, images = Quota(0.1), items(3, 70, seed)
    longer = [Item(i.uncertainty, i.embedding * factor) for i in images if i.embedding is not None]
    state, other = begin(quota), begin(quota)
    for a, b in zip(images, longer, strict=True):
        assert chance(state, a, quota) == pytest.approx(chance(other, b, quota), rel=1e-3)
        state, other = advance(state, a, quota, True), advance(other, b, quota, True)


def test_projected_vectors_keep_their_angles_roughly() -> None:
    points = np.random.default_rng(3).standard_normal((60, 448))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    z = np.array([vessal._weighted(Item(1.0, row)) for row in points])
    away = np.abs(z @ z.T - points @ points.T)
    assert away.max() < 5 / np.sqrt(DIMS)
    assert away.mean() < 1 / np.sqrt(DIMS)


def test_images_without_an_embedding_differ_in_uncertainty_alone() -> None:
    quota = Quota(0.1)
    state = begin(quota)
    for _ in range(1000):
        state = advance(state, Item(0.3), quota, False)
    found = [chance(state, Item(u), quota) for u in (0.1, 0.2, 0.4)]
    assert found[1] == pytest.approx(2 * found[0], rel=0.01)
    assert found[2] == pytest.approx(4 * found[0], rel=0.01)
    nothing = Item(0.4, np.zeros(5))  # points nowhere
    assert chance(replace(state, width=5), nothing, quota) == chance(state, Item(0.4), quota)


def test_another_models_embeddings_begin_the_matrices_afresh_and_keep_the_counters() -> None:
    quota = Quota(0.1)
    state = begin(quota)
    for image in items(50, 40, 0):
        state = advance(state, image, quota, wants(state, image, quota))
    image = items(1, 41, 1)[0]
    assert chance(state, image, quota) == pytest.approx(rate(state.tokens, quota))
    after = advance(state, image, quota, False)
    assert (after.seen, after.asked, after.counted, after.width) == (51, state.asked, 1, 41)


def test_over_a_long_stream_the_matrix_stays_positive_and_the_mean_forgets() -> None:
    quota = Quota(0.3)
    state = begin(quota)
    for image in items(4000, 20, 5):
        state = advance(state, image, quota, True)
    eigen = np.linalg.eigvalsh(vessal._matrix(state.inverse).astype(float))
    assert 0 < eigen.min() < 0.01
    assert eigen.max() == pytest.approx(1 / RIDGE, rel=1e-3)  # directions that never came
    for _ in range(int(5 / MEMORY)):
        state = advance(state, Item(0.5, np.eye(20)[0]), quota, False)
    assert vessal._matrix(state.mean)[0, 0] == pytest.approx(0.5, abs=0.01)


def test_a_record_in_json_is_read_back_bit_by_bit() -> None:
    quota = Quota(0.2)
    state = begin(quota)
    for image in items(40, 60, 7):
        state = advance(state, image, quota, wants(state, image, quota))
    text = json.dumps(dump(state), allow_nan=False)
    assert load(json.loads(text)) == state
    assert len(text) < 12_000


@pytest.mark.parametrize("broken", ["", "AAAA", "no base64!", None, 7])
def test_matrices_of_another_size_begin_afresh_and_counters_are_kept(broken: object) -> None:
    state = advance(Volume(9, 2, 3.0, 9, 5), Item(0.5, np.ones(5)), Quota(0.2), True)
    assert load(dump(state) | {"mean": broken}) == Volume(state.seen, state.asked, state.tokens)


@pytest.mark.parametrize("record", [{"theta": 1.0}, {"seen": "many"}, {"seen": float("nan")}])
def test_the_record_of_something_else_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="Volume"):
        load(record)


@pytest.mark.parametrize("embedding", [[np.nan, 1.0], [np.inf, 1.0], [[1.0]], 3.0])
def test_an_embedding_that_is_none_is_named(embedding: object) -> None:
    with pytest.raises(BadInput, match="embedding"):
        chance(begin(Quota(0.1)), Item(0.5, np.asarray(embedding)), Quota(0.1))
