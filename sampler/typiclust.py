"""TypiClust: the most typical image of each group that has no label yet, for a start with few labels.

Hacohen, Dekel and Weinshall, ICML 2022 (arXiv 2202.02794). The pool and the labelled images fall into
as many clusters as there are labels once the batch is labelled, so that some hold no label; the largest
of those give their most typical image, the one whose nearest neighbours are nearest. An unsure model is
of no use before it has learnt anything: what is common teaches it more than what is odd.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput
from sampler.clusters import Labels, clusters
from sampler.farthest import Indices, Points, as_points
from sampler.herding import unit
from sampler.selection import Rng

NEIGHBOURS = 20
CLUSTERS = 500
MEMBERS = 4096
"""Members that neighbours are looked for among, at random, where a cluster has more."""
_ROWS = 2048


def typiclust(
    points: ArrayLike,
    k: int,
    rng: Rng,
    *,
    context: ArrayLike | None = None,
    neighbours: int = NEIGHBOURS,
    most: int = CLUSTERS,
) -> Indices:
    """Indices of ``k`` points in the order picked; all where there are fewer.

    Each pick is from the cluster with the fewest labels and picks so far, of those from the largest, and
    in it the most typical point that is left: with more picks than clusters they go round again.
    Typicality is 1 / mean distance to the nearest neighbours among the cluster's unlabelled points.

    Args:
        points: (n, d) embeddings, scaled to unit length here.
        k: how many, 0 or more.
        rng: draws what the clusters begin from, and samples of large ones.
        context: (m, d) embeddings of labelled images.
        neighbours: how many count for typicality, 1 or more; all others where a cluster has fewer.
        most: clusters at most, 1 or more; beyond them k-means splits what belongs together.

    Raises:
        BadInput: a count is below its least, or the arrays do not fit.
    """
    pool = as_points("points", points)
    known = pool[:0] if context is None or np.size(context) == 0 else as_points("context", context)
    if known.shape[1] != pool.shape[1]:
        raise BadInput("context", f"of shape (m, {pool.shape[1]})", known.shape)
    for name, value, least in (("k", k, 0), ("neighbours", neighbours, 1), ("most", most, 1)):
        if value < least:
            raise BadInput(name, f"{least} or more", value)
    n, wanted = len(pool), min(k, len(pool))
    if wanted == 0:
        return np.zeros(0, dtype=np.intp)
    draw = np.random.default_rng(rng)
    everyone = np.concatenate((pool, known)) if len(known) else pool
    of = clusters(everyone, min(len(known) + wanted, most), draw)
    turns = _turns(of[:n], np.bincount(of[n:], minlength=of.max() + 1), wanted)
    members = np.argsort(of[:n], kind="stable")
    bounds = np.searchsorted(of[:n][members], np.arange(of.max() + 2))
    picks = np.empty(wanted, dtype=np.intp)
    for cluster in np.unique(turns).tolist():
        mine = members[bounds[cluster] : bounds[cluster + 1]]
        at = np.flatnonzero(turns == cluster)
        picks[at] = mine[np.argsort(_spread(pool[mine], neighbours, draw), kind="stable")[: len(at)]]
    return picks


def _turns(of: Labels, labelled: NDArray[np.integer], k: int) -> Labels:
    """The cluster of each pick. A cluster has a turn per point: the first p turns leave p picks in it."""
    sizes = np.bincount(of, minlength=len(labelled))
    turns = np.sort(of)
    before = np.arange(len(of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.asarray(turns[np.lexsort((turns, -sizes[turns], labelled[turns] + before))[:k]])


def _spread(points: Points, neighbours: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Mean distance of each point to the nearest others, (n,), lowest = most typical."""
    n = len(points)
    if n == 1:
        return np.zeros(1, dtype=np.float32)
    vectors = unit(points)
    seen = np.arange(n) if n <= MEMBERS else np.sort(draw.choice(n, MEMBERS, replace=False))
    others, norms = vectors[seen], np.einsum("ij,ij->i", vectors, vectors)
    near = min(neighbours, len(seen) - 1)
    spread = np.empty(n, dtype=np.float32)
    for start in range(0, n, _ROWS):
        rows = vectors[start : start + _ROWS]
        squares = rows @ others.T
        squares *= -2
        squares += norms[start : start + _ROWS, None]
        squares += norms[seen]
        among = np.flatnonzero((seen >= start) & (seen < start + _ROWS))
        squares[seen[among] - start, among] = np.inf  # nobody is their own neighbour
        closest = np.partition(squares, near - 1, axis=1)[:, :near]
        spread[start : start + _ROWS] = np.sqrt(np.maximum(closest, 0)).mean(axis=1)
    return spread
