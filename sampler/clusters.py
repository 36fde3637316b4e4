"""Groups of alike images: k-means on unit vectors, fitted on part of a large pool.

Lloyd 1982 from the seeds of k-means++ (Arthur and Vassilvitskii, SODA 2007), greedy ones: of several
draws for each seed the best stays. A mean is known well from some forty points, so it is fitted on a
random sample of that many per cluster, 20,000 at least; the pool itself is read once, to say which
mean each image is nearest to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput
from sampler.farthest import ROWS, Points, as_points
from sampler.herding import unit
from sampler.selection import Rng

Labels = NDArray[np.intp]

SAMPLE, PER_CLUSTER = 20_000, 40
"""Points that the means are fitted on: the larger of the two, or all of a pool that is smaller."""
ITERATIONS = 50
"""Most rounds of Lloyd's; it mostly ends before, when no point moves any more."""
_SAME = 1e-6  # squared distance up to which float32 cannot tell unit vectors apart


def clusters(points: ArrayLike, count: int, rng: Rng) -> Labels:
    """Which cluster each point is in, (n,): 0 is the largest, then by size without a gap.

    Args:
        points: (n, d) embeddings, scaled to unit length here; a row of zeros stays at the origin.
        count: how many clusters, 1 or more. Fewer come out where fewer points differ, and where the means
            around one take all of its points.
        rng: draws the sample and the seeds.

    Raises:
        BadInput: ``count`` is below 1, or ``points`` is no table of finite numbers.
    """
    pool = as_points("points", points)
    if count < 1:
        raise BadInput("count", "1 or more", count)
    if len(pool) == 0:
        return np.zeros(0, dtype=np.intp)
    draw = np.random.default_rng(rng)
    most = max(SAMPLE, PER_CLUSTER * count)
    sample = unit(pool if len(pool) <= most else pool[np.sort(draw.choice(len(pool), most, replace=False))])
    means = _lloyd(sample, sample[_seeds(sample, count, draw)])
    labels = np.empty(len(pool), dtype=np.intp)
    for start in range(0, len(pool), ROWS):
        labels[start : start + ROWS] = _nearest(unit(pool[start : start + ROWS]), means)
    by_size = np.argsort(-np.bincount(labels, minlength=len(means)), kind="stable")
    names = np.empty(len(means), dtype=np.intp)
    names[by_size] = np.arange(len(means))
    return names[labels]


def _seeds(points: Points, count: int, draw: np.random.Generator) -> list[int]:
    """The first at random; for each next one some draws, with chances as the squared distances from the
    seeds, of which the one stays that leaves the least sum of them.
    """
    norms = np.einsum("ij,ij->i", points, points)
    seeds, nearest = list[int](), np.full(len(points), np.inf, dtype=np.float32)
    drawn = draw.integers(len(points), size=1)
    tries = 2 + int(np.log(count))
    while True:
        squares = points[drawn] @ points.T
        squares *= -2
        squares += norms
        squares += norms[drawn][:, None]
        squares[squares < _SAME] = 0
        np.minimum(squares, nearest, out=squares)
        best = int(squares.sum(axis=1, dtype=np.float64).argmin())
        seeds.append(int(drawn[best]))
        nearest = squares[best]
        mass = np.cumsum(nearest, dtype=np.float64)
        if len(seeds) == count or mass[-1] == 0:  # at 0 all that is left are copies of the seeds
            return seeds
        drawn = np.searchsorted(mass, draw.random(tries) * mass[-1], side="right")


def _lloyd(points: Points, means: Points) -> Points:
    labels: Labels | None = None
    for _ in range(ITERATIONS):
        before, labels = labels, _nearest(points, means)
        if before is not None and np.array_equal(before, labels):
            break
        order = np.argsort(labels, kind="stable")
        used, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
        means[used] = np.add.reduceat(points[order], starts, axis=0) / sizes[:, None]
    return means


def _nearest(points: Points, means: Points) -> Labels:
    alike = points @ means.T
    alike -= np.einsum("ij,ij->i", means, means) / 2  # of |x - m|^2 what differs between means, halved
    return np.asarray(alike.argmax(axis=1))
