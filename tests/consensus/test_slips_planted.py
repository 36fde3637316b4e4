"""Slips by naive loops over the same objects, and planted in a job whose truth is known."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings

from consensus.slips import agreed, broken, duplicates, merged, outside, slips, split
from consensus.study import Study, of_annotations, study
from pool.schema import Annotation
from tests.consensus.scenes import answers, naive_iou
from tests.consensus.simulation import Job, job, with_merges

Quad = list[float]


@dataclass
class Naive:
    """The agreed boxes, and every slip, one box at a time; upright boxes only."""

    study: Study

    def __post_init__(self) -> None:
        marks, votes = self.study.marks, self.study.votes
        self.quads = marks.boxes.tolist()
        self.own = self.study.objects.tolist()
        self.place = marks.place.tolist()
        count = len(votes.sample)
        members = [[q for q, o in zip(self.quads, self.own, strict=True) if o == k] for k in range(count)]
        self.agreed = [[statistics.median(edge) for edge in zip(*m, strict=True)] for m in members]
        voters = votes.voters[votes.sample].tolist()
        self.solid = [len(m) >= 2 and len(m) / v >= 0.5 for m, v in zip(members, voters, strict=True)]
        self.sample = votes.sample.tolist()

    def covers(self, over: Quad, under: Quad) -> bool:
        wide = max(0.0, min(over[2], under[2]) - max(over[0], under[0]))
        high = max(0.0, min(over[3], under[3]) - max(over[1], under[1]))
        return wide * high >= 0.8 * (under[2] - under[0]) * (under[3] - under[1]) - 1e-9

    def fits(self, k: int) -> bool:
        return (
            self.solid[self.own[k]] and round(naive_iou(self.quads[k], self.agreed[self.own[k]]), 12) >= 0.7
        )

    def drawn(self, place: int) -> set[int]:
        return {o for o, p in zip(self.own, self.place, strict=True) if p == place}

    def merged(self) -> set[tuple[int, frozenset[int], bool]]:
        out = set()
        for k, q in enumerate(self.quads):
            mine = self.drawn(self.place[k]) - (set() if self.fits(k) else {self.own[k]})
            things = frozenset(
                o
                for o in range(len(self.solid))
                if self.solid[o]
                and self.sample[o] == self.sample[self.own[k]]
                and o not in mine
                and self.covers(q, self.agreed[o])
            )
            beside = [o for o in things if not any(self.holds(p, o) for p in things)]
            if len(things) >= 2:
                out.add((k, things, not self.fits(k) and len(beside) >= 2))
        return out

    def holds(self, larger: int, smaller: int) -> bool:
        """Does the larger of two objects hold more than half of the smaller?"""
        p, q = self.agreed[larger], self.agreed[smaller]
        size = [(b[2] - b[0]) * (b[3] - b[1]) for b in (p, q)]
        if larger == smaller or (size[0], -larger) < (size[1], -smaller):
            return False
        iou = naive_iou(p, q)
        return bool(iou * (size[0] + size[1]) / (1 + iou) > 0.5 * size[1])

    def split(self) -> set[tuple[frozenset[int], int, bool]]:
        out = set()
        for place in set(self.place):
            rows = [k for k in range(len(self.quads)) if self.place[k] == place]
            for o in range(len(self.solid)):
                if not self.solid[o] or self.sample[o] != self.sample[self.own[rows[0]]]:
                    continue
                pieces = frozenset(
                    k
                    for k in rows
                    if not self.fits(k)
                    and (not self.solid[self.own[k]] or self.own[k] == o)
                    and self.covers(self.agreed[o], self.quads[k])
                )
                if len(pieces) >= 2:
                    out.add((pieces, o, not any(self.own[k] == o and self.fits(k) for k in rows)))
        return out

    def duplicates(self) -> set[frozenset[int]]:
        return {
            frozenset((i, j))
            for i, j in combinations(range(len(self.quads)), 2)
            if self.place[i] == self.place[j] and round(naive_iou(self.quads[i], self.quads[j]), 12) >= 0.8
        }


def against_loops(made: Study) -> None:
    naive, common, marks = Naive(made), agreed(made), made.marks
    np.testing.assert_allclose(common.boxes, np.array(naive.agreed).reshape(-1, 4), rtol=1e-12)
    assert common.solid.tolist() == naive.solid
    mark = {row: k for k, row in enumerate(marks.row.tolist())}

    over, pieces = merged(made, common), split(made, common)
    got: dict[int, tuple[int, set[int], bool]] = {}
    for number, row, thing, sure in zip(over.number, over.row, over.object, over.sure, strict=True):
        got.setdefault(int(number), (mark[int(row)], set(), bool(sure)))[1].add(int(thing))
    assert {(k, frozenset(things), sure) for k, things, sure in got.values()} == naive.merged()

    cut: dict[int, tuple[set[int], int, bool]] = {}
    for number, row, thing, sure in zip(pieces.number, pieces.row, pieces.object, pieces.sure, strict=True):
        cut.setdefault(int(number), (set(), int(thing), bool(sure)))[0].add(mark[int(row)])
    assert {(frozenset(rows), o, sure) for rows, o, sure in cut.values()} == naive.split()

    twice, pairs = duplicates(made), naive.duplicates()
    told = {mark[int(r)]: mark[int(o)] for r, o in zip(twice.row, twice.other, strict=True)}
    assert len(told) == len(twice.row)
    assert {frozenset(pair) for pair in told.items()} <= pairs
    assert all(pair & set(told) for pair in pairs)
    drawn = made.votes.drawn[made.objects]
    assert all(drawn[worse] <= drawn[better] for worse, better in told.items())


@given(answers())
@settings(max_examples=150, deadline=None)
def test_naive_loops_find_the_same(given_: list[Annotation]) -> None:
    against_loops(of_annotations(given_))


@pytest.mark.parametrize("seed", range(6))
def test_naive_loops_find_the_same_in_a_job(seed: int) -> None:
    made = study(with_merges(job(12, seed, people=8), 0.3).sheet)
    against_loops(made)
    assert len(slips(made).row) > 0


@pytest.fixture(scope="module")
def planted() -> Job:
    return job(3000)


def test_planted_duplicates_are_found(planted: Job) -> None:
    found = duplicates(study(planted.sheet))
    right = planted.duplicate[found.row] | planted.duplicate[found.other]
    known = np.union1d(found.row, found.other)
    assert right.mean() >= 0.97
    assert planted.duplicate[known].sum() / planted.duplicate.sum() >= 0.98


def test_planted_merges_are_found(planted: Job) -> None:
    told = with_merges(planted, 0.08)
    made = study(told.sheet)
    found = merged(made, agreed(made))
    rows, sure = found.row[found.first], found.sure[found.first]
    total = told.merged.sum()
    assert total > 500
    assert told.merged[rows[sure]].all()
    assert told.merged[rows[sure]].sum() / total >= 0.63
    assert told.merged[rows].mean() >= 0.9


def test_careful_people_have_almost_no_slips(planted: Job) -> None:
    made = study(planted.sheet)
    common = agreed(made)
    over = merged(made, common)
    assert not over.sure.any()
    for found in (over, split(made, common)):
        assert len(found.first) <= len(planted.object) / 5000
    assert len(outside(made).row) == len(broken(made).row) == 0
