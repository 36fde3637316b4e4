"""Herding: picks that stand for the doubtful part of the pool, each covering what lies near it.

Uncertainty herding (Bae, Ham and Sutherland, ICLR 2025, arXiv 2412.20644) maximises

    f(S) = sum over x of u(x) * max over s in S and context of k(x, s),   k = exp(-|x - s|^2 / h^2)

for unit vectors x with uncertainty u(x): an image is worth asking about as far as it resembles doubtful
images that nothing labelled resembles yet. With u = 1 it is MaxHerding (ECCV 2024), pure coverage, for
a start without labels. f is monotone and submodular, so greedy picks reach at least 1 - 1/e of the
best f, and a gain that was computed earlier is an upper bound of what it is now (lazy greedy, Minoux
1978).

A pool of any size is reduced to a random reference on which f is estimated and to candidates: the
most uncertain images and as many random ones.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput
from sampler.farthest import Indices, Points, as_points
from sampler.selection import Rng, top_n

REFERENCE = 8192
CANDIDATES = 8192
RADIUS = 1.0
"""Width h of the kernel while fewer than two images are labelled, as a distance of unit vectors."""
NARROWEST = 0.05
"""Least h. The paper takes the least distance between labelled images, which is 0 once two are copies:
then nothing covers anything and the choice is by uncertainty alone."""
_SAMPLE = 4096  # labelled images that the radius is read from
_ROWS = 2048


def herding(
    points: ArrayLike,
    k: int,
    rng: Rng,
    *,
    uncertainty: ArrayLike | None = None,
    context: ArrayLike | None = None,
    radius: float | None = None,
    reference: int = REFERENCE,
    candidates: int = CANDIDATES,
) -> Indices:
    """Indices of ``k`` points in the order picked, by greedy gain in f; fewer only where there are fewer.

    Args:
        points: (n, d) embeddings, scaled to unit length here; a row of zeros stays at the origin.
        k: how many, 0 or more.
        rng: draws the reference and half of the candidates where the pool is larger than they are.
        uncertainty: (n,) 0 or more, higher = more worth a human; None counts every image the same.
        context: (m, d) embeddings of labelled images, which cover what is near them.
        radius: h; None takes the least distance between images of the context, see `NARROWEST`.
        reference: images on which f is estimated; all of a pool that is not larger.
        candidates: images that may be picked, never fewer than ``k``.

    Raises:
        BadInput: a count or the radius is out of range, or the arrays do not fit.
    """
    pool = np.asanyarray(points)
    if pool.ndim != 2 or pool.shape[1] == 0:
        raise BadInput("points", "of shape (n, d)", pool.shape)
    weights = _weights(uncertainty, len(pool))
    known = np.zeros((0, pool.shape[1]), np.float32) if context is None else as_points("context", context)
    if known.shape[1] != pool.shape[1]:
        raise BadInput("context", f"of shape (m, {pool.shape[1]})", known.shape)
    for name, value, least in (("k", k, 0), ("reference", reference, 1), ("candidates", candidates, 1)):
        if value < least:
            raise BadInput(name, f"{least} or more", value)
    if radius is not None and not radius > 0:
        raise BadInput("radius", "above 0", radius)
    wanted = min(k, len(pool))
    if wanted == 0:
        return np.zeros(0, dtype=np.intp)
    draw = np.random.default_rng(rng)
    known = unit(known)
    seen = _some(len(pool), reference, draw)
    rivals = _rivals(weights, max(candidates, wanted), draw)
    width = radius or _radius(known, draw)
    # Only what is looked at is brought to float32: a pool in half precision stays as it is.
    targets = unit(as_points("points", pool[seen]))
    covered = _covered(targets, known, width)
    kernel = _kernel(unit(as_points("points", pool[rivals])), targets, width)
    return rivals[_greedy(kernel, weights[seen], covered, weights[rivals], wanted)]


def unit(points: Points) -> Points:
    """Rows scaled to length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _weights(uncertainty: ArrayLike | None, n: int) -> NDArray[np.float32]:
    if uncertainty is None:
        return np.ones(n, dtype=np.float32)
    values = np.asarray(uncertainty, dtype=np.float32)
    if values.shape != (n,) or not np.isfinite(values).all() or (values < 0).any():
        raise BadInput("uncertainty", f"{n} finite numbers, 0 or more", values, "Score the images again.")
    return values


def _some(n: int, most: int, draw: np.random.Generator) -> Indices:
    return np.sort(draw.choice(n, most, replace=False)) if most < n else np.arange(n)


def _rivals(weights: NDArray[np.float32], most: int, draw: np.random.Generator) -> Indices:
    """Candidates: half of them the most uncertain, the others drawn from the rest."""
    n = len(weights)
    if most >= n:
        return np.arange(n)
    best = top_n(weights, most // 2, draw)
    rest = np.setdiff1d(np.arange(n), best, assume_unique=True)
    others = rest[draw.choice(len(rest), most - len(best), replace=False)]
    return np.sort(np.concatenate((best, others)))


def _radius(known: Points, draw: np.random.Generator) -> float:
    if len(known) < 2:
        return RADIUS
    some = known[_some(len(known), _SAMPLE, draw)]
    closest = -np.inf
    for start in range(0, len(some), _ROWS):
        alike = some[start : start + _ROWS] @ some.T
        alike[np.arange(len(alike)), np.arange(start, start + len(alike))] = -np.inf  # not with themselves
        closest = max(closest, float(alike.max()))
    return max(float(np.sqrt(max(2 - 2 * closest, 0.0))), NARROWEST)


def _kernel(a: Points, b: Points, radius: float) -> Points:
    """exp(-|x - y|^2 / h^2) for each row of ``a`` and of ``b``."""
    out = np.empty((len(a), len(b)), dtype=np.float32)
    lengths = np.einsum("ij,ij->i", b, b)
    for start in range(0, len(a), _ROWS):
        rows = a[start : start + _ROWS]
        part = out[start : start + _ROWS]
        np.matmul(rows, b.T, out=part)
        part *= 2
        part -= lengths
        part -= np.einsum("ij,ij->i", rows, rows)[:, None]
        part /= radius * radius
        np.exp(part, out=part)
    return out


def _covered(targets: Points, known: Points, radius: float) -> NDArray[np.float32]:
    covered = np.zeros(len(targets), dtype=np.float32)
    for start in range(0, len(known), _ROWS):
        kernel = _kernel(known[start : start + _ROWS], targets, radius)
        np.maximum(covered, kernel.max(axis=0), out=covered)
    return covered


def _greedy(
    kernel: Points,
    weights: NDArray[np.float32],
    covered: NDArray[np.float32],
    own: NDArray[np.float32],
    k: int,
) -> Indices:
    """Rows of ``kernel`` in the order picked: largest gain first, of equal gains the more uncertain row."""
    gains = np.empty(len(kernel))
    for start in range(0, len(kernel), _ROWS):
        gains[start : start + _ROWS] = np.maximum(kernel[start : start + _ROWS] - covered, 0) @ weights
    heap = [(-gain, -float(own[row]), row) for row, gain in enumerate(gains.tolist())]
    heapq.heapify(heap)
    picks: list[int] = []
    spare = np.empty_like(covered)
    while heap and len(picks) < k:
        _, doubt, row = heapq.heappop(heap)
        np.subtract(kernel[row], covered, out=spare)
        np.maximum(spare, 0, out=spare)
        fresh = (-float(spare @ weights), doubt, row)
        if heap and fresh > heap[0]:  # somebody else may gain more now
            heapq.heappush(heap, fresh)
            continue
        picks.append(row)
        np.maximum(covered, kernel[row], out=covered)
    return np.asarray(picks, dtype=np.intp)
