"""Pairs of rows that have something to do with each other, found without trying all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from consensus.matching import PAIRS_AT_ONCE
from consensus.overlap import hulls, pair_iou
from consensus.sheet import Floats, Ints
from consensus.study import Study


def product(left: Ints, right: Ints) -> Iterator[tuple[Ints, Ints]]:
    """All rows i of ``left`` and j of ``right`` that hold the same number, in blocks."""
    order = np.argsort(right, kind="stable")
    start = np.searchsorted(right, left, "left", sorter=order)
    count = np.searchsorted(right, left, "right", sorter=order) - start
    total = np.cumsum(count)
    low = 0
    while low < len(left):
        done = total[low - 1] if low else 0
        high = max(int(np.searchsorted(total, done + PAIRS_AT_ONCE, side="right")), low + 1)
        some = count[low:high]
        i = np.repeat(np.arange(low, high), some)
        offset = np.arange(len(i)) - np.repeat(np.cumsum(some) - some, some)
        yield i, order[start[i] + offset]
        low = high


def meeting(boxes: Floats, group: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of upright boxes, (n, 4), of one group that have an area in common, each once, in blocks."""
    left, top, right, bottom = boxes.T.copy()
    order = np.lexsort((left, group))
    place = group[order]
    start: Ints = np.arange(len(order))
    step = 0
    while start.size:  # from each box to the right, until the next one begins beyond its right edge
        step += 1
        start = start[: np.searchsorted(start, len(order) - step)]
        start = start[place[start] == place[start + step]]
        start = start[left[order[start + step]] < right[order[start]]]
        i, j = order[start], order[start + step]
        meet = (top[i] < bottom[j]) & (top[j] < bottom[i])
        yield i[meet], j[meet]


def own_pairs(study: Study, least: float) -> tuple[Ints, Ints, Floats]:
    """Pairs of boxes of one person on one image with an IoU of ``least`` or more, above 0, and that IoU.

    The first two columns are rows of the marks; each pair is there once.
    """
    marks = study.marks
    none: Ints = np.zeros(0, dtype=np.intp)
    found: list[tuple[Ints, Ints, Floats]] = [(none, none, np.zeros(0))]
    for i, j in meeting(hulls(marks.boxes, marks.turn, marks.aspect), marks.place):
        iou = pair_iou(marks.boxes[i], marks.boxes[j], marks.turn[i], marks.turn[j], marks.aspect[i])
        near = (iou >= least) & (iou > 0.0)
        found.append((i[near], j[near], iou[near]))
    first, second, overlap = (np.concatenate(column) for column in zip(*found, strict=True))
    return first, second, overlap


def intersection(iou: Floats, one: Floats, other: Floats) -> Floats:
    """Common area of two shapes, from their IoU and their own areas."""
    return np.asarray(iou * (one + other) / (1.0 + iou))
