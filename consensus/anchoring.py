"""How far boxes drawn in advance make people agree: with the model, and so with one another.

Two people who begin from the same prediction and leave it as it is agree without having looked. So
agreement among people who were shown a prediction says less than agreement among those who were not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from consensus.agreement import Pairs, count_pairs
from consensus.rates import LEVEL, Rate, rates
from consensus.sheet import CHANGED, SCRATCH, UNTOUCHED, Floats, Ints
from consensus.study import Study

DRAWS = 1000
"""Times the images are drawn anew for the bounds of the gap."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """How one person's answers that count began.

    ``scratch`` answers began from nothing, ``shown`` from a prediction. ``untouched`` is the share of
    the answers from a known prediction that repeat it exactly. A high share is no fault by itself: the
    model may be right. It is one where others change the same images; compare people, not with 0.
    """

    name: str
    scratch: int
    shown: int
    untouched: Rate


@dataclass(frozen=True, slots=True)
class Company:
    """F1 of all pairs of people of one sort added up, NaN without one, and on how many images."""

    f1: float
    images: int


@dataclass(frozen=True, slots=True)
class Anchoring:
    """Agreement by how people began.

    ``scratch``: pairs of people who both began from nothing; ``shown``: both from a prediction;
    ``mixed``: one of each. ``gap`` is the F1 of ``shown`` less that of ``scratch``, in [-1, 1], with
    ``low`` and ``high`` its 95 % bounds; all NaN where one of them has no pair.

    A gap above 0 whose bounds leave out 0 says that people agree more where they were shown boxes.
    Either they share an anchor, and agreement overstates how sure the labels are, or predictions were
    shown on easier images. ``mixed`` helps to tell: those images had a prediction too, so that its F1 is
    near that of ``scratch`` where the anchor makes the gap, and near that of ``shown`` where the images
    do. Only predictions shown at random settle it. Bounds from fewer than fifty images are too narrow.
    """

    people: tuple[Acceptance, ...]
    scratch: Company
    shown: Company
    mixed: Company
    gap: float
    low: float
    high: float


def anchoring(study: Study, pairs: Pairs | None = None, draws: int = DRAWS) -> Anchoring:
    """Compare people who began from predictions with those who did not.

    The bounds come from drawing images anew, not boxes or pairs, for those of one image go together
    (cluster bootstrap, percentiles: Davison and Hinkley 1997, chapters 2 and 3). The draws are the same
    on every call.

    Args:
        study: answers of any number of images.
        pairs: `agreement.count_pairs` of the study, where they are at hand.
        draws: how often the images are drawn.
    """
    marks = study.marks
    people, images = len(marks.annotators), len(marks.samples)
    start = study.sheet.start[marks.answer]
    pairs = count_pairs(marks, study.objects) if pairs is None else pairs

    key = marks.answered[:, 0] * max(people, 1) + marks.answered[:, 1]
    begun = (start != SCRATCH).astype(np.intp)
    first = begun[np.searchsorted(key, pairs.sample * max(people, 1) + pairs.first)]
    second = begun[np.searchsorted(key, pairs.sample * max(people, 1) + pairs.second)]
    cell = pairs.sample * 3 + first + second  # 0 both from nothing, 1 mixed, 2 both shown

    def table(weights: Ints | None) -> Floats:
        sums = np.bincount(cell, weights, 3 * images)
        return sums.reshape(images, 3).astype(np.float64)

    hits, boxes, count = table(2 * pairs.matched), table(pairs.first_drew + pairs.second_drew), table(None)
    f1 = _f1(hits.sum(axis=0), boxes.sum(axis=0), count.sum(axis=0))
    sorts = [Company(float(f1[k]), int((count[:, k] > 0).sum())) for k in range(3)]
    low, high = _bounds(hits[:, [0, 2]], boxes[:, [0, 2]], count[:, [0, 2]], draws)

    def tally(kept: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Ints:
        return np.bincount(marks.answered[kept, 1], minlength=people).astype(np.intp)

    untouched = rates(tally(start == UNTOUCHED), tally((start == UNTOUCHED) | (start == CHANGED)))
    columns = zip(
        marks.annotators,
        tally(start == SCRATCH).tolist(),
        tally(start != SCRATCH).tolist(),
        untouched,
        strict=True,
    )
    return Anchoring(
        people=tuple(Acceptance(*row) for row in columns),
        scratch=sorts[0],
        shown=sorts[2],
        mixed=sorts[1],
        gap=float(f1[2] - f1[0]),
        low=low,
        high=high,
    )


def _f1(hits: Floats, boxes: Floats, count: Floats) -> Floats:
    """Pooled F1, NaN without a pair, 1 where no pair drew anything."""
    share = np.where(boxes > 0.0, hits / np.where(boxes > 0.0, boxes, 1.0), 1.0)
    return np.where(count > 0.0, share, np.nan)


def _bounds(hits: Floats, boxes: Floats, count: Floats, draws: int) -> tuple[float, float]:
    """Bounds of the second column's F1 less the first's, all (images, 2)."""
    used = np.flatnonzero(count.any(axis=1))
    table = np.column_stack([hits, boxes, count])[used]
    if not count.any(axis=0).all():
        return float("nan"), float("nan")
    # Which image is drawn must not depend on how it is called.
    table = table[np.lexsort(table.T)]
    size = len(table)
    rng = np.random.default_rng(0)
    gaps = np.empty(draws)
    for k in range(draws):
        drawn = np.bincount(rng.integers(0, size, size, dtype=np.int32), minlength=size)
        f1 = _f1(*(drawn @ table).reshape(3, 2))
        gaps[k] = f1[1] - f1[0]
    gaps = gaps[np.isfinite(gaps)]  # few images: a draw may hold none of one sort
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(gaps, [tail, 1.0 - tail]) if gaps.size else (np.nan, np.nan)
    return float(low), float(high)
