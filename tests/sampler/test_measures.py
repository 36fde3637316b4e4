"""Measures of a box against closed forms and a second implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from pool.schema import BadInput
from sampler.measures import (
    MEASURES,
    SILENT,
    Evidence,
    binary_entropy,
    least_confidence,
    margin,
    multilabel,
)

chances = st.floats(0, 1)
rows = st.integers(1, 4).flatmap(
    lambda wide: st.lists(st.lists(chances, min_size=wide, max_size=wide), min_size=1, max_size=6)
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


@given(rows)
def test_multilabel_adds_the_entropies_of_all_that_is_not_silent(table: list[list[float]]) -> None:
    sums = [sum(scipy_entropy([p, 1 - p], base=2) for p in row if p >= SILENT) for row in table]
    assert multilabel(table) == pytest.approx([s / (1 + s) for s in sums], abs=1e-9)
    assert (multilabel(table) < 1).all()


def test_multilabel_hears_a_second_class_and_no_crowd_of_silent_ones() -> None:
    silent = [0.009] * 79
    one, two, surely, crowd = multilabel(
        [[0.5, *silent], [0.5, 0.4, *silent[1:]], [0.99, *silent], [0.009, *silent]]
    )
    assert one == 0.5
    assert two > one > surely > crowd == 0
    assert multilabel([[0.5] * 80])[0] == pytest.approx(80 / 81)


@given(rows, st.data())
def test_the_order_of_classes_means_nothing(table: list[list[float]], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(table[0]))))
    shuffled = [[row[i] for i in order] for row in table]
    for measure in (margin, multilabel):
        assert measure(table) == pytest.approx(measure(shuffled), abs=1e-12)


def test_what_a_detector_noted_itself_is_taken_as_it_is() -> None:
    noted = np.array([0.25, np.nan, -1.0, 2.0, np.inf], dtype=np.float16)
    evidence = Evidence(np.full(5, 0.9), localisation=noted, disagreement=noted)
    for name in ("localisation", "disagreement"):
        assert MEASURES[name](evidence).tolist() == [0.25, 0.5, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("measure", "who"),
    [("localisation", "not YOLO26"), ("disagreement", "two heads"), ("multilabel", "every class")],
)
def test_what_nobody_knows_says_who_would(measure: str, who: str) -> None:
    with pytest.raises(BadInput, match=f"{who}.*use the measure entropy"):
        MEASURES[measure](Evidence(np.array([0.5])))


def test_half_precision_is_measured_as_its_numbers_are() -> None:
    scores, probs = np.linspace(0, 1, 11).astype(np.float16), np.eye(11, dtype=np.float16) / 3
    half = Evidence(scores, probs, scores, scores)
    exact = scores.astype(np.float64)
    double = Evidence(exact, probs.astype(np.float64), exact, exact)
    for measure in MEASURES.values():
        assert measure(half).dtype == np.float64
        assert measure(half).tolist() == measure(double).tolist()


def test_no_class_is_no_table() -> None:
    for bad in (np.zeros((2, 0)), np.zeros(3)):
        for measure in (margin, multilabel):
            with pytest.raises(BadInput, match="probs"):
                measure(bad)
