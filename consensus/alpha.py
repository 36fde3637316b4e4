"""Krippendorff's alpha: agreement beyond chance, for a whole project.

Who drew what is a table of objects and values: the label somebody gave it, or "absent" from whoever
answered for the image and did not draw it. Alpha compares how often two people differ about an
object with how often two of all the values would: 1 is full agreement, 0 what chance gives, below 0
worse than chance. Unlike F1 it is not flattered by a label that nearly every box has.

Nobody reports an object that nobody sees, so there are hardly any "absent" by all, and chance looks
better informed than it was. Read alpha beside F1, not instead of it.

Source: Krippendorff, Content Analysis (2004), chapter 11, nominal data with missing values; over
clusters of boxes: Tschirschwitz and Rodehorst, 2026 (arXiv 2603.27197).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from consensus.sheet import Floats, Ints
from consensus.study import Study


@dataclass(frozen=True, slots=True)
class Values:
    """All that the alphas need of each image; rows of several images can be added up.

    Only images with at least two answers count. ``drawn`` (images, labels) counts boxes by label,
    ``paired`` those of them whose object somebody else drew too, ``absent`` (images,) the answers
    that lack an object. ``exist``, ``label`` and ``joint`` (images,) add up the observed agreement of
    each alpha: for an object with m values, the ordered pairs of equal ones / (m - 1).
    """

    drawn: Ints
    paired: Ints
    absent: Ints
    exist: Floats
    label: Floats
    joint: Floats


@dataclass(frozen=True, slots=True)
class Alphas:
    """Three questions to the same objects, each in [-1, 1], higher = more agreement, NaN where undefined.

    ``exist``: is there an object? ``label``: which, among those who drew it? ``joint``: both at once,
    with "absent" as one more label.
    """

    exist: float
    label: float
    joint: float


def alphas(study: Study, *, empty: bool = True) -> Alphas:
    """The alphas of all images together.

    Never of one image: the agreement that chance gives is taken from the values at hand, and one
    image has too few. Two people who share seven of eight boxes get an ``exist`` of 0 there, no better
    than chance, and so do five of whom four drew the only object.

    Args:
        study: answers of any number of images.
        empty: whether an image that at least two people left empty is one more object, absent by
            all. Without it agreement that there is nothing is not counted at all.
    """
    values = tabulate(study, empty=empty)
    drawn, paired, absent = values.drawn.sum(axis=0), values.paired.sum(axis=0), values.absent.sum()
    return Alphas(
        exist=float(nominal(values.exist.sum(), np.array([drawn.sum(), absent]))),
        label=float(nominal(values.label.sum(), paired)),
        joint=float(nominal(values.joint.sum(), np.append(drawn, absent))),
    )


def ballots(study: Study) -> Ints:
    """Votes for each object, (objects, labels + 1).

    The columns are the labels of the study, then "absent": who answered for the image and did not
    draw the object. Each row adds up to the people who answered. Dense: for very many labels, use
    `tabulate`.
    """
    votes, names = study.votes, len(study.marks.labels)
    cells = study.objects * (names + 1) + study.marks.label
    table = np.bincount(cells, minlength=len(votes.sample) * (names + 1)).reshape(-1, names + 1)
    table[:, -1] = votes.voters[votes.sample] - votes.drawn
    return np.asarray(table, dtype=np.intp)


def krippendorff(counts: Ints) -> float:
    """Nominal alpha of any table, (units, values), of how often each unit got each value.

    Units with fewer than two values say nothing and are left out. NaN where none is left.
    """
    size = counts.sum(axis=1)
    counts, size = counts[size >= 2], size[size >= 2]
    agreed = (counts * (counts - 1)).sum(axis=1) / (size - 1)
    return float(nominal(agreed.sum(), counts.sum(axis=0)))


def nominal(agreed: Floats | float, totals: Floats | Ints) -> Floats:
    """Nominal alpha from sums over units, for any number of such sums at once.

    Args:
        agreed: (...,) sum over units with m values, at least two, of its ordered pairs of equal
            values / (m - 1).
        totals: (..., values) how often each value occurs in those units.

    Returns:
        (...,) at most 1. Where one value is all there is, chance agrees as well as people do and the
        ratio is 0 / 0: they were identical, and this is 1. NaN where there is no unit.
    """
    totals = np.asarray(totals, dtype=np.float64)
    size = totals.sum(axis=-1)
    differing = size * (size - 1.0) - (totals * (totals - 1.0)).sum(axis=-1)
    expected = differing / np.maximum(size - 1.0, 1.0)
    alpha = 1.0 - (size - agreed) / np.where(expected > 0.0, expected, 1.0)
    return np.asarray(np.where(size < 2.0, np.nan, np.where(expected > 0.0, alpha, 1.0)))


def tabulate(study: Study, *, empty: bool = True) -> Values:
    """What the alphas need of each image, in time and memory of the boxes + images x labels.

    Args:
        study: the answers.
        empty: see `alphas`.
    """
    votes, marks = study.votes, study.marks
    names, images = max(len(marks.labels), 1), len(votes.voters)
    voters, others = votes.voters, np.maximum(votes.voters - 1, 1)
    compared = voters >= 2
    missed = voters[votes.sample] - votes.drawn

    key, count = np.unique(study.objects * names + marks.label, return_counts=True)
    alike = np.bincount(key // names, weights=count * (count - 1), minlength=len(votes.sample))

    def per_image(weights: Floats | Ints) -> Floats:
        return np.bincount(votes.sample, weights=weights, minlength=images).astype(np.float64)

    def per_label(rows: Ints) -> Ints:
        cells = marks.sample[rows] * names + marks.label[rows]
        table = np.bincount(cells, minlength=images * names).reshape(images, names)
        return np.asarray(table[:, : len(marks.labels)], dtype=np.intp)

    nothing = compared & (np.bincount(votes.sample, minlength=images) == 0) & empty
    agreed_empty = np.where(nothing, voters, 0)
    equal_absent = per_image(missed * (missed - 1))
    return Values(
        drawn=per_label(np.flatnonzero(compared[marks.sample])),
        paired=per_label(np.flatnonzero(votes.drawn[study.objects] >= 2)),
        absent=(per_image(missed) + agreed_empty).astype(np.intp),
        exist=(per_image(votes.drawn * (votes.drawn - 1)) + equal_absent) / others + agreed_empty,
        label=per_image(alike / np.maximum(votes.drawn - 1, 1)),
        joint=(per_image(alike) + equal_absent) / others + agreed_empty,
    )
