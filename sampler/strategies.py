"""Strategies: many numbers about a pool in, the images that are worth a person's time out.

::

    signals = Signals(uncertainty, embedding=embeddings, context=embeddings_of_labelled_images)
    picks = select(signals, 40)

A strategy is a function ``(signals, k, rng) -> indices``; one of your own may be given in place of a
name, or registered for everybody as an entry point of the group ``thresher.strategies``.

| goal | strategy |
|---|---|
| the model is unsure, and not of the same thing forty times | ``uncertainty_herding`` (default) |
| nothing is labelled yet: cover the pool | ``max_herding`` |
| the model is unsure, nothing else | ``top_n`` |
| the most for each label, where boxes have feature vectors | ``ppal`` |
| very large pools, rare classes | ``clasp`` |
| as unlike as possible, novelties, no look-alikes | ``core_set`` |
| nothing is labelled yet: what is typical of each kind of picture | ``typiclust`` |
| what a strategy must beat | ``random``, ``count`` |

No strategy beats the entropy of `top_n` everywhere; `random` and `count` are there to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points

import numpy as np
from numpy.typing import NDArray

from pool.schema import BadInput
from sampler.clasp import clasp
from sampler.farthest import farthest_first
from sampler.herding import herding
from sampler.ppal import DELTA, MOST, BoxColumns, ppal
from sampler.selection import Indices, Rng, random_n, top_n
from sampler.typiclust import typiclust

GROUP = "thresher.strategies"
DEFAULT = "uncertainty_herding"


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of n images; nothing but ``uncertainty`` has to be.

    ``uncertainty`` (n,) in [0, 1], higher = more worth a human. ``embedding`` (n, d), alike images
    near each other. ``context`` (m, d), embeddings of images that have labels already.
    ``boxes`` (n,) how many boxes the model sees. ``kind`` (n,) the class that an image's doubt is
    about, as a number; -1 where no box says so. ``phash`` (n,) perceptual hashes, by which look-alikes
    are known. ``turn`` is the number of batches chosen before.

    For `ppal`: ``difficulty`` (n,) 0 or more, the doubts weighted by how badly their classes are
    detected, and ``detail``, which gives the boxes of some images when asked for them.
    """

    uncertainty: NDArray[np.floating]
    embedding: NDArray[np.floating] | None = None
    context: NDArray[np.floating] | None = None
    boxes: NDArray[np.integer] | None = None
    kind: NDArray[np.integer] | None = None
    phash: NDArray[np.uint64] | None = None
    turn: int = 0
    difficulty: NDArray[np.floating] | None = None
    detail: Callable[[Indices], BoxColumns] | None = None

    def __post_init__(self) -> None:
        n = np.shape(self.uncertainty)
        if len(n) != 1 or not np.isfinite(self.uncertainty).all():
            raise BadInput(
                "uncertainty", "a row of finite numbers", self.uncertainty, "Score the images again."
            )
        for name in ("embedding", "boxes", "kind", "phash", "difficulty"):
            values = getattr(self, name)
            if values is not None and len(values) != n[0]:
                raise BadInput(name, f"one entry for each of {n[0]} images", np.shape(values))

    def __len__(self) -> int:
        return len(self.uncertainty)

    def of(self, images: Indices) -> Signals:
        """The same of some of the images."""
        detail = self.detail
        return replace(
            self,
            uncertainty=self.uncertainty[images],
            embedding=None if self.embedding is None else self.embedding[images],
            boxes=None if self.boxes is None else self.boxes[images],
            kind=None if self.kind is None else self.kind[images],
            phash=None if self.phash is None else self.phash[images],
            difficulty=None if self.difficulty is None else self.difficulty[images],
            detail=None if detail is None else lambda some: detail(images[some]),
        )


Strategy = Callable[[Signals, int, Rng], Indices]


def select(signals: Signals, k: int, strategy: str | Strategy = DEFAULT, rng: Rng = 0) -> Indices:
    """Indices of ``k`` images, the first pick first; all where there are fewer.

    The same seed gives the same choice. A strategy that needs embeddings falls back to `top_n` where
    there are none, as for weights that are an export.

    Args:
        signals: of the images that may be chosen.
        k: how many, 0 or more.
        strategy: a name (see `names`) or a function.
        rng: a seed or a generator.

    Raises:
        BadInput: an unknown name, a negative ``k``, or a strategy that answers with what is no choice.
    """
    if k < 0:
        raise BadInput("k", "0 or more", k)
    wanted = min(k, len(signals))
    choose = _named(strategy) if isinstance(strategy, str) else strategy
    picks = np.asarray(choose(signals, wanted, rng), dtype=np.intp)
    inside = (picks >= 0) & (picks < len(signals))
    if len(picks) != wanted or len(np.unique(picks)) != wanted or not inside.all():
        said = strategy if isinstance(strategy, str) else getattr(strategy, "__name__", "strategy")
        raise BadInput(f"the answer of {said}", f"{wanted} different indices below {len(signals)}", picks)
    return picks


def names() -> list[str]:
    """The strategies there are, registered ones among them."""
    return sorted({*STRATEGIES, *(point.name for point in entry_points(group=GROUP))})


def _named(name: str) -> Strategy:
    if name in STRATEGIES:
        return STRATEGIES[name]
    for point in entry_points(group=GROUP, name=name):
        loaded: Strategy = point.load()
        return loaded
    raise BadInput("strategy", f"one of {', '.join(names())}", name)


def _random(signals: Signals, k: int, rng: Rng) -> Indices:
    return random_n(len(signals), k, rng).indices


def _count(signals: Signals, k: int, rng: Rng) -> Indices:
    """Most boxes first: what part of a strategy's gain is merely crowded images."""
    return top_n(signals.uncertainty if signals.boxes is None else signals.boxes, k, rng)


def _top_n(signals: Signals, k: int, rng: Rng) -> Indices:
    return top_n(signals.uncertainty, k, rng)


def _max_herding(signals: Signals, k: int, rng: Rng) -> Indices:
    if signals.embedding is None:
        return _random(signals, k, rng)  # without embeddings chance covers best
    return herding(signals.embedding, k, rng, context=signals.context)


def _uncertainty_herding(signals: Signals, k: int, rng: Rng) -> Indices:
    if signals.embedding is None:
        return _top_n(signals, k, rng)
    return herding(
        signals.embedding, k, rng, uncertainty=np.maximum(signals.uncertainty, 0), context=signals.context
    )


def _core_set(signals: Signals, k: int, rng: Rng) -> Indices:
    if signals.embedding is None:
        return _top_n(signals, k, rng)
    return farthest_first(signals.embedding, k, context=signals.context)


def _clasp(signals: Signals, k: int, rng: Rng) -> Indices:
    return clasp(signals.uncertainty, k, rng, kind=signals.kind, turn=signals.turn)


def _ppal(signals: Signals, k: int, rng: Rng) -> Indices:
    if signals.detail is None:
        return _uncertainty_herding(signals, k, rng)
    utility = signals.uncertainty if signals.difficulty is None else signals.difficulty
    rivals = top_n(utility, max(k, min(DELTA * k, MOST)), rng)
    embedding = None if signals.embedding is None else signals.embedding[rivals]
    return rivals[ppal(utility[rivals], k, rng, boxes=signals.detail(rivals), embedding=embedding)]


def _typiclust(signals: Signals, k: int, rng: Rng) -> Indices:
    if signals.embedding is None:
        return _random(signals, k, rng)
    return typiclust(signals.embedding, k, rng, context=signals.context)


STRATEGIES: dict[str, Strategy] = {
    "uncertainty_herding": _uncertainty_herding,
    "max_herding": _max_herding,
    "top_n": _top_n,
    "ppal": _ppal,
    "clasp": _clasp,
    "core_set": _core_set,
    "typiclust": _typiclust,
    "random": _random,
    "count": _count,
}
