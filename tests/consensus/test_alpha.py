"""Alpha by Krippendorff's own example, by another implementation, and by what it must have in common
with Fleiss' kappa."""

from __future__ import annotations

import math
from dataclasses import astuple
from fractions import Fraction

import krippendorff as peer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.inter_rater import fleiss_kappa

from consensus.alpha import Alphas, alphas, ballots, krippendorff, nominal, tabulate
from consensus.sheet import Floats, Ints
from consensus.study import Study, of_annotations
from pool.schema import Annotation, Region
from tests.consensus.scenes import answers, drew, region

A = region("bin", 0.0, 0.0, 0.25, 0.25)
A_AS_GARBAGE = region("garbage", 0.0, 0.0, 0.25, 0.25)
ROW = [region("bin", k / 16, 0.0, (k + 1) / 16, 0.1) for k in range(8)]

_ = math.nan
TEXTBOOK = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)
"""Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): nominal alpha is 0.743."""


def counted(ratings: Floats, values: int) -> Ints:
    """(units, values) counts of ratings (people, units) from 1, NaN where there is none."""
    return np.array([[np.sum(unit == k + 1) for k in range(values)] for unit in ratings.T], dtype=np.intp)


def scene(people: list[list[Region]], sample: str = "s") -> list[Annotation]:
    return [drew(f"p{k}", *boxes, sample=sample, number=k + 1) for k, boxes in enumerate(people)]


def together(scenes: list[list[Annotation]]) -> list[Annotation]:
    return [
        drew(a.annotator, *a.regions, sample=f"s{k}", number=a.id)
        for k, said in enumerate(scenes)
        for a in said
    ]


def test_textbook() -> None:
    counts = counted(TEXTBOOK, 5)
    assert krippendorff(counts) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff(counts) == pytest.approx(peer.alpha(TEXTBOOK, level_of_measurement="nominal"))


tables = arrays(np.intp, st.tuples(st.integers(1, 8), st.integers(2, 4)), elements=st.integers(0, 4))


@given(tables)
def test_against_another_implementation(counts: Ints) -> None:
    pairable = counts[counts.sum(axis=1) >= 2]
    ours = krippendorff(counts)
    if not pairable.size:
        assert math.isnan(ours)
    elif (pairable.sum(axis=0) > 0).sum() == 1:
        assert ours == 1.0
    else:
        assert ours == pytest.approx(
            peer.alpha(value_counts=counts, level_of_measurement="nominal"), abs=1e-12
        )
        assert -1.0 <= ours <= 1.0


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 12), st.integers(2, 4))
def test_fleiss_kappa_but_for_the_size_of_the_sample(
    seed: int, people: int, units: int, values: int
) -> None:
    counts = np.random.default_rng(seed).multinomial(people, np.full(values, 1 / values), size=units)
    if (counts.sum(axis=0) > 0).sum() > 1:
        size = people * units
        kappa = float(fleiss_kappa(counts))
        assert 1 - krippendorff(counts) == pytest.approx((1 - kappa) * (size - 1) / size, abs=1e-12)


@given(tables, st.integers(2, 5))
def test_more_of_the_same_only_makes_chance_surer(counts: Ints, times: int) -> None:
    pairable = counts[counts.sum(axis=1) >= 2]
    size = int(pairable.sum())
    once, often = krippendorff(counts), krippendorff(np.tile(counts, (times, 1)))
    if size and once < 1.0:
        assert 1 - often == pytest.approx((1 - once) * (times * size - 1) / (times * (size - 1)), abs=1e-12)
    else:
        assert often == pytest.approx(once, abs=0, nan_ok=True)


@given(tables, st.data())
def test_names_and_order_of_units_and_values_mean_nothing(counts: Ints, data: st.DataObject) -> None:
    rows = data.draw(st.permutations(range(counts.shape[0])))
    columns = data.draw(st.permutations(range(counts.shape[1])))
    assert krippendorff(counts[rows][:, columns]) == pytest.approx(
        krippendorff(counts), abs=1e-12, nan_ok=True
    )


def test_many_sums_at_once() -> None:
    rng = np.random.default_rng(3)
    totals = rng.integers(0, 5, (2, 50, 3))
    agreed = rng.random((2, 50)) * totals.sum(axis=-1)
    one_by_one = [
        [float(nominal(a, t)) for a, t in zip(*row, strict=True)]
        for row in zip(agreed, totals, strict=True)
    ]
    assert nominal(agreed, totals) == pytest.approx(np.array(one_by_one), abs=0, nan_ok=True)


HAND: list[tuple[str, list[list[list[Region]]], float, float, float]] = [
    ("identical", [[[A], [A]]], 1, 1, 1),
    (
        "identical, many labels",
        [[[A, region("x", 0.5, 0.5, 1, 1)], [A, region("x", 0.5, 0.5, 1, 1)]]],
        1,
        1,
        1,
    ),
    ("all empty", [[[], []]], 1, math.nan, 1),
    ("one person", [[[A]]], math.nan, math.nan, math.nan),
    ("nobody", [], math.nan, math.nan, math.nan),
    ("another label", [[[A], [A_AS_GARBAGE]]], 1, 0, 0),
    ("seven of eight", [[ROW, ROW[:7]]], 0, 1, 0),
    ("four of five", [[[A], [A], [A], [A], []]], 0, 1, 0),
    # one object drawn by both, one image left empty by both: two units that are each alike
    ("a full and an empty image", [[[A], [A]], [[], []]], 1, 1, 1),
    # values: 3 x present, 1 x absent, o = 2, e = 3 * 2 / 3
    ("one of two missed", [[ROW[:2], ROW[:1]]], 0, 1, 0),
    # values: 3 x present, 3 x absent, o = 2 + 0 + 2, e = (6 + 6) / 5, so 1 - 2 / (18 / 5)
    ("one missed, beside an empty image", [[ROW[:2], ROW[:1]], [[], []]], 4 / 9, 1, 4 / 9),
]


@pytest.mark.parametrize(
    ("scenes", "exist", "label", "joint"), [h[1:] for h in HAND], ids=[h[0] for h in HAND]
)
def test_by_hand(scenes: list[list[list[Region]]], exist: float, label: float, joint: float) -> None:
    said = together([scene(people) for people in scenes])
    assert astuple(alphas(of_annotations(said))) == pytest.approx(
        (exist, label, joint), abs=1e-12, nan_ok=True
    )


def asked_peer(ratings: list[list[str | None]]) -> float:
    """Alpha of ratings by unit; None where a person was not asked."""
    names = sorted({value for unit in ratings for value in unit if value is not None})
    pairable = [unit for unit in ratings if sum(value is not None for value in unit) >= 2]
    if len({value for unit in pairable for value in unit if value is not None}) < 2:
        return 1.0 if pairable else math.nan
    matrix = np.array(
        [[math.nan if v is None else names.index(v) for v in unit] for unit in ratings], dtype=float
    )
    return float(peer.alpha(matrix.T, level_of_measurement="nominal"))


def slow(study: Study, empty: bool) -> Alphas:
    """A matrix of people and objects, as another implementation wants it."""
    marks = study.marks
    exist: list[list[str | None]] = []
    label: list[list[str | None]] = []
    joint: list[list[str | None]] = []
    for image in range(len(marks.samples)):
        people = [int(p) for s, p in marks.answered if s == image]
        objects = sorted({int(k) for k, s in zip(study.objects, marks.sample, strict=True) if s == image})
        for thing in objects:
            said: dict[int, str] = {}
            for k, who, what in zip(study.objects, marks.annotator, marks.label, strict=True):
                if k == thing:
                    said[int(who)] = repr(marks.labels[what])
            everyone = range(len(marks.annotators))
            label.append([said.get(p) for p in everyone])
            joint.append([said.get(p, "absent") if p in people else None for p in everyone])
            exist.append([None if v is None else str(v == "absent") for v in joint[-1]])
        if empty and len(people) >= 2 and not objects:
            nobody = [("absent" if p in people else None) for p in range(len(marks.annotators))]
            joint.append(list(nobody))
            exist.append([None if v is None else "True" for v in nobody])
    return Alphas(asked_peer(exist), asked_peer(label), asked_peer(joint))


@given(st.lists(answers(), min_size=1, max_size=3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_scenes_against_another_implementation(scenes: list[list[Annotation]], empty: bool) -> None:
    study = of_annotations(together(scenes))
    assert astuple(alphas(study, empty=empty)) == pytest.approx(
        astuple(slow(study, empty)), abs=1e-12, nan_ok=True
    )


@given(st.lists(answers(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_ballots(scenes: list[list[Annotation]]) -> None:
    study = of_annotations(together(scenes))
    table = ballots(study)
    votes, marks = study.votes, study.marks
    assert table.shape == (len(votes.sample), len(marks.labels) + 1)
    assert (table >= 0).all()
    assert (table.sum(axis=1) == votes.voters[votes.sample]).all()
    assert (table[:, :-1].sum(axis=1) == votes.drawn).all()
    assert (table[:, :-1].sum(axis=0) == np.bincount(marks.label, minlength=len(marks.labels))).all()
    # the same figures the dense way
    found = alphas(study, empty=False)
    assert krippendorff(table) == pytest.approx(found.joint, abs=1e-12, nan_ok=True)
    assert krippendorff(table[:, :-1]) == pytest.approx(found.label, abs=1e-12, nan_ok=True)
    exist = np.column_stack([table[:, :-1].sum(axis=1), table[:, -1]])
    assert krippendorff(exist) == pytest.approx(found.exist, abs=1e-12, nan_ok=True)


@given(answers(people=1), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_identical_people_agree_exactly(one: list[Annotation], people: int) -> None:
    found = alphas(of_annotations([drew(f"p{k}", *one[0].regions, number=k) for k in range(people)]))
    assert (found.exist, found.joint) == (1.0, 1.0)
    assert found.label == 1.0 or not one[0].regions


@given(st.lists(answers(), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_the_parts_of_images_add_up(scenes: list[list[Annotation]]) -> None:
    study = of_annotations(together(scenes))
    values = tabulate(study)
    assert (values.paired <= values.drawn).all()
    assert values.drawn.shape == values.paired.shape == (len(scenes), len(study.marks.labels))
    for k, said in enumerate(scenes):
        alone = tabulate(of_annotations(said))
        assert values.drawn[k].sum() == alone.drawn.sum()
        assert values.absent[k] == alone.absent[0]
        for name in ("exist", "label", "joint"):
            assert getattr(values, name)[k] == pytest.approx(float(getattr(alone, name)[0]))


def test_a_box_without_a_name_is_a_label_of_its_own() -> None:
    unnamed, named = region(None, 0.0, 0.0, 0.5, 0.5), region("袋", 0.0, 0.0, 0.5, 0.5)
    study = of_annotations(scene([[unnamed], [named], [named]]))
    assert study.marks.labels == ("袋", None)
    assert ballots(study).tolist() == [[2, 1, 0]]
    # o = 2 / 2, e = 2 * 1 / 2
    assert alphas(study).label == pytest.approx(float(Fraction(0)), abs=1e-12)
