"""A round's batch: which images people are asked about, by which lane, and in what order.

Lanes: the strategy's own picks; images drawn at random over the pool, which alone tell how good the
model is on it (audit); images that somebody asked for by name (free); holdout images, which are asked
of two people whatever the model thinks of them; and a share of those that need nobody, asked all the
same (recheck). What audit, holdout and recheck measure, people answer without the model's boxes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput, Route
from sampler.clusters import clusters
from sampler.farthest import ROWS, as_points
from sampler.herding import unit
from sampler.lookalikes import thin
from sampler.routing import route
from sampler.selection import Indices, Rng, random_n
from sampler.strategies import Signals, Strategy, select

Lane = Literal["strategy", "audit", "free", "holdout", "recheck", "auto"]
BLIND: frozenset[str] = frozenset({"audit", "holdout", "recheck"})
"""Lanes whose images are answered without the model's boxes: whoever starts from them agrees too much."""

FILLS = 4
"""How often a strategy is asked again for images that are unlike those it picked already."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of a batch in [0, 1]: drawn at random (``audit``), asked for by somebody (``free``)."""

    audit: float = 0.1
    free: float = 0.1

    def __post_init__(self) -> None:
        if not (self.audit >= 0 and self.free >= 0 and self.audit + self.free <= 1):
            raise BadInput("shares", "0 or more each, 1 together at most", (self.audit, self.free))


@dataclass(frozen=True, slots=True)
class Pick:
    """One chosen image: its ``index`` in the arrays given, where it goes, and which lane took it."""

    index: int
    lane: Lane
    route: Route
    p_select: float


def rivals(values: NDArray[np.float64], parents: Sequence[str | None], most: int) -> Indices:
    """The images that compete for a batch: all from a camera, and at most ``most`` generated ones.

    Membership query synthesis with a cap: a generator could fill any batch with what the model doubts. The
    generated images of the highest ``values`` (n,) stay, each parent's best one before any second one.
    ``parents`` (n,) are None for images from a camera.

    Raises:
        BadInput: as many values as parents are needed.
    """
    if len(values) != len(parents):
        raise BadInput("parents", f"of length {len(values)}", len(parents))
    made = np.array([i for i, parent in enumerate(parents) if parent is not None], dtype=np.intp)
    made = made[np.argsort(-values[made], kind="stable")]
    had: Counter[str | None] = Counter()
    turn = np.zeros(len(made), dtype=np.intp)
    for place, i in enumerate(made.tolist()):
        turn[place] = had[parents[i]]
        had[parents[i]] += 1
    kept = made[np.argsort(turn, kind="stable")][: max(most, 0)]
    camera = np.array([i for i, parent in enumerate(parents) if parent is None], dtype=np.intp)
    return np.asarray(np.sort(np.concatenate((camera, kept))), dtype=np.intp)


def compose(
    signals: Signals,
    holdout: NDArray[np.bool_],
    size: int,
    strategy: str | Strategy = "top_n",
    rng: Rng = 0,
    *,
    shares: Shares = Shares(0, 0),
    wanted: ArrayLike = (),
    double: ArrayLike | None = None,
    generated: ArrayLike | None = None,
) -> list[Pick]:
    """Choose a batch out of n waiting images.

    ``size`` images that are no holdout: the audit lane's, drawn before all others so that every image
    has the same chance; then those that somebody asked for, as far as their share goes; the strategy
    takes the rest. Holdout images come on top, at most half as many again, in the order given: they do
    not compete, or the yardstick would be bent towards what the model finds hard.

    Args:
        signals: of the n images.
        holdout: (n,).
        size: how many, 0 or more.
        strategy: a name (see `sampler.strategies.names`) or a function.
        rng: a seed or a generator.
        shares: of the audit and the free lane.
        wanted: indices of images that somebody asked for, the most wanted first.
        double: (n,) images that two people shall see.
        generated: (n,) images that no camera took. The audit lane never draws one: it measures the model
            on the pictures that it is for. `rivals` says how many may compete.

    Raises:
        BadInput: the arrays differ in length, ``size`` is negative, or no such strategy.
    """
    n = len(signals)
    kind = np.zeros(n, np.bool_) if double is None else np.asarray(double, dtype=np.bool_)
    made = np.zeros(n, np.bool_) if generated is None else np.asarray(generated, dtype=np.bool_)
    for name, column in (("holdout", holdout), ("double", kind), ("generated", made)):
        if column.shape != (n,):
            raise BadInput(name, f"of shape ({n},)", column.shape)
    if size < 0:
        raise BadInput("size", "0 or more", size)
    draw = np.random.default_rng(rng)
    free = np.flatnonzero(~holdout)
    taken_by_camera = free[~made[free]]
    drawn = random_n(len(taken_by_camera), round(size * shares.audit), draw)
    audit = taken_by_camera[drawn.indices]
    asked = np.asarray(wanted, dtype=np.intp)
    asked = asked[np.isin(asked, free) & ~np.isin(asked, audit)][: math.ceil(size * shares.free)]
    asked = asked[: max(min(size, len(free)) - len(audit), 0)]
    taken = np.concatenate((audit, asked))
    rest = np.setdiff1d(free, taken, assume_unique=True)
    wants = max(min(size, len(free)) - len(taken), 0)
    chosen = rest[_distinct(signals.of(rest), wants, strategy, draw)]
    # What a strategy picks it picks surely; only a drawing gives each image its chance.
    chance = len(chosen) / len(rest) if strategy == "random" and len(rest) else 1.0
    measuring = np.flatnonzero(holdout)[: (size + 1) // 2]
    lanes: tuple[tuple[Lane, Indices, float], ...] = (
        ("strategy", chosen, chance),
        ("free", asked, 1.0),
        ("audit", audit, drawn.p_select),
        ("holdout", measuring, 1.0),
    )
    return [
        Pick(int(i), lane, route(holdout=lane == "holdout", selected=True, double=bool(kind[i])), p)
        for lane, indices, p in lanes
        for i in indices
    ]


def _distinct(signals: Signals, k: int, strategy: str | Strategy, rng: np.random.Generator) -> Indices:
    """The strategy's picks, of look-alikes the first one; where too few are unlike, some of the others."""
    picks: Indices = np.zeros(0, dtype=np.intp)
    seen, left = picks, np.arange(len(signals))
    for _ in range(FILLS):
        # The first time nothing is left out, and a large pool need not be copied.
        open_ = signals.of(left) if len(seen) else signals
        found = left[select(open_, k - len(picks), strategy, rng)]
        seen = np.concatenate((seen, found))
        both = np.concatenate((picks, found))
        picks = both if signals.phash is None else both[_unlike(signals.of(both))]
        left = np.setdiff1d(left, found, assume_unique=True)
        if len(picks) == k or not len(left):
            break
    spare = seen[~np.isin(seen, picks)]
    return np.concatenate((picks, spare))[:k]


def _unlike(looks: Signals) -> Indices:
    return thin(np.arange(len(looks)), looks.embedding, looks.phash)


def release(sure: NDArray[np.bool_], recheck: float, rng: Rng) -> tuple[Indices, Indices]:
    """Of the images that the model is sure enough of: which need nobody, which are asked all the same.

    ``sure`` (n,). A random share ``recheck`` in [0, 1], at least one image where there is any, keeps
    measuring whether the model is right about such images.

    Raises:
        BadInput: the share is out of range.
    """
    if not 0 <= recheck <= 1:
        raise BadInput("recheck", "a share in [0, 1]", recheck)
    some = np.flatnonzero(sure)
    again = random_n(len(some), max(round(recheck * len(some)), 1), rng).indices
    return np.delete(some, again), np.sort(some[again])


def deal(embedding: ArrayLike, picked: NDArray[np.bool_], groups: int, rng: Rng) -> NDArray[np.intp]:
    """Groups of look-alikes in which all picks can be served before any other image: (n,) from 0 on.

    The picks, ordered by their cluster, are cut into ``groups`` equal runs: where a person is led through
    the groups in turn, all are used up together. Every other image joins the group of the pick that it
    resembles most.

    Args:
        embedding: (n, d).
        picked: (n,), at least one.
        groups: how many, 1 or more; fewer where there are fewer picks.
        rng: draws what the clusters begin from.

    Raises:
        BadInput: no group, no pick, or the arrays differ in length.
    """
    if groups < 1:
        raise BadInput("groups", "1 or more", groups)
    chosen = np.flatnonzero(picked)
    table = np.asarray(embedding)
    if not chosen.size or picked.shape != (len(table),):
        raise BadInput("picked", f"of shape ({len(table)},) with a pick", picked.shape)
    mine = unit(as_points("embedding", table[chosen]))
    many = min(groups, len(chosen))
    order = np.argsort(clusters(mine, many, rng), kind="stable")
    of_pick = np.empty(len(chosen), dtype=np.intp)
    of_pick[order] = np.arange(len(chosen)) * many // len(chosen)
    out = np.empty(len(table), dtype=np.intp)
    for start in range(0, len(table), ROWS):
        rows = unit(as_points("embedding", table[start : start + ROWS]))
        out[start : start + ROWS] = of_pick[np.argmax(rows @ mine.T, axis=1)]
    out[chosen] = of_pick
    return out


def queue_scores(
    uncertainty: NDArray[np.float64], lanes: list[Lane], ahead_of: float = 1.0
) -> NDArray[np.float64]:
    """The score by which Label Studio serves each pick: lowest first, in (0, ``ahead_of``).

    Picks that somebody chose stand by their uncertainty, the highest first, all before the images that
    were not picked, the first of which has the score ``ahead_of``: a strategy may pick what is not the
    most uncertain. Blind ones are spread evenly among them, so that people meet them in passing and a
    half-finished round measures the model too.
    """
    own = np.array([lane not in BLIND for lane in lanes], dtype=np.bool_)
    places = np.empty(len(lanes))
    doubts = np.asarray(uncertainty, dtype=np.float64)[own]
    places[own] = (np.argsort(np.argsort(-doubts, kind="stable"), kind="stable") + 0.5) / max(own.sum(), 1)
    places[~own] = (np.arange((~own).sum()) + 0.5) / max((~own).sum(), 1)
    order = np.argsort(places, kind="stable")
    scores = np.empty(len(lanes))
    scores[order] = ahead_of * (np.arange(len(lanes)) + 1) / (len(lanes) + 2)
    return scores
