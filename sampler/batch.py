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
from sampler.selection import Rng
from sampler.strategies import Signals, select

Lane = Literal["strategy", "holdout"]


@dataclass(frozen=True, slots=True)
class Pick:
    """One chosen image: its ``index`` in the arrays given, where it goes, and which lane took it."""

    index: int
    lane: Lane
    route: Route
    p_select: float


def compose(
    signals: Signals, holdout: NDArray[np.bool_], size: int, strategy: str = "top_n", rng: Rng = 0
) -> list[Pick]:
    """Choose a batch out of n waiting images.

    ``signals`` of the n images; ``holdout`` (n,). The strategy takes ``size`` images that are no
    holdout. Holdout images come on top, at most half as many again, in the order given: they do not
    compete, or the yardstick would be bent towards what the model finds hard.

    Raises:
        BadInput: the arrays differ in length, ``size`` is negative, or no such strategy.
    """
    if holdout.shape != (len(signals),):
        raise BadInput("holdout", f"of shape ({len(signals)},)", holdout.shape)
    if size < 0:
        raise BadInput("size", "0 or more", size)
    free = np.flatnonzero(~holdout)
    chosen = free[select(signals.of(free), size, strategy, rng)]
    # What a strategy picks it picks surely; only a drawing gives each image its chance.
    chance = len(chosen) / len(free) if strategy == "random" and len(free) else 1.0
    measuring = np.flatnonzero(holdout)[: (size + 1) // 2]
    return [
        *(Pick(int(i), "strategy", route(holdout=False, selected=True), chance) for i in chosen),
        *(Pick(int(i), "holdout", route(holdout=True, selected=True), 1.0) for i in measuring),
    ]


def queue_scores(
    uncertainty: NDArray[np.float64], lanes: list[Lane], ahead_of: float = 1.0
) -> NDArray[np.float64]:
    """The score by which Label Studio serves each pick: lowest first, in (0, ``ahead_of``).

    Strategy picks stand by their uncertainty, the highest first, all before the images that were not
    picked, the first of which has the score ``ahead_of``: a strategy may pick what is not the most
    uncertain. Holdout picks are spread evenly among them, so that people meet them in passing and a
    half-finished round measures the model too.
    """
    own = np.array([lane == "strategy" for lane in lanes], dtype=np.bool_)
    places = np.empty(len(lanes))
    doubts = np.asarray(uncertainty, dtype=np.float64)[own]
    places[own] = (np.argsort(np.argsort(-doubts, kind="stable"), kind="stable") + 0.5) / max(own.sum(), 1)
    places[~own] = (np.arange((~own).sum()) + 0.5) / max((~own).sum(), 1)
    order = np.argsort(places, kind="stable")
    scores = np.empty(len(lanes))
    scores[order] = ahead_of * (np.arange(len(lanes)) + 1) / (len(lanes) + 2)
    return scores
