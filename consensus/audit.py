"""Label errors that a detector points at: boxes missed, swapped, badly placed or drawn for nothing.

Predictions must be out-of-sample; see `consensus.evidence` for why. A box drawn twice is no kind here.

The kinds are those of ObjectLab (Tkachenko, Thyagarajan and Mueller 2023: overlooked, swapped, badly
located) and the box without support. Unlike there, no score depends on which other images are audited
along with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from consensus.evidence import Evidence
from consensus.marks import inside, turns, usable
from consensus.matching import TAU, cross_pairs
from consensus.overlap import hulls, pair_iou
from consensus.sheet import Bools, Floats, Ints
from pool.schema import BadInput

MISSED, SWAPPED, LOCATED, SPURIOUS = 0, 1, 2, 3
"""An object without a box, a wrong label, a badly placed box, a box without an object."""

FLOOR = 0.1
"""Predictions that are less sure than this are not looked at."""

SURE = 0.5
"""Least score of a prediction that alone accuses somebody of having missed an object."""

NEAR = 0.1
"""Least IoU of two boxes that can be one object placed differently; below they are two objects."""

FIT = 0.75
"""IoU from which a box counts as well placed: careful people differ by as much."""

WEAK = 0.5
"""Most that a box without support can score: detectors overlook more than people invent."""


@dataclass(frozen=True, slots=True)
class Suspicions:
    """One row for each suspicion, the surest first, every column (k,).

    ``sample`` is the position of its image and ``kind`` one of MISSED, SWAPPED, LOCATED and SPURIOUS.
    ``given`` is the row of the given box that may be wrong, -1 where one is missing; ``seen`` the row
    of the predicted box that says so, -1 where none does. ``label`` is the position of the label that
    the detector would give, -1 for none. ``score`` is in (0, 1], higher = more surely an error; it
    ranks, and is no probability.
    """

    sample: Ints
    kind: Ints
    given: Ints
    seen: Ints
    label: Ints
    score: Floats


def suspicions(
    evidence: Evidence, tau: float = TAU, floor: float = FLOOR, sure: float = SURE
) -> Suspicions:
    """Where labels and predictions differ in a way that looks like an error of the labels.

    Given and predicted boxes are matched one to one whatever their labels, the largest score x IoU first,
    at an IoU of ``tau`` or more; what is left is matched again among boxes of one label from an IoU of
    `NEAR`, so that a near miss is one badly placed box and not one missed and one spurious. Then

    - missed: an unmatched prediction of at least ``sure`` scores its confidence, less the more it
      overlaps a given box: score x (1 - IoU / tau). Of predictions that overlap each other by ``tau``
      only the strongest accuses;
    - swapped: a matched box scores p(likeliest other label) - p(given label). A label that the
      detector does not know it cannot doubt; an unnamed box has p = 0;
    - located: a box matched under its label, but with an IoU below `FIT`, scores
      confidence x (1 - IoU / FIT);
    - spurious: an unmatched given box scores `WEAK` x (1 - IoU / tau) x (1 - background), times
      (matched + 1) / (given + 1) of its image: a detector that finds little of what is there is no
      witness against the rest. The weakest kind: look at it last, or only where the detector's recall
      is known to be high.

    Differences that score 0 have no row. Boxes without an area are not looked at.

    Args:
        evidence: of out-of-sample predictions.
        tau: least IoU of two boxes of one object, in (0, 1].
        floor: least score of a prediction that is looked at, in [0, 1].
        sure: least score of a prediction that alone accuses, in [0, 1].

    Raises:
        BadInput: a setting out of range.
    """
    if not 0.0 < tau <= 1.0:
        raise BadInput("tau", "above 0 and at most 1", tau)
    for name, value in (("floor", floor), ("sure", sure)):
        if not 0.0 <= value <= 1.0:
            raise BadInput(name, "between 0 and 1", value)
    e = evidence
    given_turn, seen_turn = turns(e.given_turn), turns(e.seen_turn)
    given_boxes, seen_boxes = inside(e.given_boxes, given_turn), inside(e.seen_boxes, seen_turn)
    given = np.flatnonzero(usable(given_boxes, given_turn))
    seen = np.flatnonzero(usable(seen_boxes, seen_turn) & (e.seen_score >= floor))
    first, second, iou = _overlaps(
        np.concatenate([given_boxes[given], seen_boxes[seen]]),
        np.concatenate([given_turn[given], seen_turn[seen]]),
        np.concatenate([e.given_sample[given], e.seen_sample[seen]]),
        np.repeat([0, 1], [len(given), len(seen)]),
        e.aspects,
    )
    one, other = given[first], seen[second - len(given)]
    paired = _matched(e, tau, one, other, iou)

    touched_given, touched_seen = np.zeros(len(given_boxes)), np.zeros(len(seen_boxes))
    np.maximum.at(touched_given, one, iou)
    np.maximum.at(touched_seen, other, iou)
    pair_given, pair_seen, fit = one[paired], other[paired], iou[paired]
    lonely_given = np.setdiff1d(given, pair_given)
    confident = seen[e.seen_score[seen] >= sure]
    echo = _echoes(e, tau, confident, seen_boxes[confident], seen_turn[confident])
    lonely_seen = np.setdiff1d(confident[~echo], pair_seen)

    likeliest, doubt = _doubt(e, pair_given, pair_seen)
    same = e.given_label[pair_given] == e.seen_label[pair_seen]
    misplaced = np.where(same, e.seen_score[pair_seen] * (1.0 - fit / FIT), 0.0)
    unsupported = WEAK * (1.0 - touched_given / tau) * _witness(e, given, pair_given)
    missed = e.seen_score * (1.0 - touched_seen / tau)
    no_given, no_seen = np.full(len(lonely_seen), -1), np.full(len(lonely_given), -1)
    return _surest_first(
        e,
        (MISSED, no_given, lonely_seen, e.seen_label[lonely_seen], missed[lonely_seen]),
        (SWAPPED, pair_given, pair_seen, likeliest, doubt),
        (LOCATED, pair_given, pair_seen, e.seen_label[pair_seen], misplaced),
        (SPURIOUS, lonely_given, no_seen, no_seen, unsupported[lonely_given]),
    )


def _overlaps(
    boxes: Floats, turn: Floats, sample: Ints, side: Ints, aspects: Floats
) -> tuple[Ints, Ints, Floats]:
    """Rows of given and predicted boxes that overlap, and how much."""
    aspect = aspects[sample]
    left, top, right, bottom = hulls(boxes, turn, aspect).T
    none = np.zeros(0, dtype=np.intp)
    found: list[tuple[Ints, Ints, Floats]] = [(none, none, np.zeros(0))]
    for i, j in cross_pairs(sample, side):
        close = (left[i] < right[j]) & (left[j] < right[i]) & (top[i] < bottom[j]) & (top[j] < bottom[i])
        i, j = i[close], j[close]
        iou = pair_iou(boxes[i], boxes[j], turn[i], turn[j], aspect[i])
        found.append((i[iou > 0.0], j[iou > 0.0], iou[iou > 0.0]))
    first, second, iou = (np.concatenate(column) for column in zip(*found, strict=True))
    return first, second, iou


def _echoes(e: Evidence, tau: float, rows: Ints, boxes: Floats, turn: Floats) -> Bools:
    """Which of some predictions overlap a stronger one of them, (rows,)."""
    place = np.empty(len(rows), dtype=np.intp)
    place[np.lexsort((e.seen_label[rows], *boxes.T, -e.seen_score[rows]))] = np.arange(len(rows))
    first, second, iou = _overlaps(boxes, turn, e.seen_sample[rows], np.arange(len(rows)), e.aspects)
    echo = np.zeros(len(rows), dtype=np.bool_)
    echo[np.where(place[first] > place[second], first, second)[iou >= tau]] = True
    return echo


def _matched(e: Evidence, tau: float, one: Ints, other: Ints, iou: Floats) -> Ints:
    """Which of the overlapping pairs are one object, each box in at most one of them."""
    looks = np.column_stack([e.given_boxes[one], e.seen_boxes[other]])
    # Equally strong pairs are taken in the order of their coordinates, not of their rows.
    order = np.lexsort((e.seen_label[other], e.given_label[one], *looks.T, -e.seen_score[other] * iou))
    close = order[iou[order] >= tau]
    paired = close[_strongest(one[close], other[close])]
    left = ~(np.isin(one[order], one[paired]) | np.isin(other[order], other[paired]))
    near = order[left & (iou[order] >= NEAR) & (e.given_label[one] == e.seen_label[other])[order]]
    return np.concatenate([paired, near[_strongest(one[near], other[near])]])


def _strongest(one: Ints, other: Ints) -> Ints:
    """Greedy matching of pairs that come strongest first: rows of those taken.

    Pairs that are the first of both their boxes are taken together, for no other can come before
    them; without their boxes others become first. A handful of turns ends it.
    """
    rows: Ints = np.arange(len(one))
    taken = [rows[:0]]
    while rows.size:
        first = np.zeros(len(rows), dtype=np.intp)
        first[np.unique(one[rows], return_index=True)[1]] += 1
        first[np.unique(other[rows], return_index=True)[1]] += 1
        best = rows[first == 2]
        taken.append(best)
        rows = rows[~(np.isin(one[rows], one[best]) | np.isin(other[rows], other[best]))]
    return np.concatenate(taken)


def _surest_first(e: Evidence, *found: tuple[int, Ints, Ints, Ints, Floats]) -> Suspicions:
    """Tables of kind, given box, predicted box, label and score as one, without what scores 0."""
    kind = np.repeat([row[0] for row in found], [len(row[4]) for row in found])
    given, seen, label = (np.concatenate([row[k] for row in found]) for k in (1, 2, 3))
    score = np.concatenate([row[4] for row in found])
    keep = score > 0.0
    kind, given, seen, label, score = kind[keep], given[keep], seen[keep], label[keep], score[keep]

    missing = given < 0
    sample, subject = np.empty(len(given), dtype=np.intp), np.empty((len(given), 4))
    sample[missing], sample[~missing] = e.seen_sample[seen[missing]], e.given_sample[given[~missing]]
    subject[missing], subject[~missing] = e.seen_boxes[seen[missing]], e.given_boxes[given[~missing]]
    order = np.lexsort((label, *subject.T, kind, sample, -score))
    return Suspicions(sample[order], kind[order], given[order], seen[order], label[order], score[order])


def _doubt(e: Evidence, given: Ints, seen: Ints) -> tuple[Ints, Floats]:
    """The likeliest label other than the given one of each pair, and by how much it is likelier."""
    if not given.size:
        return np.zeros(0, dtype=np.intp), np.zeros(0)
    rows, label = np.arange(len(given)), e.given_label[given]
    probs = e.seen_probs[seen]
    unnamed = np.array([name is None for name in e.labels])[label]
    own = np.where(unnamed, 0.0, probs[rows, label])
    rivals = np.where(np.isnan(probs), -1.0, probs)
    rivals[rows, label] = -1.0
    other = rivals.argmax(axis=1)
    doubt = rivals[rows, other] - own
    return other, np.where(np.isnan(doubt), 0.0, np.clip(doubt, 0.0, 1.0))


def _witness(e: Evidence, given: Ints, paired: Ints) -> Floats:
    """How far the absence of a prediction counts against each given box, (n,), in [0, 1]."""
    images = len(e.samples)
    boxes = np.bincount(e.given_sample[given], minlength=images)
    found = np.bincount(e.given_sample[paired], minlength=images)
    trust = (found + 1) / (boxes + 1) * (1.0 - e.background)
    return np.asarray(np.where(e.known[e.given_label], trust[e.given_sample], 0.0))
