"""The clustering against a slow second one, and what no renaming or reordering may change."""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import matching
from consensus.matching import cluster, cross_pairs
from pool.schema import BadInput
from tests.consensus.scenes import Quad, columns, crowd, naive_iou

Scene = tuple[list[Quad], list[str | None], list[int], list[int]]
Member = tuple[int, int, Quad, str | None]


def groups(scene: Scene, ids: Sequence[int]) -> Counter[tuple[Member, ...]]:
    """The objects, each as its sorted members, however they are numbered."""
    members: dict[int, list[Member]] = defaultdict(list)
    for k, (quad, label, annotator, task) in zip(ids, zip(*scene, strict=True), strict=True):
        members[k].append((task, annotator, quad, label))
    return Counter(tuple(sorted(group, key=repr)) for group in members.values())


def run(scene: Scene, tau: float = 0.5, bonus: float = 0.2) -> list[int]:
    boxes, labels, annotators, tasks = scene
    return [int(k) for k in cluster(boxes, labels, annotators, tau, bonus, tasks=tasks)]


def naive(scene: Scene, tau: float = 0.5, bonus: float = 0.2) -> list[int]:
    """Every link of every task, one by one, strongest first; no parts, no masks, no arrays."""
    boxes, labels, annotators, tasks = scene
    copies: Counter[object] = Counter()
    looks = []
    for quad, label, annotator, task in zip(*scene, strict=True):
        copies[quad, label, annotator, task] += 1
        looks.append((quad, label is None, str(label), copies[quad, label, annotator, task]))
    links = []
    for i, j in itertools.combinations(range(len(boxes)), 2):
        if tasks[i] != tasks[j] or annotators[i] == annotators[j]:
            continue
        iou = round(naive_iou(boxes[i], boxes[j]), 12)
        if iou >= tau:
            low, high = sorted([looks[i], looks[j]])
            weight = iou + (bonus if labels[i] == labels[j] else 0.0)
            links.append((low != high, -weight, low, high, i, j))
    group = list(range(len(boxes)))
    for *_, i, j in sorted(links):
        a = [k for k, g in enumerate(group) if g == group[i]]
        b = [k for k, g in enumerate(group) if g == group[j]]
        if group[i] != group[j] and not {annotators[k] for k in a} & {annotators[k] for k in b}:
            for k in b:
                group[k] = group[i]
    return group


@given(columns(), st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]), st.sampled_from([0.0, 0.2, 1.0]))
@settings(max_examples=200)
def test_like_the_slow_one(scene: Scene, tau: float, bonus: float) -> None:
    assert groups(scene, run(scene, tau, bonus)) == groups(scene, naive(scene, tau, bonus))


@pytest.mark.parametrize("seed", range(4))
def test_like_the_slow_one_in_a_crowd(seed: int) -> None:
    given_ = crowd(np.random.default_rng(seed), objects=40, people=5, jitter=0.08)
    rows = [(r, a.annotator) for a in given_ for r in a.regions]
    boxes: list[Quad] = [(r.box.x1, r.box.y1, r.box.x2, r.box.y2) for r, _ in rows]
    scene: Scene = (boxes, [r.label for r, _ in rows], [int(who[1:]) for _, who in rows], [0] * len(rows))
    assert groups(scene, run(scene, tau=0.3)) == groups(scene, naive(scene, tau=0.3))


@given(columns())
@settings(max_examples=50)
def test_nobody_is_in_an_object_twice_and_no_object_on_two_images(scene: Scene) -> None:
    for group in groups(scene, run(scene)):
        assert len({annotator for _, annotator, _, _ in group}) == len(group)
        assert len({task for task, _, _, _ in group}) == 1


@given(columns(), st.data())
@settings(max_examples=50)
def test_order_and_names_mean_nothing(scene: Scene, data: st.DataObject) -> None:
    expected = groups(scene, run(scene))
    order = data.draw(st.permutations(range(len(scene[0]))))
    boxes, labels, annotators, tasks = scene
    shuffled: Scene = (
        [boxes[k] for k in order],
        [labels[k] for k in order],
        [annotators[k] for k in order],
        [tasks[k] for k in order],
    )
    assert groups(shuffled, run(shuffled)) == expected

    names = data.draw(st.permutations(["zoe", "王", "Ann", "b"]))
    ids = cluster(boxes, labels, [names[a] for a in annotators], tasks=[f"task {9 - t}" for t in tasks])
    assert groups(scene, ids.tolist()) == expected


@given(columns(), st.sampled_from([0.25, 2.0, 1024.0]), st.integers(-8, 8), st.integers(-8, 8))
@settings(max_examples=50)
def test_place_and_size_mean_nothing(scene: Scene, scale: float, right: int, down: int) -> None:
    boxes, labels, annotators, tasks = scene
    moved = np.array(boxes).reshape(-1, 4) * scale + (right, down, right, down)
    ids = cluster(moved, labels, annotators, tasks=tasks)
    assert groups(scene, ids.tolist()) == groups(scene, run(scene))


@given(columns())
@settings(max_examples=50)
def test_many_tasks_at_once_are_each_alone(scene: Scene) -> None:
    together = groups(scene, run(scene))
    apart: Counter[tuple[Member, ...]] = Counter()
    for task in set(scene[3]):
        keep = [k for k, t in enumerate(scene[3]) if t == task]
        boxes, labels, annotators, tasks = scene
        one: Scene = (
            [boxes[k] for k in keep],
            [labels[k] for k in keep],
            [annotators[k] for k in keep],
            [tasks[k] for k in keep],
        )
        apart += groups(one, run(one))
    assert together == apart


@given(columns())
@settings(max_examples=50)
def test_identical_people_are_matched_box_by_box(scene: Scene) -> None:
    boxes, labels, _, tasks = scene
    n = len(boxes)
    ids = cluster(boxes * 3, labels * 3, [0] * n + [1] * n + [2] * n, tasks=tasks * 3)
    assert sorted(Counter(ids.tolist()).values()) == [3] * n
    assert all((np.array((boxes * 3)[k]) == boxes[k % n]).all() for k in range(3 * n))


@given(columns())
@settings(max_examples=50)
def test_numbers_run_from_0_in_order_of_appearance(scene: Scene) -> None:
    ids = run(scene)
    assert list(dict.fromkeys(ids)) == list(range(len(set(ids))))


def test_a_shared_label_decides_between_boxes_that_compete() -> None:
    # One person drew two boxes over each other, the other one box a little nearer to the wrong one.
    boxes = [(0.0, 0.0, 10.0, 10.0), (2.0, 0.0, 12.0, 10.0), (0.9, 0.0, 10.9, 10.0)]
    labels, people = ["bin", "garbage", "garbage"], ["a", "a", "b"]
    assert cluster(boxes, labels, people).tolist() == [0, 1, 1]
    assert cluster(boxes, labels, people, bonus=0.0).tolist() == [0, 1, 0]


def test_a_chain_is_one_object_while_nobody_is_in_it_twice() -> None:
    boxes = [(0.0, 0.0, 10.0, 10.0), (3.0, 0.0, 13.0, 10.0), (6.0, 0.0, 16.0, 10.0)]
    assert cluster(boxes, ["x"] * 3, ["a", "b", "c"]).tolist() == [0, 0, 0]
    assert len(set(cluster(boxes, ["x"] * 3, ["a", "b", "a"]).tolist())) == 2


def test_what_is_no_box_is_of_no_object() -> None:
    nan, inf = float("nan"), float("inf")
    boxes = [
        (0, 0, 1, 1), (0, 0, 0, 1), (0, 0, 1, 0), (1, 1, 0, 0), (0, 0, nan, 1), (0, 0, inf, 1),
        (0, 0, 1e-200, 1e-200), (0, 0, 1, 1),
    ]  # fmt: skip
    ids = cluster(boxes, ["x"] * 8, list("abcdefgh"), turns=[0.0] * 8)
    assert ids.tolist() == [0, -1, -1, -1, -1, -1, -1, 0]
    assert cluster(boxes[:1] * 2, ["x"] * 2, list("ab"), turns=[nan, 0.0]).tolist() == [-1, 0]


def test_turned_boxes_meet_as_polygons() -> None:
    square, swung = (0.0, 0.0, 1.0, 1.0), (1.0, 0.0, 2.0, 1.0)  # the second turns onto the first
    assert cluster([square, swung], ["x", "x"], ["a", "b"]).tolist() == [0, 1]
    assert cluster([square, swung], ["x", "x"], ["a", "b"], turns=[0.0, 90.0]).tolist() == [0, 0]
    thin = (0.5, 0.0, 1.0, 0.25)
    place = (0.0, 0.0, 0.5, 0.25)
    for aspect, expected in ((0.5, [0, 0]), (1.0, [0, 1])):
        ids = cluster([thin, place], ["x", "x"], ["a", "b"], turns=[90.0, 0.0], aspects=[aspect] * 2)
        assert ids.tolist() == expected


def test_more_people_than_bits_in_a_word() -> None:
    people = [f"p{k}" for k in range(200)]
    ids = cluster([(0.0, 0.0, 1.0, 1.0)] * 400, ["x"] * 400, people * 2)
    assert sorted(Counter(ids.tolist()).values()) == [200, 200]


def test_nothing_gives_nothing() -> None:
    assert cluster([], [], []).shape == (0,)
    assert cluster(np.zeros((0, 4)), np.zeros(0, dtype=np.intp), np.zeros(0)).tolist() == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20),
    st.sampled_from([1, 2, 7, 10_000]),
)
def test_cross_pairs_are_all_there_in_any_block_size(rows: list[tuple[int, int]], block: int) -> None:
    group, person = (np.array([r[k] for r in rows], dtype=np.intp) for k in (0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "PAIRS_AT_ONCE", block)
        found = [
            pair for i, j in cross_pairs(group, person) for pair in zip(i.tolist(), j.tolist(), strict=True)
        ]
    expected = {
        (i, j) for i, a in enumerate(rows) for j, b in enumerate(rows) if a[0] == b[0] and a[1] < b[1]
    }
    assert len(found) == len(expected)
    assert set(found) == expected


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"tau": 0.0}, "tau must be above 0 and at most 1, but got 0.0"),
        ({"tau": float("nan")}, "tau"),
        ({"bonus": -0.1}, "bonus must be 0 or more"),
        ({"labels": ["x"]}, r"label must be of shape \(2,\)"),
        ({"annotators": ["a", "b", "c"]}, "person"),
        ({"tasks": [1]}, "task"),
        ({"turns": [0.0]}, "turn"),
        ({"aspects": [[1.0], [1.0]]}, "aspect"),
        ({"boxes": [[1, 2, 3]]}, "boxes"),
    ],
)
def test_wrong_input_is_named(change: dict[str, object], text: str) -> None:
    good: dict[str, object] = {"boxes": [(0, 0, 1, 1)] * 2, "labels": ["x", "x"], "annotators": ["a", "b"]}
    with pytest.raises(BadInput, match=text):
        cluster(**{**good, **change})  # type: ignore[arg-type]


def test_a_thousand_tasks_take_a_moment() -> None:
    rng = np.random.default_rng(0)
    people, objects = 4, 8_000
    corner, size = rng.random((objects, 2)) * 0.8, 0.05 + rng.random((objects, 2)) * 0.15
    boxes = np.tile(np.hstack([corner, corner + size]), (people, 1))
    boxes += rng.normal(0, 0.004, boxes.shape)
    tasks = np.tile(rng.integers(0, 1000, objects), people)
    labels = np.tile(rng.integers(0, 3, objects), people)
    who = np.repeat(np.arange(people), objects)
    before = time.process_time()
    ids = cluster(boxes, labels, who, tasks=tasks)
    assert time.process_time() - before < 1.0
    assert 0.9 * objects < ids.max() < 1.3 * objects
