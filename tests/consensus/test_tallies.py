"""A project's figures by hand, by loops over people and objects, and from their parts."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.agreement import count_pairs
from consensus.alpha import alphas
from consensus.study import Study, of_annotations, study
from consensus.tallies import COLUMNS, MEASURED, Figures, intervals, tally
from pool.schema import Annotation, BadInput, Region
from tests.consensus.scenes import answers, drew, naive_iou, region
from tests.consensus.simulation import job

A = region("bin", 0.0, 0.0, 0.25, 0.25)
A_HALF = region("bin", 0.0, 0.0, 0.25, 0.125)
A_AS_GARBAGE = region("garbage", 0.0, 0.0, 0.25, 0.25)
B = region("袋", 0.5, 0.5, 0.75, 0.75)

scenes = st.lists(answers(), min_size=1, max_size=4)


def project(images: Sequence[Sequence[Annotation]]) -> list[Annotation]:
    return [
        drew(a.annotator, *a.regions, sample=f"s{k}", number=a.id)
        for k, said in enumerate(images)
        for a in said
    ]


def image(*people: list[Region]) -> list[Annotation]:
    return [drew(f"p{k}", *boxes, number=k + 1) for k, boxes in enumerate(people)]


def told(images: Sequence[Sequence[Annotation]]) -> Figures:
    return tally(of_annotations(project(images))).figures()


def close(figures: Figures, abs: float = 1e-11) -> Any:  # noqa: A002 - pytest's own name for it
    return pytest.approx(asdict(figures), abs=abs, nan_ok=True)


def slow(made: Study) -> dict[str, float]:
    """The figures told with sets and fractions, but for the alphas."""
    marks = made.marks
    score, share, image_f1, compared, empty = Fraction(0), Fraction(0), Fraction(0), 0, 0
    matched, boxes, overlap = 0, 0, 0.0
    for k in range(len(marks.samples)):
        people = [int(p) for s, p in marks.answered if s == k]
        objects: dict[int, dict[int, int]] = {}
        for row in np.flatnonzero(marks.sample == k).tolist():
            objects.setdefault(int(made.objects[row]), {})[int(marks.annotator[row])] = row
        if len(people) < 2:
            continue
        compared, empty = compared + 1, empty + (not objects)
        commonest = [
            max(Counter(marks.label[list(who.values())].tolist()).values()) for who in objects.values()
        ]
        whole = len(objects)
        score += Fraction(sum(c == len(people) for c in commonest), whole) if whole else 1
        share += Fraction(sum(commonest), whole * len(people)) if whole else 1
        f1s = []
        for a, b in itertools.combinations(people, 2):
            both = [(who[a], who[b]) for who in objects.values() if a in who and b in who]
            hits = [(i, j) for i, j in both if marks.label[i] == marks.label[j]]
            drawn = sum((a in who) + (b in who) for who in objects.values())
            f1s.append(Fraction(2 * len(hits), drawn) if drawn else Fraction(1))
            matched, boxes = matched + len(hits), boxes + drawn
            overlap += sum(naive_iou(marks.boxes[i].tolist(), marks.boxes[j].tolist()) for i, j in hits)
        image_f1 += sum(f1s) / Fraction(len(f1s))
    nothing = 1.0 if compared else math.nan
    return {
        "consensus_score": float(score / compared) if compared else math.nan,
        "vote_share": float(share / compared) if compared else math.nan,
        "f1": 2 * matched / boxes if boxes else nothing,
        "mean_f1": float(image_f1 / compared) if compared else math.nan,
        "iou": overlap / matched if matched else math.nan,
        "pq": 2 * overlap / boxes if boxes else nothing,
        "images": len({int(s) for s in marks.answered[:, 0]}),
        "compared": compared,
        "agreed_empty": empty,
        "answers": len(marks.answered),
        "objects": len(set(made.objects.tolist())),
        "boxes": len(marks.boxes),
    }


@given(scenes)
@settings(max_examples=60, deadline=None)
def test_figures_against_loops(images: list[list[Annotation]]) -> None:
    made = of_annotations(project(images))
    figures = asdict(tally(made).figures())
    found = alphas(made)
    expected = slow(made) | {f"alpha_{name}": value for name, value in asdict(found).items()}
    assert figures == pytest.approx(expected, abs=1e-9, nan_ok=True)
    given_pairs = tally(made, count_pairs(made.marks, made.objects))
    assert np.array_equal(given_pairs.rows, tally(made).rows)


def test_by_hand() -> None:
    """Three images of two people, one of one, one that was skipped."""
    said = [
        *project([image([A, B], [A_HALF]), image([], []), image([A], [A_AS_GARBAGE]), image([A])]),
        drew("p0", A, sample="s4", skipped=True),
    ]
    figures = tally(of_annotations(said)).figures()
    assert asdict(figures) == pytest.approx(
        {
            "consensus_score": (1 / 2 + 1 + 0) / 3,
            "vote_share": (3 / 4 + 1 + 1 / 2) / 3,
            "f1": 2 * 1 / (3 + 0 + 2),
            "mean_f1": (2 / 3 + 1 + 0) / 3,
            "iou": 0.5,
            "pq": 2 * 0.5 / (3 + 0 + 2),
            "alpha_exist": 1 - 7 * 2 / (2 * 5 * 3),  # 5 present, 3 absent; 1 of 4 units differs
            "alpha_label": 1 - 3 * 2 / (2 * 3 * 1),  # bin bin, bin garbage
            "alpha_joint": 1 - 7 * 4 / (64 - 9 - 1 - 1 - 9),  # 3 bin, 1 garbage, 1 bag, 3 absent
            "images": 4,
            "compared": 3,
            "agreed_empty": 1,
            "answers": 7,
            "objects": 4,
            "boxes": 6,
        },
        abs=1e-11,
    )


def test_nothing_compared_is_nothing_known() -> None:
    for said in ([], [drew("a", A)], [drew("a", A), drew("b", A, skipped=True)]):
        figures = tally(of_annotations(said)).figures()
        assert all(math.isnan(getattr(figures, name)) for name in MEASURED)
        assert figures.compared == figures.agreed_empty == 0
        assert figures.boxes == figures.images == figures.answers == len(said[:1])


@given(st.lists(answers(people=1), min_size=1, max_size=3), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_identical_people_agree_exactly(images: list[list[Annotation]], people: int) -> None:
    made = tally(of_annotations(project([image(*[[*a.regions]] * people) for (a,) in images])))
    figures, found = made.figures(), intervals(made, draws=20)
    for name in MEASURED:
        empty = name in ("iou", "alpha_label") and figures.boxes == 0
        assert math.isnan(getattr(figures, name)) if empty else getattr(figures, name) == 1.0
        unknown = empty or len(images) < 2
        assert all(map(math.isnan, found[name])) if unknown else found[name] == (1.0, 1.0)


@given(scenes, st.data())
@settings(max_examples=40, deadline=None)
def test_names_and_order_mean_nothing(images: list[list[Annotation]], data: st.DataObject) -> None:
    names = data.draw(st.permutations(["person 0", "person 1", "person 2", "person 3"]))
    shuffled = [
        [
            drew(names[int(a.annotator[-1])], *data.draw(st.permutations(a.regions)), number=a.id)
            for a in data.draw(st.permutations(said))
        ]
        for said in data.draw(st.permutations(images))
    ]
    assert asdict(told(shuffled)) == close(told(images))


@given(scenes, st.integers(2, 3))
@settings(max_examples=30, deadline=None)
def test_the_same_images_again_change_no_ratio(images: list[list[Annotation]], times: int) -> None:
    """But for the alphas, whose sample grows: that is told in the tests of alpha."""
    once, often = asdict(told(images)), asdict(told(images * times))
    for name, value in once.items():
        if name in MEASURED:
            if not name.startswith("alpha"):
                assert often[name] == pytest.approx(value, abs=1e-11, nan_ok=True)
        else:
            assert often[name] == times * value


@given(answers(), st.data())
@settings(max_examples=40, deadline=None)
def test_one_more_voice_for_what_was_said_keeps_the_score(
    said: list[Annotation], data: st.DataObject
) -> None:
    echo = drew("echo", *data.draw(st.sampled_from(said)).regions, number=99)
    before, after = told([said]).consensus_score, told([[*said, echo]]).consensus_score
    assert after == (before if len(said) > 1 else 1.0)


@given(scenes)
@settings(max_examples=40, deadline=None)
def test_range_and_counts(images: list[list[Annotation]]) -> None:
    figures = asdict(told(images))
    for name in MEASURED:
        low = -1.0 if name.startswith("alpha") else 0.0
        assert math.isnan(figures[name]) or low <= figures[name] <= 1.0
    assert figures["consensus_score"] <= figures["vote_share"] or math.isnan(figures["vote_share"])
    assert figures["agreed_empty"] <= figures["compared"] <= figures["images"] == len(images)


@given(st.lists(answers(), min_size=1, max_size=3), st.lists(answers(), min_size=1, max_size=3), st.data())
@settings(max_examples=40, deadline=None)
def test_sums_of_parts(
    some: list[list[Annotation]], others: list[list[Annotation]], data: st.DataObject
) -> None:
    """Added, taken away and replaced, with labels that only one of the parts has."""
    fresh = region("новый", 0.9, 0.9, 1.0, 1.0)
    changed = [[replace(a, regions=(*a.regions, fresh)) for a in others[0]], *others[1:]]
    whole = tally(of_annotations(project([*some, *changed])))
    first = tally(of_annotations(project([*some, *others])))
    at = len(some)

    before = tally(of_annotations([replace(a, sample=f"s{at}") for a in others[0]]))
    after = tally(of_annotations([replace(a, sample=f"s{at}") for a in changed[0]]))
    assert asdict((first.sums - before.sums + after.sums).figures()) == close(whole.figures())
    assert asdict(first.replace(after).figures()) == close(whole.figures())
    assert first.replace(after).samples == first.samples
    assert asdict(first.select(np.arange(at)).figures()) == close(told(some))

    chosen = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(first.samples), max_size=len(first.samples)))
    )
    apart = first.select(chosen), first.select(np.flatnonzero(~chosen))
    assert asdict((apart[0].sums + apart[1].sums).figures()) == close(first.figures())
    assert sorted(apart[0].samples + apart[1].samples) == sorted(first.samples)
    assert asdict(apart[0].replace(apart[1]).figures()) == close(first.figures())


def test_adding_and_taking_away_leaves_no_trace() -> None:
    """Thirds, sevenths and overlaps do not cancel exactly; the figures do."""
    good = tally(of_annotations(project([image([A, B], [A, B])] * 3))).sums
    odd = [tally(study(job(1, seed=seed).sheet)).sums for seed in range(40)]
    sums = good
    for part in odd:
        sums = sums + part
    for part in odd:
        sums = sums - part
    assert not np.array_equal(sums.values[sums.values != 0], good.values[good.values != 0])
    assert sums.figures() == good.figures()
    assert all(getattr(sums.figures(), name) == 1.0 for name in MEASURED)


def test_a_choice_of_images_that_is_none() -> None:
    made = tally(of_annotations(project([image([A], [A]), image([A], [B])])))
    for images in (np.array([True]), np.array([2]), np.array([-1])):
        with pytest.raises(BadInput, match="images"):
            made.select(images)
    nothing = made.select(np.zeros(0, dtype=np.intp))
    assert nothing.samples == ()
    assert math.isnan(nothing.figures().f1)


def test_a_row_of_a_tally_is_what_it_says() -> None:
    made = tally(study(job(50).sheet))
    assert made.rows.shape == (50, len(COLUMNS) + 2 * len(made.labels))
    assert len(made.samples) == 50
    assert (made.rows >= 0).all()
    assert (made.rows[:, COLUMNS.index("images")] == 1).all()
