"""Label Studio's own figure, against its published formula told one box at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import matching
from consensus.compatible import label_studio_iou
from consensus.study import of_annotations
from pool.schema import Annotation, Box, Region
from tests.consensus.scenes import answers, crowd, drew, naive_iou, region, shuffled

A = region("bin", 0.0, 0.0, 0.25, 0.25)
A_HALF = region("bin", 0.0, 0.0, 0.25, 0.125)
A_AS_GARBAGE = region("garbage", 0.0, 0.0, 0.25, 0.25)
B = region("garbage", 0.5, 0.5, 0.75, 0.75)
UNNAMED = region(None, 0.0, 0.0, 0.25, 0.25)
FLAT = region("bin", 0.2, 0.2, 0.2, 0.4)


def figure(*people: Sequence[Region]) -> float:
    given_ = [drew(f"p{k}", *regions, number=k + 1) for k, regions in enumerate(people)]
    return float(label_studio_iou(of_annotations(given_))[0])


def inside(box: Box) -> tuple[float, ...]:
    return tuple(min(max(edge, 0.0), 1.0) for edge in (box.x1, box.y1, box.x2, box.y2))


def one_way(x: Sequence[Region], y: Sequence[Region]) -> float:
    """Mean over the shapes of x of the best overlap with a shape of y that has its label."""
    best = []
    for r in x:
        found = [naive_iou(inside(r.box), inside(s.box)) for s in y if r.label == s.label]
        best.append(max(found, default=0.0))
    return sum(best) / len(best)


def published(annotations: Sequence[Annotation]) -> float:
    """The formula of the documentation for one sample."""
    pairs = []
    for a, b in itertools.combinations([a.regions for a in annotations], 2):
        if not a and not b:
            pairs.append(1.0)
        elif not a or not b:
            pairs.append(0.0)
        else:
            pairs.append(min(one_way(a, b), one_way(b, a)))
    return sum(pairs) / len(pairs) if pairs else math.nan


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([[A, B], [A, B]], 1.0),
        ([[], []], 1.0),
        ([[], [], []], 1.0),
        ([[A], []], 0.0),
        ([[A], [], []], 1 / 3),
        ([[A], [A_HALF]], 0.5),
        ([[A], [A_AS_GARBAGE]], 0.0),
        ([[A, B], [A]], 0.5),  # from A alone it is 1: the smaller direction counts
        ([[A, A], [A]], 1.0),  # a copy costs nothing, which is why this is no figure of ours
        ([[A, A_HALF], [A]], 0.75),  # A serves both
        ([[UNNAMED], [UNNAMED]], 1.0),
        ([[UNNAMED], [A]], 0.0),
        ([[A, FLAT], [A]], 1.0),
        ([[FLAT], []], 1.0),
        ([[A], [A], [A_HALF]], 2 / 3),
        ([[A], [B]], 0.0),
    ],
)
def test_by_hand(people: list[list[Region]], expected: float) -> None:
    assert figure(*people) == pytest.approx(expected, abs=1e-12)


@given(st.lists(answers(), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_like_the_published_formula(scenes: list[list[Annotation]]) -> None:
    everything = [replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene]
    got = label_studio_iou(of_annotations(everything))
    assert got == pytest.approx([published(scene) for scene in scenes], abs=1e-11, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_like_the_published_formula_in_a_crowd(seed: int) -> None:
    scene = crowd(np.random.default_rng(seed), objects=30, people=5, jitter=0.1)
    assert label_studio_iou(of_annotations(scene))[0] == pytest.approx(published(scene), abs=1e-11)


@pytest.mark.parametrize("block", [1, 7, 50])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    scene = crowd(np.random.default_rng(8), objects=12, people=4, jitter=0.1)
    study = of_annotations(scene)
    expected = label_studio_iou(study)
    monkeypatch.setattr(matching, "PAIRS_AT_ONCE", block)
    assert (label_studio_iou(study) == expected).all()


@given(answers(), st.data())
@settings(max_examples=50, deadline=None)
def test_who_says_it_and_when_means_nothing(given_: list[Annotation], data: st.DataObject) -> None:
    renamed = shuffled(data, given_)
    one, other = (label_studio_iou(of_annotations(x)) for x in (given_, renamed))
    assert one == pytest.approx(other, abs=1e-12, nan_ok=True)


@given(answers(people=1), st.integers(2, 4))
@settings(max_examples=50, deadline=None)
def test_identical_people_agree_exactly(one: list[Annotation], people: int) -> None:
    assert figure(*[one[0].regions] * people) == 1.0


@given(answers())
@settings(max_examples=50, deadline=None)
def test_it_is_a_share_or_nothing(given_: list[Annotation]) -> None:
    (value,) = label_studio_iou(of_annotations(given_))
    assert math.isnan(value) if len(given_) == 1 else 0.0 <= value <= 1.0


def test_fewer_than_two_people_have_no_agreement() -> None:
    asked = [drew("a", A), drew("b", A, skipped=True), drew("r", A, ground_truth=True)]
    assert np.isnan(label_studio_iou(of_annotations(asked))).tolist() == [True]
    assert np.isnan(label_studio_iou(of_annotations(asked[1:2]))).tolist() == [True]
    assert label_studio_iou(of_annotations([])).shape == (0,)


def test_turned_boxes_overlap_as_polygons() -> None:
    swung, place = region("bin", 0.5, 0.0, 1.0, 0.25, 90.0), region("bin", 0.0, 0.0, 0.5, 0.25)
    given_ = [drew("a", swung), drew("b", place)]
    assert label_studio_iou(of_annotations(given_, {"s": (50, 100)})).tolist() == [1.0]
    assert label_studio_iou(of_annotations(given_))[0] == pytest.approx(1 / 3, abs=1e-9)
    upright = drew("b", region("bin", 0.5, 0.0, 1.0, 0.25))
    assert label_studio_iou(of_annotations([drew("a", swung), upright], {"s": (50, 100)})).tolist() == [0.0]


def test_more_people_than_bits_in_a_word() -> None:
    assert figure(*[[A]] * 70, [A_HALF]) == pytest.approx((70 * 69 / 2 + 35) / (71 * 70 / 2), abs=1e-12)
