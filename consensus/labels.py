"""What people say label by label: how well each is agreed on, and which are taken for which.

Every person is held against the others: an object's label is what they say without that person, so
nobody is measured by a verdict that is partly his own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from consensus.agreement import Shared, shared
from consensus.alpha import nominal
from consensus.marks import Marks
from consensus.sheet import Floats, Ints
from consensus.study import Study
from pool.schema import BadInput


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How far people agree on one label; ``label`` is None for boxes without one.

    ``objects`` counts those whose winning label it is (`agreement.Votes`), ``boxes`` those drawn
    under it. ``f1`` is 2 x matched / boxes, both summed over all pairs of people on all images, of this
    label alone, in [0, 1]; NaN where no box could be compared. ``iou`` is the mean IoU of the matched
    boxes, in [0, 1], of a pair below tau only where a third person's box joins the two; NaN where none
    matched. ``alpha`` is Krippendorff's, at most 1, of the objects that at least one person drew under
    this label, "absent" being one more value; NaN where nobody else answered.

    Higher = more agreement. A low F1 with a high IoU says that people differ about what it is or
    whether to draw it, the other way round about where it ends. Two boxes of one object under two
    labels count against both labels.

    Compare ``alpha`` between labels only, not with that of the project, which is higher: objects picked
    for a label mostly bear it, so chance would agree on it too, and few doubts bring it down to 0.
    """

    label: str | None
    objects: int
    boxes: int
    f1: float
    iou: float
    alpha: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """What people say where the others say something.

    ``counts`` (labels + 1, labels + 1): rows are what the others say together, columns what the person
    says, both in the order of ``labels``, the last for "absent": a row's last column counts missed
    objects, the last row those that the person drew and the others did not. The last of both counts
    objects that some of the others drew, but neither the person nor most of them: it is no number of
    true negatives, for what nobody drew cannot be counted.
    """

    labels: tuple[str | None, ...]
    counts: Ints


@dataclass(frozen=True, slots=True)
class Mixup:
    """A person said ``said`` where the others say ``theirs``, ``count`` times.

    Both are positions in the study's labels, their number for "absent". ``objects`` holds the
    positions of the objects where it happened, ascending; it is shorter than ``count`` where several
    people did so at one object.
    """

    theirs: int
    said: int
    count: int
    objects: Ints


def by_label(study: Study, common: Shared | None = None) -> tuple[LabelFigures, ...]:
    """Agreement on each label of the study, in their order; see `LabelFigures`.

    ``common`` is `agreement.shared` of the study, where that is at hand. Read F1 beside ``boxes``: for a
    label with a handful of boxes it is luck.
    """
    marks, votes = study.marks, study.votes
    names = len(marks.labels)
    met = shared(marks, study.objects) if common is None else common
    matched = np.bincount(marks.label[met.first], minlength=names)
    overlap = np.bincount(marks.label[met.first], weights=met.iou, minlength=names)
    # A box is compared with the answers of everybody else who saw its image.
    compared = np.bincount(marks.label, weights=votes.voters[marks.sample] - 1, minlength=names)
    columns = (
        np.bincount(votes.label, minlength=names),
        np.bincount(marks.label, minlength=names),
        _share(2.0 * matched, compared),
        _share(overlap, matched),
        _alphas(study),
    )
    return tuple(
        LabelFigures(name, *figures)
        for name, *figures in zip(marks.labels, *(column.tolist() for column in columns), strict=True)
    )


def _alphas(study: Study) -> Floats:
    """Joint alpha of the objects that somebody drew under each label, (labels,)."""
    from scipy.sparse import csr_array

    votes, names = study.votes, len(study.marks.labels)
    key, count = np.unique(study.objects * max(names, 1) + study.marks.label, return_counts=True)
    owner, label = key // max(names, 1), key % max(names, 1)
    compared = votes.voters[votes.sample[owner]] >= 2
    owner, label, count = owner[compared], label[compared], count[compared]

    shape = (len(votes.sample), names)
    drawn = csr_array((count, (owner, label)), shape=shape)
    occurs = csr_array((np.ones(len(owner), dtype=np.intp), (owner, label)), shape=shape).T
    missed = votes.voters[votes.sample] - votes.drawn
    alike = np.bincount(owner, weights=count * (count - 1), minlength=len(missed))
    agreed = (alike + missed * (missed - 1)) / np.maximum(votes.voters[votes.sample] - 1, 1)
    return nominal(occurs @ agreed, np.column_stack([(occurs @ drawn).toarray(), occurs @ missed]))


def confusions(study: Study) -> Ints:
    """The counts of `Confusion` for each annotator, (annotators, labels + 1, labels + 1).

    An object's label without a person is what a majority of the other people who answered for the
    image say: absent where more than half of them did not draw it (half is not enough, as in
    `fusion.QUORUM`), else the label that most of them gave, of equals the alphabetically first, None
    only where none of them named it. Images with a single answer count for nothing.

    With two people on an image the others are one person, and neither can be told to be wrong: read
    rows of annotators only where three or more see the same images.
    """
    names, people = len(study.marks.labels) + 1, len(study.marks.annotators)
    units = _held(study)
    key = (units.annotator * names + units.theirs) * names + units.said
    counts = np.bincount(key, minlength=people * names * names)
    return counts.reshape(people, names, names).astype(np.intp)


def confusion(study: Study) -> Confusion:
    """`confusions` of all annotators together."""
    names = len(study.marks.labels) + 1
    units = _held(study)
    counts = np.bincount(units.theirs * names + units.said, minlength=names * names)
    return Confusion(study.marks.labels, counts.reshape(names, names).astype(np.intp))


def top_confusions(study: Study, most: int = 10) -> tuple[Mixup, ...]:
    """What is mistaken for what: the most frequent cells of `confusion` off its diagonal.

    Most frequent first, equals in the order of rows and columns; at most ``most`` of them, none
    without a case. Misses and extra boxes are among them.

    Raises:
        BadInput: ``most`` is below 0.
    """
    if most < 0:
        raise BadInput("most", "0 or more", most)
    names = len(study.marks.labels) + 1
    units = _held(study)
    cell = units.theirs * names + units.said
    count = np.bincount(cell, minlength=names * names)
    count[:: names + 1] = 0
    top = np.argsort(-count, kind="stable")[:most]
    return tuple(
        Mixup(k // names, k % names, int(count[k]), np.unique(units.object[cell == k]))
        for k in top[count[top] > 0].tolist()
    )


@dataclass(frozen=True, slots=True)
class _Units:
    """A row for each object and person who answered for its image, less those who were alone."""

    object: Ints
    annotator: Ints
    theirs: Ints
    said: Ints


def _held(study: Study) -> _Units:
    """What each person says about each object, and what the others say."""
    marks, votes = study.marks, study.votes
    absent = len(marks.labels)
    rows = np.where(votes.voters > 1, votes.voters, 0)[votes.sample]
    start = np.cumsum(rows) - rows
    first = (np.cumsum(votes.voters) - votes.voters)[votes.sample]
    unit = np.repeat(np.arange(len(rows)), rows)
    visit = np.arange(len(unit)) + (first - start)[unit]

    said = np.full(len(unit), absent, dtype=np.intp)
    compared = rows[study.objects] > 0
    box = study.objects[compared]
    said[start[box] + marks.place[compared] - first[box]] = marks.label[compared]

    others = rows[unit] - 1
    missed = others - votes.drawn[unit] + (said != absent)
    winner, without = votes.label, without_winner(marks, study.objects)
    theirs = np.where(said == winner[unit], without[unit], winner[unit])
    theirs[2 * missed > others] = absent
    return _Units(unit, marks.answered[visit, 1], theirs, said)


def without_winner(marks: Marks, objects: Ints) -> Ints:
    """The label that wins each object, (c,), once one vote for the winner is taken away.

    Any other vote taken away leaves the winner the winner. Where no vote is left it means nothing.
    """
    names = max(len(marks.labels), 1)
    key, count = np.unique(objects * names + marks.label, return_counts=True)
    owner, label = key // names, key % names
    unnamed = np.array([name is None for name in marks.labels], dtype=np.bool_)[label]

    def leaders(count: Ints) -> Ints:
        """Rows of each object's labels, the winner first."""
        return np.asarray(np.lexsort((label, -count, unnamed | (count == 0), owner)))

    start = np.flatnonzero(np.diff(owner, prepend=-1))
    less = count.copy()
    less[leaders(count)[start]] -= 1
    return np.asarray(label[leaders(less)[start]])


def _share(part: ArrayLike, whole: ArrayLike) -> Floats:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
