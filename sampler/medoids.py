"""Medoids: the k of n things that all others are nearest to, from a table of distances alone.

Begins with the farthest-first traversal (k-center greedy, Gonzalez 1985), then alternates: everything
goes to its nearest medoid, and each group takes as its medoid the member nearest to all of it (Park and
Jun 2009). Neither step can raise the sum of distances to the nearest medoid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pool.schema import BadInput
from sampler.farthest import Indices, Points

ITERATIONS = 100


def medoids(distance: Points, k: int) -> Indices:
    """Indices of ``k`` different things, (k,), in no order that means anything.

    Args:
        distance: (n, n) symmetric, 0 or more, 0 on the diagonal. The traversal begins with the first.
        k: how many, from 1 to n.

    Raises:
        BadInput: ``k`` is out of range.
    """
    if not 1 <= k <= len(distance):
        raise BadInput("k", f"from 1 to {len(distance)}", k)
    now = spread(distance, k)
    for _ in range(ITERATIONS):
        before, now = now, _centred(distance, now)
        if np.array_equal(before, now):
            break
    return now


def spread(distance: Points, k: int) -> Indices:
    """Indices of the first thing, then of each the farthest from all before, (k,)."""
    picks = np.zeros(k, dtype=np.intp)
    nearest = np.full(len(distance), np.inf, dtype=distance.dtype)
    for place in range(1, k):
        np.minimum(nearest, distance[picks[place - 1]], out=nearest)
        nearest[picks[place - 1]] = -1  # copies of a pick lie at distance 0 and may still be wanted
        picks[place] = nearest.argmax()
    return picks


def _centred(distance: Points, now: Indices) -> Indices:
    """The medoid of each group; the one it has unless another is better."""
    home = distance[:, now].argmin(axis=1)
    home[now] = np.arange(len(now))  # also where two medoids are copies, so that no group is empty
    members = np.argsort(home, kind="stable")
    bounds = np.searchsorted(home[members], np.arange(len(now) + 1))
    fresh = now.copy()
    for group, medoid in enumerate(now.tolist()):
        mine = members[bounds[group] : bounds[group + 1]]
        costs: NDArray[np.float64] = distance[np.ix_(mine, mine)].sum(axis=1, dtype=np.float64)
        if costs.min() < costs[mine == medoid][0]:
            fresh[group] = mine[costs.argmin()]
    return fresh
