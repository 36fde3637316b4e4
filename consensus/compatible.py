"""The agreement that people who come from Label Studio know, for comparison with their old reports.

Nothing else here is made of it, and it is the one figure that needs no clustering.
"""

from __future__ import annotations

import numpy as np

from consensus.marks import Marks
from consensus.matching import cross_pairs, every_pair
from consensus.overlap import hulls, pair_iou
from consensus.sheet import Floats, Ints
from consensus.study import Study


def label_studio_iou(study: Study) -> Floats:
    """Mean best IoU of each image, (samples,), in [0, 1], higher = more agreement.

    Each box of one person is worth its largest IoU with any box of the other person under the same
    label, 0 where there is none; a direction is the mean over the one person's boxes, two people get
    the smaller of both directions, and an image the mean over its pairs of people. Two who drew
    nothing are worth 1, one who drew alone 0; NaN where fewer than two people answered.

    Read it beside figures from Label Studio, and nowhere else. Boxes are not matched one to one: one
    box may be the best partner of many, so duplicates cost nothing (two copies of a box against one
    are worth 1), and a box around a group is paid for each member it overlaps. Missed boxes and loose
    edges melt into one number, and there is no threshold: any overlap, however small, counts.
    `agreement.Pairs.f1` and `agreement.Pairs.iou` keep these apart.

    The formula is that of label-studio-evalme 0.0.18, which Label Studio's documentation describes as
    "Intersection over Union". Three things differ: it took turned boxes for upright ones, while here
    they overlap as polygons; it failed on boxes without a label, which here are a label of their own;
    and what is no box, or lies outside of the image, is left out as everywhere here.
    """
    marks, voters = study.marks, study.votes.voters
    place, sample = marks.place, marks.answered[:, 0]
    first = (np.cumsum(voters) - voters)[sample]  # of the answers to the same image
    drew = np.bincount(place, minlength=len(sample))

    # Every answer has a row for each answer to its image, itself included, with a cell for each box.
    rows = voters[sample]
    width = np.repeat(drew, rows)
    start, cell = np.cumsum(rows) - rows, np.cumsum(width) - width
    rank = np.arange(len(place)) - (np.cumsum(drew) - drew)[place]
    here = cell[start] - first * drew
    best = _best(marks, place, here[place] + rank, drew[place], int(width.sum()))
    mean = np.zeros(len(width))
    mean[width > 0] = np.add.reduceat(best, cell[width > 0]) / width[width > 0]

    left, right = every_pair(sample, marks.answered[:, 1])
    both = np.minimum(mean[start[left] + right - first[left]], mean[start[right] + left - first[right]])
    worth = np.where(drew[left] + drew[right] == 0, 1.0, both)
    count = np.bincount(sample[left], minlength=len(voters))
    summed = np.bincount(sample[left], weights=worth, minlength=len(voters))
    return np.where(count > 0, summed / np.maximum(count, 1), np.nan)


def _best(marks: Marks, place: Ints, offset: Ints, stride: Ints, cells: int) -> Floats:
    """Each box's largest IoU with the boxes of its label in each answer to its image, (cells,).

    All but the number of cells are (n,): ``place`` is the answer that a box belongs to, and its
    largest IoU with answer k stands at ``offset`` + k x ``stride``.
    """
    best = np.zeros(cells)
    left, top, right, bottom = hulls(marks.boxes, marks.turn, marks.aspect).T.copy()
    for i, j in cross_pairs(marks.sample * max(len(marks.labels), 1) + marks.label, marks.annotator):
        for low, high in ((left, right), (top, bottom)):  # most pairs are apart and leave early
            close = (low[i] < high[j]) & (low[j] < high[i])
            i, j = i[close], j[close]
        iou = pair_iou(marks.boxes[i], marks.boxes[j], marks.turn[i], marks.turn[j], marks.aspect[i])
        np.maximum.at(best, offset[i] + place[j] * stride[i], iou)
        np.maximum.at(best, offset[j] + place[i] * stride[j], iou)
    return best
