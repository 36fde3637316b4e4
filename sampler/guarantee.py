"""How sure is sure enough to need nobody: a threshold with a promise.

Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei, arXiv 2110.01052), with a fixed sequence of
thresholds: from the strictest on, each is tested against "more than alpha of what it accepts is
wrong", and the first that cannot be rejected ends the walk. Then, with confidence 1 - delta over the
draw of the labelled images, at most alpha of the accepted images are wrong.

The promise holds for images like those that were labelled, drawn at random: never use images that a
strategy picked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput

STEP = 0.02
"""Share of the pool between two thresholds."""
MARGIN = 2.0
"""Images that the strictest threshold accepts, for each one that a promise without a fault needs."""


@dataclass(frozen=True, slots=True)
class Promise:
    """``threshold``: images of at least this confidence may be accepted; None: none may.

    Of ``labelled`` images, ``accepted`` reach it, ``wrong`` of them were wrong. ``missing`` is how many
    more accepted ones without a fault the strictest threshold would need; 0 where there is a promise.
    """

    threshold: float | None
    labelled: int
    accepted: int
    wrong: int
    missing: int


def promise(
    confidence: ArrayLike, wrong: ArrayLike, thresholds: ArrayLike, *, alpha: float, delta: float
) -> Promise:
    """The lowest threshold at which at most ``alpha`` of the accepted are wrong, surely to 1 - ``delta``.

    Args:
        confidence: (n,) of randomly drawn, labelled images, higher = surer of every box and of no miss.
        wrong: (n,) whether people changed anything that counts.
        thresholds: tried from the highest on; fixed before the labels are seen, as by quantiles of the
            unlabelled pool. The highest must accept enough labelled images to be tested at all.
        alpha: share of wrong images among the accepted ones that is allowed, in (0, 1).
        delta: chance that the promise is broken all the same, in (0, 1).

    Raises:
        BadInput: a share is out of range, or the arrays do not fit.
    """
    for name, share in (("alpha", alpha), ("delta", delta)):
        if not 0 < share < 1:
            raise BadInput(name, "between 0 and 1", share)
    sure, fault = np.asarray(confidence, dtype=np.float64), np.asarray(wrong, dtype=bool)
    walk = np.unique(np.asarray(thresholds, dtype=np.float64))[::-1]
    if sure.ndim != 1 or sure.shape != fault.shape:
        raise BadInput("wrong", f"of shape {sure.shape}", fault.shape)
    if not walk.size or not (np.isfinite(sure).all() and np.isfinite(walk).all()):
        raise BadInput("thresholds", "one or more finite numbers, and finite confidences", thresholds)
    # Counts at every threshold from one sort: those at or above it.
    order = np.argsort(-sure, kind="stable")
    faults = np.concatenate(([0], np.cumsum(fault[order])))
    accepted = np.searchsorted(-sure[order], -walk, side="right")
    best = None
    for threshold, count in zip(walk.tolist(), accepted.tolist(), strict=True):
        if chance(int(faults[count]), count, alpha) > delta:
            break
        best = Promise(threshold, sure.size, count, int(faults[count]), 0)
    if best is not None:
        return best
    count, bad = int(accepted[0]), int(faults[accepted[0]])
    return Promise(None, sure.size, count, bad, needed(bad, alpha, delta) - count)


def chance(wrong: int, accepted: int, alpha: float) -> float:
    """Chance of ``wrong`` or fewer among ``accepted`` if alpha of all are wrong: binomial, in [0, 1]."""
    total = 0.0
    for k in range(wrong + 1):
        log = math.lgamma(accepted + 1) - math.lgamma(k + 1) - math.lgamma(accepted - k + 1)
        total += math.exp(log + k * math.log(alpha) + (accepted - k) * math.log1p(-alpha))
    return min(total, 1.0)


def needed(wrong: int, alpha: float, delta: float) -> int:
    """Fewest accepted images, ``wrong`` of them wrong, that keep the promise.

    >>> needed(0, 0.05, 0.05)
    59
    """
    low, high = wrong, wrong + 1
    while chance(wrong, high, alpha) > delta:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if chance(wrong, middle, alpha) > delta else (low, middle)
    return high


def broken(wrong: int, checked: int, alpha: float, delta: float) -> bool:
    """Does what was checked of the accepted images speak against the promise?

    True where ``wrong`` or more of ``checked`` would be found in no more than ``delta`` of all cases if
    ``alpha`` of the accepted images were wrong: an exact binomial test.

    >>> broken(0, 10, 0.05, 0.1), broken(3, 10, 0.05, 0.1)
    (False, True)
    """
    return wrong > 0 and 1.0 - chance(wrong - 1, checked, alpha) <= delta


def walk(confidence: ArrayLike, labelled: int, alpha: float, delta: float) -> NDArray[np.float64]:
    """Thresholds for `promise`, the strictest first: quantiles of the confidence of the unlabelled pool.

    The strictest accepts about `MARGIN` times as many of the ``labelled`` images as a promise needs at
    least, or chance would often leave too few of them and end the walk where it begins; from there they go
    down in steps of a fiftieth of the pool. Of the labels nothing is used, as it must be. Empty where there
    are too few labelled images for any promise, or no image with a confidence above 0.
    """
    sure = np.asarray(confidence, dtype=np.float64)
    least = needed(0, alpha, delta) / max(labelled, 1)
    if least > 1 or not (sure > 0).any():
        return np.zeros(0)
    shares = np.clip(np.arange(min(MARGIN * least, 1.0), 1 + STEP, STEP), 0, 1)
    found = np.unique(np.quantile(sure, 1 - shares))[::-1]
    return np.asarray(found[found > 0])
