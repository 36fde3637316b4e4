"""A round's batch: which images people are asked about, by which lane, and in what order.

Lanes: the strategy's own picks, and holdout images, which are asked of two people whatever the
model thinks of them, since they measure it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pool.schema import BadInput, Route
from sampler.routing import route
from sampler.selection import top_n

Lane = Literal["strategy", "holdout"]


@dataclass(frozen=True, slots=True)
class Pick:
    """One chosen image: its ``index`` in the arrays given, where it goes, and which lane took it."""

    index: int
    lane: Lane
    route: Route
    p_select: float


def compose(uncertainty: NDArray[np.float64], holdout: NDArray[np.bool_], size: int) -> list[Pick]:
    """Choose a batch out of n waiting images.

    ``uncertainty`` (n,) in [0, 1], higher = more worth a human; ``holdout`` (n,). The strategy takes
    ``size`` images that are no holdout, most uncertain first. Holdout images come on top, at most
    half as many again, in the order given: they do not compete, or the yardstick would be bent
    towards what the model finds hard.

    Raises:
        BadInput: the arrays differ in length or ``size`` is negative.
    """
    if uncertainty.shape != holdout.shape:
        raise BadInput("holdout", f"of shape {uncertainty.shape}", holdout.shape)
    if size < 0:
        raise BadInput("size", "0 or more", size)
    free = np.flatnonzero(~holdout)
    chosen = free[top_n(uncertainty[free], size)]
    measuring = np.flatnonzero(holdout)[: (size + 1) // 2]
    return [
        *(Pick(int(i), "strategy", route(holdout=False, selected=True), 1.0) for i in chosen),
        *(Pick(int(i), "holdout", route(holdout=True, selected=True), 1.0) for i in measuring),
    ]


def queue_scores(uncertainty: NDArray[np.float64], lanes: list[Lane]) -> NDArray[np.float64]:
    """The score by which Label Studio serves each pick: lowest first, in [0, 1].

    Strategy picks keep 1 - uncertainty. Holdout picks are spread evenly over the strategy's range,
    so that people meet them in passing and a half-finished round measures the model too.
    """
    scores = 1.0 - np.clip(np.asarray(uncertainty, dtype=np.float64), 0.0, 1.0)
    own = np.array([lane == "strategy" for lane in lanes], dtype=np.bool_)
    lanes_off = np.flatnonzero(~own)
    if own.any() and lanes_off.size:
        low, high = float(scores[own].min()), float(scores[own].max())
        scores[lanes_off] = np.linspace(low, high, lanes_off.size)
    return scores
