"""Every disagreement between one person and the others: one list that pages draw and rates count.

Nobody is judged by an opinion that holds their own: where a person is looked at, only the others say
what is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from consensus.overlap import pair_iou
from consensus.sheet import Bools, Ints
from consensus.slips import VISIBLE, Agreed, agreed, duplicates, may_be_skipped, merged
from consensus.study import Study

MISSING, EXTRA, LABEL, LOCATION, DUPLICATE, MERGED = range(6)

KINDS = ("missing", "extra", "label", "location", "duplicate", "merged")
"""Names of the kinds of conflict, by number."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Every disagreement between one person and the others, sorted by image, person, object and box.

    All columns are (k,). ``kind`` is a position in KINDS, ``sample`` and ``annotator`` are positions in
    the study's names, ``object`` is the object at issue, ``mark`` the person's box, a row of the study's
    marks, or -1 where they drew none.

    - missing: more than half of the others drew the object, this person did not.
    - extra: nobody else drew it.
    - label: more than half of the others who drew it agree on another label than this person's.
    - location: an extra box that overlaps a missing object, by less than the study's ``tau``. It is one
      mistake, a loose box, and stands for both; ``object`` is the missing one.
    - duplicate, merged: see `slips.slips`.

    Where the others are split, nobody is blamed. With one other person each is held against the other:
    one of the two is wrong, and the list cannot say which. A box has one row at most.
    """

    kind: Ints
    sample: Ints
    annotator: Ints
    object: Ints
    mark: Ints


class Ground(NamedTuple):
    """What the list of conflicts and the rates both stand on.

    ``object`` and ``visit``: who answered and did not draw what, as objects and rows of ``answered``.
    ``rejected`` and ``backed``: boxes whose label most of the others reject or share. ``required``
    (objects,): not among those that may be skipped.
    """

    object: Ints
    visit: Ints
    rejected: Ints
    backed: Ints
    common: Agreed
    required: Bools


def ground(study: Study, common: Agreed | None = None, visible: float = VISIBLE) -> Ground:
    """What conflicts and rates stand on.

    Args:
        study: answers of any number of images.
        common: `slips.agreed` of the study, where it is at hand.
        visible: see `slips.may_be_skipped`.
    """
    common = agreed(study) if common is None else common
    return Ground(*_absent(study), *_labels(study), common, ~may_be_skipped(study, common, visible))


def conflicts(study: Study, at: Ground | None = None) -> Conflicts:
    """Every disagreement between one person and the others; see `Conflicts`.

    Args:
        study: answers of any number of images.
        at: `ground` of the study, where it is at hand.
    """
    at = ground(study) if at is None else at
    marks, votes, objects = study.marks, study.votes, study.objects
    double, over = duplicates(study), merged(study, at.common)
    mark = np.empty(len(study.sheet.owner), dtype=np.intp)
    mark[marks.row] = np.arange(len(marks.row))

    kind = np.full(len(objects), -1, dtype=np.intp)
    kind[(votes.drawn[objects] == 1) & (votes.voters[marks.sample] >= 2)] = EXTRA
    kind[at.rejected] = LABEL
    kind[mark[over.row[over.sure]]] = MERGED
    kind[mark[double.row]] = DUPLICATE

    others = votes.voters[votes.sample] - 1
    # What a box over several objects covers is told by that box; it would be missed twice over.
    people = len(marks.answered)
    covered = (over.object * people + marks.place[mark[over.row]])[over.sure]
    missed = (2 * votes.drawn > others)[at.object]
    missed &= ~np.isin(at.object * people + at.visit, covered)
    gone, visit = at.object[missed], at.visit[missed]
    extra = np.flatnonzero(kind == EXTRA)
    near, row = _near_misses(study, extra, gone, visit)
    kind[near] = LOCATION
    about = objects.copy()
    about[near] = gone[row]

    left = at.required[gone]
    left[row] = False
    gone, visit = gone[left], visit[left]
    drawn = np.flatnonzero(kind >= 0)
    columns = (
        np.concatenate([kind[drawn], np.full(len(gone), MISSING, dtype=np.intp)]),
        np.concatenate([marks.sample[drawn], marks.answered[visit, 0]]),
        np.concatenate([marks.annotator[drawn], marks.answered[visit, 1]]),
        np.concatenate([about[drawn], gone]),
        np.concatenate([drawn, np.full(len(gone), -1, dtype=np.intp)]),
    )
    order = np.lexsort((columns[4], columns[3], columns[2], columns[1]))
    return Conflicts(*(column[order] for column in columns))


def _absent(study: Study) -> tuple[Ints, Ints]:
    """Everybody who answered an image and did not draw one of its objects."""
    marks, votes = study.marks, study.votes
    partial = np.flatnonzero(votes.drawn < votes.voters[votes.sample])
    count = votes.voters[votes.sample[partial]]
    opening = np.cumsum(votes.voters) - votes.voters  # each image's first row of `answered`
    start = np.full(len(votes.drawn), -1, dtype=np.intp)
    start[partial] = np.cumsum(count) - count
    object_ = np.repeat(partial, count)
    visit = np.arange(len(object_)) - np.repeat(start[partial] - opening[votes.sample[partial]], count)
    there = np.flatnonzero(start[study.objects] >= 0)
    seat = start[study.objects[there]] + marks.place[there] - opening[marks.sample[there]]
    free = np.ones(len(object_), dtype=np.bool_)
    free[seat] = False
    return object_[free], visit[free]


def _labels(study: Study) -> tuple[Ints, Ints]:
    """Boxes whose label most of the others reject, and those whose label most of the others share."""
    votes, objects, names = study.votes, study.objects, len(study.marks.labels)
    alike = votes.same == votes.drawn
    shared = np.flatnonzero((alike & (votes.drawn >= 2))[objects])
    box = np.flatnonzero(~alike[objects])
    key, inverse, count = np.unique(
        objects[box] * names + study.marks.label[box], return_inverse=True, return_counts=True
    )
    # A label that the half of all gave is that of most of the others for those who gave another one.
    half = 2 * count >= votes.drawn[key // max(names, 1)]
    halves = np.bincount(key[half] // max(names, 1), minlength=len(votes.drawn))
    rejected = halves[objects[box]] > half[inverse]
    backed = 2 * count[inverse] > votes.drawn[objects[box]] + 1
    return box[rejected], np.union1d(shared, box[backed])


def _near_misses(study: Study, extra: Ints, gone: Ints, visit: Ints) -> tuple[Ints, Ints]:
    """Pairs of an extra box and a missing object of the same person that overlap, each in one at most.

    ``extra`` are rows of boxes, ``gone`` objects and ``visit`` who missed each. The strongest overlaps
    with any of the object's boxes are paired first, equals in the order of coordinates. Returns boxes
    and rows of ``gone``.
    """
    marks, objects = study.marks, study.objects
    place = marks.place[extra]
    by_visit = np.argsort(visit, kind="stable")
    first = np.searchsorted(visit[by_visit], place)
    count = np.searchsorted(visit[by_visit], place, side="right") - first
    box = np.repeat(extra, count)
    row = by_visit[ranges(first, count)]

    by_object = np.argsort(objects, kind="stable")
    drawn = study.votes.drawn[gone[row]]
    member = by_object[ranges((np.cumsum(study.votes.drawn) - study.votes.drawn)[gone[row]], drawn)]
    pair = np.repeat(np.arange(len(box)), drawn)
    mine = box[pair]
    iou = pair_iou(
        marks.boxes[mine], marks.boxes[member], marks.turn[mine], marks.turn[member], marks.aspect[mine]
    )
    start = np.cumsum(drawn) - drawn
    best = np.maximum.reduceat(iou, start) if start.size else iou
    corner = np.minimum.reduceat(marks.boxes[member], start) if start.size else marks.boxes[member]
    order = np.lexsort((*corner.T, *marks.boxes[box].T, -best))
    order = order[best[order] > 0.0]
    box, row = box[order], row[order]

    found: list[tuple[Ints, Ints]] = []
    while box.size:
        top = np.zeros(len(box), dtype=np.intp)
        for column in (box, row):
            top[np.unique(column, return_index=True)[1]] += 1
        found.append((box[top == 2], row[top == 2]))
        free = ~np.isin(box, found[-1][0]) & ~np.isin(row, found[-1][1])
        box, row = box[free], row[free]
    none = np.zeros(0, dtype=np.intp)
    return (
        np.concatenate([none, *(a for a, _ in found)]),
        np.concatenate([none, *(b for _, b in found)]),
    )


def ranges(first: Ints, count: Ints) -> Ints:
    """``first[k], first[k] + 1, ...`` of ``count[k]`` numbers each, one after another."""
    return np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count - first, count)
