"""How people place the edges of boxes: too wide, too tight, to one side, with a steady hand or not.

A habit is measured against where the others put the edges of the same objects, freed of their own
habits, for one loose annotator makes all who share images with him look tight. Without ground
truth a habit is known relative to the group only: if everybody draws a tenth too wide, nobody does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from consensus.sheet import Floats, Ints
from consensus.study import Study
from pool.boxes import area
from pool.schema import BadInput

FEW = 20
"""Boxes below which a habit is hardly more than its noise."""

LEAST = 3
"""People who must have drawn an object upright: of two, nobody can say which one is off."""

STEP = 0.75
"""Share of a bias against the others' raw medians that is the annotator's own, the rest being theirs:
2/3 where the same three always meet, 4/5 for five, all of it where everybody meets everybody."""

MAD = 1.4826
"""Median absolute deviation to standard deviation, for normal errors."""

AXES = ((0, 2), (1, 3))
"""The near and the far edge of a box along each axis."""

MOST = 0.4
"""Largest bias that is ever taken back; a box keeps a width and a height, whatever was measured."""

STEADIEST = 0.01
"""Share of a box's side below which no hand is taken to be steady: no one person outweighs all."""

REACH = 2.0
"""Spreads from the median beyond which an edge pulls no harder: a slip is not a habit."""


@dataclass(frozen=True, slots=True)
class Edges:
    """How each annotator's boxes differ from the reference; edges in the order left, top, right, bottom.

    ``bias`` (annotators, 4): median distance of each edge from the reference's, as a share of the
    reference's width or height, positive = outward: all four above 0 is too loose, all four below
    too tight, left and right of different signs a shift. ``spread`` (annotators, 4): how far a
    typical distance is from that one, 1.4826 x the median absolute deviation, 0 or more, lower =
    steadier; it holds the reference's unsteadiness too. ``area`` (annotators,): median of the areas
    over the reference's, 1 = as large. ``boxes`` (annotators,): how many boxes all this is made of;
    NaN where there are none. The standard error of a bias is about 1.25 x spread / sqrt(boxes): below
    `FEW` boxes it is hardly more than that.
    """

    bias: Floats
    spread: Floats
    area: Floats
    boxes: Ints


def edges(study: Study, against: str | None = None) -> Edges:
    """Measure everybody's edges.

    Only upright boxes count. An edge that the image's border cuts off shows nobody's habit, so people
    who draw many of those look more moderate than they are.

    Args:
        study: the boxes and their objects.
        against: the annotator whose boxes are the reference and whose own row is NaN; `sheet.GOLD` in
            a study of `sheet.beside`. None: each edge's reference is the median of the others', less
            their habits, in objects that three or more drew; the group's median person, weighed by
            boxes, then has a bias of about 0.

    Raises:
        BadInput: no annotator is called ``against``.
    """
    marks = study.marks
    people = len(marks.annotators)
    upright = np.flatnonzero(marks.turn == 0.0)
    if against is None:
        blocks = [upright[b] for b in by_size(study.objects[upright]) if b.shape[1] >= LEAST]
        rows = np.concatenate([b.reshape(-1) for b in blocks]) if blocks else upright[:0]
        own, who = np.asfortranarray(marks.boxes[rows]), marks.annotator[rows]
        order, ends = _by_person(who, people)
        raw = np.nan_to_num(_medians(_outward(own, _others(own, blocks)), order, ends))
        habit = STEP * (raw - _centre(raw, np.diff(ends)))
        reference = _others(corrected(own, habit, who), blocks)
    else:
        if against not in marks.annotators:
            raise BadInput("against", f"one of the annotators {list(marks.annotators)}", against)
        drawn = upright[marks.annotator[upright] == marks.annotators.index(against)]
        model = np.full(len(study.votes.sample), -1, dtype=np.intp)
        model[study.objects[drawn]] = drawn
        rows = np.setdiff1d(upright[model[study.objects[upright]] >= 0], drawn)
        own, who = np.asfortranarray(marks.boxes[rows]), marks.annotator[rows]
        order, ends = _by_person(who, people)
        reference = np.asfortranarray(marks.boxes[model[study.objects[rows]]])

    distance = _outward(own, reference)
    bias = _medians(distance, order, ends)
    for edge in range(4):
        distance[:, edge] = np.abs(distance[:, edge] - bias[who, edge])
    spread = MAD * _medians(distance, order, ends)
    ratio = _medians((area(own) / area(reference))[:, None], order, ends)[:, 0]
    return Edges(bias, spread, ratio, np.diff(ends))


def corrected(boxes: Floats, bias: Floats, who: Ints) -> Floats:
    """The boxes, (n, 4), less the bias of who drew each: what boxes without habits are.

    ``bias`` (annotators, 4) counts as `MOST` where it is above that, either way. The boxes may end
    beyond the image.
    """
    habit = np.clip(bias, -MOST, MOST)
    out = np.empty_like(boxes)
    for near, far in AXES:
        side = (boxes[:, far] - boxes[:, near]) / (1.0 + habit[:, near] + habit[:, far])[who]
        out[:, near] = boxes[:, near] + habit[who, near] * side
        out[:, far] = boxes[:, far] - habit[who, far] * side
    return out


def mean_edges(boxes: Floats, spread: Floats) -> Floats:
    """Mean edges (4, k) of boxes (4, k, m), steadier hands (2, k, m) weighing more.

    Sums are over sorted numbers, so that the answer has the same bits in whatever order people come.
    """
    ranked = np.sort(boxes, axis=-1)
    centre = middle(ranked)[..., None]
    reach = REACH * middle(np.sort(spread, axis=-1))[..., None] * (centre[2:] - centre[:2])
    weight = spread**-2.0
    total = np.sort(weight, axis=-1).sum(axis=-1)
    out = np.empty(boxes.shape[:-1])
    for axis, pair in enumerate(AXES):
        for edge in pair:
            near = np.clip(boxes[edge], centre[edge] - reach[axis], centre[edge] + reach[axis])
            out[edge] = np.sort(near * weight[axis], axis=-1).sum(axis=-1) / total[axis]
    return np.asarray(np.clip(out, ranked[..., 0], ranked[..., -1]))


def middle(ranked: Floats) -> Floats:
    """Median over the last axis, along which numbers ascend."""
    size = ranked.shape[-1]
    return np.asarray((ranked[..., (size - 1) // 2] + ranked[..., size // 2]) / 2.0)


def by_size(group: Ints) -> Iterator[Ints]:
    """Rows of the groups of each size, (groups of that size, size): small groups as whole arrays."""
    order = np.argsort(group, kind="stable")
    start = np.flatnonzero(np.diff(group[order], prepend=-1))
    count = np.diff(np.append(start, len(group)))
    for size in np.unique(count).tolist():
        yield order[start[count == size, None] + np.arange(size)]


def _outward(boxes: Floats, reference: Floats) -> Floats:
    """How far each edge lies outside of the reference's, (n, 4), as a share of its side."""
    out = np.empty_like(boxes)
    for near, far in AXES:
        side = reference[:, far] - reference[:, near]
        out[:, near] = (reference[:, near] - boxes[:, near]) / side
        out[:, far] = (boxes[:, far] - reference[:, far]) / side
    return out


def _others(boxes: Floats, blocks: list[Ints]) -> Floats:
    """Median edges of all other boxes of the same object, (n, 4), where ``boxes`` runs along the blocks."""
    out = np.empty_like(boxes)
    at = 0
    for block in blocks:
        size = block.shape[1]
        values = boxes[at : at + block.size].reshape(-1, size, 4).transpose(2, 0, 1)
        ranked = np.sort(values, axis=-1)
        halves = []
        for middle in ((size - 2) // 2, (size - 1) // 2):
            # Without a value from below the middle, the middle moves up by one.
            here, above = ranked[..., middle, None], ranked[..., middle + 1, None]
            halves.append(np.where(values > here, here, above))
        medians = (halves[0] + halves[1]) / 2.0
        out[at : at + block.size] = medians.transpose(1, 2, 0).reshape(-1, 4)
        at += block.size
    return out


def _by_person(who: Ints, people: int) -> tuple[Ints, Ints]:
    """Order of the rows by person, and where each person's rows end, (people + 1,), from 0 on."""
    ends = np.append(0, np.cumsum(np.bincount(who, minlength=people)))
    return np.argsort(who, kind="stable"), ends


def _medians(values: Floats, order: Ints, ends: Ints) -> Floats:
    """Median of each column (n, c) over each person's rows, (people, c); NaN for no rows."""
    out = np.full((len(ends) - 1, values.shape[1]), np.nan)
    for k in np.flatnonzero(np.diff(ends)).tolist():
        out[k] = np.median(values.T.take(order[ends[k] : ends[k + 1]], axis=1), axis=1)
    return out


def _centre(bias: Floats, weight: Ints) -> Floats:
    """Median of each column, (4,), each row counting ``weight`` times."""
    if not weight.any():
        return np.zeros(4)
    order = np.argsort(bias, axis=0)
    reached = np.cumsum(weight[order], axis=0)
    middle = (2 * reached >= weight.sum()).argmax(axis=0)
    return np.asarray(np.take_along_axis(bias, order, axis=0)[middle, np.arange(4)])
