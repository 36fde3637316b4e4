"""Real boxes of 196 workers on 200 images, with gold boxes: what another implementation found in them.

Data: github.com/Praznat/annotationmodeling (BSD-3), where present. One class, two to nine workers an
image, who draw two thirds of what is there.
"""

from __future__ import annotations

import ast
import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consensus.agreement import consensus_score, count_pairs
from consensus.alpha import alphas
from consensus.compatible import label_studio_iou
from consensus.fusion import fuse_all
from consensus.labels import by_label, confusion
from consensus.study import Study, of_annotations
from pool.schema import Annotation, Region
from tests.consensus.scenes import drew, region
from tests.consensus.test_compatible import published

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "crowdboxes"
SIDE = 1024
"""Pixels of an image's longer side; no box reaches further."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the crowd's boxes are not at hand")

Points = tuple[tuple[float, float], tuple[float, float]]


def regions(boxes: Iterable[Points]) -> list[Region]:
    return [region("object", *(edge / SIDE for edge in (*low, *high))) for low, high in boxes]


@pytest.fixture(scope="module")
def crowd() -> list[Annotation]:
    with (FOLDER / "boundingbox_data.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [
        drew(r["uid"], *regions(ast.literal_eval(r["annotation"])), sample=r["item"], number=k + 1)
        for k, r in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def gold() -> dict[str, Annotation]:
    items = json.loads((FOLDER / "boundingbox_gold.json").read_text())
    return {
        item: drew("gold", *regions(ast.literal_eval(box) for box in boxes), sample=item)
        for item, boxes in items.items()
    }


def against(gold: dict[str, Annotation], drawn: Sequence[Annotation]) -> tuple[float, float, float, float]:
    """Precision, recall, F1 and mean IoU of annotations, each against the gold of its image."""
    pairs = [
        replace(a, annotator=who, sample=str(k))
        for k, one in enumerate(drawn)
        for who, a in (("drawn", one), ("gold", gold[one.sample]))
    ]
    study = of_annotations(pairs)
    found = count_pairs(study.marks, study.objects)
    hits, ours, theirs = found.matched.sum(), found.first_drew.sum(), found.second_drew.sum()
    return hits / ours, hits / theirs, 2 * hits / (ours + theirs), found.overlap.sum() / hits


def fused(crowd: Sequence[Annotation], quorum: float, tau: float = 0.5) -> list[Annotation]:
    return [drew("all", *c.regions, sample=c.sample) for c in fuse_all(crowd, quorum, tau).values()]


def two_or_more(crowd: Sequence[Annotation]) -> list[Annotation]:
    """A quorum is a share of those who answered; "two" is another share for each number of people."""
    people = Counter(a.sample for a in crowd)
    out = []
    for n in sorted(set(people.values())):
        out += fused([a for a in crowd if people[a.sample] == n], (n - 2) / n)
    return out


def f1(study: Study) -> float:
    pairs = count_pairs(study.marks, study.objects)
    return float(2 * pairs.matched.sum() / (pairs.first_drew + pairs.second_drew).sum())


def test_the_table_is_all_there(crowd: list[Annotation], gold: dict[str, Annotation]) -> None:
    study = of_annotations(crowd)
    assert (len(study.marks.answered), len(study.marks.row)) == (1723, 7533)
    assert (len(study.marks.samples), len(study.marks.annotators)) == (200, 196)
    assert sorted(gold) == list(study.marks.samples)
    assert sum(len(a.regions) for a in gold.values()) == 1308


@pytest.mark.parametrize(
    ("tau", "alpha", "pair_f1", "score"),
    [
        (0.25, 0.444, 0.731, 0.314),
        (0.5, 0.435, 0.676, 0.264),
        (0.75, 0.235, 0.427, 0.100),
        (0.9, -0.027, 0.122, 0.024),
    ],
)
def test_agreement(crowd: list[Annotation], tau: float, alpha: float, pair_f1: float, score: float) -> None:
    study = of_annotations(crowd, tau=tau)
    assert f1(study) == pytest.approx(pair_f1, abs=0.0005)
    assert np.mean(consensus_score(study.votes)) == pytest.approx(score, abs=0.0005)
    assert alphas(study).exist == pytest.approx(alpha, abs=0.0005)


def test_one_label_is_the_whole(crowd: list[Annotation]) -> None:
    study = of_annotations(crowd)
    (figures,) = by_label(study)
    assert (figures.label, figures.boxes, figures.objects) == ("object", 7533, len(study.votes.sample))
    assert figures.f1 == pytest.approx(f1(study), abs=1e-12)
    assert figures.alpha == pytest.approx(alphas(study).joint, abs=1e-12)  # no image was left empty by all
    assert confusion(study).counts[:, 0].sum() == 7533


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        (0.25, (0.946, 0.607, 0.740, 0.825)),
        (0.5, (0.959, 0.578, 0.721, 0.828)),
        (0.75, (0.977, 0.389, 0.557, 0.866)),
        (0.9, (0.986, 0.109, 0.196, 0.914)),
    ],
)
def test_what_more_than_half_drew(
    crowd: list[Annotation], gold: dict[str, Annotation], tau: float, expected: tuple[float, ...]
) -> None:
    """Of nine people four may miss it and of eight three, which any quorum from 4/9 to below 1/2 says."""
    assert against(gold, fused(crowd, 0.49, tau)) == pytest.approx(expected, abs=0.0005)


@pytest.mark.parametrize(("quorum", "expected"), [(1.0, 0.644), (0.75, 0.782), (0.5, 0.726)])
def test_quorums(
    crowd: list[Annotation], gold: dict[str, Annotation], quorum: float, expected: float
) -> None:
    assert against(gold, fused(crowd, quorum))[2] == pytest.approx(expected, abs=0.0005)


def test_two_votes_beat_the_majority_and_both_beat_a_single_worker(
    crowd: list[Annotation], gold: dict[str, Annotation]
) -> None:
    assert against(gold, crowd)[2] == pytest.approx(0.624, abs=0.0005)
    assert against(gold, two_or_more(crowd))[2] == pytest.approx(0.797, abs=0.0005)
    # With nine people nearly everywhere, one quorum says nearly the same.
    assert against(gold, fused(crowd, 7 / 9))[2] == pytest.approx(0.797, abs=0.0005)


def test_label_studios_figure_by_its_published_formula(crowd: list[Annotation]) -> None:
    study = of_annotations(crowd)
    by_sample: dict[str, list[Annotation]] = {}
    for a in crowd:
        by_sample.setdefault(a.sample, []).append(a)
    expected = [published(by_sample[sample]) for sample in study.marks.samples]
    assert label_studio_iou(study) == pytest.approx(expected, abs=1e-9)
