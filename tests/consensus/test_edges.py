"""Habits at the edges: planted ones are found, against medians one number at a time, and their mean."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from consensus.edges import MAD, MOST, STEP, Edges, by_size, corrected, edges, mean_edges
from consensus.sheet import GOLD, beside, sheet
from consensus.study import Study, of_annotations, study
from pool.schema import Annotation, BadInput
from tests.consensus.scenes import answers, drew, region

Habits = Sequence[tuple[float, float, float, float]]
NONE = (0.0, 0.0, 0.0, 0.0)


def hands(
    habits: Habits, jitter: float, samples: int = 60, people: int = 4, seed: int = 0, truth: bool = False
) -> list[Annotation]:
    """What ``people`` of those with these habits (left, top, right, bottom) drew of five objects each."""
    rng = np.random.default_rng(seed)
    out: list[Annotation] = []
    for s in range(samples):
        corner = 0.05 + np.arange(5)[:, None] * 0.18 + rng.random((5, 2)) * 0.02
        size = 0.06 + rng.random((5, 2)) * 0.06
        quads = np.hstack([corner, corner + size])
        for person in sorted(rng.permutation(len(habits))[:people].tolist()):
            shift = np.array(habits[person]) * [-1, -1, 1, 1] + rng.normal(0, jitter, (5, 4))
            out.append(hand(f"p{person}", quads + shift * np.tile(size, 2), s, len(out)))
        if truth:
            out.append(replace(hand("p0", quads, s, len(out)), ground_truth=True))
    return out


def hand(name: str, quads: NDArray[np.float64], sample: int, number: int) -> Annotation:
    return drew(name, *(region("bin", *q) for q in quads.tolist()), sample=f"s{sample:03d}", number=number)


def test_who_draws_loose_and_who_draws_tight() -> None:
    planted: Habits = [NONE] * 5 + [(0.06, 0.06, 0.06, 0.06), (-0.05, -0.05, -0.05, -0.05)]
    got = edges(of_annotations(hands(planted, 0.03, samples=200)))
    assert got.bias == pytest.approx(np.array(planted), abs=0.012)
    assert got.spread == pytest.approx(0.03 * np.sqrt(1 + 0.5), abs=0.012)
    assert got.area[:5] == pytest.approx(1.0, abs=0.03)
    assert got.area[5] == pytest.approx(1.12**2, abs=0.04)
    assert got.area[6] == pytest.approx(0.9**2, abs=0.04)
    assert got.boxes.sum() == 200 * 4 * 5


def test_a_shift_is_no_looseness() -> None:
    planted: Habits = [NONE] * 4 + [(-0.05, 0.0, 0.05, 0.0)]
    got = edges(of_annotations(hands(planted, 0.02, samples=100)))
    assert got.bias[4] == pytest.approx([-0.05, 0.0, 0.05, 0.0], abs=0.01)
    assert got.area[4] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("people", [3, 4, 5])
def test_one_loose_person_does_not_make_the_others_tight(people: int) -> None:
    planted: Habits = [NONE] * (people - 1) + [(0.08, 0.08, 0.08, 0.08)]
    got = edges(of_annotations(hands(planted, 0.001, people=people)))
    assert got.bias == pytest.approx(np.array(planted), abs=0.01)


def test_a_habit_of_all_shows_against_ground_truth_only() -> None:
    planted: Habits = [(0.05, 0.05, 0.05, 0.05)] * 4
    given_ = hands(planted, 0.01, truth=True)
    assert edges(of_annotations(given_)).bias == pytest.approx(0.0, abs=0.004)
    said = beside(sheet(given_))
    assert said.annotators[-1] == GOLD
    got = edges(study(said), against=GOLD)
    assert got.bias[:4] == pytest.approx(0.05, abs=0.004)
    assert got.area[:4] == pytest.approx(1.1**2, abs=0.01)
    assert got.spread[:4] == pytest.approx(0.01, abs=0.003)
    assert np.isnan(got.bias[4]).all()
    assert np.isnan(got.spread[4]).all()
    assert np.isnan(got.area[4])
    assert got.boxes.tolist() == [300, 300, 300, 300, 0]


def test_two_people_are_enough_against_one_of_them() -> None:
    given_ = [
        drew("a", region("x", 0.2, 0.2, 0.4, 0.6)),
        drew("b", region("x", 0.18, 0.2, 0.4, 0.5), number=2),
    ]
    got = edges(of_annotations(given_), against="a")
    assert got.bias[1] == pytest.approx([0.1, 0.0, 0.0, -0.25])
    assert got.area[1] == pytest.approx(0.22 * 0.3 / 0.08)
    assert got.boxes.tolist() == [0, 1]
    assert np.isnan(edges(of_annotations(given_)).bias).all()


@pytest.mark.parametrize(
    "given_",
    [
        [],
        [drew("a", region("x", 0, 0, 0.5, 0.5))],
        [drew(f"p{k}", region("x", 0, 0, 0.5, 0.5, 30.0), number=k) for k in range(4)],
        [drew("a", region("x", 0, 0, 0.5, 0.5)), drew("b"), drew("c", number=3)],
    ],
)
def test_without_three_upright_boxes_nothing_is_known(given_: list[Annotation]) -> None:
    got = edges(of_annotations(given_))
    people = len({a.annotator for a in given_})
    assert got.bias.shape == got.spread.shape == (people, 4)
    assert all(np.isnan(column).all() for column in (got.bias, got.spread, got.area))
    assert got.boxes.tolist() == [0] * people


def slowly(study: Study) -> dict[str, tuple[list[float], list[float], float, int]]:
    """Bias, spread, area ratio and boxes by annotator, with nothing but `statistics.median`."""
    marks = study.marks
    objects: dict[int, dict[int, list[float]]] = {}
    for k, person in enumerate(marks.annotator.tolist()):
        objects.setdefault(int(study.objects[k]), {})[person] = marks.boxes[k].tolist()
    drawn = [boxes for boxes in objects.values() if len(boxes) > 2]
    count = {p: sum(p in boxes for boxes in drawn) for p in range(len(marks.annotators))}

    def measured(freed: list[dict[int, list[float]]]) -> dict[int, list[tuple[list[float], float]]]:
        out: dict[int, list[tuple[list[float], float]]] = {p: [] for p in count}
        for boxes, others in zip(drawn, freed, strict=True):
            for p, box in boxes.items():
                x1, y1, x2, y2 = (
                    statistics.median(others[q][e] for q in boxes if q != p) for e in range(4)
                )
                w, h = x2 - x1, y2 - y1
                off = [(x1 - box[0]) / w, (y1 - box[1]) / h, (box[2] - x2) / w, (box[3] - y2) / h]
                out[p].append((off, (box[2] - box[0]) * (box[3] - box[1]) / (w * h)))
        return out

    raw = {
        p: [statistics.median(off[e] for off, _ in rows) if rows else 0.0 for e in range(4)]
        for p, rows in measured(drawn).items()
    }
    voices = [p for p in count for _ in range(count[p])]
    centre = [statistics.median_low([raw[p][e] for p in voices] or [0.0]) for e in range(4)]
    habit = {p: [STEP * (raw[p][e] - centre[e]) for e in range(4)] for p in count}

    def free(box: list[float], bias: list[float]) -> list[float]:
        h = [max(-MOST, min(MOST, b)) for b in bias]
        w, t = (box[2] - box[0]) / (1 + h[0] + h[2]), (box[3] - box[1]) / (1 + h[1] + h[3])
        return [box[0] + h[0] * w, box[1] + h[1] * t, box[2] - h[2] * w, box[3] - h[3] * t]

    final = measured([{p: free(box, habit[p]) for p, box in boxes.items()} for boxes in drawn])
    answer = {}
    for p, rows in final.items():
        if rows:
            bias = [statistics.median(off[e] for off, _ in rows) for e in range(4)]
            spread = [MAD * statistics.median(abs(off[e] - bias[e]) for off, _ in rows) for e in range(4)]
            area = statistics.median(ratio for _, ratio in rows)
            answer[marks.annotators[p]] = (bias, spread, area, len(rows))
    return answer


@given(st.lists(answers(people=4), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_against_medians_one_by_one(scenes: list[list[Annotation]]) -> None:
    study = of_annotations([replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene])
    got, expected = edges(study), slowly(study)
    for k, name in enumerate(study.marks.annotators):
        if name in expected:
            bias, spread, area, boxes = expected[name]
            assert got.bias[k] == pytest.approx(bias, abs=1e-9)
            assert got.spread[k] == pytest.approx(spread, abs=1e-9)
            assert got.area[k] == pytest.approx(area, abs=1e-9)
            assert got.boxes[k] == boxes
        else:
            assert got.boxes[k] == 0
            assert np.isnan(got.bias[k]).all()


def test_jittered_hands_against_medians_one_by_one() -> None:
    study = of_annotations(hands([(0.02, 0.0, -0.03, 0.01)] * 2 + [NONE] * 5, 0.04, 12, people=6))
    got, expected = edges(study), slowly(study)
    assert got.bias == pytest.approx(np.array([row[0] for row in expected.values()]), abs=1e-9)
    assert got.spread == pytest.approx(np.array([row[1] for row in expected.values()]), abs=1e-9)


def test_identical_boxes_have_no_habit() -> None:
    got = edges(of_annotations(hands([NONE] * 5, 0.0, samples=5)))
    assert (got.bias == 0).all()
    assert (got.spread == 0).all()
    assert got.area.tolist() == [1.0] * 5


@given(st.permutations(range(5)), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_names_and_order_mean_nothing(names: list[int], seed: int) -> None:
    given_ = hands([(0.03 * k, 0, 0, 0) for k in range(5)], 0.02, samples=4, seed=seed)
    swap = {f"p{k}": f"p{name}" for k, name in enumerate(names)}
    renamed = [replace(a, annotator=swap[a.annotator], regions=a.regions[::-1]) for a in given_[::-1]]
    one, other = of_annotations(given_), of_annotations(renamed)
    row = [other.marks.annotators.index(swap[name]) for name in one.marks.annotators]
    before, after = edges(one), edges(other)
    for field in Edges.__slots__:
        assert np.array_equal(getattr(after, field)[row], getattr(before, field), equal_nan=True)


def test_the_place_and_size_of_objects_mean_nothing() -> None:
    given_ = hands([(0.05, 0, 0, 0), *[NONE] * 4], 0.02, samples=10)
    elsewhere = [
        replace(
            a,
            regions=tuple(
                region("bin", 0.1 + b.x1 / 2, 0.3 + b.y1 / 4, 0.1 + b.x2 / 2, 0.3 + b.y2 / 4)
                for b in (r.box for r in a.regions)
            ),
        )
        for a in given_
    ]
    one, other = edges(of_annotations(given_)), edges(of_annotations(elsewhere))
    assert other.bias == pytest.approx(one.bias, abs=1e-9)
    assert other.spread == pytest.approx(one.spread, abs=1e-9)


def test_an_unknown_reference_is_named() -> None:
    with pytest.raises(BadInput, match=r"against must be one of the annotators \['a'\], but got 'b'"):
        edges(of_annotations([drew("a")]), against="b")


biases = st.lists(st.floats(-2, 2), min_size=4, max_size=4)
quads = st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0.01, 0.5), st.floats(0.01, 0.5)).map(
    lambda q: [q[0], q[1], q[0] + q[2], q[1] + q[3]]
)


@given(quads, biases)
@settings(deadline=None)
def test_what_a_habit_added_is_taken_back(quad: list[float], bias: list[float]) -> None:
    real, own = np.array([quad]), np.clip(bias, -0.4, 0.4)
    drawn = real + np.array([-1, -1, 1, 1]) * own * np.tile(real[:, 2:] - real[:, :2], 2)
    who = np.zeros(1, dtype=np.intp)
    assert corrected(drawn, own[None], who) == pytest.approx(real, abs=1e-12)
    assert corrected(real, np.zeros((1, 4)), who).tolist() == real.tolist()
    x1, y1, x2, y2 = corrected(real, np.array([bias]), who)[0]
    assert x1 < x2
    assert y1 < y2


Member = tuple[list[float], float, float]


@given(
    st.lists(st.tuples(quads, st.floats(0.01, 1), st.floats(0.01, 1)), min_size=1, max_size=6), st.data()
)
def test_the_mean_of_boxes(members: list[Member], data: st.DataObject) -> None:
    def mean(rows: list[Member]) -> list[float]:
        boxes, spread = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
        return [float(edge) for edge in mean_edges(boxes.T[:, None], spread.T[:, None])[:, 0]]

    got = mean(members)
    assert mean(data.draw(st.permutations(members))) == got
    for edge in range(4):
        values = [row[0][edge] for row in members]
        assert min(values) <= got[edge] <= max(values)
    assert got[0] < got[2]
    assert got[1] < got[3]


def test_steady_hands_weigh_more_and_slips_do_not() -> None:
    boxes = np.array([[0.10, 0.12, 0.30], [0, 0, 0], [1.1, 1.1, 1.1], [1, 1, 1]])[:, None]
    spread = np.array([[0.02, 0.04, 0.04], [1, 1, 1]])[:, None]
    near = 0.12 + 2 * 0.04 * 0.98  # as far as the slip at 0.30 may pull
    assert mean_edges(boxes, spread)[0, 0] == pytest.approx((4 * 0.10 + 0.12 + near) / 6)
    assert mean_edges(boxes, np.full((2, 1, 3), 9.0))[:, 0] == pytest.approx(boxes[:, 0].mean(axis=1))


@given(st.lists(st.integers(0, 6), max_size=20))
@settings(deadline=None)
def test_groups_by_size(group: list[int]) -> None:
    blocks = list(by_size(np.array(group, dtype=np.intp)))
    assert len({b.shape[1] for b in blocks}) == len(blocks)
    rows = [sorted(row) for block in blocks for row in block.tolist()]
    expected = [[k for k, g in enumerate(group) if g == name] for name in set(group)]
    assert sorted(rows) == sorted(expected)
