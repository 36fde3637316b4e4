"""Which images of a pool are asked about: numbers in, indices out.

``rng`` is a seed or a numpy Generator. The same seed gives the same choice, so that a step which is
run again after a crash chooses what it chose before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput

Indices = NDArray[np.intp]
Rng = int | np.random.Generator


class Drawn(NamedTuple):
    """A random choice: ``indices`` (k,), and the chance that each image of the pool had, in [0, 1]."""

    indices: Indices
    p_select: float


def top_n(uncertainty: ArrayLike, n: int, rng: Rng | None = None) -> Indices:
    """Indices of the ``n`` most uncertain images, most uncertain first; all where there are fewer.

    Args:
        uncertainty: (images,), higher = more worth a human.
        n: how many, 0 or more.
        rng: decides between equal images; without it the earlier one wins.

    Raises:
        BadInput: ``n`` is negative, or an uncertainty is not finite.
    """
    values = np.asarray(uncertainty, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise BadInput("uncertainty", "a row of finite numbers", values, "Score the images again.")
    wanted = min(_count("n", n), values.size)
    order = np.arange(values.size) if rng is None else np.random.default_rng(rng).permutation(values.size)
    if wanted == 0:
        return np.zeros(0, dtype=np.intp)
    # Only the winners and whoever ties with the last of them are sorted: linear in the pool.
    cut = np.partition(values, values.size - wanted)[values.size - wanted]
    rivals = np.flatnonzero(values >= cut)
    return np.asarray(rivals[np.lexsort((order[rivals], -values[rivals]))][:wanted])


def random_n(images: int, n: int, rng: Rng) -> Drawn:
    """``n`` of ``images`` images, drawn evenly without replacement; all where there are fewer.

    Raises:
        BadInput: a count is negative.
    """
    total = _count("images", images)
    wanted = min(_count("n", n), total)
    indices = np.random.default_rng(rng).permutation(total)[:wanted]
    return Drawn(indices.astype(np.intp), wanted / total if total else 0.0)


def _count(field: str, value: int) -> int:
    if value < 0:
        raise BadInput(field, "0 or more", value)
    return int(value)
