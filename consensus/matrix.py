"""The annotator matrix: how far each two people agree, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from consensus.agreement import Pairs, count_pairs, pooled
from consensus.annotators import gold_pairs
from consensus.rates import LEVEL, wilson
from consensus.sheet import GOLD, Floats
from consensus.study import Study

FEW = 20
"""Shared images below which a pair's figures are an accident of those images."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two people on the ``samples`` images that both answered.

    ``f1``, ``pq`` and ``iou`` in [0, 1], higher = more agreement, each of all their boxes together
    (see `agreement.Pairs`); ``low`` and ``high`` bound the F1 with 95 % confidence. ``iou`` is
    NaN where nothing matched.
    """

    first: str
    second: str
    samples: int
    f1: float
    low: float
    high: float
    iou: float
    pq: float


def matrix(study: Study, pairs: Pairs | None = None) -> tuple[Pairing, ...]:
    """Every two people who share an image, by name; then each against the ground truth, if there is one.

    Read a cell beside its number of images, and do not rank people by cells of fewer than `FEW`. The
    figures against the ground truth are those of `annotators.against_gold`.

    Args:
        study: answers of any number of images.
        pairs: `agreement.count_pairs` of the study, where that is at hand.
    """
    names = study.marks.annotators
    rows = _rows(count_pairs(study.marks, study.objects) if pairs is None else pairs, names)
    return tuple(rows + _rows(gold_pairs(study.sheet, study.tau), (*names, GOLD)))


def _rows(pairs: Pairs, names: tuple[str, ...]) -> list[Pairing]:
    sums = pooled(pairs)
    low, high = bounds(pairs, sums)
    columns = (sums.first, sums.second, sums.samples, sums.f1, low, high, sums.iou, sums.pq)
    return [
        Pairing(names[first], names[second], *figures)
        for first, second, *figures in zip(*(column.tolist() for column in columns), strict=True)
    ]


def bounds(pairs: Pairs, sums: Pairs) -> tuple[Floats, Floats]:
    """Bounds of each pair's pooled F1, both (pairs of people,), in the order of ``sums``.

    F1 is a ratio of sums over images, so its variance is that of what each image leaves over (Cochran,
    Sampling Techniques, 1977, section 6.4): images are what could have been others, not boxes. Where no
    image leaves anything over that says "certain" of a handful of boxes as well; there, and with a
    single image, the bounds are those of a share of the boxes (Wilson 1927).

    Args:
        pairs: a row for each two people and image, as `agreement.count_pairs` gives them.
        sums: `agreement.pooled` of them.
    """
    width = int(sums.second.max()) + 1 if sums.second.size else 1
    row = np.searchsorted(sums.first * width + sums.second, pairs.first * width + pairs.second)
    boxes = pairs.first_drew + pairs.second_drew
    left = 2.0 * pairs.matched - sums.f1[row] * boxes
    count, whole = sums.samples, sums.first_drew + sums.second_drew
    square = np.bincount(row, weights=left**2, minlength=len(count))
    wide = np.sqrt(square * count / np.maximum(count - 1, 1)) / np.maximum(whole, 1)
    margin = NormalDist().inv_cdf(0.5 + LEVEL / 2.0) * wide
    low, high = np.clip(sums.f1 - margin, 0.0, 1.0), np.clip(sums.f1 + margin, 0.0, 1.0)
    plain = (square == 0.0) | (count < 2)
    least, most = wilson(2 * sums.matched, np.maximum(whole, 1))
    empty = whole == 0  # they agreed that there is nothing, as often as they share an image
    nothing, _ = wilson(count, np.maximum(count, 1))
    low = np.where(empty, nothing, np.where(plain, least, low))
    high = np.where(empty, 1.0, np.where(plain, most, high))
    return low, high
