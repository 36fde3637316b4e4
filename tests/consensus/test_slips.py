"""Slips by hand, each at its threshold."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.slips import (
    KINDS,
    Slips,
    agreed,
    broken,
    duplicates,
    joined,
    may_be_skipped,
    merged,
    outside,
    slips,
    split,
)
from consensus.study import Study, of_annotations
from pool.schema import Annotation, Region
from tests.consensus.bins import BOTH, LEFT, RIGHT, WIDE, A, B, scene
from tests.consensus.scenes import answers, drew, region

Quad = list[float]


def boxes(study: Study, found: Slips) -> list[list[Quad]]:
    """The offending boxes of each slip."""
    out: dict[int, set[int]] = {}
    for number, row in zip(found.number.tolist(), found.row.tolist(), strict=True):
        out.setdefault(number, set()).add(row)
    return [sorted(study.sheet.boxes[row].tolist() for row in rows) for rows in out.values()]


def quad(region: Region) -> Quad:
    return [region.box.x1, region.box.y1, region.box.x2, region.box.y2]


def test_nothing_to_find() -> None:
    nobody: list[list[list[Region]]] = [[], [[]], [[], []], [[A, B]], [[A, B], [A, B]]]
    for people in nobody:
        made = scene(*people)
        found = slips(made)
        assert len(found.row) == len(found.number) == len(found.first) == 0
        assert len(may_be_skipped(made)) == len(made.votes.sample)


MERGES = [
    ("two objects", [[A, B], [A, B], [BOTH]], [[quad(BOTH)]], [True]),
    ("one of them is drawn as well", [[A, B], [A, B], [BOTH, A]], [], []),
    ("only one person sees two", [[A, B], [BOTH]], [], []),
    ("four see one, two see two", [[A, B], [A, B], [BOTH], [BOTH], [BOTH], [BOTH]], [], []),
    ("one is covered by less", [[A, B], [A, B], [region("bin", 0.1, 0.1, 0.5, 0.3)]], [], []),
    (
        "small things in front of a large one",
        [[WIDE, LEFT, RIGHT], [WIDE, LEFT, RIGHT], [WIDE]],
        [[quad(WIDE)]],
        [False],
    ),
]


@pytest.mark.parametrize(("people", "rows", "sure"), [c[1:] for c in MERGES], ids=[c[0] for c in MERGES])
def test_one_box_over_several(people: list[list[Region]], rows: list[list[Quad]], sure: list[bool]) -> None:
    made = scene(*people)
    found = merged(made, agreed(made))
    assert boxes(made, found) == rows
    assert found.sure[found.first].tolist() == sure
    if rows:
        assert sorted(agreed(made).boxes[found.object].tolist()) == sorted(
            quad(r) for r in ((A, B) if sure[0] else (LEFT, RIGHT))
        )


@pytest.mark.parametrize(("end", "sure"), [(0.499, False), (0.5, False), (0.501, True)])
def test_a_merge_is_sure_only_without_a_fit_of_its_own(end: float, sure: bool) -> None:
    """The box overlaps its own object by 0.14 / (end - 0.3), around 0.7, and two small ones beside it."""
    own = region("bin", 0.3, 0.5, 0.44, 0.7)
    small = [region("garbage", 0.45, 0.5, 0.49, 0.6), region("garbage", 0.45, 0.61, 0.49, 0.7)]
    made = scene([own, *small], [own, *small], [region("bin", 0.3, 0.5, end, 0.7)])
    found = merged(made, agreed(made))
    assert found.sure[found.first].tolist() == [sure]
    assert len(found.row) == (3 if sure else 2)  # its own object is the third where it does not fit


SPLITS = [
    ("two halves", [[WIDE], [WIDE], [LEFT, RIGHT]], True),
    ("and the whole", [[WIDE], [WIDE], [LEFT, RIGHT, WIDE]], False),
    ("one half", [[WIDE], [WIDE], [LEFT]], None),
    ("halves that others see", [[WIDE, LEFT], [WIDE, LEFT], [LEFT, RIGHT]], None),
    ("half of the people see halves", [[WIDE], [LEFT, RIGHT]], None),
]


@pytest.mark.parametrize(("people", "sure"), [c[1:] for c in SPLITS], ids=[c[0] for c in SPLITS])
def test_several_boxes_in_one(people: list[list[Region]], sure: bool | None) -> None:
    made = scene(*people)
    found = split(made, agreed(made))
    assert boxes(made, found) == ([] if sure is None else [[quad(LEFT), quad(RIGHT)]])
    assert found.sure[found.first].tolist() == ([] if sure is None else [sure])


def test_the_box_that_fewer_people_share_is_the_duplicate() -> None:
    loose = region("bin", 0.09, 0.1, 0.31, 0.3)
    for mine in ([A, loose], [loose, A]):
        made = scene([A], [A], mine)
        found = duplicates(made)
        assert made.sheet.boxes[found.row].tolist() == [quad(loose)]
        assert made.sheet.boxes[found.other].tolist() == [quad(A)]


@pytest.mark.parametrize(("end", "times"), [(0.26, 1), (0.2599, 0)])
def test_a_duplicate_overlaps_by_four_fifths(end: float, times: int) -> None:
    made = scene([A, region("garbage", 0.1, 0.1, 0.3, end)])
    assert len(duplicates(made).row) == times
    assert len(duplicates(made, iou=0.79).row) == 1


def test_three_alike_are_two_duplicates_and_other_people_none() -> None:
    made = scene([A, A, A], [A])
    found = duplicates(made)
    assert len(found.row) == 2
    assert set(found.other.tolist()) <= {0, 1, 2}


def test_turned_boxes_are_duplicates_by_their_real_overlap() -> None:
    def turned(by: float) -> Region:
        return region("bin", 0.4, 0.2, 0.6, 0.4, by)

    assert len(duplicates(scene([turned(30), turned(31)])).row) == 1
    assert len(duplicates(scene([turned(0), turned(90)])).row) == 0


def test_the_agreed_box_is_that_of_the_commonest_rotation() -> None:
    def turned(by: float, x: float) -> Region:
        return region("bin", 0.4 + x, 0.2, 0.6, 0.4, by)

    made = scene([turned(0, 0.01)], [turned(3, 0)], [turned(3, 0.002)], [A])
    common = agreed(made)
    assert common.turn.tolist() == [3.0, 0.0]
    assert common.boxes[0].tolist() == pytest.approx([0.401, 0.2, 0.6, 0.4])
    assert common.solid.tolist() == [True, False]
    assert agreed(scene([turned(3, 0)], [turned(0, 0)])).turn.tolist() == [0.0]


OUTSIDE = [
    ("a pixel", region("bin", 0.9, 0.1, 1.001, 0.3), (1000, 500), 0),
    ("more than a pixel", region("bin", 0.9, 0.1, 1.0011, 0.3), (1000, 500), 1),
    ("more than a pixel above", region("bin", 0.1, -0.0021, 0.3, 0.3), (1000, 500), 1),
    ("two thousandths, unknown size", region("bin", 0.9, 0.1, 1.002, 0.3), None, 0),
    ("more, unknown size", region("bin", 0.9, 0.1, 1.0021, 0.3), None, 1),
    ("wholly outside", region("bin", 1.2, 0.1, 1.4, 0.3), None, 1),
    ("turned inside", region("bin", 0.3, 0.3, 0.4, 0.4, 45), (1000, 500), 0),
    ("turned out of it", region("bin", 0.0, 0.3, 0.1, 0.4, 45), (1000, 500), 1),
    ("turned, but back inside", region("bin", 0.95, 0.3, 1.05, 0.4, 90), (1000, 1000), 0),
    ("turned, unknown size", region("bin", 0.0, 0.3, 0.1, 0.4, 45), None, 0),
]


@pytest.mark.parametrize(("box", "size", "times"), [c[1:] for c in OUTSIDE], ids=[c[0] for c in OUTSIDE])
def test_outside(box: Region, size: tuple[int, int] | None, times: int) -> None:
    made = scene([A, box], size=size)
    assert outside(made).row.tolist() == [1] * times
    assert len(broken(made).row) == 0


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "box",
    [
        region("bin", 0.2, 0.2, 0.2, 0.4),
        region("bin", 0.4, 0.2, 0.2, 0.4),
        region("bin", NAN, 0.2, 0.3, 0.4),
        region("bin", 0.1, 0.2, INF, 0.4),
        region("bin", 0.1, 0.2, 0.3, 0.4, NAN),
        region("bin", 0.1, 0.2, 0.3, 0.4, INF),
        region("bin", -0.0005, 0.2, 0.0, 0.4),  # a sliver: too little beyond the border to be outside
    ],
)
def test_broken(box: Region) -> None:
    made = scene([A, box], [A])
    assert broken(made).row.tolist() == [1]
    assert len(outside(made).row) == 0


def test_answers_that_do_not_count_have_no_slips() -> None:
    flat, out = region("bin", 0.2, 0.2, 0.2, 0.4), region("bin", 0.9, 0.1, 1.1, 0.3)
    skipped = drew("a", flat, out, A, A, skipped=True)
    earlier = drew("b", flat, out, A, A, number=2)
    made = of_annotations([skipped, earlier, drew("b", A, number=3, minute=1)], {"s": (100, 100)})
    assert len(slips(made).row) == 0


def test_what_may_be_left_out() -> None:
    def free(*regions: Region, people: int = 2) -> list[bool]:
        made = scene(*([list(regions)] * people))
        by_box = dict(
            zip(map(tuple, agreed(made).boxes.tolist()), may_be_skipped(made).tolist(), strict=True)
        )
        return [by_box[tuple(quad(r))] for r in regions]

    assert free(A, region("bin", 0.0, 0.5, 0.1, 0.6), region("bin", 0.5, 0.9, 0.6, 1.0)) == [
        False,
        True,
        True,
    ]
    large = region("bin", 0.2, 0.2, 0.6, 0.6)
    hidden, seen = region("bin", 0.53, 0.3, 0.63, 0.4), region("bin", 0.531, 0.3, 0.631, 0.4)
    assert free(large, hidden) == [False, True]
    assert free(large, seen) == [False, False]
    assert free(large, hidden, people=1) == [False, False]  # one person's box hides nothing from others
    inner = region("bin", 0.2, 0.2, 0.6, 0.5)
    assert free(large, inner) == [False, True]  # three quarters of the large one, which is behind it
    made = scene([large, seen], [large, seen])
    assert may_be_skipped(made, agreed(made), visible=0.4).sum() == 1


def test_slips_are_numbered_through() -> None:
    made = scene([A, B], [A, B], [BOTH, BOTH, region("bin", 0.9, 0.1, 1.1, 0.3)])
    found = slips(made)
    kinds = [KINDS[k] for k in found.kind[found.first]]
    assert kinds == ["duplicate", "merged", "merged", "outside"]
    assert found.number.tolist() == [0, 1, 1, 2, 2, 3]
    assert ((found.object >= 0) == np.isin(found.kind, [KINDS.index("merged"), KINDS.index("split")])).all()
    assert ((found.other >= 0) == (found.kind == KINDS.index("duplicate"))).all()
    again = joined(found, found)
    assert len(again.first) == 8


@given(answers(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_does_not_matter(given_: list[Annotation], random: random.Random) -> None:
    shuffled = [replace(a, regions=tuple(random.sample(a.regions, len(a.regions)))) for a in given_]
    random.shuffle(shuffled)

    def told(annotations: list[Annotation]) -> list[tuple[object, ...]]:
        made = of_annotations(annotations)
        found = slips(made)
        sheet = made.sheet
        who = sheet.annotator[sheet.owner[found.row]]
        numbers = np.append(agreed(made).boxes, [[-1.0] * 4], axis=0)
        raw = np.append(sheet.boxes, [[-1.0] * 4], axis=0)
        columns = (found.kind, who, raw[found.row], raw[found.other], numbers[found.object], found.sure)
        return sorted(zip(*(c.tolist() for c in columns), strict=True))

    assert told(given_) == told(shuffled)
