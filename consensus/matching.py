"""One clustering of boxes, from which every figure about agreement is made.

Boxes of different people on the same image belong to one object when they overlap enough. Almost
always the boxes linked by such overlaps hold one box per person, and that is the answer. Where a
person has two boxes in reach, the links are taken strongest first, a shared label counting as
``bonus`` of overlap, and two groups join only while no person would be in them twice. What is left
over is an object that one person saw.

The result does not depend on who is called what, nor on the order of boxes or images: equal links
are taken in the order of their coordinates.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from consensus.marks import Marks, usable
from consensus.overlap import hulls, pair_iou
from consensus.sheet import Bools, Floats, Ints
from pool.boxes import area, as_boxes
from pool.schema import BadInput

TAU = 0.5
BONUS = 0.2

SLACK = 1e-9
"""Overlap by which a pair may fall short of tau, by rounding, and still be measured."""

PAIRS_AT_ONCE = 100_000
"""Pairs held in memory together, about 300 bytes each; more of them leave the processor's cache."""


FEW_LINKS = 1_000
"""Links up to which a loop finds the parts sooner than a sparse matrix is made: one image that changed."""


class Columns(NamedTuple):
    """n boxes: ``boxes`` (n, 4), every other column (n,), names as numbers."""

    boxes: Floats
    turn: Floats
    label: Ints
    person: Ints
    task: Ints
    aspect: Floats

    def rows(self, keep: Ints) -> Columns:
        """The same columns of some boxes."""
        return Columns(
            self.boxes[keep], self.turn[keep], self.label[keep],
            self.person[keep], self.task[keep], self.aspect[keep],
        )  # fmt: skip


def cluster(
    boxes: ArrayLike,
    labels: Sequence[Hashable] | NDArray[np.generic],
    annotators: Sequence[Hashable] | NDArray[np.generic],
    tau: float = TAU,
    bonus: float = BONUS,
    *,
    tasks: Sequence[Hashable] | NDArray[np.generic] | None = None,
    turns: ArrayLike | None = None,
    aspects: ArrayLike | None = None,
) -> Ints:
    """Which object each box is of.

    Args:
        boxes: (n, 4) rows ``x1, y1, x2, y2`` in any unit.
        labels: (n,) names or numbers; None is a label of its own.
        annotators: (n,) who drew it.
        tau: least IoU of two boxes of one object, in (0, 1].
        bonus: overlap that a shared label is worth where boxes compete, 0 or more.
        tasks: (n,) which image it is on; all on one by default.
        turns: (n,) rotation in degrees clockwise about the top-left corner; upright by default.
        aspects: (n,) width / height of the image, for turned boxes in normalised coordinates.

    Returns:
        (n,) object numbers from 0, in the order of first appearance, never two boxes of one person
        or of two images in one object; -1 for what is no box (no area, or not finite).

    Raises:
        BadInput: columns of different length, or ``tau`` or ``bonus`` out of range.
    """
    _check(tau, bonus)
    rows = as_boxes(boxes)
    n = len(rows)
    given = Columns(
        boxes=rows,
        turn=np.zeros(n) if turns is None else np.asarray(turns, dtype=np.float64),
        label=_codes(labels),
        person=_codes(annotators),
        task=np.zeros(n, dtype=np.intp) if tasks is None else _codes(tasks),
        aspect=np.ones(n) if aspects is None else np.asarray(aspects, dtype=np.float64),
    )
    for name, column in given._asdict().items():
        if column.shape[0] != n or column.ndim != (2 if name == "boxes" else 1):
            raise BadInput(f"the column of each box's {name}", f"of shape ({n},)", column.shape)
    ids = np.full(n, -1, dtype=np.intp)
    keep = np.flatnonzero(usable(rows, given.turn))
    ids[keep] = _objects(given.rows(keep), tau, bonus)
    return ids


def cluster_marks(marks: Marks, tau: float = TAU, bonus: float = BONUS) -> Ints:
    """`cluster` of all boxes of ``marks``, (n,), none of which is -1."""
    _check(tau, bonus)
    columns = Columns(marks.boxes, marks.turn, marks.label, marks.annotator, marks.sample, marks.aspect)
    return _objects(columns, tau, bonus)


def _check(tau: float, bonus: float) -> None:
    if not 0.0 < tau <= 1.0:
        raise BadInput("tau", "above 0 and at most 1", tau)
    if not 0.0 <= bonus < float("inf"):
        raise BadInput("bonus", "0 or more", bonus)


def cross_pairs(group: Ints, person: Ints) -> Iterator[tuple[Ints, Ints]]:
    """All pairs of rows of one group and of two people, in blocks; ``person[i] < person[j]``."""
    n = len(group)
    if n == 0:
        return
    low = int(person.min())
    # One sort of one number is a third of the time of a sort by two.
    order = np.argsort(group * (int(person.max()) - low + 1) + (person - low), kind="stable")
    g, p = group[order], person[order]
    other_group = g[1:] != g[:-1]
    end_group = _ends(other_group)
    end_person = _ends(other_group | (p[1:] != p[:-1]))
    for i, j in _in_blocks(end_person, end_group):
        yield order[i], order[j]


def _ends(changes: Bools) -> Ints:
    """The end of the run that each row is in; ``changes`` (n - 1,) says where the next one begins."""
    stops = np.concatenate([np.flatnonzero(changes) + 1, [len(changes) + 1]])
    return np.repeat(stops, np.diff(stops, prepend=0))


def _in_blocks(first: Ints, end: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Each row k with all of the rows from ``first[k]`` up to ``end[k]``, so many pairs at once."""
    partners = end - first
    total = np.cumsum(partners)
    n, start = len(partners), 0
    while start < n:
        done = total[start - 1] if start else 0
        stop = max(int(np.searchsorted(total, done + PAIRS_AT_ONCE, side="right")), start + 1)
        count = partners[start:stop]
        i = np.repeat(np.arange(start, stop), count)
        j = np.arange(i.size) + np.repeat(first[start:stop] - np.cumsum(count) + count, count)
        yield i, j
        start = stop


def every_pair(group: Ints, person: Ints) -> tuple[Ints, Ints]:
    """`cross_pairs` in one piece."""
    blocks = list(cross_pairs(group, person))
    if not blocks:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    return np.concatenate([i for i, _ in blocks]), np.concatenate([j for _, j in blocks])


def _codes(values: Sequence[Hashable] | NDArray[np.generic]) -> Ints:
    """Numbers for names, in the order of the names, so that they do not depend on the rows' order."""
    array = np.asarray(values) if isinstance(values, np.ndarray) else None
    if array is not None and array.dtype != object:
        return np.asarray(np.unique(array, return_inverse=True)[1], dtype=np.intp)
    names = sorted(set(values), key=lambda name: (name is None, type(name).__name__, str(name)))
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[value] for value in values], dtype=np.intp)


def _links(marks: Columns, tau: float) -> tuple[Ints, Ints, Floats]:
    """Pairs of boxes of two people on one image that overlap by at least ``tau``, and by how much."""
    hull = hulls(marks.boxes, marks.turn, marks.aspect)
    order, reach = _along(hull, marks.task)
    left, top, right, bottom = hull[order].T.copy()
    person, size = marks.person[order], (area(marks.boxes) * marks.aspect)[order]
    found: list[tuple[Ints, Ints, Floats]] = []
    for i, j in _in_blocks(np.arange(1, len(order) + 1), reach):
        # Most pairs are apart, or share too little of the larger box: they leave before the costly part.
        near = (top[i] < bottom[j]) & (top[j] < bottom[i]) & (person[i] != person[j])
        i, j = i[near], j[near]
        wide = np.minimum(right[i], right[j]) - np.maximum(left[i], left[j])
        high = np.minimum(bottom[i], bottom[j]) - np.maximum(top[i], top[j])
        near = (wide > 0.0) & (wide * high >= (tau - SLACK) * np.maximum(size[i], size[j]))
        i, j = order[i[near]], order[j[near]]
        swapped = marks.person[i] > marks.person[j]
        i, j = np.where(swapped, j, i), np.where(swapped, i, j)
        iou = pair_iou(marks.boxes[i], marks.boxes[j], marks.turn[i], marks.turn[j], marks.aspect[i])
        near = iou >= tau
        found.append((i[near], j[near], iou[near]))
    first, second, overlap = (np.concatenate(column) for column in zip(*found, strict=True))
    return first, second, overlap


def _along(hull: Floats, task: Ints) -> tuple[Ints, Ints]:
    """The boxes from left to right, image by image, and where those end that begin before each one ends.

    The images stand side by side on one axis with gaps between them, so that one search serves all. What
    rounding does to places on it is allowed for: there may be a few boxes too many, and none too few.
    """
    x = hull[:, ::2]
    x = x / max(float(x.max()), -float(x.min()), float(np.finfo(np.float64).tiny))
    slack = 32.0 * np.finfo(np.float64).eps * (float(task.max()) + 1.0)
    left, right = (3.0 * task[:, None] + x).T
    order = np.argsort(left, kind="stable")
    return order, np.searchsorted(left[order], right[order] + slack)


def _objects(marks: Columns, tau: float, bonus: float) -> Ints:
    """Object numbers of boxes that are all usable."""
    n = len(marks.boxes)
    if n == 0:
        return np.zeros(0, dtype=np.intp)
    first, second, iou = _links(marks, tau)
    part = _parts(n, first, second)
    people = int(marks.person.max()) + 1
    pairs, count = np.unique(part * people + marks.person, return_counts=True)
    crowded = np.zeros(n, dtype=np.bool_)
    crowded[pairs[count > 1] // people] = True  # parts with two boxes of one person
    competing = np.flatnonzero(crowded[part])
    if competing.size:
        links = np.flatnonzero(crowded[part[first]])
        i, j = first[links], second[links]
        rank = np.zeros(n, dtype=np.intp)
        rank[competing] = _ranks(marks.rows(competing))
        weight = iou[links] + bonus * (marks.label[i] == marks.label[j])
        order = _strongest_first(rank[i], rank[j], weight)
        part[competing] = n + _join(competing, marks.person, i[order], j[order])
    start = np.full(int(part.max()) + 1, n)
    start[part[::-1]] = np.arange(n)[::-1]  # the first box of each part is written last
    number = np.empty(len(start), dtype=np.intp)
    number[np.argsort(start)] = np.arange(len(start))
    return np.asarray(number[part])


def _parts(n: int, first: Ints, second: Ints) -> Ints:
    """The part of the graph of links that each of n boxes is in, by any number."""
    if len(first) > FEW_LINKS:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(n, n))
        return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)
    parent = list(range(n))
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        parent[_root(parent, i)] = _root(parent, j)
    return np.array([_root(parent, k) for k in range(n)], dtype=np.intp)


def _ranks(marks: Columns) -> Ints:
    """Each box's place in the order of coordinates; a person's second copy comes after the first."""
    looks = np.column_stack([marks.boxes, marks.turn, marks.label]) + 0.0  # -0.0 is 0.0
    look = np.unique(looks, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((look, marks.person, marks.task))
    key = np.column_stack([look, marks.person, marks.task])[order]
    fresh = np.flatnonzero(np.any(np.diff(key, axis=0, prepend=key[:1] - 1) != 0, axis=1))
    copy = np.empty(len(look), dtype=np.intp)
    copy[order] = np.arange(len(look)) - np.repeat(fresh, np.diff(np.append(fresh, len(look))))
    return np.asarray(look * (int(copy.max()) + 1) + copy)


def _strongest_first(rank_i: Ints, rank_j: Ints, weight: Floats) -> Ints:
    """Order of the links: identical boxes, then by weight, then by coordinates."""
    low, high = np.minimum(rank_i, rank_j), np.maximum(rank_i, rank_j)
    return np.asarray(np.lexsort((high, low, -weight, low != high)), dtype=np.intp)


def _join(members: Ints, person: Ints, first: Ints, second: Ints) -> Ints:
    """Join groups along the links while nobody is in a group twice; a representative per member."""
    parent = {int(m): int(m) for m in members}
    people = {int(m): 1 << int(person[m]) for m in members}

    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        a, b = _root(parent, i), _root(parent, j)
        if a != b and not people[a] & people[b]:
            parent[b] = a
            people[a] |= people[b]
    return np.array([_root(parent, int(m)) for m in members], dtype=np.intp)


def _root(parent: list[int] | dict[int, int], k: int) -> int:
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k
