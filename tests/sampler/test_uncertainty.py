"""Measures against closed forms and a second implementation; image numbers against a plain loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from pool.schema import BadInput, Box, Prediction, Region
from sampler.uncertainty import (
    AGGREGATES,
    MEASURES,
    Evidence,
    binary_entropy,
    combine,
    gather,
    least_confidence,
    margin,
    score,
    topk,
)

chances = st.floats(0, 1)
anything = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 2.0, 5e-324]))
rows = st.integers(1, 4).flatmap(
    lambda wide: st.lists(st.lists(chances, min_size=wide, max_size=wide), min_size=1, max_size=6)
)
FULL = Box(0.0, 0.0, 1.0, 1.0)


def seen(
    *scores: float | None, background: float = 0.0, probs: Sequence[Sequence[float]] | None = None
) -> Prediction:
    return Prediction(
        sample="0" * 64,
        model_version="v1",
        regions=tuple(Region("garbage", FULL, score=s) for s in scores),
        classes=("garbage",),
        background=background,
        probs=None if probs is None else np.array(probs, dtype=np.float16),
    )


@given(chances)
def test_entropy_is_shannons(p: float) -> None:
    assert binary_entropy(p) == pytest.approx(scipy_entropy([p, 1 - p], base=2), abs=1e-12)


@pytest.mark.parametrize(
    ("p", "entropy", "least"),
    [(0.0, 0.0, 0.0), (0.5, 1.0, 1.0), (1.0, 0.0, 0.0), (0.25, 2 - 0.75 * math.log2(3), 0.5)],
)
def test_measures_at_known_points(p: float, entropy: float, least: float) -> None:
    assert binary_entropy(p) == pytest.approx(entropy, abs=1e-15)
    assert least_confidence(p) == pytest.approx(least, abs=1e-15)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.5], 1.0),  # half there, half not
        ([0.9], 0.2),
        ([0.9, 0.85], 0.95),  # two classes claim the box
        ([0.9, 0.05], 0.2),  # the runner-up is "nothing"
        ([0.0, 0.0], 0.0),  # surely nothing
        ([1.0, 1.0], 1.0),
        ([0.4, 0.4], 0.8),  # nothing 0.6 against a class 0.4
    ],
)
def test_margin_counts_nothing_as_an_answer(row: list[float], expected: float) -> None:
    assert margin([row]) == pytest.approx([expected])


@given(rows)
def test_margin_is_a_sorted_list_read_at_its_end(table: list[list[float]]) -> None:
    expected = []
    for row in table:
        second, first = sorted([*row, 1 - max(row)])[-2:]
        expected.append(1 - (first - second))
    assert margin(table) == pytest.approx(expected, abs=1e-12)


@given(chances)
def test_one_class_margin_is_least_confidence(p: float) -> None:
    assert margin([[p]])[0] == pytest.approx(float(least_confidence(p)), abs=1e-12)


@given(chances)
def test_measures_do_not_care_which_answer_is_yes(p: float) -> None:
    for measure in (binary_entropy, least_confidence):
        assert measure(p) == pytest.approx(measure(1 - p), abs=1e-9)


@given(chances, chances)
def test_nearer_to_a_half_is_more_uncertain(p: float, q: float) -> None:
    nearer, further = sorted([p, q], key=lambda x: abs(x - 0.5))
    for measure in (binary_entropy, least_confidence):
        assert measure(nearer) >= measure(further) - 1e-12


@given(st.lists(anything, max_size=8), anything)
def test_any_input_gives_a_number_between_0_and_1(scores: list[float], background: float) -> None:
    predictions = [seen(*scores, background=background), seen(None), seen(background=background)]
    for measure in MEASURES:
        for aggregate in AGGREGATES:
            values = score(predictions, measure, aggregate)
            assert np.isfinite(values).all()
            assert ((values >= 0) & (values <= 1)).all()


def test_a_score_that_is_no_number_is_shown_to_a_person() -> None:
    for measure in MEASURES:
        assert score([seen(math.nan), seen(None), seen(background=math.nan)], measure, "max").tolist() == [
            1,
            1,
            1,
        ]


def plain(values: Sequence[float], aggregate: str) -> float:
    """The aggregates once more, without arrays."""
    if aggregate == "max":
        return max(values)
    if aggregate == "mean":
        return math.fsum(values) / len(values)
    if aggregate == "sum":
        return math.fsum(values) / (1 + math.fsum(values))
    strongest = sorted(values, reverse=True)[:3]
    return math.fsum(strongest) / len(strongest)


SCALAR: dict[str, Callable[[float], float]] = {
    "entropy": lambda p: 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p),
    "least_confidence": lambda p: 2 * min(p, 1 - p),
    "margin": lambda p: 1 - abs(p - (1 - p)),
}


@given(st.lists(st.tuples(st.lists(chances, max_size=7), chances), max_size=6))
def test_images_against_a_plain_loop(images: list[tuple[list[float], float]]) -> None:
    predictions = [seen(*scores, background=background) for scores, background in images]
    for measure, scalar in SCALAR.items():
        for aggregate in AGGREGATES:
            expected = [
                plain([scalar(p) for p in scores or [background]], aggregate)
                for scores, background in images
            ]
            assert score(predictions, measure, aggregate) == pytest.approx(expected, abs=1e-9)


def test_every_name_has_its_second_implementation() -> None:
    assert set(SCALAR) == set(MEASURES)
    assert set(AGGREGATES) == {"topk", "max", "mean", "sum"}


@given(st.lists(st.lists(chances, max_size=5), max_size=6), st.data())
def test_an_image_does_not_depend_on_its_neighbours(images: list[list[float]], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(images))))
    predictions = [seen(*scores, background=0.03) for scores in images]
    for aggregate in AGGREGATES:
        together = score(predictions, "entropy", aggregate)
        shuffled = score([predictions[i] for i in order], "entropy", aggregate)
        assert together[list(order)] == pytest.approx(shuffled, abs=1e-12)


@given(st.lists(chances, min_size=1, max_size=6), st.data())
def test_the_order_of_boxes_means_nothing(scores: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(scores))
    for aggregate in AGGREGATES:
        values = score([seen(*scores), seen(*shuffled)], "entropy", aggregate)
        assert values[0] == pytest.approx(values[1], abs=1e-12)


@given(st.lists(st.lists(chances, min_size=1, max_size=9), min_size=2, max_size=8))
def test_the_squashed_sum_orders_like_the_sum_and_stays_below_1(images: list[list[float]]) -> None:
    squashed = score([seen(*scores) for scores in images], "least_confidence", "sum")
    sums = np.array([sum(2 * min(p, 1 - p) for p in scores) for scores in images])
    assert (squashed < 1).all()
    clear = sums[:, None] > sums[None, :] + 1e-9
    assert (squashed[:, None] > squashed[None, :])[clear].all()


def test_an_empty_image_is_its_background() -> None:
    silent, whisper, box = score([seen(), seen(background=0.04), seen(0.5)])
    assert silent == 0
    assert whisper == pytest.approx(binary_entropy(0.04))
    assert box == 1
    assert score([seen(0.99, background=0.5)])[0] < 0.1  # where boxes are, the background is silent


def test_top_k_counts_only_the_boxes_there_are() -> None:
    values, starts = np.array([1.0, 0.0, 1.0, 1.0, 0.4, 0.4, 0.1]), np.array([0, 1, 3])
    assert topk(values, starts) == pytest.approx([1.0, 0.5, (1 + 0.4 + 0.4) / 3])
    assert topk(values, starts, k=1) == pytest.approx([1.0, 1.0, 1.0])
    assert topk(values, starts, k=99) == pytest.approx([1.0, 0.5, 1.9 / 4])


def test_margin_reads_the_probabilities_where_a_model_gives_them() -> None:
    torn = seen(0.9, probs=[[0.9, 0.875]])
    clear = seen(0.9, probs=[[0.9, 0.0]])
    without = seen(0.9)
    narrow = seen(0.5, probs=[[0.5]])
    values = score([torn, clear, without, narrow, seen(background=0.5)], "margin", "max")
    assert values == pytest.approx([0.975, 0.2, 0.2, 1.0, 1.0], abs=1e-3)
    assert score([torn], "entropy")[0] < 0.5  # the top score alone sees no doubt


def test_nothing_gives_nothing() -> None:
    assert score([]).shape == (0,)
    evidence, starts = gather([])
    assert evidence.scores.shape == starts.shape == (0,)


def test_wrong_names_list_the_right_ones() -> None:
    with pytest.raises(
        BadInput, match="measure must be one of entropy, least_confidence, margin, but got 'entrpy'"
    ):
        score([seen(0.5)], measure="entrpy")
    with pytest.raises(BadInput, match="aggregate must be one of topk, max, mean, sum"):
        score([], aggregate="median")


def test_arrays_that_do_not_fit_are_refused() -> None:
    one = Evidence(np.array([0.5]))
    for starts in ([1], [0, 0], [0, 1]):
        with pytest.raises(BadInput, match="starts"):
            combine(one, starts)
    with pytest.raises(BadInput, match=r"probs must be of shape \(1, classes\)"):
        score([seen(0.5, probs=[[0.5], [0.4]])], "margin")
    for bad in (np.zeros((2, 0)), np.zeros(3)):
        with pytest.raises(BadInput, match="probs"):
            margin(bad)
    with pytest.raises(BadInput, match="k must be 1 or more"):
        topk(np.ones(2), np.array([0]), k=0)


def test_a_hundred_thousand_images_take_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    starts = np.arange(0, 1_000_000, 10)
    evidence = Evidence(rng.random(1_000_000))
    before = time.process_time()
    values = combine(evidence, starts)
    assert values.shape == (100_000,)
    assert time.process_time() - before < 1.0
