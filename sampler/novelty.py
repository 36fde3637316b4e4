"""Which images are unlike anything that is labelled, measured by what is usual in their own pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sampler.farthest import ROWS, Points, as_points
from sampler.herding import unit
from sampler.selection import Rng

TAIL = 0.05
"""Part of the pool that counts as unlike anything labelled."""
SAMPLE = 2048
"""Images of the pool from which is read what is usual."""


def novel(points: ArrayLike, pool: ArrayLike, context: ArrayLike | None, rng: Rng = 0) -> NDArray[np.bool_]:
    """Whether each of some images is farther from everything labelled than nearly all of the pool is: (k,).

    Args:
        points: (k, d) embeddings of the images in question.
        pool: (n, d) embeddings of all images that wait.
        context: (m, d) embeddings of labelled images; without any, nothing can be told and none is novel.
        rng: draws the images of the pool from which is read what is usual.
    """
    asked = as_points("points", points)
    if context is None or not len(np.asarray(context)) or not len(asked):
        return np.zeros(len(asked), dtype=np.bool_)
    known = unit(as_points("context", context))
    table = np.asarray(pool)
    some = np.random.default_rng(rng).permutation(len(table))[:SAMPLE]
    usual = nearest(unit(as_points("pool", table[some])), known)
    return np.asarray(nearest(unit(asked), known) < np.quantile(usual, TAIL))


def nearest(points: Points, known: Points) -> NDArray[np.float32]:
    """Cosine of each unit vector with the most alike of ``known``, (k,)."""
    best = np.full(len(points), -np.inf, dtype=np.float32)
    for start in range(0, len(known), ROWS):
        np.maximum(best, (points @ known[start : start + ROWS].T).max(axis=1), out=best)
    return best
