"""Slips of single boxes that the others' boxes give away, or that need nobody else to be seen.

A box drawn twice, one box over several objects, several boxes in one object, a box that leaves the
image, and one that is none. What the others say about an object is its agreed box: the medians of
the edges of everybody who drew it, where at least two people and at least half of all did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from consensus.borders import PIXELS, SHARE, SLACK, leaving, margin, void
from consensus.edges import by_size
from consensus.marks import Marks
from consensus.overlap import hulls, pair_iou
from consensus.pairs import intersection, meeting, own_pairs, product
from consensus.sheet import Bools, Floats, Ints
from consensus.study import Study
from pool.boxes import area

KINDS = ("duplicate", "merged", "split", "outside", "broken")

SAME, COVERED, MATCHED = 0.8, 0.8, 0.7
"""IoU from which two boxes of one person are one drawn twice; share of a box that must lie in another
to be covered by it; IoU from which a box fits the agreed one."""

NESTED = 0.5
"""Share of an object from which on it lies in another one, and not beside it."""

VISIBLE = 0.3
"""Objects of which less than this can be seen need not be drawn."""


@dataclass(frozen=True, slots=True)
class Slips:
    """Slips as columns, (n,): a row for each box of a slip and each piece of evidence for it.

    ``number`` tells the slips apart, ascending from 0; ``kind`` is a position in `KINDS`; ``row`` is the
    offending box's row in the sheet. The evidence is ``other``, the sheet row of another box of the
    same person, or ``object``, an object of the study; -1 where there is none. ``sure`` is False where
    a person must look. A box over two objects has two rows with one number, as have two boxes in one
    object; all other slips have a single row.
    """

    number: Ints
    kind: Ints
    row: Ints
    other: Ints
    object: Ints
    sure: Bools

    @property
    def first(self) -> Ints:
        """The first row of each slip, for counting slips, not rows."""
        return np.flatnonzero(np.diff(self.number, prepend=-1))


@dataclass(frozen=True, slots=True)
class Agreed:
    """What each object of a study looks like to all who drew it.

    ``boxes`` (c, 4) holds the medians of the edges of those who turned it alike, ``turn`` (c,) the
    commonest rotation. ``solid`` (c,) says whether at least two people and at least half of all who
    answered drew the object. ``fit`` (n,) is the IoU of each box of the marks with its object's box.
    """

    boxes: Floats
    turn: Floats
    solid: Bools
    fit: Floats


def agreed(study: Study) -> Agreed:
    """The agreed box of every object; an object that one person saw has that person's box."""
    marks, objects, votes = study.marks, study.objects, study.votes
    turn = _common_turn(marks.turn, objects, len(votes.sample))
    alike = np.flatnonzero(marks.turn == turn[objects])
    boxes = np.empty((len(votes.sample), 4))
    for block in by_size(objects[alike]):
        rows = alike[block]
        boxes[objects[rows[:, 0]]] = _middle(marks.boxes[rows])
    fit = pair_iou(marks.boxes, boxes[objects], marks.turn, turn[objects], marks.aspect)
    solid = (votes.drawn >= 2) & (2 * votes.drawn >= votes.voters[votes.sample])
    return Agreed(boxes, turn, solid, fit)


def slips(study: Study) -> Slips:
    """Every slip, by kind in the order of `KINDS`, at the settings that this file names."""
    common = agreed(study)
    return joined(
        duplicates(study), merged(study, common), split(study, common), outside(study), broken(study)
    )


def joined(*parts: Slips) -> Slips:
    """Slips of several calls, numbered through."""
    starts = np.cumsum([0, *(len(part.first) for part in parts)])
    return Slips(
        number=np.concatenate([part.number + k for part, k in zip(parts, starts.tolist(), strict=False)]),
        kind=np.concatenate([part.kind for part in parts]),
        row=np.concatenate([part.row for part in parts]),
        other=np.concatenate([part.other for part in parts]),
        object=np.concatenate([part.object for part in parts]),
        sure=np.concatenate([part.sure for part in parts]),
    )


def duplicates(study: Study, iou: float = SAME) -> Slips:
    """Boxes that repeat another box of the same person on the same image, at ``iou`` or more.

    The one that fewer people share is the slip, of equals the later by coordinates; the other box is
    the evidence. Two objects that lie on each other look the same: at an IoU of 0.8 one or two findings
    in a hundred of a simulated job with eight objects an image were such pairs.
    """
    marks = study.marks
    i, j, _ = own_pairs(study, iou)
    rank = np.empty(len(marks.row), dtype=np.intp)
    x1, y1, x2, y2 = marks.boxes.T
    involved = np.unique(np.concatenate([i, j]))
    keys = (marks.row, marks.label, marks.turn, y2, x2, y1, x1, -study.votes.drawn[study.objects])
    rank[involved[np.lexsort([key[involved] for key in keys])]] = np.arange(len(involved))
    better = np.where(rank[i] < rank[j], i, j)
    worse = i + j - better
    order = np.lexsort((rank[better], worse))
    worse, first = np.unique(worse[order], return_index=True)
    return _plain("duplicate", marks.row[worse], marks.row[better[order][first]])


def merged(study: Study, common: Agreed, covered: float = COVERED, matched: float = MATCHED) -> Slips:
    """Single boxes over two or more agreed objects that the same person has not drawn.

    An object counts where at least ``covered`` of its area lies in the box. The box's own object counts
    with them while the box fits it with an IoU below ``matched``. Boxes that fit an object of their own
    well are not ``sure``, nor are those whose objects lie one in the other: large objects with small ones
    in front that were overlooked look the same. Where boxes over two near objects were planted in
    simulated jobs, all sure findings were right, and they were two of three merges; the others cover too
    little of one of the two.
    """
    marks = study.marks
    own = np.flatnonzero(common.solid[study.objects])
    fits = np.zeros(len(marks.row), dtype=np.bool_)
    fits[own] = common.fit[own] >= matched
    loose = own[~fits[own]]
    answer, missed = _missed(study, common.solid)

    def over(box: Ints, thing: Ints) -> tuple[Ints, Ints]:
        shared = _shared(study, common, box, thing)
        keep = shared >= (covered - SLACK) * area(common.boxes[thing])
        return box[keep], thing[keep]

    found = [over(loose, study.objects[loose])]
    found += [over(box, missed[k]) for k, box in product(answer, marks.place)]
    box, thing = (np.concatenate(column) for column in zip(*found, strict=True))
    several = np.bincount(box, minlength=len(marks.row))[box] >= 2
    box, thing = box[several], thing[several]
    apart = _apart(marks, common, box, thing)
    sure = ~fits & (np.bincount(box[apart], minlength=len(marks.row)) >= 2)
    return _grouped("merged", box, marks.row[box], thing, sure[box])


def _apart(marks: Marks, common: Agreed, box: Ints, thing: Ints) -> Bools:
    """Which rows hold an object that does not lie by more than half in a larger one under the same box.

    Who draws the larger one loosely and overlooks the smaller covers both with a box of one object.
    """
    nested = np.zeros(len(box), dtype=np.bool_)
    size = area(common.boxes[thing])
    for i, j in product(box, box):
        larger = (size[j] > size[i]) | ((size[j] == size[i]) & (thing[j] < thing[i]))
        i, j = i[larger], j[larger]
        one, other = thing[i], thing[j]
        iou = pair_iou(
            common.boxes[one], common.boxes[other], common.turn[one], common.turn[other],
            marks.aspect[box[i]],
        )  # fmt: skip
        nested[i[intersection(iou, size[i], size[j]) > NESTED * size[i]]] = True
    return ~nested


def split(study: Study, common: Agreed, covered: float = COVERED, matched: float = MATCHED) -> Slips:
    """Two or more boxes of one person inside one agreed object: the mirror of `merged`.

    A box counts where at least ``covered`` of its area lies in the object's agreed box and it fits no
    agreed object, as in `merged`. Not ``sure`` where the person drew the whole object as well.
    """
    marks, objects = study.marks, study.objects
    solid = np.flatnonzero(common.solid)
    loose = np.flatnonzero(common.solid[objects] & (common.fit < matched))
    stray = np.flatnonzero(~common.solid[objects])

    def within(box: Ints, thing: Ints) -> tuple[Ints, Ints]:
        shared = _shared(study, common, box, thing)
        keep = shared >= (covered - SLACK) * area(marks.boxes[box])
        return box[keep], thing[keep]

    found = [within(loose, objects[loose])]
    pairs = product(marks.sample[stray], study.votes.sample[solid])
    found += [within(stray[k], solid[j]) for k, j in pairs]
    box, thing = (np.concatenate(column) for column in zip(*found, strict=True))
    key = marks.place * len(common.solid) + objects
    whole = key[common.solid[objects] & (common.fit >= matched)]
    group = marks.place[box] * len(common.solid) + thing
    _, back, size = np.unique(group, return_inverse=True, return_counts=True)
    several = size[back] >= 2
    box, thing, group = box[several], thing[several], group[several]
    return _grouped("split", group, marks.row[box], thing, ~np.isin(group, whole))


def outside(study: Study, pixels: float = PIXELS, share: float = SHARE) -> Slips:
    """Boxes that reach more than ``pixels`` beyond the image; ``share`` of it where its size is unknown."""
    return _plain("outside", np.flatnonzero(leaving(study.sheet, pixels, share) & _counted(study)))


def broken(study: Study) -> Slips:
    """Boxes without an area inside the image, or with coordinates that are no numbers."""
    return _plain("broken", np.flatnonzero(void(study.sheet) & _counted(study)))


def may_be_skipped(study: Study, common: Agreed | None = None, visible: float = VISIBLE) -> Bools:
    """Objects that people may leave out without having missed them, (objects,).

    True for an object that touches the border of the image, where only part of it can be seen, and
    for one of which another agreed object covers more than 1 - ``visible``. Nobody measured how much
    of it is visible, so this pardons more than the rule allows; it never blames.
    """
    common = agreed(study) if common is None else common
    boxes = common.boxes
    near = margin(study.sheet.sizes)[study.votes.sample]
    out: Bools = np.any((boxes[:, :2] <= near) | (boxes[:, 2:] >= 1.0 - near), axis=1)
    sizes, aspect = area(boxes), study.sheet.aspects[study.votes.sample]
    for i, j in meeting(hulls(boxes, common.turn, aspect), study.votes.sample):
        iou = pair_iou(boxes[i], boxes[j], common.turn[i], common.turn[j], aspect[i])
        shared = intersection(iou, sizes[i], sizes[j])
        for under, over in ((i, j), (j, i)):
            # Of two objects one in front of the other, only the smaller can be the hidden one.
            hidden = common.solid[over] & (sizes[under] < sizes[over])
            hidden &= shared >= (1.0 - visible - SLACK) * sizes[under]
            out[under[hidden]] = True
    return out


def _plain(kind: str, row: Ints, other: Ints | None = None) -> Slips:
    """Slips of one row each."""
    count = len(row)
    none = np.full(count, -1, dtype=np.intp)
    return Slips(
        number=np.arange(count),
        kind=np.full(count, KINDS.index(kind), dtype=np.intp),
        row=row,
        other=none if other is None else other,
        object=none,
        sure=np.ones(count, dtype=np.bool_),
    )


def _grouped(kind: str, group: Ints, row: Ints, thing: Ints, sure: Bools) -> Slips:
    """Slips of several rows each, those of one group."""
    order = np.lexsort((thing, row, group))
    return Slips(
        number=np.unique(group[order], return_inverse=True)[1].astype(np.intp),
        kind=np.full(len(order), KINDS.index(kind), dtype=np.intp),
        row=row[order],
        other=np.full(len(order), -1, dtype=np.intp),
        object=thing[order],
        sure=sure[order],
    )


def _missed(study: Study, solid: Bools) -> tuple[Ints, Ints]:
    """Every answer (a row of ``answered``) with every solid object of its image that it lacks."""
    marks, votes = study.marks, study.votes
    partly = np.flatnonzero(solid & (votes.drawn < votes.voters[votes.sample]))
    found = list(product(votes.sample[partly], marks.answered[:, 0]))
    thing = np.concatenate([partly[:0], *(partly[k] for k, _ in found)])
    answer = np.concatenate([partly[:0], *(a for _, a in found)])
    drawn = np.flatnonzero(np.isin(study.objects, partly))
    count = len(votes.sample)
    lacks = ~np.isin(answer * count + thing, marks.place[drawn] * count + study.objects[drawn])
    return answer[lacks], thing[lacks]


def _shared(study: Study, common: Agreed, box: Ints, thing: Ints) -> Floats:
    """Area that boxes of the marks and agreed boxes have in common, pair by pair."""
    marks = study.marks
    drawn, whole = marks.boxes[box], common.boxes[thing]
    iou = pair_iou(drawn, whole, marks.turn[box], common.turn[thing], marks.aspect[box])
    return intersection(iou, area(drawn), area(whole))


def _counted(study: Study) -> Bools:
    """Which boxes of the sheet are of answers that count."""
    counts = np.zeros(len(study.sheet.sample), dtype=np.bool_)
    counts[study.marks.answer] = True
    return np.asarray(counts[study.sheet.owner])


def _middle(boxes: Floats) -> Floats:
    """Median of each edge, (groups, 4), of the boxes of groups of one size, (groups, size, 4)."""
    ranked, size = np.sort(boxes, axis=1), boxes.shape[1]
    return np.asarray((ranked[:, (size - 1) // 2] + ranked[:, size // 2]) / 2.0)


def _common_turn(turn: Floats, objects: Ints, count: int) -> Floats:
    """The commonest rotation of each object's boxes, (count,); of equals the smallest."""
    out = np.zeros(count)
    some = np.flatnonzero(np.isin(objects, objects[turn != 0.0]))
    if some.size:
        order = some[np.lexsort((turn[some], objects[some]))]
        change = (np.diff(objects[order], prepend=-1) != 0) | (np.diff(turn[order], prepend=-1.0) != 0.0)
        start = np.flatnonzero(change)
        times = np.diff(np.append(start, len(order)))
        best = start[np.lexsort((turn[order[start]], -times, objects[order[start]]))]
        best = best[np.diff(objects[order[best]], prepend=-1) != 0]
        out[objects[order[best]]] = turn[order[best]]
    return out
