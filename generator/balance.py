"""What is generated next: how many variants of each condition, and of which parents.

Pure numbers: nothing here sees an image. Variants go where the detector is weakest, and parents are the
hardest images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pool.schema import BadInput

SLACK = 1e-9
"""A product of a share and a count this close to a whole number is that number: 0.1 x 30 is 3."""


def shares(
    errors: Mapping[str, float],
    counts: Mapping[str, int],
    conditions: Sequence[str],
    total: int,
    *,
    floor: float = 0.5,
) -> dict[str, int]:
    """How many variants of each of ``conditions`` to make next; the numbers sum to ``total``.

    With e the detector's error in [0, 1] (``errors``, higher = weaker), n the variants already there
    (``counts``, a missing name is 0) and m their mean over the conditions::

        weight = e / (1 + n / m)              (m = 0: weight = e)
        part   = floor / conditions + (1 - floor) * weight / sum of weights

    An error that is NaN or missing is unknown: the mean of the known ones, 1 if none is known. Where all
    weights are 0 the parts are equal. ``floor`` in [0, 1] is what is spread equally, so that no condition
    starves. Whole numbers by the largest remainder, the earlier condition first among equals. Names in
    ``errors`` and ``counts`` that are no condition do not count.

    Raises BadInput for repeated conditions, none for a positive total, or numbers out of range.
    """
    if len(set(conditions)) < len(conditions):
        raise BadInput("conditions", "different names", list(conditions))
    if total < 0 or (total and not conditions):
        raise BadInput("total", "0 or more, and 0 without conditions", total)
    if not 0 <= floor <= 1:
        raise BadInput("floor", "a number in [0, 1]", floor)
    if not conditions:
        return {}
    error = np.array([errors.get(name, math.nan) for name in conditions], dtype=np.float64)
    there = np.array([counts.get(name, 0) for name in conditions], dtype=np.float64)
    if ((error < 0) | (error > 1)).any():
        raise BadInput("errors", "numbers in [0, 1] or NaN", dict(errors))
    if not (there >= 0).all():
        raise BadInput("counts", "0 or more", dict(counts))

    known = ~np.isnan(error)
    error[~known] = error[known].mean() if known.any() else 1.0
    weight = error / (1.0 + there / (there.mean() or 1.0))
    equal = np.full(len(conditions), 1.0 / len(conditions))
    part = floor * equal + (1.0 - floor) * (weight / weight.sum() if weight.sum() > 0 else equal)
    return dict(zip(conditions, _whole(part, total), strict=True))


def _whole(part: NDArray[np.float64], total: int) -> list[int]:
    """``total`` things in these parts, by the largest remainder."""
    quota = part * total
    number = np.floor(quota + SLACK).astype(np.int64)
    left = total - int(number.sum())
    number[np.argsort(-np.round(quota - number, 9), kind="stable")[:left]] += 1
    return [int(n) for n in number]


def blend(
    error: NDArray[np.float64], uncertainty: NDArray[np.float64], labelled: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How hard each image is, (n,): in (0, 1), higher = harder; -inf = unknown, no parent.

    A labelled image is as hard as its ``error`` against the consensus says, an unlabelled one as its
    ``uncertainty``. The two scales cannot be compared, so each becomes the mid-rank within its group,
    (those below + half of the equal ones) / known ones: both groups then have the mean 1/2, and neither
    crowds out the other. A NaN in the number that counts is -inf.

    Raises BadInput unless all three have one shape (n,).
    """
    if not error.shape == uncertainty.shape == labelled.shape or error.ndim != 1:
        raise BadInput(
            "error", "three arrays of one length", [error.shape, uncertainty.shape, labelled.shape]
        )
    rank = np.full(len(error), -np.inf)
    for values, group in ((error, labelled), (uncertainty, ~labelled)):
        members = np.flatnonzero(group & ~np.isnan(values))
        _, place, size = np.unique(values[members], return_inverse=True, return_counts=True)
        rank[members] = ((np.cumsum(size) - size / 2) / max(len(members), 1))[place]
    return rank
