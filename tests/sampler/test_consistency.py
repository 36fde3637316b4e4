"""CALD's number against scipy and by hand; mirrors; images that are not seen the same twice."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from pool.schema import BadInput, Box, Prediction
from sampler.consistency import BASE, agreement, divergence, inconsistency, mirrored
from sampler.measures import binary_entropy
from tests.sampler.looks import CLASSES, look

LEFT, RIGHT = Box(0.0, 0.0, 0.4, 0.4), Box(0.6, 0.6, 1.0, 1.0)
NEAR = Box(0.02, 0.0, 0.42, 0.4)

halves = st.floats(0, 1, width=16)
places = st.sampled_from([LEFT, NEAR, RIGHT, Box(0.1, 0.0, 0.5, 0.4), Box(0.3, 0.2, 0.9, 0.8)])
labelled = st.tuples(st.sampled_from(CLASSES), halves, places)
looks = st.builds(lambda boxes, b: look(*boxes, background=b), st.lists(labelled, max_size=4), halves)
tables = st.integers(1, 4).flatmap(
    lambda wide: st.lists(
        st.tuples(*[st.lists(halves, min_size=wide, max_size=wide)] * 2), min_size=1, max_size=5
    )
)


@given(tables)
def test_divergence_is_jensen_and_shannons_of_the_classes_and_nothing(
    pairs: list[tuple[list[float], list[float]]],
) -> None:
    expected = [jensenshannon([*p, 1 - max(p)], [*q, 1 - max(q)], base=2) ** 2 for p, q in pairs]
    found = divergence([p for p, _ in pairs], [q for _, q in pairs])
    assert found == pytest.approx(np.nan_to_num(expected), abs=1e-7)
    assert found.tolist() == divergence([q for _, q in pairs], [p for p, _ in pairs]).tolist()


@pytest.mark.parametrize(
    ("iou", "p", "q", "m"),
    [
        (1.0, [1.0, 0.0], [1.0, 0.0], 2.0),  # surely the same
        (1.0, [1.0, 0.0], [0.0, 1.0], 1.0),  # surely another class
        (1.0, [0.3, 0.0], [0.3, 0.0], BASE),
        (0.5, [0.8, 0.0], [0.8, 0.0], BASE),
        (0.0, [0.0, 0.0], [0.0, 0.0], 0.0),
    ],
)
def test_agreement_at_known_points(iou: float, p: list[float], q: list[float], m: float) -> None:
    assert agreement([iou], [p], [q], [max(p)], [max(q)]) == pytest.approx([m])


def test_the_same_look_of_a_sure_box_is_the_least_uncertain() -> None:
    sure = look(("dog", 1.0, LEFT))
    same = inconsistency(sure, sure)
    assert same == pytest.approx(1 - (2 - BASE) / BASE)
    for other in (
        look(("cat", 1.0, LEFT)),
        look(("dog", 0.8, LEFT)),
        look(("dog", 1.0, NEAR)),
        look(("dog", 1.0, RIGHT)),
        look(),
        look(("dog", 1.0, LEFT), ("cat", 0.9, RIGHT)),
    ):
        assert inconsistency(sure, other) > same
        assert inconsistency(other, sure) == inconsistency(sure, other)


def test_a_box_that_vanishes_or_appears_counts_as_sure_as_it_was() -> None:
    both, one = look(("dog", 1.0, LEFT), ("cat", 0.75, RIGHT)), look(("dog", 1.0, LEFT))
    assert inconsistency(both, one) == inconsistency(one, both) == 0.75
    assert inconsistency(one, look(background=0.04)) == 1
    assert inconsistency(look(background=0.04), look(("dog", 0.25, LEFT))) == 0.25


@given(st.floats(0.6, 1), st.floats(0.6, 1), st.sampled_from([LEFT, NEAR]))
def test_of_boxes_not_faint_another_label_is_worse_than_the_same(p: float, q: float, place: Box) -> None:
    dog = look(("dog", p, LEFT))
    swapped, same = look(("cat", q, place)), look(("dog", q, place))
    assert inconsistency(dog, swapped) > inconsistency(dog, same)
    assert inconsistency(dog, swapped) >= max(p, q)


def test_where_no_look_finds_a_box_the_whisper_is_asked() -> None:
    assert inconsistency(look(background=0.02), look(background=0.04)) == binary_entropy(0.04)
    assert inconsistency(look(), look()) == 0
    assert inconsistency(look(background=math.nan), look()) == 1


def test_an_image_is_the_mean_of_its_variants() -> None:
    sure, other, none = look(("dog", 1.0, LEFT)), look(("cat", 0.5, LEFT)), look()
    each = [inconsistency(sure, variant) for variant in (sure, other, none)]
    assert inconsistency(sure, sure, other, none) == pytest.approx(np.mean(each))
    assert inconsistency(sure, none, sure, other) == pytest.approx(np.mean(each))


@given(looks, looks, st.permutations(range(len(CLASSES))))
def test_it_is_between_0_and_1_in_any_direction_and_by_any_names(
    first: Prediction, second: Prediction, order: list[int]
) -> None:
    value = inconsistency(first, second)
    assert 0 <= value <= 1
    assert inconsistency(second, first) == value

    def told_otherwise(prediction: Prediction) -> Prediction:
        """Columns change places and classes their names."""
        assert prediction.probs is not None
        regions = tuple(replace(r, label=f"a {r.label}") for r in prediction.regions)
        classes = tuple(f"a {CLASSES[i]}" for i in order)
        return replace(prediction, regions=regions, classes=classes, probs=prediction.probs[:, order])

    assert inconsistency(told_otherwise(first), told_otherwise(second)) == pytest.approx(value, abs=1e-12)


@given(looks)
def test_a_mirror_twice_is_no_mirror(prediction: Prediction) -> None:
    twice = mirrored(mirrored(prediction))
    assert replace(twice, regions=()) == replace(prediction, regions=())
    for region, again in zip(prediction.regions, twice.regions, strict=True):
        assert (again.label, again.score) == (region.label, region.score)
        assert vars_of(again.box) == pytest.approx(vars_of(region.box))


def vars_of(box: Box) -> tuple[float, ...]:
    return (box.x1, box.y1, box.x2, box.y2)


def test_a_mirror_changes_left_and_right() -> None:
    seen = mirrored(look(("dog", 0.9, Box(0.125, 0.25, 0.5, 1.0)), background=0.03))
    assert seen.regions[0].box == Box(0.5, 0.25, 0.875, 1.0)
    assert seen.background == 0.03
    assert mirrored(look()) == look()


def test_what_cannot_be_compared_is_named() -> None:
    dog = look(("dog", 0.9, LEFT))
    with pytest.raises(BadInput, match="variants must be one or more"):
        inconsistency(dog)
    with pytest.raises(BadInput, match="predictions of the classes"):
        inconsistency(dog, look(("dog", 0.9, LEFT), classes=("dog",)))
    with pytest.raises(BadInput, match=r"probs must be of shape \(1, 3\)"):
        inconsistency(dog, replace(dog, probs=None))
    with pytest.raises(BadInput, match=r"probs must be of shape \(1, 3\)"):
        inconsistency(replace(dog, probs=np.zeros((2, 3), np.float16)), dog)
    with pytest.raises(BadInput, match="a prediction of 0000"):
        inconsistency(dog, replace(dog, sample="1" * 64))
    assert inconsistency(dog, replace(look(), probs=None)) == 0.9  # no box, nothing missing
