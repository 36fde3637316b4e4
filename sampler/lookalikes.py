"""Look-alikes left out of a choice: of two pictures of the same thing a person needs to see one.

Two pictures are look-alikes where all the evidence that was given says so: embeddings whose cosine is
high, perceptual hashes that differ in few bits. One alone is too easily fooled: every frame of a fixed
camera has nearly the same hash, whatever small thing lies in it, and an embedding may not know what
makes two pictures differ. A copy that was resized or re-encoded passes both.

Both are one test on vectors: bits written as -1/8 and 1/8 have a cosine of 1 - (differing bits) / 32,
which float32 holds exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput
from sampler.farthest import ROWS, Indices, Points, as_points
from sampler.herding import unit

ALIKE = 0.995
"""Least cosine of look-alikes."""
BITS = 4
"""Most bits of 64 in which the hashes of look-alikes differ."""
BLOCK = 512
"""Candidates compared at once: with the images before them, then among themselves."""
_ROUNDING = 1e-6  # what float32 may take from the cosine of two copies


@dataclass(frozen=True, slots=True)
class _Looks:
    """What is known of how n images look."""

    embedding: Points | None
    phash: NDArray[np.uint64] | None

    def __post_init__(self) -> None:
        if self.phash is None:
            return
        n = self.phash.size if self.embedding is None else len(self.embedding)
        if self.phash.shape != (n,):
            raise BadInput("phash", "one for each image", self.phash.shape)

    def __len__(self) -> int:
        return max(0 if part is None else len(part) for part in (self.embedding, self.phash))

    def widths(self) -> list[int]:
        """Numbers per image in each of `vectors`."""
        return [rows.shape[1] for rows in self.vectors(slice(0))]

    def vectors(self, images: Indices | slice) -> list[Points]:
        """Unit vectors of some of the images, a table for each kind of evidence."""
        found = []
        if self.embedding is not None:
            found.append(unit(self.embedding[images]))
        if self.phash is not None:
            bits = np.unpackbits(self.phash[images].reshape(-1, 1).view(np.uint8), axis=1)
            found.append(bits.astype(np.float32) / np.float32(4) - np.float32(1 / 8))
        return found


def thin(
    order: ArrayLike,
    embedding: ArrayLike | None = None,
    phash: ArrayLike | None = None,
    *,
    k: int | None = None,
    alike: float = ALIKE,
    bits: int = BITS,
    context: ArrayLike | None = None,
    context_phash: ArrayLike | None = None,
) -> Indices:
    """Indices of ``order`` without those that look like one kept before or like one of the context.

    They stay in their order. Where look-alikes are many, fewer than ``k`` come out. Without evidence
    nothing is a look-alike.

    Args:
        order: distinct indices below n, the most wanted first.
        embedding: (n, d), scaled to unit length here; a row of zeros is like nothing.
        phash: (n,) 64-bit perceptual hashes.
        k: stop after so many, 0 or more; None walks to the end.
        alike: least cosine of look-alikes, in (0, 1].
        bits: most differing bits of look-alikes, in [0, 64].
        context: (m, d) embeddings of images that are there already, such as labelled ones.
        context_phash: (m,) their hashes. A context is known by the same evidence as the pool.

    Raises:
        BadInput: a limit is out of range, an index is none or there twice, or the arrays do not fit.
    """
    if not 0 < alike <= 1:
        raise BadInput("alike", "above 0, at most 1", alike)
    if not 0 <= bits <= 64:
        raise BadInput("bits", "from 0 to 64", bits)
    walk = np.asarray(order, dtype=np.intp)
    wanted = walk.size if k is None else k
    if wanted < 0:
        raise BadInput("k", "0 or more", k)
    pool, known = _looks(embedding, phash), _looks(context, context_phash)
    widths = pool.widths()
    if len(known) and known.widths() != widths:
        raise BadInput("context", "known by the same evidence as the pool", known.widths())
    n = len(pool) if widths else walk.max(initial=-1) + 1
    if walk.ndim != 1 or not ((walk >= 0) & (walk < n)).all() or len(np.unique(walk)) != walk.size:
        raise BadInput("order", f"a row of distinct indices below {n}", walk)
    if not widths:
        return walk[:wanted]
    least = [] if embedding is None else [alike - _ROUNDING]
    least += [] if phash is None else [1 - bits / 32]
    before = [known.vectors(slice(start, start + ROWS)) for start in range(0, len(known), ROWS)]
    kept = [walk[:0]]
    for start in range(0, walk.size, BLOCK):
        if sum(map(len, kept)) >= wanted:
            break
        block = walk[start : start + BLOCK]
        rows = pool.vectors(block)
        fresh = np.ones(len(block), dtype=bool)
        for others in before:
            fresh &= ~_alike(rows, others, least).any(axis=1)
        new = [part[fresh] for part in rows]
        first = _first(_alike(new, new, least))
        kept.append(block[fresh][first])
        before.append([part[first] for part in new])
    return np.concatenate(kept)[:wanted]


def _looks(embedding: ArrayLike | None, phash: ArrayLike | None) -> _Looks:
    return _Looks(
        None if embedding is None else as_points("embedding", embedding),
        None if phash is None else np.asarray(phash, dtype=np.uint64),
    )


def _alike(rows: list[Points], others: list[Points], least: list[float]) -> NDArray[np.bool_]:
    """Which of the rows are look-alikes of which of the others, (rows, others)."""
    both = np.ones((len(rows[0]), len(others[0])), dtype=bool)
    for mine, theirs, floor in zip(rows, others, least, strict=True):
        both &= mine @ theirs.T >= floor
    return both


def _first(alike: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of n images, (n,), are not like an earlier one of these, ``alike`` (n, n)."""
    first = np.ones(len(alike), dtype=bool)
    for image, others in enumerate(alike):
        if first[image]:
            first[image + 1 :] &= ~others[image + 1 :]
    return first
