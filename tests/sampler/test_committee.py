"""Disagreement of two versions: pairs by hand, symmetry, order and names; information against scipy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from pool.boxes import iou_matrix, to_array
from pool.schema import BadInput, Box, Prediction
from sampler.committee import SAME, disagreement, disagreements, matched, mutual_information
from tests.sampler.looks import CLASSES, look

LEFT, RIGHT = Box(0.0, 0.0, 0.4, 0.4), Box(0.6, 0.6, 1.0, 1.0)
NEAR = Box(0.02, 0.0, 0.42, 0.4)
"""As good as `LEFT`, IoU 0.9."""

places = st.sampled_from([LEFT, NEAR, RIGHT, Box(0.1, 0.0, 0.5, 0.4), Box(0.0, 0.1, 0.4, 0.5)])
labelled = st.tuples(st.sampled_from([*CLASSES, None]), st.sampled_from([0.1, 0.5, 0.9, None]), places)
looks = st.builds(
    lambda boxes, b: look(*boxes, background=b), st.lists(labelled, max_size=5), st.floats(0, 1)
)


def test_counts_by_hand() -> None:
    dog = look(("dog", 0.9, LEFT))
    assert disagreement(dog, dog) == 0
    assert disagreement(dog, look(("dog", 0.4, NEAR))) == pytest.approx(0.5)
    assert disagreement(dog, look(("cat", 0.4, NEAR))) == pytest.approx(0.9)
    assert disagreement(dog, look()) == pytest.approx(0.9)
    assert disagreement(dog, look(("dog", 0.4, RIGHT))) == pytest.approx((0.9 + 0.4) / 2)
    assert disagreement(look(background=0.04), look(background=0.01)) == pytest.approx(0.03)
    assert disagreement(look(background=math.nan), look()) == 0.5
    assert disagreement(look((None, None, LEFT)), look()) == 0.5


def test_only_the_three_largest_counts_speak() -> None:
    alike = [("bird", 0.8, Box(x, 0.8, x + 0.09, 0.9)) for x in (0.0, 0.1, 0.2, 0.3)]
    one, other = look(*alike, ("dog", 0.9, LEFT)), look(*alike, ("cat", 0.6, LEFT))
    assert disagreement(one, other) == pytest.approx(0.9 / 3)


def test_the_same_label_is_looked_for_first() -> None:
    two = look(("dog", 0.9, LEFT), ("cat", 0.8, LEFT))
    moved = look(("cat", 0.8, NEAR), ("dog", 0.9, NEAR))
    assert disagreement(two, moved) == 0
    worse = look(("dog", 0.7, Box(0.1, 0.0, 0.5, 0.4)), ("cat", 0.7, LEFT))
    left, right, iou = matched(look(("dog", 0.9, LEFT)), worse)
    assert (left.tolist(), right.tolist()) == ([0], [0])
    assert iou == pytest.approx([0.6])


@pytest.mark.parametrize(
    ("corner", "wide", "tall"),
    [
        (Box(0.25, 0.25, 0.5, 0.5), Box(0.25, 0.25, 0.75, 0.5), Box(0.25, 0.25, 0.5, 0.75)),
        (Box(0.5, 0.5, 0.75, 0.75), Box(0.25, 0.5, 0.75, 0.75), Box(0.5, 0.25, 0.75, 0.75)),
    ],
)
def test_of_two_equally_near_boxes_the_place_decides_and_not_the_order(
    corner: Box, wide: Box, tall: Box
) -> None:
    chosen = []
    for boxes in ((wide, tall), (tall, wide)):
        two = look(*(("dog", 0.9, box) for box in boxes))
        left, right, iou = matched(two, look(("dog", 0.9, corner)))
        assert (right.tolist(), iou.tolist()) == ([0], [0.5])
        chosen.append(boxes[int(left[0])])
    assert chosen[0] == chosen[1]


@given(looks, looks)
def test_pairs_are_one_to_one_near_and_left_no_partner_out(first: Prediction, second: Prediction) -> None:
    left, right, iou = matched(first, second)
    overlap = iou_matrix(to_array(r.box for r in first.regions), to_array(r.box for r in second.regions))
    assert len(set(left.tolist())) == len(set(right.tolist())) == left.size
    assert (iou == overlap[left, right]).all()
    assert (iou >= SAME).all()
    alone = np.delete(np.delete(overlap, left, axis=0), right, axis=1)
    assert (alone < SAME).all()


@given(looks, looks)
def test_who_is_asked_first_means_nothing(first: Prediction, second: Prediction) -> None:
    assert disagreement(first, second) == disagreement(second, first)
    assert 0 <= disagreement(first, second) <= 1
    assert disagreement(first, first) == 0


@given(looks, looks, st.data())
def test_neither_order_nor_names_matter(first: Prediction, second: Prediction, data: st.DataObject) -> None:
    names = dict(zip(CLASSES, data.draw(st.permutations(["x", "y", "z"])), strict=True))

    def told_otherwise(prediction: Prediction) -> Prediction:
        shuffled = data.draw(st.permutations(prediction.regions))
        regions = tuple(replace(r, label=names.get(str(r.label))) for r in shuffled)
        return replace(prediction, regions=regions, classes=tuple(names.values()), probs=None)

    assert disagreement(told_otherwise(first), told_otherwise(second)) == pytest.approx(
        disagreement(first, second), abs=1e-12
    )


@given(st.lists(st.tuples(looks, looks), max_size=6))
def test_many_are_each_on_its_own(pairs: list[tuple[Prediction, Prediction]]) -> None:
    assert disagreements(pairs).tolist() == [disagreement(*pair) for pair in pairs]


def test_different_images_are_not_compared() -> None:
    with pytest.raises(BadInput, match="second must be a prediction of 0000"):
        disagreement(look(), replace(look(), sample="1" * 64))


@given(
    st.integers(1, 5).flatmap(
        lambda t: st.lists(st.lists(st.floats(0, 1), min_size=t, max_size=t), min_size=1, max_size=5)
    )
)
def test_information_is_what_the_mean_does_not_share(columns: list[list[float]]) -> None:
    members = np.array(columns).T
    expected = [
        scipy_entropy([np.mean(c), 1 - np.mean(c)], base=2)
        - np.mean([scipy_entropy([p, 1 - p], base=2) for p in c])
        for c in columns
    ]
    assert mutual_information(members) == pytest.approx(expected, abs=1e-9)
    assert mutual_information(members[::-1]) == pytest.approx(expected, abs=1e-9)


def test_information_at_known_points() -> None:
    assert mutual_information([0.0, 1.0]) == 1
    assert mutual_information([0.5, 0.5]) == 0
    assert mutual_information([[0.7]]).tolist() == [0]
    assert mutual_information(np.full((3, 2, 4), 0.2)).shape == (2, 4)
    assert mutual_information(np.zeros((2, 0))).shape == (0,)
    assert mutual_information([math.nan, 0.5]) == 0
    for nobody in (0.5, np.zeros((0, 3))):
        with pytest.raises(BadInput, match="one member or more"):
            mutual_information(nobody)
