"""Farthest-first traversal (core-set, k-center greedy): each pick is as unlike all before it as can be.

Gonzalez 1985; as a choice of what to label: Sener and Savarese, ICLR 2018. The plain algorithm reads
the whole pool once per pick. Distances to the picks only ever shrink, so a distance that was not
brought up to date is an upper bound; while the best of some candidates, brought up to date, reaches
the largest bound outside them, it is the farthest point of all. The pool is then read once for many
picks, in one matrix product, and the picks are the same.

It seeks outliers, by design: good for covering a pool and for leaving out look-alikes, poor as the
only strategy while few labels exist.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput

Points = NDArray[np.float32]
Indices = NDArray[np.intp]

FEWEST, MOST, SHARE = 512, 8192, 64
"""Points kept up to date between two readings of the pool: a 64th of it, within these bounds."""
BLOCK = 256
"""Picks between two readings of the pool, at most."""
ROWS = 16384
"""Rows of the pool in one matrix product: what bounds the memory used beside the pool itself."""


def farthest_first(
    points: ArrayLike,
    k: int,
    *,
    context: ArrayLike | None = None,
    candidates: int | None = None,
    block: int = BLOCK,
) -> Indices:
    """Indices of ``k`` points in the order picked, each the farthest from the context and all before it.

    Args:
        points: (n, d) finite numbers, read as float32; distance is Euclidean. A memory-mapped array is
            read from its file in sequence.
        k: how many, 0 or more; all where there are fewer.
        context: (m, d) points that count as picked already, such as labelled images. Without any the
            first pick is the point nearest to the mean of all.
        candidates: see `SHARE`; changes the time taken, not the picks.
        block: see `BLOCK`; changes the time taken, not the picks.

    Of equally far points the earlier one is picked, as far as float32 tells them apart.

    Raises:
        BadInput: a count is below its least, or the arrays do not fit.
    """
    pool = as_points("points", points)
    given = None if context is None or np.size(context) == 0 else as_points("context", context)
    if given is not None and given.shape[1] != pool.shape[1]:
        raise BadInput("context", f"of shape (m, {pool.shape[1]})", given.shape)
    kept = min(max(len(pool) // SHARE, FEWEST), MOST) if candidates is None else candidates
    for name, value, least in (("k", k, 0), ("candidates", kept, 1), ("block", block, 1)):
        if value < least:
            raise BadInput(name, f"{least} or more", value)
    wanted = min(k, len(pool))
    if wanted == 0:
        return np.zeros(0, dtype=np.intp)
    traversal = _Traversal(pool)
    if given is None:
        traversal.pick([traversal.central()])
    else:
        for start in range(0, len(given), block):
            traversal.approach(given[start : start + block])
    while len(traversal.picks) < wanted:
        traversal.pick(traversal.next(min(block, wanted - len(traversal.picks)), kept))
    return np.asarray(traversal.picks, dtype=np.intp)


def as_points(name: str, values: ArrayLike) -> Points:
    """Values as a float32 table; a float32 array, memory-mapped ones among them, is not copied.

    Raises:
        BadInput: no table, or a number that is not finite.
    """
    table = np.asanyarray(values, dtype=np.float32)
    if table.ndim != 2 or table.shape[1] == 0:
        raise BadInput(name, "of shape (n, d)", table.shape)
    for start in range(0, len(table), ROWS):
        if not np.isfinite(table[start : start + ROWS]).all():
            raise BadInput(name, "finite numbers", "NaN or infinity", "Embed those images again.")
    return table


class _Traversal:
    """Squared distances to the nearest pick, for the whole pool upper bounds."""

    def __init__(self, pool: Points) -> None:
        self._pool = pool
        self._norms = np.empty(len(pool), dtype=np.float32)
        for start in range(0, len(pool), ROWS):
            rows = pool[start : start + ROWS]
            self._norms[start : start + ROWS] = np.einsum("ij,ij->i", rows, rows)
        self._bounds = np.full(len(pool), np.inf, dtype=np.float32)
        self.picks: list[int] = []

    def central(self) -> int:
        """The point nearest to the mean."""
        mean = np.zeros(self._pool.shape[1])
        for start in range(0, len(self._pool), ROWS):
            mean += self._pool[start : start + ROWS].sum(axis=0, dtype=np.float64)
        center = (mean / len(self._pool)).astype(np.float32)
        return int(np.argmin(self._norms - 2 * (self._pool @ center)))

    def next(self, most: int, candidates: int) -> list[int]:
        """The next picks, at least one; ``most`` at most."""
        count = min(candidates, len(self._pool))
        if count < len(self._pool):
            chosen = np.sort(np.argpartition(self._bounds, -count)[-count:])
            outside = float(self._bounds[chosen].min())
        else:
            chosen, outside = np.arange(count), -np.inf
        near, norms = np.ascontiguousarray(self._pool[chosen]), self._norms[chosen]
        fresh, found = self._bounds[chosen], list[int]()
        while len(found) < most:
            best = int(np.argmax(fresh))
            if fresh[best] < outside:
                break
            found.append(int(chosen[best]))
            distances = near @ near[best]
            distances *= -2
            distances += norms
            distances += norms[best]
            np.minimum(fresh, distances, out=fresh)
            fresh[best] = -np.inf  # copies of a pick lie at distance 0 and may still be wanted
        return found

    def pick(self, indices: list[int]) -> None:
        """Take these, and bring all bounds up to date."""
        self.approach(self._pool[indices])
        self._bounds[indices] = -np.inf
        self.picks += indices

    def approach(self, others: Points) -> None:
        """Lower the bounds to the distance from the nearest of these points."""
        minus_twice = np.ascontiguousarray(others.T) * np.float32(-2)
        norms = np.einsum("ij,ij->i", others, others)
        for start in range(0, len(self._pool), ROWS):
            part = slice(start, start + ROWS)
            distances = self._pool[part] @ minus_twice
            distances += norms
            nearest = distances.min(axis=1)
            nearest += self._norms[part]
            np.minimum(self._bounds[part], nearest, out=self._bounds[part])
