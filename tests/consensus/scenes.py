"""Annotations written short, and random scenes for the properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import strategies as st

from pool.schema import Annotation, Box, Region

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

Quad = tuple[float, float, float, float]


def region(label: str | None, x1: float, y1: float, x2: float, y2: float, turn: float = 0.0) -> Region:
    return Region(label, Box(x1, y1, x2, y2, turn))


def drew(
    annotator: str,
    *regions: Region,
    sample: str = "s",
    number: int = 1,
    minute: int = 0,
    skipped: bool = False,
    ground_truth: bool = False,
) -> Annotation:
    at = NOON + timedelta(minutes=minute)
    return Annotation(
        number, 1, 1, sample, annotator, regions, at, at, skipped=skipped, ground_truth=ground_truth
    )


@st.composite
def columns(draw: st.DrawFn, most: int = 14) -> tuple[list[Quad], list[str | None], list[int], list[int]]:
    """Boxes, labels, annotators and tasks; on a coarse grid, so that ties and duplicates are common."""
    n = draw(st.integers(0, most))
    boxes, labels, annotators, tasks = [], [], [], []
    for _ in range(n):
        x, y = draw(st.integers(0, 6)), draw(st.integers(0, 6))
        w, h = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        boxes.append((x / 16, y / 16, (x + w) / 16, (y + h) / 16))
        labels.append(draw(st.sampled_from(["bin", "garbage", "袋", None])))
        annotators.append(draw(st.integers(0, 3)))
        tasks.append(draw(st.integers(0, 1)))
    return boxes, labels, annotators, tasks


@st.composite
def answers(draw: st.DrawFn, people: int = 4) -> list[Annotation]:
    """What one to four people drew on one sample, objects shared more often than not."""
    objects = draw(columns(6))
    count = draw(st.integers(1, people))
    given = []
    for k in range(count):
        regions = []
        for quad, label in zip(objects[0], objects[1], strict=True):
            if draw(st.integers(0, 4)) == 0:
                continue
            shift = draw(st.sampled_from([0.0, 0.0, 1 / 64, -1 / 64]))
            name = draw(st.sampled_from([label, label, label, "bin"]))
            regions.append(region(name, quad[0] + shift, quad[1], quad[2] + shift, quad[3]))
        given.append(drew(f"person {k}", *regions, number=k + 1))
    return given


def shuffled(data: st.DataObject, given: Sequence[Annotation]) -> list[Annotation]:
    """The same answers of `answers` in another order, by people of other names, boxes in another order."""
    names = data.draw(st.permutations(["person 0", "person 1", "person 2", "person 3"]))
    return [
        replace(
            a, annotator=names[int(a.annotator[-1])], regions=tuple(data.draw(st.permutations(a.regions)))
        )
        for a in data.draw(st.permutations(given))
    ]


def naive_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU of two upright boxes, one number at a time."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = wide * high
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def crowd(rng: np.random.Generator, objects: int, people: int, jitter: float) -> list[Annotation]:
    """A scene of boxes drawn by several people with a loose hand."""
    corner = rng.random((objects, 2)) * 0.8
    size = 0.05 + rng.random((objects, 2)) * 0.15
    labels = rng.integers(0, 3, objects)
    given = []
    for person in range(people):
        regions = []
        for k in range(objects):
            if rng.random() < 0.1:
                continue
            quad = np.concatenate([corner[k], corner[k] + size[k]]) + rng.normal(0, jitter, 4) * np.tile(
                size[k], 2
            )
            label = int(labels[k]) if rng.random() < 0.9 else int(rng.integers(3))
            regions.append(region("abc"[label], *np.clip(quad, 0, 1).tolist()))
        given.append(drew(f"p{person}", *regions, number=person + 1))
    return given
