"""From the boxes of an image to one number: aggregates in [0, 1], higher = more worth a human.

Every image owns at least one box and the boxes lie image after image: ``values`` (m,) in [0, 1] are
their uncertainties, ``starts`` (n,) where each image begins.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pool.schema import BadInput

Array = NDArray[np.float64]
Starts = NDArray[np.intp]
Aggregate = Callable[[Array, Starts, Array], Array]
"""Of ``values``, ``starts`` and ``price`` (n,): how many times the time of an image without boxes each
image takes, 1 or more."""

TOP_K = 3


def topk(values: Array, starts: Starts, k: int = TOP_K) -> Array:
    """The mean of the ``k`` most uncertain boxes, or of all where there are fewer.

    Raises:
        BadInput: ``k`` is below 1.
    """
    if k < 1:
        raise BadInput("k", "1 or more", k)
    lengths = _lengths(values, starts)
    image = np.repeat(np.arange(starts.size), lengths)
    total, left = np.zeros(starts.size), values.copy()
    for _ in range(min(k, int(lengths.max(initial=0)))):  # a few maxima cost a tenth of a sort
        best = np.maximum.reduceat(left, starts)
        total += np.maximum(best, 0.0)
        at = np.flatnonzero(left == best[image])
        left[at[np.diff(image[at], prepend=-1) > 0]] = -1.0  # one box of each image, used up
    return np.asarray(total / np.minimum(lengths, k))


def maximum(values: Array, starts: Starts) -> Array:
    """The most uncertain box speaks for the image; one odd box is enough."""
    return np.asarray(np.maximum.reduceat(values, starts))


def mean(values: Array, starts: Starts) -> Array:
    """The average box speaks for the image; a doubt drowns among clear boxes."""
    return np.asarray(np.add.reduceat(values, starts) / _lengths(values, starts))


def total(values: Array, starts: Starts) -> Array:
    """The sum s of all boxes as s / (1 + s), in [0, 1): the order is the sum's own.

    It prefers crowded images, which hold more doubts and cost people more time.
    """
    return _squashed(np.add.reduceat(values, starts))


def per_cost(values: Array, starts: Starts, price: Array) -> Array:
    """What a second of a person's time buys: the sum s over ``price`` (n,), x = s / price, as x / (1 + x).

    In the order of s / (t0 + t1 * boxes) with t0 seconds per image and t1 per box, of which only the ratio
    matters; where boxes cost nothing it is `total`. A crowd of doubts no longer wins by being a crowd.
    """
    return _squashed(np.add.reduceat(values, starts) / price)


def _squashed(worth: Array) -> Array:
    return np.asarray(worth / (1.0 + worth))


def _lengths(values: Array, starts: Starts) -> NDArray[np.intp]:
    return np.diff(starts, append=values.size)


AGGREGATES: dict[str, Aggregate] = {
    "topk": lambda values, starts, price: topk(values, starts),
    "max": lambda values, starts, price: maximum(values, starts),
    "mean": lambda values, starts, price: mean(values, starts),
    "sum": lambda values, starts, price: total(values, starts),
    "cost": per_cost,
}
