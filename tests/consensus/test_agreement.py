"""Agreement by hand, by naive loops over the same objects, and by an optimal assignment."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from consensus.agreement import (
    Pairs,
    Votes,
    consensus_score,
    count_pairs,
    count_votes,
    pooled,
    sample_f1,
    vote_share,
)
from consensus.marks import Marks, gather
from consensus.matching import cluster_marks
from pool.schema import Annotation
from tests.consensus.scenes import answers, crowd, drew, naive_iou, region

A = region("bin", 0.0, 0.0, 0.25, 0.25)
A_LOOSE = region("bin", 0.0, 0.0, 0.25, 0.28125)
A_AS_GARBAGE = region("garbage", 0.0, 0.0, 0.25, 0.25)
B = region("garbage", 0.5, 0.5, 0.75, 0.75)
C = region(None, 0.75, 0.0, 1.0, 0.25)
FLAT = region("bin", 0.2, 0.2, 0.2, 0.4)


def tables(annotations: Sequence[Annotation], tau: float = 0.5) -> tuple[Marks, Votes, Pairs]:
    marks = gather(annotations)
    objects = cluster_marks(marks, tau)
    return marks, count_votes(marks, objects), count_pairs(marks, objects)


def figures(annotations: Sequence[Annotation]) -> tuple[float, float, float]:
    """Consensus score, vote share and mean F1 of one sample."""
    marks, votes, pairs = tables(annotations)
    assert marks.samples == ("s",)
    return float(consensus_score(votes)[0]), float(vote_share(votes)[0]), float(sample_f1(pairs, 1)[0])


HAND = [
    ("identical", [[A, B], [A, B]], 1, 1, 1),
    ("all empty", [[], []], 1, 1, 1),
    ("all empty, three people", [[], [], []], 1, 1, 1),
    ("one empty", [[A], []], 0, Fraction(1, 2), 0),
    ("a little looser", [[A], [A_LOOSE]], 1, 1, 1),
    ("one missed", [[A, B], [A]], Fraction(1, 2), Fraction(3, 4), Fraction(2, 3)),
    ("another label", [[A], [A_AS_GARBAGE]], 0, Fraction(1, 2), 0),
    ("two against one", [[A], [A], [A_AS_GARBAGE]], 0, Fraction(2, 3), Fraction(1, 3)),
    ("drawn twice", [[A, A], [A]], Fraction(1, 2), Fraction(3, 4), Fraction(2, 3)),
    ("nobody named it", [[C], [C]], 1, 1, 1),
    ("one named it", [[C], [region("bin", 0.75, 0.0, 1.0, 0.25)]], 0, Fraction(1, 2), 0),
    ("nothing in common", [[A], [B]], 0, Fraction(1, 2), 0),
    (
        "three objects, three people",
        [[A, B, C], [A, B], [A]],
        Fraction(1, 3),
        Fraction(2, 3),
        Fraction(59, 90),
    ),
    ("a box without area is none", [[A, FLAT], [A]], 1, 1, 1),
    ("only boxes without area", [[FLAT], []], 1, 1, 1),
]


@pytest.mark.parametrize(
    ("people", "score", "share", "f1"), [c[1:] for c in HAND], ids=[c[0] for c in HAND]
)
def test_by_hand(people: list[list[object]], score: Fraction, share: Fraction, f1: Fraction) -> None:
    given_ = [drew(f"p{k}", *regions, number=k) for k, regions in enumerate(people)]  # type: ignore[arg-type]
    assert figures(given_) == pytest.approx((float(score), float(share), float(f1)), abs=1e-12)


@pytest.mark.parametrize("people", [[], [drew("a", A)], [drew("a", A), drew("b", A, skipped=True)]])
def test_fewer_than_two_people_have_no_agreement(people: list[Annotation]) -> None:
    asked = [*people, drew("z", B, skipped=True)]
    assert all(math.isnan(value) for value in figures(asked))


@given(answers(people=1), st.integers(2, 4))
@settings(max_examples=50)
def test_identical_people_agree_exactly(one: list[Annotation], people: int) -> None:
    same = [drew(f"p{k}", *one[0].regions, number=k) for k in range(people)]
    assert figures(same) == (1.0, 1.0, 1.0)


@given(answers(), st.data())
@settings(max_examples=50)
def test_one_more_voice_for_what_was_said_changes_no_score(
    given_: list[Annotation], data: st.DataObject
) -> None:
    echo = data.draw(st.sampled_from(given_))
    again = drew("echo", *echo.regions, number=99)
    before, after = figures(given_)[0], figures([*given_, again])[0]
    assert after == (before if len(given_) > 1 else 1.0)


@given(answers(), st.data())
@settings(max_examples=50)
def test_who_says_it_and_when_means_nothing(given_: list[Annotation], data: st.DataObject) -> None:
    names = data.draw(st.permutations(["person 0", "person 1", "person 2", "person 3"]))
    renamed = [
        drew(names[int(a.annotator[-1])], *data.draw(st.permutations(a.regions)), number=a.id)
        for a in data.draw(st.permutations(given_))
    ]
    assert figures(renamed) == pytest.approx(figures(given_), abs=1e-12, nan_ok=True)


def slow(annotations: Sequence[Annotation]) -> tuple[float, float, float]:
    """The same three figures of one sample, told with sets and fractions."""
    marks = gather(annotations)
    objects: dict[int, dict[int, str | None]] = {}
    for k, who, what in zip(cluster_marks(marks), marks.annotator, marks.label, strict=True):
        objects.setdefault(int(k), {})[int(who)] = marks.labels[what]
    people = [int(p) for p in marks.answered[:, 1]]
    commonest = [Counter(said.values()).most_common(1)[0][1] for said in objects.values()]
    whole = len(objects)
    score = Fraction(sum(c == len(people) for c in commonest), whole) if whole else Fraction(1)
    share = Fraction(sum(commonest), whole * len(people)) if whole else Fraction(1)
    f1s = []
    for a, b in itertools.combinations(people, 2):
        boxes = sum(a in said for said in objects.values()) + sum(b in said for said in objects.values())
        hits = sum(a in said and b in said and said[a] == said[b] for said in objects.values())
        f1s.append(Fraction(2 * hits, boxes) if boxes else Fraction(1))
    return float(score), float(share), float(sum(f1s) / len(f1s))


@given(answers())
@settings(max_examples=50)
def test_tables_against_sets(given_: list[Annotation]) -> None:
    if len(given_) > 1:
        assert figures(given_) == pytest.approx(slow(given_), abs=1e-12)


@given(st.lists(answers(), min_size=1, max_size=3))
@settings(max_examples=50)
def test_many_samples_at_once_are_each_alone(scenes: list[list[Annotation]]) -> None:
    everything = [
        drew(a.annotator, *a.regions, sample=f"s{k}", number=a.id)
        for k, scene in enumerate(scenes)
        for a in scene
    ]
    marks, votes, pairs = tables(everything)
    together = np.column_stack(
        [consensus_score(votes), vote_share(votes), sample_f1(pairs, len(marks.samples))]
    )
    apart = np.array([figures(scene) for scene in scenes])
    assert together == pytest.approx(apart, abs=1e-12, nan_ok=True)


@given(st.lists(answers(), min_size=1, max_size=3))
@settings(max_examples=50)
def test_the_matrix_adds_up_boxes_not_images(scenes: list[list[Annotation]]) -> None:
    everything = [
        drew(a.annotator, *a.regions, sample=f"s{k}", number=a.id)
        for k, scene in enumerate(scenes)
        for a in scene
    ]
    _, _, pairs = tables(everything)
    sums = pooled(pairs)
    assert (sums.sample == -1).all()
    assert len(set(zip(sums.first, sums.second, strict=True))) == len(sums.first)
    for k, (a, b) in enumerate(zip(sums.first, sums.second, strict=True)):
        rows = (pairs.first == a) & (pairs.second == b)
        hits, boxes = pairs.matched[rows].sum(), (pairs.first_drew + pairs.second_drew)[rows].sum()
        assert sums.samples[k] == rows.sum() > 0
        assert sums.f1[k] == pytest.approx(2 * hits / boxes if boxes else 1.0)
    assert sums.samples.sum() == len(pairs.samples)


@given(answers())
@settings(max_examples=50)
def test_figures_lie_between_0_and_1(given_: list[Annotation]) -> None:
    _, votes, pairs = tables(given_)
    assert (pairs.matched <= np.minimum(pairs.first_drew, pairs.second_drew)).all()
    assert ((votes.same >= 1) & (votes.same <= votes.drawn)).all()
    assert (votes.drawn <= votes.voters[votes.sample]).all()
    for value in figures(given_):
        assert math.isnan(value) or 0 <= value <= 1


def best_matching(one: Annotation, other: Annotation, tau: float) -> int:
    """Most pairs of one label that overlap enough, by an optimal assignment."""
    cost = np.array(
        [
            [
                -float(
                    p.label == q.label
                    and naive_iou(
                        (p.box.x1, p.box.y1, p.box.x2, p.box.y2), (q.box.x1, q.box.y1, q.box.x2, q.box.y2)
                    )
                    >= tau
                )
                for q in other.regions
            ]
            for p in one.regions
        ]
    ).reshape(len(one.regions), len(other.regions))
    rows, columns = linear_sum_assignment(cost)
    return int(-cost[rows, columns].sum())


@pytest.mark.parametrize(("objects", "slack"), [(6, 0), (12, 0), (40, 2)])
def test_true_positives_like_an_optimal_assignment(objects: int, slack: int) -> None:
    """In sparse scenes the same number; in crowded ones greedy may lose a pair, never win one."""
    rng = np.random.default_rng(objects)
    for _ in range(20):
        one, other = crowd(rng, objects, people=2, jitter=0.05)
        _, _, pairs = tables([one, other])
        best = best_matching(one, other, 0.5)
        assert best - slack <= int(pairs.matched[0]) <= best


def test_the_winning_label_is_the_commonest_then_the_first_by_name() -> None:
    def winner(*labels: str | None) -> str | None:
        people = [drew(f"p{k}", region(name, 0.0, 0.0, 0.5, 0.5)) for k, name in enumerate(labels)]
        marks, votes, _ = tables(people)
        assert len(votes.label) == 1
        return marks.labels[int(votes.label[0])]

    assert winner("b", "a", "b") == "b"
    assert winner("b", "a") == winner("a", "b") == "a"
    assert winner("满溢的垃圾桶", "垃圾", "垃圾") == "垃圾"
    assert winner(None, None, "z") == "z"  # a box without a name is a vote for the box only
    assert winner(None, None) is None


def test_nothing_gives_nothing() -> None:
    marks, votes, pairs = tables([])
    assert marks.samples == ()
    assert consensus_score(votes).shape == vote_share(votes).shape == (0,)
    assert pairs.f1.shape == pooled(pairs).f1.shape == sample_f1(pairs, 0).shape == (0,)
