"""Each against the others: by hand, by loops over sets, by the krippendorff package, by planted traits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.agreement import count_pairs
from consensus.annotators import Annotator, against_gold, annotators, gold_pairs
from consensus.conflicts import DUPLICATE, EXTRA, KINDS, LABEL, LOCATION, MERGED, MISSING, conflicts, ground
from consensus.sheet import counting, sheet, verdicts
from consensus.slips import agreed, duplicates, may_be_skipped, merged
from consensus.study import Study, of_annotations, study
from pool.schema import Annotation, BadInput, Region
from tests.consensus.scenes import NOON, answers, drew, naive_iou, region
from tests.consensus.simulation import CONFUSES, DOUBLES, MISSES, job

A = region("bin", 0.125, 0.125, 0.25, 0.25)
A_AS_GARBAGE = region("garbage", 0.125, 0.125, 0.25, 0.25)
A_LOOSE = region("bin", 0.125, 0.125, 0.25, 0.40625)  # IoU with A: 4 / 9
B = region("garbage", 0.5, 0.5, 0.75, 0.75)
C = region(None, 0.75, 0.125, 0.875, 0.25)
AT_THE_BORDER = region("bin", 0.0, 0.5, 0.125, 0.75)
FLAT = region("bin", 0.2, 0.2, 0.2, 0.4)

Row = tuple[str, str]


def of(people: Sequence[Sequence[Region]]) -> Study:
    return of_annotations([drew(f"p{k}", *regions, number=k + 1) for k, regions in enumerate(people)])


def rows(told: Study) -> list[Row]:
    found = conflicts(told)
    names = told.marks.annotators
    return sorted((names[a], KINDS[k]) for a, k in zip(found.annotator, found.kind, strict=True))


HAND: list[tuple[str, list[list[Region]], list[Row]]] = [
    ("alike", [[A, B], [A, B]], []),
    ("all empty", [[], [], []], []),
    ("alone", [[A, B]], []),
    ("one of two missed", [[A, B], [A]], [("p0", "extra"), ("p1", "missing")]),
    ("one of three missed", [[A, B], [A, B], [A]], [("p2", "missing")]),
    ("one of three added", [[A, B], [A], [A]], [("p0", "extra")]),
    ("two of four against two", [[A], [A], [], []], [("p2", "missing"), ("p3", "missing")]),
    ("two of five against three", [[A], [A], [], [], []], []),
    ("another label, two people", [[A], [A_AS_GARBAGE]], [("p0", "label"), ("p1", "label")]),
    ("another label, three people", [[A], [A], [A_AS_GARBAGE]], [("p2", "label")]),
    ("three labels", [[A], [A_AS_GARBAGE], [replace(A, label=None)]], []),
    ("nobody named it", [[C], [C]], []),
    ("one named it", [[C], [C], [replace(C, label="bin")]], [("p2", "label")]),
    ("too loose, two people", [[A], [A_LOOSE]], [("p0", "location"), ("p1", "location")]),
    ("too loose, three people", [[A], [A], [A_LOOSE]], [("p2", "location")]),
    ("elsewhere is no near miss", [[A], [A], [B]], [("p2", "extra"), ("p2", "missing")]),
    ("drawn twice", [[A, A], [A], [A]], [("p0", "duplicate")]),
    ("drawn twice, alone", [[A, A]], [("p0", "duplicate")]),
    ("may be skipped", [[AT_THE_BORDER, A], [AT_THE_BORDER, A], [A]], []),
    ("a box without area is none", [[A, FLAT], [A]], []),
]


@pytest.mark.parametrize(("people", "expected"), [c[1:] for c in HAND], ids=[c[0] for c in HAND])
def test_by_hand(people: list[list[Region]], expected: list[Row]) -> None:
    assert rows(of(people)) == expected


def test_one_box_over_two_objects_is_one_mistake() -> None:
    left, right = region("bin", 0.25, 0.25, 0.375, 0.5), region("bin", 0.375, 0.25, 0.5, 0.5)
    over = region("bin", 0.25, 0.25, 0.5, 0.5)
    assert rows(of([[left, right], [left, right], [left, right], [over]])) == [("p3", "merged")]


def test_of_two_loose_boxes_the_nearer_is_paired() -> None:
    looser = region("bin", 0.125, 0.125, 0.25, 0.53125)
    told = of([[A], [A], [A_LOOSE, looser]])
    found = conflicts(told)
    assert [KINDS[k] for k in found.kind] == ["location", "extra"]
    assert told.marks.boxes[found.mark[0]].tolist() == [0.125, 0.125, 0.25, 0.40625]
    assert told.votes.drawn[found.object[0]] == 2  # the missed object, not the box's own


def test_a_loose_box_is_neither_missed_nor_added() -> None:
    loose = annotators(of([[A, B], [A, B], [A_LOOSE, B]]))[2]
    assert (loose.location.count, loose.location.of) == (1, 2)
    assert (loose.miss.count, loose.miss.of) == (0, 2)
    assert (loose.extra.count, loose.extra.of) == (0, 2)


def slow(told: Study) -> list[tuple[int, ...]]:
    """The list of conflicts, told with sets and dictionaries."""
    marks, objects = told.marks, told.objects.tolist()
    common = agreed(told)
    mark = {int(row): k for k, row in enumerate(marks.row)}
    twice = {mark[int(row)] for row in duplicates(told).row}
    over: dict[int, set[int]] = {}
    slips = merged(told, common)
    for row, thing, sure in zip(slips.row, slips.object, slips.sure, strict=True):
        if sure:
            over.setdefault(mark[int(row)], set()).add(int(thing))
    free = may_be_skipped(told, common)
    out: list[tuple[int, ...]] = []
    for s in range(len(marks.samples)):
        people = [int(p) for t, p in marks.answered if t == s]
        drawn: dict[int, dict[int, int]] = {}
        for k in np.flatnonzero(marks.sample == s).tolist():
            drawn.setdefault(objects[k], {})[int(marks.annotator[k])] = k
        for p in people:
            others = [q for q in people if q != p]
            mine = {o: by[p] for o, by in drawn.items() if p in by}
            covered = set().union(*(over.get(k, set()) for k in mine.values()))
            gone = [
                o
                for o, by in drawn.items()
                if p not in by and 2 * len(by) > len(others) and o not in covered
            ]
            extra = []
            for o, k in mine.items():
                said = Counter(int(marks.label[m]) for q, m in drawn[o].items() if q != p)
                most = [name for name, count in said.items() if 2 * count > sum(said.values())]
                if k in twice:
                    out.append((DUPLICATE, s, p, o, k))
                elif k in over:
                    out.append((MERGED, s, p, o, k))
                elif most and most[0] != marks.label[k]:
                    out.append((LABEL, s, p, o, k))
                elif not said and others:
                    extra.append(k)
            near = []
            for k in sorted(extra):
                for o in sorted(gone):
                    boxes = [marks.boxes[m].tolist() for m in drawn[o].values()]
                    iou = max(round(naive_iou(marks.boxes[k], box), 12) for box in boxes)
                    corner = [min(edge) for edge in zip(*boxes, strict=True)]
                    if iou > 0:
                        near.append((-iou, marks.boxes[k].tolist()[::-1], corner[::-1], k, o))
            for *_, k, o in sorted(near, key=lambda row: row[:3]):
                if k in extra and o in gone:
                    extra.remove(k)
                    gone.remove(o)
                    out.append((LOCATION, s, p, o, k))
            out += [(EXTRA, s, p, objects[k], k) for k in extra]
            out += [(MISSING, s, p, o, -1) for o in gone if not free[o]]
    return sorted(out)


@st.composite
def jobs(draw: st.DrawFn, most: int = 3) -> list[Annotation]:
    """Several images with one to four people each."""
    scenes = draw(st.lists(answers(), min_size=1, max_size=most))
    return [replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene]


@given(jobs(), st.sampled_from([0.3, 0.5, 0.9]))
@settings(max_examples=80, deadline=None)
def test_conflicts_like_sets(said: list[Annotation], tau: float) -> None:
    told = of_annotations(said, tau=tau)
    found = conflicts(told)
    columns = (found.kind, found.sample, found.annotator, found.object, found.mark)
    assert sorted(zip(*(c.tolist() for c in columns), strict=True)) == slow(told)
    assert list(zip(*(c.tolist() for c in columns[1:]), strict=True)) == sorted(
        zip(*(c.tolist() for c in columns[1:]), strict=True)
    )


@given(jobs())
@settings(max_examples=60, deadline=None)
def test_rates_count_the_conflicts(said: list[Annotation]) -> None:
    told = of_annotations(said)
    found = conflicts(told)
    votes, free = told.votes, may_be_skipped(told)
    names = {"miss": MISSING, "extra": EXTRA, "confusion": LABEL}
    names |= {"location": LOCATION, "duplicate": DUPLICATE, "merged": MERGED}
    for k, person in enumerate(annotators(told)):
        mine = found.annotator == k
        for name, kind in names.items():
            assert getattr(person, name).count == (mine & (found.kind == kind)).sum()
        own = told.objects[told.marks.annotator == k]
        seen = sum(
            not free[o] and 2 * (votes.drawn[o] - 1) > votes.voters[votes.sample[o]] - 1
            for o in own.tolist()
        )
        loose = found.object[mine & (found.kind == LOCATION)]
        assert person.miss.of == seen + person.miss.count + (~free[loose]).sum()
        together = (votes.voters[votes.sample[own]] >= 2).sum()
        assert person.extra.of == person.location.of == person.merged.of == together
        assert person.duplicate.of == person.boxes == len(own)
        twice = found.mark[found.kind == DUPLICATE].tolist() + found.mark[found.kind == MERGED].tolist()
        judged = 0
        for box in np.flatnonzero(told.marks.annotator == k).tolist():
            there = told.objects == told.objects[box]
            there[box] = False
            said_ = Counter(told.marks.label[there].tolist())
            judged += box not in twice and any(2 * count > there.sum() for count in said_.values())
        assert person.confusion.of == judged
    pairs = count_pairs(told.marks, told.objects)
    assert repr(annotators(told, ground(told, agreed(told)), found, pairs)) == repr(annotators(told))


def test_the_label_of_a_second_copy_is_not_judged() -> None:
    # The copy is one mistake; what it is called is no second one.
    three = annotators(of([[A, A_AS_GARBAGE], [A], [A]]))[0]
    assert (three.duplicate.count, three.confusion.of) == (1, 1)
    # Two people drew both of two objects that lie on each other: each has one box too many.
    one, two = annotators(of([[A, A_AS_GARBAGE], [A, A_AS_GARBAGE]]))
    assert one.duplicate == two.duplicate
    assert (one.duplicate.count, one.confusion.count, one.confusion.of) == (1, 0, 1)


def test_labels_that_can_be_judged() -> None:
    person = annotators(of([[A, B], [A_AS_GARBAGE, B], [replace(A, label=None), B]]))[0]
    assert (person.confusion.count, person.confusion.of) == (0, 1)  # the others disagree about A


def alpha_of(told: Study, without: int | None) -> float:
    """Joint alpha by the package, from a table of objects and the people who are left."""
    marks = told.marks
    absent, table = len(marks.labels), []
    for s in range(len(marks.samples)):
        people = [int(p) for t, p in marks.answered if t == s and p != without]
        if len(people) < 2:
            continue
        units = set(told.objects[(marks.sample == s) & (marks.annotator != without)].tolist())
        for unit in units or {-1}:
            row = [math.nan] * len(marks.annotators)
            for p in people:
                drawn = marks.label[(told.objects == unit) & (marks.annotator == p)]
                row[p] = float(drawn[0]) if len(drawn) else float(absent)
            table.append(row)
    if not table:
        return math.nan
    values = np.array(table).T
    if len(np.unique(values[np.isfinite(values)])) < 2:
        return 1.0
    measured = krippendorff.alpha(
        values, level_of_measurement="nominal", value_domain=list(range(absent + 1))
    )
    return float(measured)


@given(jobs(most=4))
@settings(max_examples=60, deadline=None)
def test_vitality_like_the_package(said: list[Annotation]) -> None:
    told = of_annotations(said)
    expected = [alpha_of(told, None) - alpha_of(told, k) for k in range(len(told.marks.annotators))]
    assert [a.vitality for a in annotators(told)] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_one_who_is_left_with_nothing_agrees_with_nobody() -> None:
    said = [drew(name, A, B, sample="s", number=k) for k, name in enumerate("abc")]
    said += [
        drew("d", A, sample="s", number=4),
        drew("a", A, sample="t", number=5),
        drew("b", sample="t", number=6),
    ]
    told = of_annotations(said)
    expected = [alpha_of(told, None) - alpha_of(told, k) for k in range(4)]
    assert [a.vitality for a in annotators(told)] == pytest.approx(expected, abs=1e-12)


@given(jobs())
@settings(max_examples=60, deadline=None)
def test_f1_and_overlap_by_loops(said: list[Annotation]) -> None:
    told = of_annotations(said)
    marks = told.marks
    seats = {(int(s), int(p)) for s, p in marks.answered}
    for k, person in enumerate(annotators(told)):
        hits, boxes, pairs, overlap = 0, 0, 0, []
        for s, q in seats:
            if q == k or (s, k) not in seats:
                continue
            mine = np.flatnonzero((marks.sample == s) & (marks.annotator == k)).tolist()
            theirs = np.flatnonzero((marks.sample == s) & (marks.annotator == q)).tolist()
            pairs, boxes = pairs + 1, boxes + len(mine) + len(theirs)
            for i in mine:
                for j in theirs:
                    if told.objects[i] == told.objects[j] and marks.label[i] == marks.label[j]:
                        hits += 1
                        overlap.append(naive_iou(marks.boxes[i], marks.boxes[j]))
        f1 = (2 * hits / boxes if boxes else 1.0) if pairs else math.nan
        assert person.f1 == pytest.approx(f1, nan_ok=True)
        assert person.iou == pytest.approx(np.mean(overlap) if overlap else math.nan, nan_ok=True)


@given(jobs(), st.data())
@settings(max_examples=60, deadline=None)
def test_names_and_order_mean_nothing(said: list[Annotation], data: st.DataObject) -> None:
    names = data.draw(st.permutations([f"person {k}" for k in range(4)]))
    images = data.draw(st.permutations([f"s{k}" for k in range(3)]))
    other = [
        replace(
            a,
            annotator=names[int(a.annotator[-1])],
            sample=images[int(a.sample[-1])],
            regions=tuple(data.draw(st.permutations(a.regions))),
        )
        for a in data.draw(st.permutations(said))
    ]
    one, two = of_annotations(said), of_annotations(other)
    by_name = {a.name: a for a in annotators(two)}
    for person in annotators(one):
        twin = by_name[names[int(person.name[-1])]]
        for name in Annotator.__dataclass_fields__:
            if name != "name":
                ours, theirs = getattr(person, name), getattr(twin, name)
                same = ours == theirs if not isinstance(ours, float) else False
                assert same or ours == pytest.approx(theirs, abs=1e-9, nan_ok=True), name


def test_what_each_did() -> None:
    said = [
        drew("a", A, B, sample="s", number=1),
        drew("b", A, sample="s", number=2),
        drew("a", A, sample="t", number=3),
        drew("b", sample="t", number=4, skipped=True),
        drew("c", B, sample="t", number=5, skipped=True),
        drew("a", sample="u", number=6),
    ]
    said = [
        replace(a, lead_time=lead) for a, lead in zip(said, [10.0, 7.0, 40.0, 1.0, 2.0, None], strict=True)
    ]
    a, b, c = annotators(of_annotations(said))
    assert (a.name, a.images, a.boxes, a.skipped, a.compared, a.seconds) == ("a", 3, 3, 0, 1, 25.0)
    assert (b.name, b.images, b.boxes, b.skipped, b.compared, b.seconds) == ("b", 1, 1, 1, 1, 7.0)
    assert (c.name, c.images, c.boxes, c.skipped, c.compared) == ("c", 0, 0, 1, 0)
    assert a.f1 == b.f1 == pytest.approx(2 / 3)
    unknown = (
        c.seconds,
        c.f1,
        c.iou,
        c.miss.value,
        c.extra.value,
        c.confusion.value,
        c.repeat_f1,
        a.vitality,
    )
    assert all(math.isnan(value) for value in unknown)


def test_nobody() -> None:
    told = of_annotations([])
    assert annotators(told) == ()
    assert conflicts(told).kind.shape == (0,)


def test_repeats_compare_the_first_answer_with_the_last() -> None:
    said = [
        drew("a", A, B, sample="s", number=1, minute=0),
        drew("a", C, sample="s", number=2, minute=5),
        drew("a", A, sample="s", number=3, minute=9),
        drew("a", A, sample="t", number=4),
        drew("a", A, sample="t", number=5, skipped=True, minute=3),
        drew("b", A, sample="s", number=6),
        drew("b", sample="u", number=7),
        drew("b", sample="u", number=8),
    ]
    a, b = annotators(of_annotations(said))
    assert a.repeat_f1 == pytest.approx(2 / 3)
    assert a.repeats == 1
    assert (b.repeat_f1, b.repeats) == (1.0, 1)


def test_gold() -> None:
    said = [
        drew("a", A, B, sample="s", number=1),
        drew("b", A_AS_GARBAGE, sample="s", number=2),
        drew("boss", A, sample="s", number=3, ground_truth=True),
        drew("c", A, sample="t", number=4),
    ]
    told = against_gold(sheet(said))
    assert set(told) == {"a", "b"}
    assert told["a"].f1 == pytest.approx(2 / 3)
    assert told["a"][1:] == (1.0, 1)
    assert told["b"].f1 == 0.0
    assert math.isnan(told["b"].iou)
    assert against_gold(sheet(said[:2])) == {}
    with pytest.raises(BadInput, match="tau"):
        against_gold(sheet(said), 0.0)


def test_nobody_comes_between_a_person_and_the_gold() -> None:
    gold, off = region("bin", 0.25, 0.25, 0.5, 0.5), region("bin", 0.34375, 0.25, 0.59375, 0.5)
    between = region("bin", 0.296875, 0.25, 0.546875, 0.5)
    said = [
        drew("a", off, number=1),
        drew("b", between, number=2),
        drew("boss", gold, number=3, ground_truth=True),
    ]
    told = against_gold(sheet(said))
    assert (told["a"].f1, told["b"].f1) == (0.0, 1.0)
    assert told["b"].iou == pytest.approx(naive_iou((0.25, 0, 0.5, 1), (0.296875, 0, 0.546875, 1)))


def test_a_starred_vote_is_held_against_the_verdict_of_another_only() -> None:
    said = [
        drew("a", A, B, sample="s", number=1, ground_truth=True),
        drew("a", A, sample="t", number=2),
        drew("a", B, sample="u", number=3, ground_truth=True),
        drew("b", A, sample="s", number=4),
        drew("boss", A, B, sample="t", number=5, ground_truth=True),
        drew("boss", A, sample="u", number=6, minute=1, ground_truth=True),
    ]
    pairs = gold_pairs(sheet(said))
    rows = zip(pairs.sample, pairs.first, pairs.matched, pairs.first_drew, pairs.second_drew, strict=True)
    assert [tuple(map(int, row)) for row in rows] == [(0, 1, 1, 1, 2), (1, 0, 1, 1, 2), (2, 0, 0, 1, 1)]
    assert set(pairs.second.tolist()) == {3}
    told = against_gold(sheet(said))
    assert {name: row.images for name, row in told.items()} == {"a": 2, "b": 1}
    assert told["a"].f1 == pytest.approx(2 / 5)
    assert told["b"].f1 == pytest.approx(2 / 3)


@given(jobs(), st.data())
@settings(max_examples=60, deadline=None)
def test_gold_like_each_pair_alone(said: list[Annotation], data: st.DataObject) -> None:
    """Every answer and the verdict as an image of two people: there is no third box to link them."""
    given_ = [
        replace(a, id=k, ground_truth=data.draw(st.booleans()), created_at=NOON, updated_at=NOON)
        for k, a in enumerate(said, 1)
    ]
    told = sheet(given_)
    by_number = {a.id: a for a in given_}
    verdict = {told.sample[k]: by_number[int(told.number[k])] for k in verdicts(told).tolist()}
    expected: dict[str, list[tuple[int, int]]] = {}
    for k in counting(told).tolist():
        mine, gold = by_number[int(told.number[k])], verdict.get(told.sample[k])
        if gold is None or gold is mine:
            continue
        alone = [replace(a, annotator=who, ground_truth=False) for who, a in (("1", mine), ("2", gold))]
        two = of_annotations(alone)
        pair = count_pairs(two.marks, two.objects)
        row = (int(pair.matched[0]), int(pair.first_drew[0] + pair.second_drew[0]))
        expected.setdefault(mine.annotator, []).append(row)
    found = against_gold(told)
    assert {name: row.images for name, row in found.items()} == {n: len(r) for n, r in expected.items()}
    for name, rows_ in expected.items():
        hits, boxes = map(sum, zip(*rows_, strict=True))
        assert found[name].f1 == pytest.approx(2 * hits / boxes if boxes else 1.0)


@cache
def crew() -> tuple[Annotator, ...]:
    return annotators(study(job(1500).sheet))


def test_planted_habits_come_back() -> None:
    traits = job(1500).traits
    for k, person in enumerate(crew()):
        for rate, planted in (
            (person.miss, traits.miss[k]),
            (person.confusion, traits.confuse[k]),
            (person.duplicate, traits.double[k]),
        ):
            assert rate.low <= planted <= rate.high or abs(rate.value - planted) < 0.02
    people = crew()
    assert max(range(12), key=lambda k: people[k].miss.value) == MISSES
    assert max(range(12), key=lambda k: people[k].confusion.value) == CONFUSES
    assert max(range(12), key=lambda k: people[k].duplicate.value) == DOUBLES
    assert people[MISSES].miss.value == pytest.approx(0.20, abs=0.02)
    assert people[CONFUSES].confusion.value == pytest.approx(0.25, abs=0.02)
    assert people[DOUBLES].duplicate.value == pytest.approx(0.05, abs=0.01)


def test_who_errs_much_lowers_alpha() -> None:
    people = crew()
    assert {k for k in range(12) if people[k].vitality < 0.0} == {MISSES, CONFUSES}
