"""Anchoring by hand, by loops over pairs, by scipy's bootstrap, and where it was planted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from consensus.agreement import count_pairs
from consensus.anchoring import Anchoring, anchoring
from consensus.sheet import BEGUN, CHANGED, SCRATCH, UNTOUCHED
from consensus.study import Study, of_annotations, study
from pool.schema import Annotation, Change
from tests.consensus.scenes import answers, drew, region
from tests.consensus.simulation import job

A = region("bin", 0.125, 0.125, 0.25, 0.25)
B = region("garbage", 0.5, 0.5, 0.75, 0.75)

CHANGES = {
    SCRATCH: (None, None),
    UNTOUCHED: (1, Change(kept=1)),
    CHANGED: (1, Change(kept=1, added=1)),
    BEGUN: (1, None),
}


def began(annotation: Annotation, start: int) -> Annotation:
    parent, change = CHANGES[start]
    return replace(annotation, parent_prediction=parent, change=change)


def test_by_hand() -> None:
    said = [
        began(drew("a", A, sample="s", number=1), UNTOUCHED),
        began(drew("b", A, sample="s", number=2), BEGUN),
        began(drew("c", A, B, sample="s", number=3), SCRATCH),
        began(drew("a", A, B, sample="t", number=4), CHANGED),
        began(drew("c", A, sample="t", number=5), SCRATCH),
        began(drew("a", sample="u", number=6), SCRATCH),
        began(drew("c", B, sample="u", number=7), SCRATCH),
        began(drew("c", sample="v", number=8, skipped=True), UNTOUCHED),
    ]
    found = anchoring(of_annotations(said))
    a, b, c = found.people
    assert (a.name, a.scratch, a.shown) == ("a", 1, 2)
    assert (a.untouched.count, a.untouched.of) == (1, 2)
    assert (b.scratch, b.shown, b.untouched.of) == (0, 1, 0)  # what it began as is not known any more
    assert (c.scratch, c.shown, c.untouched.of) == (3, 0, 0)
    assert (found.shown.f1, found.shown.images) == (1.0, 1)
    assert (found.scratch.f1, found.scratch.images) == (0.0, 1)
    assert found.mixed.f1 == pytest.approx(6 / 9)
    assert found.mixed.images == 2
    assert found.gap == 1.0


@pytest.mark.parametrize("start", [SCRATCH, UNTOUCHED])
def test_one_sort_alone_has_no_gap(start: int) -> None:
    said = [began(drew(name, A, number=k), start) for k, name in enumerate("ab")]
    found = anchoring(of_annotations(said))
    assert {found.scratch.images, found.shown.images} == {0, 1}
    assert all(math.isnan(value) for value in (found.gap, found.low, found.high, found.mixed.f1))


def test_nobody() -> None:
    found = anchoring(of_annotations([]))
    assert found.people == ()
    assert math.isnan(found.scratch.f1)


@st.composite
def begun(draw: st.DrawFn) -> list[Annotation]:
    scenes = draw(st.lists(answers(), min_size=1, max_size=4))
    return [
        began(replace(a, sample=f"s{k}"), draw(st.integers(0, 3)))
        for k, scene in enumerate(scenes)
        for a in scene
    ]


@given(begun())
@settings(max_examples=60, deadline=None)
def test_sorts_of_pairs_by_loops(said: list[Annotation]) -> None:
    told = of_annotations(said)
    pairs = count_pairs(told.marks, told.objects)
    shown = {(a.sample, a.annotator): a.parent_prediction is not None for a in said}
    sums: dict[int, list[int]] = {0: [], 1: [], 2: []}
    images: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for k in range(len(pairs.sample)):
        sample = told.marks.samples[pairs.sample[k]]
        ends = (told.marks.annotators[pairs.first[k]], told.marks.annotators[pairs.second[k]])
        sort = sum(shown[sample, name] for name in ends)
        sums[sort] += [2 * int(pairs.matched[k]), int(pairs.first_drew[k] + pairs.second_drew[k])]
        images[sort].add(int(pairs.sample[k]))
    found = anchoring(told, pairs, draws=3)
    for sort, company in enumerate((found.scratch, found.mixed, found.shown)):
        hits, boxes = sum(sums[sort][::2]), sum(sums[sort][1::2])
        f1 = (hits / boxes if boxes else 1.0) if sums[sort] else math.nan
        assert company.f1 == pytest.approx(f1, nan_ok=True)
        assert company.images == len(images[sort])


def anchored(images: int, seed: int, copied: bool) -> Study:
    """Half of the answers begun from a prediction; where ``copied``, those are all alike."""
    said = job(images, seed=seed, people=6).sheet
    rng = np.random.default_rng(seed)
    start = np.where(rng.random(len(said.sample)) < 0.5, UNTOUCHED, SCRATCH)
    if not copied:
        return study(replace(said, start=start))
    first = np.full(len(said.samples), -1, dtype=np.intp)
    shown = np.flatnonzero(start == UNTOUCHED)[::-1]
    first[said.sample[shown]] = shown
    source = np.where(start == UNTOUCHED, first[said.sample], np.arange(len(start)))
    rows = [np.flatnonzero(said.owner == k) for k in source.tolist()]
    taken = np.concatenate(rows)
    return study(
        replace(
            said,
            start=start,
            owner=np.repeat(np.arange(len(rows)), [len(r) for r in rows]),
            label=said.label[taken],
            boxes=said.boxes[taken],
            turn=said.turn[taken],
        )
    )


def per_image(told: Study) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Hits and boxes of pairs from nothing, then of pairs shown, (4, images with either)."""
    pairs = count_pairs(told.marks, told.objects)
    shown = {
        (int(s), int(p)): bool(start != SCRATCH)
        for (s, p), start in zip(told.marks.answered, told.sheet.start[told.marks.answer], strict=True)
    }
    table = np.zeros((4, len(told.marks.samples)))
    seen = np.zeros(len(told.marks.samples), dtype=np.bool_)
    for k, s in enumerate(pairs.sample.tolist()):
        sort = shown[s, int(pairs.first[k])] + shown[s, int(pairs.second[k])]
        if sort != 1:
            table[sort, s] += 2 * pairs.matched[k]
            table[sort + 1, s] += pairs.first_drew[k] + pairs.second_drew[k]
            seen[s] = True
    return table[:, seen]


def test_bounds_like_scipy() -> None:
    told = anchored(150, seed=2, copied=False)
    found = anchoring(told, draws=4000)
    other = bootstrap(
        tuple(per_image(told)),
        lambda a, b, c, d, axis: c.sum(axis) / d.sum(axis) - a.sum(axis) / b.sum(axis),
        paired=True, vectorized=True, method="percentile", n_resamples=4000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    width = found.high - found.low
    assert found.low == pytest.approx(other.low, abs=0.05 * width)
    assert found.high == pytest.approx(other.high, abs=0.05 * width)
    assert found.low < found.gap < found.high


def test_a_planted_anchor_is_seen_and_none_where_there_is_none() -> None:
    copied = anchoring(anchored(200, seed=4, copied=True))
    assert copied.shown.f1 == 1.0
    assert copied.low > 0.05
    assert copied.mixed.f1 < copied.shown.f1
    free = [anchoring(anchored(100, seed=k, copied=False), draws=300) for k in range(25)]
    assert sum(found.low <= 0.0 <= found.high for found in free) >= 21


def figures(found: Anchoring) -> list[float]:
    parts = (found.scratch, found.shown, found.mixed)
    return [found.gap, found.low, found.high, *(p.f1 for p in parts), *(p.images for p in parts)]


@given(begun(), st.data())
@settings(max_examples=40, deadline=None)
def test_names_and_order_mean_nothing(said: list[Annotation], data: st.DataObject) -> None:
    names = data.draw(st.permutations([f"person {k}" for k in range(4)]))
    images = data.draw(st.permutations([f"s{k}" for k in range(4)]))
    other = [
        replace(a, annotator=names[int(a.annotator[-1])], sample=images[int(a.sample[-1])])
        for a in data.draw(st.permutations(said))
    ]
    one, two = (anchoring(of_annotations(s), draws=50) for s in (said, other))
    assert figures(one) == pytest.approx(figures(two), abs=1e-12, nan_ok=True)
    twins = {person.name: person for person in two.people}
    for person in one.people:
        twin = twins[names[int(person.name[-1])]]
        assert replace(twin, name=person.name) == person
