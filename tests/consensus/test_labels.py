"""Label by label: by hand, with dictionaries, and with the krippendorff package."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.agreement import count_pairs, pooled
from consensus.labels import LabelFigures, by_label, confusion, confusions, top_confusions
from consensus.study import Study, of_annotations
from pool.schema import Annotation, BadInput, Region
from tests.consensus.scenes import answers, crowd, drew, naive_iou, region

BIN = region("bin", 0.0, 0.0, 0.25, 0.25)
BIN_LOOSE = region("bin", 0.0, 0.0, 0.25, 0.3125)
BIN_AS_BAG = region("袋", 0.0, 0.0, 0.25, 0.25)
BIN_AS_CAN = region("can", 0.0, 0.0, 0.25, 0.25)
BIN_UNNAMED = region(None, 0.0, 0.0, 0.25, 0.25)
BAG = region("袋", 0.5, 0.5, 0.75, 0.75)

Said = str | None
ABSENT = "(absent)"


def people(*regions: Sequence[Region], sample: str = "s") -> list[Annotation]:
    return [drew(f"p{k}", *drawn, number=k + 1, sample=sample) for k, drawn in enumerate(regions)]


def cells(annotations: Sequence[Annotation]) -> dict[tuple[Said, Said], int]:
    """The cells of the matrix that are not 0, by name."""
    found = confusion(of_annotations(annotations))
    names = [*found.labels, ABSENT]
    rows, columns = np.nonzero(found.counts)
    return {(names[r], names[c]): int(found.counts[r, c]) for r, c in zip(rows, columns, strict=True)}


def told(study: Study) -> list[dict[int, Said]]:
    """What each person says about each object, those who answered and did not draw it included."""
    marks = study.marks
    objects: list[dict[int, Said]] = [
        {int(p): ABSENT for s, p in marks.answered if s == sample} for sample in study.votes.sample
    ]
    for k, who, what in zip(study.objects, marks.annotator, marks.label, strict=True):
        objects[int(k)][int(who)] = marks.labels[what]
    return objects


def together(said: Sequence[Said]) -> Said:
    """What several people say of one object."""
    named = Counter(s for s in said if s not in (ABSENT, None))
    if said.count(ABSENT) > len(said) / 2:
        return ABSENT
    if not named:
        return None
    return min(named, key=lambda name: (-named[name], name))


def slow_confusions(study: Study) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    names = [*study.marks.labels, ABSENT]
    out = np.zeros((len(study.marks.annotators), len(names), len(names)), dtype=np.intp)
    for said in told(study):
        for who, what in said.items():
            others = [x for p, x in said.items() if p != who]
            if others:
                out[who, names.index(together(others)), names.index(what)] += 1
    return out


@given(st.lists(answers(), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_confusions_against_dictionaries(scenes: list[list[Annotation]]) -> None:
    study = of_annotations([replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene])
    got = confusions(study)
    assert (got == slow_confusions(study)).all()
    assert (confusion(study).counts == got.sum(axis=0)).all()
    assert confusion(study).labels == study.marks.labels


def quarrel(seed: int, persons: int) -> list[Annotation]:
    """Many labels, people who are often wrong, some boxes without a name: ties of every kind."""
    rng = np.random.default_rng(seed)
    names = ["a", "b", "c", None]
    given_: list[list[Region]] = [[] for _ in range(persons)]
    for k in range(40):
        for drawn in given_:
            if rng.random() < 0.7:
                x, y = 0.1 * (k % 10), 0.1 * (k // 10)
                drawn.append(region(names[rng.integers(4)], x, y, x + 0.08, y + 0.08))
    return people(*given_)


@pytest.mark.parametrize("persons", [2, 3, 4, 5, 8])
def test_confusions_where_votes_are_split(persons: int) -> None:
    study = of_annotations(quarrel(persons, persons))
    assert (confusions(study) == slow_confusions(study)).all()


def test_confusions_by_hand() -> None:
    assert cells(people([BIN], [BIN], [BIN_AS_BAG])) == {("bin", "bin"): 2, ("bin", "袋"): 1}
    # Each of two is held against one other; drawn by one of two others is drawn enough.
    assert cells(people([BIN], [BIN], [])) == {("bin", "bin"): 2, ("bin", ABSENT): 1}
    assert cells(people([BIN], [], [])) == {(ABSENT, "bin"): 1, ("bin", ABSENT): 2}
    assert cells(people([BIN], [], [], [])) == {(ABSENT, "bin"): 1, (ABSENT, ABSENT): 3}
    assert cells(people([BIN], [])) == {(ABSENT, "bin"): 1, ("bin", ABSENT): 1}
    assert cells(people([BIN], [BIN_AS_BAG])) == {("bin", "袋"): 1, ("袋", "bin"): 1}
    # Equal votes go to the alphabetically first; a box without a name does not outvote a named one.
    assert cells(people([BIN], [BIN_AS_BAG], [])) == {
        ("bin", ABSENT): 1,
        ("bin", "袋"): 1,
        ("袋", "bin"): 1,
    }
    assert cells(people([BIN_UNNAMED], [BIN_UNNAMED], [BIN])) == {("bin", None): 2, (None, "bin"): 1}
    assert cells(people([BIN, BIN], [BIN])) == {("bin", "bin"): 2, (ABSENT, "bin"): 1, ("bin", ABSENT): 1}


def test_who_cannot_be_compared_is_in_no_matrix() -> None:
    alone = [*people([BIN]), drew("q", BIN, skipped=True), drew("r", BAG, ground_truth=True)]
    assert cells(alone) == {}
    assert cells(people([], [])) == {}
    assert confusions(of_annotations(alone)).shape == (3, 3, 3)
    assert confusions(of_annotations([])).shape == (0, 1, 1)
    assert confusion(of_annotations([])).counts.tolist() == [[0]]
    assert top_confusions(of_annotations([])) == ()


@given(answers())
@settings(max_examples=50, deadline=None)
def test_every_box_is_in_its_column_once(given_: list[Annotation]) -> None:
    study = of_annotations(given_)
    got = confusions(study)[:, :, :-1].sum(axis=1)
    boxes = np.zeros_like(got)
    np.add.at(boxes, (study.marks.annotator, study.marks.label), 1)
    assert (got == (boxes if len(given_) > 1 else 0)).all()


@given(st.lists(answers(), min_size=1, max_size=2), st.data())
@settings(max_examples=50, deadline=None)
def test_order_and_names_mean_nothing(scenes: list[list[Annotation]], data: st.DataObject) -> None:
    given_ = [replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene]
    names = data.draw(st.permutations(["person 0", "person 1", "person 2", "person 3"]))
    renamed = [
        replace(
            a,
            sample=f"t{9 - int(a.sample[1])}",
            annotator=names[int(a.annotator[-1])],
            regions=tuple(data.draw(st.permutations(a.regions))),
        )
        for a in data.draw(st.permutations(given_))
    ]
    one, other = of_annotations(given_), of_annotations(renamed)
    for a, b in zip(by_label(one), by_label(other), strict=True):
        assert (a.label, a.objects, a.boxes) == (b.label, b.objects, b.boxes)
        assert [a.f1, a.iou, a.alpha] == pytest.approx([b.f1, b.iou, b.alpha], abs=1e-12, nan_ok=True)
    assert (confusion(one).counts == confusion(other).counts).all()
    summary = [
        [(m.theirs, m.said, m.count, len(m.objects)) for m in top_confusions(study)]
        for study in (one, other)
    ]
    assert summary[0] == summary[1]


def slow_figures(study: Study, label: Said) -> LabelFigures:
    """One label's figures, told with loops over everything."""
    marks = study.marks
    objects = told(study)
    rows = range(len(marks.label))
    of_label = [k for k in rows if marks.labels[marks.label[k]] == label]
    ious, compared = [], 0
    for s in range(len(marks.samples)):
        answered = [int(p) for t, p in marks.answered if t == s]
        for a, b in itertools.combinations(answered, 2):
            mine = [k for k in of_label if marks.sample[k] == s and marks.annotator[k] == a]
            yours = [k for k in of_label if marks.sample[k] == s and marks.annotator[k] == b]
            compared += len(mine) + len(yours)
            ious += [
                naive_iou(marks.boxes[i], marks.boxes[j])
                for i in mine
                for j in yours
                if study.objects[i] == study.objects[j]
            ]
    units = [said for said in objects if label in said.values() and len(said) > 1]
    return LabelFigures(
        label=label,
        objects=sum(together([s for s in said.values() if s != ABSENT]) == label for said in objects),
        boxes=len(of_label),
        f1=2 * len(ious) / compared if compared else math.nan,
        iou=sum(ious) / len(ious) if ious else math.nan,
        alpha=package_alpha(units, len(marks.annotators)),
    )


def package_alpha(units: Sequence[dict[int, Said]], annotators: int) -> float:
    if not units:
        return math.nan
    values = sorted({s for said in units for s in said.values()}, key=repr)
    if len(values) == 1:
        return 1.0  # where nobody differs the package has no answer
    table = np.full((annotators, len(units)), np.nan)
    for k, said in enumerate(units):
        for who, what in said.items():
            table[who, k] = values.index(what)
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"))


def check_figures(study: Study) -> None:
    got = by_label(study)
    assert [f.label for f in got] == list(study.marks.labels)
    for figures in got:
        expected = slow_figures(study, figures.label)
        assert (figures.objects, figures.boxes) == (expected.objects, expected.boxes)
        assert [figures.f1, figures.iou, figures.alpha] == pytest.approx(
            [expected.f1, expected.iou, expected.alpha], abs=1e-9, nan_ok=True
        )


@given(st.lists(answers(), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_figures_against_loops(scenes: list[list[Annotation]]) -> None:
    check_figures(
        of_annotations([replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene])
    )


@pytest.mark.parametrize("persons", [1, 2, 3, 5])
def test_figures_where_votes_are_split(persons: int) -> None:
    check_figures(of_annotations(quarrel(persons, persons)))


@given(answers())
@settings(max_examples=50, deadline=None)
def test_labels_add_up_to_the_whole(given_: list[Annotation]) -> None:
    study = of_annotations(given_)
    figures = by_label(study)
    assert sum(f.objects for f in figures) == len(study.votes.sample)
    assert sum(f.boxes for f in figures) == len(study.marks.label)
    pairs = pooled(count_pairs(study.marks, study.objects))
    matched = sum(f.f1 * f.boxes for f in figures) * (len(given_) - 1) / 2 if len(given_) > 1 else 0.0
    assert matched == pytest.approx(pairs.matched.sum(), abs=1e-9)


@given(answers(people=1), st.integers(2, 4))
@settings(max_examples=50, deadline=None)
def test_identical_people_agree_exactly_on_every_label(one: list[Annotation], count: int) -> None:
    study = of_annotations(people(*[one[0].regions] * count))
    for figures in by_label(study):
        if figures.boxes:
            assert (figures.f1, figures.iou, figures.alpha) == (1.0, 1.0, 1.0)
    off = ~np.eye(len(study.marks.labels) + 1, dtype=np.bool_)
    assert not confusion(study).counts[off].any()
    assert top_confusions(study) == ()


def test_figures_by_hand() -> None:
    bag, bin_ = by_label(of_annotations(people([BIN, BAG], [BIN_LOOSE], [BIN_AS_BAG, BAG])))[::-1]
    assert (bin_.label, bin_.objects, bin_.boxes) == ("bin", 1, 2)
    assert [bin_.f1, bin_.iou] == pytest.approx([0.5, 0.8])
    assert (bag.label, bag.objects, bag.boxes) == ("袋", 1, 3)
    assert [bag.f1, bag.iou] == pytest.approx([1 / 3, 1.0])


def test_a_label_that_only_a_skipped_answer_has() -> None:
    study = of_annotations([*people([BIN], [BIN]), drew("q", BAG, skipped=True)])
    figures = {f.label: f for f in by_label(study)}
    assert (figures["袋"].objects, figures["袋"].boxes) == (0, 0)
    assert np.isnan([figures["袋"].f1, figures["袋"].iou, figures["袋"].alpha]).all()
    assert by_label(of_annotations([])) == ()


def test_one_person_has_no_agreement() -> None:
    (figures,) = by_label(of_annotations(people([BIN, BIN_LOOSE])))
    assert (figures.objects, figures.boxes) == (2, 2)
    assert np.isnan([figures.f1, figures.iou, figures.alpha]).all()


def test_top_confusions_lead_to_their_objects() -> None:
    given_ = [
        *people([BIN], [BIN], [BIN_AS_BAG], sample="a"),
        *people([BAG], [BAG], [], sample="b"),
        *people([BIN], [BIN], [BIN_AS_BAG], sample="c"),
        *people([BIN], [BIN], [BIN_AS_CAN], sample="d"),
    ]
    study = of_annotations(given_)
    assert study.marks.labels == ("bin", "can", "袋")
    top = top_confusions(study)
    assert [(m.theirs, m.said, m.count) for m in top] == [(0, 2, 2), (0, 1, 1), (2, 3, 1)]
    assert [[study.marks.samples[s] for s in study.votes.sample[m.objects]] for m in top] == [
        ["a", "c"],
        ["d"],
        ["b"],
    ]
    assert top_confusions(study, most=1)[0].count == 2
    assert len(top_confusions(study, most=1)) == 1
    assert top_confusions(study, most=0) == ()
    split = top_confusions(of_annotations(people([BIN], [], [])))
    assert [(m.theirs, m.said, m.count, m.objects.tolist()) for m in split] == [
        (0, 1, 2, [0]),
        (1, 0, 1, [0]),
    ]


@given(answers())
@settings(max_examples=50, deadline=None)
def test_top_confusions_are_the_matrix_off_its_diagonal(given_: list[Annotation]) -> None:
    study = of_annotations(given_)
    counts = confusion(study).counts
    top = top_confusions(study, most=10**6)
    rebuilt = np.diag(np.diag(counts))
    for mixup in top:
        rebuilt[mixup.theirs, mixup.said] = mixup.count
        assert 0 < len(mixup.objects) <= mixup.count
        assert (np.diff(mixup.objects) > 0).all()
    assert (rebuilt == counts).all()
    assert [m.count for m in top] == sorted((m.count for m in top), reverse=True)
    assert all(m.theirs != m.said for m in top)


def test_a_loose_crowd_against_loops() -> None:
    study = of_annotations(crowd(np.random.default_rng(3), objects=25, people=4, jitter=0.08))
    check_figures(study)
    assert (confusions(study) == slow_confusions(study)).all()


def test_more_people_than_bits_in_a_word() -> None:
    counts = confusion(of_annotations(people(*[[BIN]] * 70, [BIN_AS_BAG], []))).counts
    assert counts.tolist() == [[70, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_wrong_input_is_named() -> None:
    with pytest.raises(BadInput, match="most must be 0 or more, but got -1"):
        top_confusions(of_annotations([]), most=-1)
