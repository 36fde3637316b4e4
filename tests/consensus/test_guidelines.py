"""Planted breaches with known answers, and every rule at its threshold."""

from __future__ import annotations

import ast
import csv
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.breaches import _others
from consensus.guidelines import Finding, Summary, check, summary
from consensus.rules import DEFAULT, Rules, Severity
from consensus.study import Study, of_annotations, study
from pool.schema import Annotation, Region
from tests.consensus.bins import BOTH, LEFT, RIGHT, SIZE, STRICT, WIDE, A, B, scene, shapes
from tests.consensus.scenes import answers, drew, region
from tests.consensus.simulation import DOUBLES, LOOSE, Job, job, with_merges


def told(study: Study, rules: Rules = DEFAULT) -> list[tuple[str, str, str]]:
    return [(f.rule, f.severity, f.annotator) for f in check(study, rules)]


def weighed(rule: str, severity: Severity) -> Rules:
    changed: dict[str, Any] = {rule: replace(DEFAULT.rules[rule], severity=severity)}
    return replace(DEFAULT, **changed)


PLANTED: list[tuple[str, list[list[Region]], list[tuple[str, str, str]]]] = [
    ("nothing wrong", [[A, B], [A, B], [A, B]], []),
    ("nobody", [], []),
    ("nothing drawn", [[], []], []),
    ("turned", [[region("bin", 0.3, 0.3, 0.4, 0.4, 10)]], [("rotated", "violation", "p0")]),
    ("turned by a whole circle", [[region("bin", 0.3, 0.3, 0.4, 0.4, 720)]], []),
    ("merged", [[A, B], [A, B], [BOTH]], [("merged", "violation", "p2")]),
    ("overlooked", [[WIDE, LEFT, RIGHT], [WIDE, LEFT, RIGHT], [WIDE]], [("merged", "check", "p2")]),
    ("split", [[WIDE], [WIDE], [LEFT, RIGHT]], [("split", "violation", "p2")]),
    ("split and whole", [[WIDE], [WIDE], [LEFT, RIGHT, WIDE]], [("split", "check", "p2")]),
    ("twice", [[A, A], [A]], [("duplicate", "violation", "p0")]),
    ("loose", [[A], [A], [region("bin", 0.1, 0.1, 0.34, 0.3)]], [("tight", "check", "p2")]),
    ("loose beside one", [[A], [region("bin", 0.1, 0.1, 0.34, 0.3)]], []),
    ("overlapping objects", [[A, region("bin", 0.25, 0.1, 0.45, 0.3)]] * 2, []),
    ("unnamed", [[region(None, 0.1, 0.1, 0.3, 0.3)], [A]], [("unnamed", "violation", "p0")]),
    ("outside", [[region("bin", 0.9, 0.1, 1.01, 0.3)]], [("outside", "violation", "p0")]),
    ("flat", [[region("bin", 0.9, 0.1, 0.9, 0.3)]], [("broken", "violation", "p0")]),
]


@pytest.mark.parametrize(("people", "expected"), [c[1:] for c in PLANTED], ids=[c[0] for c in PLANTED])
def test_planted(people: list[list[Region]], expected: list[tuple[str, str, str]]) -> None:
    made = scene(*people)
    assert told(made) == expected
    for rule in {e[0] for e in expected}:
        off = weighed(rule, "off")
        assert rule not in {f[0] for f in told(made, off)}
        asked = weighed(rule, "check")
        assert {f[1] for f in told(made, asked) if f[0] == rule} == {"check"}


@pytest.mark.parametrize(
    ("edge", "size", "found"),
    [
        (0.320, SIZE, False),  # 10 % of the side exactly
        (0.3201, SIZE, True),
        (0.2799, SIZE, True),
        (0.280, SIZE, False),
        (0.336, (100, 100), False),  # 18 %, but 3.6 px
        (0.340, (100, 100), False),  # 4 px exactly
        (0.3401, (100, 100), True),
        (0.320, None, False),  # of unknown size: the share alone
        (0.3201, None, True),
    ],
)
def test_tight(edge: float, size: tuple[int, int] | None, found: bool) -> None:
    made = scene([A], [A], [region("bin", 0.1, 0.1, edge, 0.3)], size=size)
    assert told(made) == ([("tight", "check", "p2")] if found else [])
    (evidence,) = [f.evidence for f in check(made, DEFAULT)] or [((0.1, 0.1, 0.3, 0.3),)]
    assert evidence == ((0.1, 0.1, 0.3, 0.3),)


def test_tight_looks_at_others_who_drew_upright() -> None:
    loose = region("bin", 0.1, 0.1, 0.34, 0.3)
    turned = region("bin", 0.1, 0.1, 0.3, 0.3, 1)
    assert ("tight", "check", "p2") not in told(scene([A], [turned], [loose]))
    assert ("tight", "check", "p3") in told(scene([A], [turned], [A], [loose]))
    alone = replace(DEFAULT, tight=replace(DEFAULT.tight, others=1))
    assert told(scene([A], [loose]), alone) == [("tight", "check", "p0"), ("tight", "check", "p1")]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
def test_medians_of_the_others(size: int) -> None:
    boxes = np.random.default_rng(size).integers(0, 5, (20, size, 4)) / 4.0  # with many ties
    below, above = _others(boxes)
    for k in range(size):
        others = np.sort(np.delete(boxes, k, axis=1), axis=1)
        np.testing.assert_array_equal(below[:, k], others[:, (size - 2) // 2])
        np.testing.assert_array_equal(above[:, k], others[:, -1 - (size - 2) // 2])
        np.testing.assert_array_equal((below[:, k] + above[:, k]) / 2.0, np.median(others, axis=1))


def test_one_loose_person_does_not_make_the_others_tight() -> None:
    loose = region("bin", 0.1, 0.1, 0.38, 0.3)
    assert told(scene([A], [A], [loose])) == [("tight", "check", "p2")]
    assert told(scene([A], [A], [A], [loose])) == [("tight", "check", "p3")]
    assert (
        len(told(scene([A], [A], [loose], [loose]))) == 4
    )  # two against two: each has most others against him


@pytest.mark.parametrize(
    ("box", "found"),
    [
        (region("garbage", 0.1, 0.1, 0.12, 0.2), False),  # 20 px wide
        (region("garbage", 0.1, 0.1, 0.1199, 0.2), True),
        (region("bin", 0.1, 0.1, 0.1199, 0.2), False),
        (region("garbage", 0.0, 0.0, 0.4, 0.5), False),  # a fifth of the image
        (region("garbage", 0.0, 0.0, 0.4, 0.501), True),
        (region("garbage", 0.1, 0.1, 0.25, 0.2), False),  # 150 x 50 px
        (region("garbage", 0.1, 0.1, 0.251, 0.2), True),
        (region(None, 0.1, 0.1, 0.1199, 0.2), False),
    ],
)
def test_size(box: Region, found: bool) -> None:
    assert ("size" in {f[0] for f in told(scene([box]), STRICT)}) == found
    unknown = {f[0] for f in told(scene([box], size=None), STRICT)}
    assert ("size" in unknown) == (found and box.box.x1 == 0.0)  # only a share needs no pixels


def test_aspect() -> None:
    usual = [0.8, 0.9, 1.0, 1.1, 1.25] * 4
    spread = -1.4826 * np.log(0.9)  # of the logarithms of these and one more
    for z, found in ((4.99, False), (5.01, True)):
        for odd in (np.exp(z * spread), np.exp(-z * spread)):
            got = [f for f in check(shapes([*usual, float(odd)]), DEFAULT) if f.rule == "aspect"]
            assert [f.sample for f in got] == ["s20"] * found
    assert not check(shapes([*usual[:18], 9.0]), DEFAULT)  # too few to know
    assert not check(shapes([1.0] * 20 + [1.1]), DEFAULT)  # no spread at all
    turned = shapes([*usual, 9.0])
    upright = replace(turned.marks, turn=np.where(np.arange(21) == 20, 90.0, 0.0))
    assert {f.rule for f in check(replace(turned, marks=upright), DEFAULT)} == {"rotated"}


@pytest.mark.parametrize(("start", "found"), [(0.291, False), (0.289, True)])
def test_overlap_where_it_is_not_allowed(start: float, found: bool) -> None:
    """A twentieth of the box is 0.01 wide."""
    other = region("garbage", start, 0.1, start + 0.2, 0.3)
    assert told(scene([A, other]), STRICT) == ([("overlap", "violation", "p0")] if found else [])
    assert told(scene([A], [other]), STRICT) == []
    assert told(scene([A, A]), STRICT) == [("duplicate", "violation", "p0")]


def test_a_finding_says_whose_it_is() -> None:
    given_ = [
        replace(drew("a", A, B, sample="x", number=11), task=5),
        replace(drew("b", A, B, sample="x", number=12), task=5),
        replace(drew("ç", BOTH, sample="x", number=13), task=5),
    ]
    assert check(of_annotations(given_, {"x": SIZE}), DEFAULT) == (
        Finding(
            rule="merged",
            severity="violation",
            sample="x",
            annotator="ç",
            annotation=13,
            task=5,
            message="One box lies over 2 objects that others drew one by one.",
            rows=(4,),
            evidence=((0.1, 0.1, 0.3, 0.3), (0.35, 0.1, 0.55, 0.3)),
        ),
    )


def test_summary() -> None:
    made = scene([WIDE, A, A], [WIDE, A], [LEFT, RIGHT, WIDE, region(None, 0.1, 0.1, 0.3, 0.3)])
    assert summary(check(made, DEFAULT)) == Summary(
        rules={"duplicate": 1, "split": 1, "unnamed": 1},
        severities={"check": 1, "violation": 2},
        annotators={"p0": 1, "p2": 2},
    )
    assert summary(()) == Summary({}, {}, {})


@given(answers(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_does_not_matter(given_: list[Annotation], random: random.Random) -> None:
    shuffled = [replace(a, regions=tuple(random.sample(a.regions, len(a.regions)))) for a in given_]
    random.shuffle(shuffled)

    def read(annotations: list[Annotation]) -> list[object]:
        made = of_annotations(annotations, {"s": SIZE})
        found = check(made, STRICT)
        return [(replace(f, rows=()), made.sheet.boxes[list(f.rows)].tolist()) for f in found]

    assert read(given_) == read(shuffled)


@given(answers())
@settings(max_examples=60, deadline=None)
def test_each_box_breaks_a_rule_once(given_: list[Annotation]) -> None:
    found = check(of_annotations(given_, {"s": SIZE}), DEFAULT)
    for rule in ("duplicate", "merged", "tight", "unnamed", "outside"):
        rows = [row for f in found if f.rule == rule for row in f.rows]
        assert len(rows) == len(set(rows))


@pytest.fixture(scope="module")
def planted() -> Job:
    return with_merges(job(1500), 0.08)


def test_habits_show(planted: Job) -> None:
    found = check(study(planted.sheet), DEFAULT)
    assert {f.rule for f in found} <= {"duplicate", "merged", "split", "tight", "aspect"}

    def worst(rule: str) -> str:
        counts = summary(f for f in found if f.rule == rule).annotators
        return max(counts, key=lambda name: counts[name])

    names = planted.sheet.annotators
    assert worst("duplicate") == names[DOUBLES]
    assert worst("tight") == names[LOOSE]
    sure = [f.rows[0] for f in found if f.rule == "merged" and f.severity == "violation"]
    assert planted.merged[sure].all()
    assert len(sure) >= 0.63 * planted.merged.sum()


CROWD = Path(__file__).resolve().parents[2].parent / "shared/data/crowdboxes"


@pytest.mark.skipif(not CROWD.is_dir(), reason="the crowd's boxes are not here")
def test_real_crowd_boxes() -> None:
    """Crowd workers rarely repeat or merge objects, but half of their boxes end somewhere else."""
    side = 1024

    def regions(corners: str) -> list[Region]:
        return [region("bird", *(v / side for v in (*a, *b))) for a, b in ast.literal_eval(corners)]

    with (CROWD / "boundingbox_data.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    given_ = [
        drew(r["uid"], *regions(r["annotation"]), sample=r["item"], number=k) for k, r in enumerate(rows)
    ]
    made = of_annotations(given_, {r["item"]: (side, side) for r in rows})
    counts = summary(check(made, DEFAULT)).rules
    assert len(made.marks.row) == 7533
    assert (made.votes.drawn >= 3)[made.objects].sum() == 6319
    assert counts["tight"] == pytest.approx(0.53 * 6319, rel=0.01)
    assert set(counts) == {"tight", "merged", "split", "duplicate"}
    assert sum(counts.values()) - counts["tight"] < 100
