"""Noisy, class-balanced choice: linear in the pool, for very large ones and for rare classes.

ClaSP PE (TMLR 2026, arXiv 2601.13677): the uncertainty's logarithm plus Gumbel noise that fades over
the batches (power sampling, Kirsch et al., TMLR 2023), and two thirds of a batch shared out among the
classes. The noise keeps a batch from being forty views of one doubt.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput
from sampler.selection import Indices, Rng

SHARPEST = 100.0
"""Inverse width of the noise from the last turn on; 1 in the first."""
TURNS = 10
SHARED = 0.66
"""Part of a batch that is shared out among the classes."""


def clasp(
    uncertainty: ArrayLike, k: int, rng: Rng, *, kind: ArrayLike | None = None, turn: int = 0
) -> Indices:
    """Indices of ``k`` images in the order picked; all where there are fewer.

    Args:
        uncertainty: (n,) 0 or more, higher = more worth a human; images of 0 come last.
        k: how many, 0 or more.
        rng: draws the noise.
        kind: (n,) the class that each image's doubt is about, -1 for none; without it nothing is shared.
        turn: batches chosen before, 0 or more; the noise fades with it.

    Raises:
        BadInput: ``k`` or ``turn`` is negative, or the arrays do not fit.
    """
    values = np.asarray(uncertainty, dtype=np.float64)
    kinds = np.full(values.shape, -1) if kind is None else np.asarray(kind)
    if values.ndim != 1 or kinds.shape != values.shape:
        raise BadInput("kind", f"of shape {values.shape}", kinds.shape)
    for name, value in (("k", k), ("turn", turn)):
        if value < 0:
            raise BadInput(name, "0 or more", value)
    order = np.argsort(-_noisy(values, turn, np.random.default_rng(rng)), kind="stable")
    in_turn = order[np.argsort(_places(kinds[order]), kind="stable")]
    shared = in_turn[kinds[in_turn] >= 0][: round(SHARED * min(k, values.size))]
    rest = order[~np.isin(order, shared)]
    return np.concatenate((shared, rest))[:k].astype(np.intp)


def _noisy(values: NDArray[np.float64], turn: int, draw: np.random.Generator) -> NDArray[np.float64]:
    noise = draw.gumbel(size=values.size) * SHARPEST ** -min(turn / TURNS, 1.0)
    doubtful = values > 0
    # Behind all others, images without any doubt are in an order that chance alone decides.
    logs = np.log(values, where=doubtful, out=np.zeros_like(values))
    scores = logs + noise
    return np.where(doubtful, scores, scores.min(initial=0.0, where=doubtful) - 100.0 + noise)


def _places(kinds: NDArray[np.integer]) -> NDArray[np.intp]:
    """How many of its own kind stand before each: 0 for the first of every kind."""
    by_kind = np.argsort(kinds, kind="stable")
    sorted_kinds = kinds[by_kind]
    starts = np.flatnonzero(np.diff(sorted_kinds, prepend=sorted_kinds[:1] - 1))
    lengths = np.diff(starts, append=kinds.size)
    places = np.empty(kinds.size, dtype=np.intp)
    places[by_kind] = np.arange(kinds.size) - np.repeat(starts, lengths)
    return places
