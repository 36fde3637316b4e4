"""Other people's implementations on the same scenes."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from kalos.correspondence.correspondence_algorithms import (
    COST_FUNCTIONS,
    THRESHOLD_FUNCTIONS,
    match_greedy,
    precompute_pairwise_scores,
)
from kalos.iaa.core import calculate_class_difficulty
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment

from consensus.agreement import Pairs, count_pairs
from consensus.labels import by_label
from consensus.matching import cluster
from consensus.study import Study, of_annotations
from pool.schema import Annotation, Region
from tests.consensus.scenes import Quad, crowd, drew, naive_iou, region

BIN = region("bin", 0.0, 0.0, 0.25, 0.25)


def quad(r: Region) -> Quad:
    return r.box.x1, r.box.y1, r.box.x2, r.box.y2


def separated(rng: np.random.Generator, people: int, jitter: float = 0.06) -> list[Annotation]:
    """Objects far enough apart that no box reaches two of them; missed and misnamed ones among them."""
    given: list[list[Region]] = [[] for _ in range(people)]
    for cell in range(36):
        if rng.random() < 0.3:
            continue
        corner = np.array([cell % 6, cell // 6]) / 6 + 0.01
        size = 0.06 + rng.random(2) * 0.04
        label = "abc"[rng.integers(3)]
        for drawn in given:
            if rng.random() < 0.85:
                edges = np.concatenate([corner, corner + size]) + rng.normal(0, jitter, 4) * np.tile(
                    size, 2
                )
                name = label if rng.random() < 0.85 else "abc"[rng.integers(3)]
                drawn.append(region(name, *np.clip(edges, 0, 1).tolist()))
    return [drew(f"p{k}", *drawn, number=k + 1) for k, drawn in enumerate(given)]


def pairs_of(study: Study) -> Pairs:
    return count_pairs(study.marks, study.objects)


# ---- scipy: an optimal assignment


def hungarian(one: Sequence[Region], other: Sequence[Region], tau: float) -> tuple[int, float]:
    """Pairs of one label and enough overlap, as many as can be, and the most overlap of so many."""
    if not one or not other:
        return 0, 0.0
    iou = np.array([[naive_iou(quad(r), quad(s)) for s in other] for r in one])
    same = np.array([[r.label == s.label for s in other] for r in one])
    fits = same & (iou >= tau)
    rows, columns = linear_sum_assignment(np.where(fits, 100.0 + iou, 0.0), maximize=True)
    return int(fits[rows, columns].sum()), float((iou * fits)[rows, columns].sum())


@pytest.mark.parametrize(("tau", "jitter"), [(0.5, 0.12), (0.75, 0.06), (0.9, 0.02)])
def test_separated_pairs_like_an_optimal_assignment(tau: float, jitter: float) -> None:
    rng = np.random.default_rng(round(100 * tau))
    some, drawn = 0, 0
    for _ in range(20):
        one, other = separated(rng, people=2, jitter=jitter)
        pairs = pairs_of(of_annotations([one, other], tau=tau))
        count, overlap = hungarian(one.regions, other.regions, tau)
        assert pairs.matched.tolist() == [count]
        assert pairs.overlap[0] == pytest.approx(overlap, abs=1e-9)
        assert pairs.f1[0] == pytest.approx(2 * count / (len(one.regions) + len(other.regions)), abs=1e-12)
        some, drawn = some + count, drawn + len(one.regions)
    assert 0.3 * drawn < some < 0.7 * drawn


def test_a_separated_crowd_like_optimal_assignments_of_each_two() -> None:
    """Among many a chain may join two who overlap too little; in a tight crowd there is none."""
    rng = np.random.default_rng(4)
    for _ in range(10):
        scene = separated(rng, people=4, jitter=0.02)
        pairs = pairs_of(of_annotations(scene))
        for k, (a, b) in enumerate(itertools.combinations(scene, 2)):
            count, overlap = hungarian(a.regions, b.regions, 0.5)
            assert pairs.matched[k] == count
            assert pairs.overlap[k] == pytest.approx(overlap, abs=1e-9)


# ---- pycocotools: one person as truth, the other as a detector that is sure of everything


def coco_matches(one: Annotation, other: Annotation, tau: float) -> int:
    names = {
        label: k + 1 for k, label in enumerate(sorted({r.label or "" for r in one.regions + other.regions}))
    }

    def rows(annotation: Annotation) -> list[dict[str, object]]:
        return [
            {
                "id": k + 1,
                "image_id": 1,
                "category_id": names[r.label or ""],
                "bbox": [r.box.x1, r.box.y1, r.box.x2 - r.box.x1, r.box.y2 - r.box.y1],
                "area": (r.box.x2 - r.box.x1) * (r.box.y2 - r.box.y1),
                "iscrowd": 0,
                "score": 1.0,
            }
            for k, r in enumerate(annotation.regions)
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        tables = []
        for annotation in (one, other):
            table = COCO()
            table.dataset = {
                "images": [{"id": 1}],
                "categories": [{"id": k} for k in names.values()],
                "annotations": rows(annotation),
            }
            table.createIndex()
            tables.append(table)
        run = COCOeval(*tables, iouType="bbox")
        run.params.iouThrs = np.array([tau])
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e5]], ["all"]
        run.params.maxDets = [1000]
        run.evaluate()
    return sum(int((image["dtMatches"] > 0).sum()) for image in run.evalImgs if image)


def test_separated_matches_like_pycocotools() -> None:
    rng = np.random.default_rng(11)
    some = 0
    for _ in range(20):
        one, other = separated(rng, people=2)
        count = coco_matches(one, other, 0.5)
        assert pairs_of(of_annotations([one, other])).matched.tolist() == [count]
        some += count
    assert some > 200


def test_crowded_matches_nearly_like_pycocotools() -> None:
    """Both are greedy, pycocotools in the order of one person's boxes: now and then a pair differs."""
    rng = np.random.default_rng(12)
    ours, theirs = [], []
    for _ in range(20):
        one, other = crowd(rng, objects=60, people=2, jitter=0.08)
        ours.append(int(pairs_of(of_annotations([one, other])).matched[0]))
        theirs.append(coco_matches(one, other, 0.5))
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 2
    assert abs(sum(ours) - sum(theirs)) <= 0.005 * sum(theirs)


# ---- kalos: clusters of many people, and alpha by label


def kalos_clusters(annotations: Sequence[Annotation], tau: float) -> set[frozenset[int]]:
    """Greedy, a shared category counting as 1: numbers of the boxes that are of one object."""
    by_rater: dict[str, list[dict[str, object]]] = defaultdict(list)
    numbers = itertools.count()
    for a in annotations:
        for r in a.regions:
            x1, y1, x2, y2 = quad(r)
            by_rater[a.annotator].append(
                {
                    "id": next(numbers),
                    "rater_id": a.annotator,
                    "category_id": r.label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
            )
    image = {"annotations_by_rater": dict(by_rater), "rater_list": [a.annotator for a in annotations]}
    scores = precompute_pairwise_scores(image, THRESHOLD_FUNCTIONS["bbox_iou_similarity"], tau)
    found = match_greedy(image, scores, COST_FUNCTIONS["category_lenient"], tau)
    return {frozenset(group) for group in found}


def our_clusters(annotations: Sequence[Annotation], tau: float) -> set[frozenset[int]]:
    rows = [(r, a.annotator) for a in annotations for r in a.regions]
    ids = cluster(
        [quad(r) for r, _ in rows], [r.label for r, _ in rows], [w for _, w in rows], tau, bonus=1.0
    )
    return {frozenset(np.flatnonzero(ids == k).tolist()) for k in np.unique(ids)}


@pytest.mark.parametrize(
    ("objects", "people", "jitter", "tau"), [(8, 4, 0.04, 0.5), (25, 5, 0.06, 0.5), (40, 5, 0.1, 0.3)]
)
def test_clusters_like_kalos(objects: int, people: int, jitter: float, tau: float) -> None:
    rng = np.random.default_rng(objects)
    for _ in range(15):
        scene = crowd(rng, objects, people, jitter)
        assert our_clusters(scene, tau) == kalos_clusters(scene, tau)


def test_those_scenes_have_boxes_that_compete() -> None:
    """Else any way of clustering would give the same."""
    rng = np.random.default_rng(40)
    rows = [(r, a.annotator) for a in crowd(rng, 40, 5, 0.1) for r in a.regions]
    boxes, people = [quad(r) for r, _ in rows], [w for _, w in rows]
    crowded = [
        len(set(cluster(boxes, ["x"] * len(rows), p, 0.3).tolist())) for p in (people, range(len(rows)))
    ]
    assert crowded[0] > crowded[1]


@pytest.mark.parametrize("seed", range(5))
def test_alpha_of_a_label_like_kalos(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = crowd(rng, objects=30, people=4, jitter=0.06)
    study = of_annotations(scene)
    table = np.full((len(study.marks.annotators), len(study.votes.sample)), -1.0)
    table[study.marks.annotator, study.objects] = study.marks.label
    expected = calculate_class_difficulty(table)
    got = {study.marks.labels.index(f.label): f.alpha for f in by_label(study)}
    assert got == pytest.approx({int(k): v for k, v in expected.items()}, abs=1e-12)


# ---- panoptic quality and mean IoU, from their definitions


@pytest.mark.parametrize("seed", range(5))
def test_panoptic_quality_and_iou_by_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = crowd(rng, objects=20, people=4, jitter=0.08)
    study = of_annotations(scene)
    marks, pairs = study.marks, pairs_of(study)
    assert len(pairs.first) == 6
    for k, (a, b) in enumerate(itertools.combinations(range(4), 2)):
        ious, missed, extra = [], 0, 0
        for c in range(len(study.votes.sample)):
            mine = [n for n in np.flatnonzero(study.objects == c) if marks.annotator[n] == a]
            yours = [n for n in np.flatnonzero(study.objects == c) if marks.annotator[n] == b]
            if mine and yours and marks.label[mine[0]] == marks.label[yours[0]]:
                ious.append(naive_iou(marks.boxes[mine[0]], marks.boxes[yours[0]]))
            else:
                missed, extra = missed + len(mine), extra + len(yours)
        assert (pairs.first[k], pairs.second[k], pairs.matched[k]) == (a, b, len(ious))
        assert pairs.iou[k] == pytest.approx(sum(ious) / len(ious), abs=1e-9)
        assert pairs.pq[k] == pytest.approx(sum(ious) / (len(ious) + missed / 2 + extra / 2), abs=1e-9)
        assert pairs.pq[k] == pytest.approx(pairs.f1[k] * pairs.iou[k], abs=1e-12)


def test_panoptic_quality_where_little_was_drawn() -> None:
    both = [pairs_of(of_annotations([drew("a", *x), drew("b", *y)])) for x, y in [((), ()), ((BIN,), ())]]
    assert [p.pq.tolist() for p in both] == [[1.0], [0.0]]
    assert all(math.isnan(p.iou[0]) for p in both)
