"""Few examples of a label count more: weights for doubts by how rare their label is among the labelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput

SCARCE = 0.25
"""A label is rare while it has less than this part of an equal share of all boxes."""
ENOUGH = 20
"""Boxes from which on a share says anything."""


def weights(counts: ArrayLike, power: float) -> NDArray[np.float64]:
    """Weight of each label, (labels,) in (0, 1], higher = rarer; the rarest has 1.

    ``counts`` (labels,) of labelled boxes, 0 or more. With ``power`` 0 all labels weigh the same, with 1
    a label of which half as many boxes are known weighs twice as much; every label counts one box more
    than it has.

    Raises:
        BadInput: ``power`` is outside [0, 1], or a count is negative.
    """
    known = np.asarray(counts, dtype=np.float64)
    if not 0 <= power <= 1:
        raise BadInput("power", "in [0, 1]", power)
    if known.ndim != 1 or not (known >= 0).all():
        raise BadInput("counts", "a row of numbers, 0 or more", counts)
    raw = (known + 1) ** -power
    return np.asarray(raw / raw.max(initial=1e-300))


def weigh(
    uncertainty: NDArray[np.float64], kind: NDArray[np.integer], counts: ArrayLike, power: float
) -> NDArray[np.float64]:
    """Uncertainties, (n,), weighed by the label that each doubt is about.

    ``kind`` (n,) is a place in ``counts``, -1 for none, which weighs as the most frequent label does.
    """
    of_label = weights(counts, power)
    least = of_label.min(initial=1.0)
    return np.asarray(uncertainty * np.append(of_label, least)[kind])


def rare(counts: ArrayLike) -> NDArray[np.intp]:
    """Labels of which few boxes are known, the rarest first; none while few boxes are known at all."""
    known = np.asarray(counts, dtype=np.float64)
    if known.sum() < ENOUGH:
        return np.zeros(0, dtype=np.intp)
    order = np.argsort(known, kind="stable")
    return np.asarray(order[known[order] * known.size < SCARCE * known.sum()])
