"""Asking in a stream: an image comes, and whether a person sees it is decided before the next one does.

The threshold follows the (1 - budget) quantile of the uncertainty by stochastic approximation (Robbins
and Monro 1951), with steps as wide as the uncertainty is spread, so any scale will do and drift is
followed. What was asked too little or too much so far lowers or raises it (integral feedback), and a
token bucket bounds what a burst can spend. Fixed and variable thresholds (Zliobaite et al., IEEE TNNLS
2014) were made for class probabilities; on an image's uncertainty they pick far less well.

Deciding changes nothing; `advance` does, with what was really spent. The state is six numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pool.schema import BadInput

STEP = 0.1
"""Step of the threshold, in spreads."""
MEMORY = 0.01
"""Weight of the newest image in the spread."""
FEEDBACK = 0.02
"""How far one image asked too little lowers the threshold, in spreads."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream remembers: ``seen`` and ``asked`` images, ``threshold``, ``spread`` and ``tokens``."""

    seen: int = 0
    asked: int = 0
    threshold: float = math.nan
    spread: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Quota:
    """``budget`` is the share of images that people may be asked about, in (0, 1).

    ``burst`` is how many may be asked in a row at most, 1 or more: the size of the token bucket. It is
    half full at the beginning.
    """

    budget: float
    burst: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.budget < 1:
            raise BadInput("budget", "a share between 0 and 1", self.budget)
        if not (self.burst >= 1 and math.isfinite(self.burst)):
            raise BadInput("burst", "1 or more images", self.burst)

    def begin(self) -> Stream:
        """The state before the first image."""
        return Stream(tokens=max(self.burst / 2, 1.0))


def wants(state: Stream, uncertainty: float, quota: Quota) -> bool:
    """Should a person see this image? Nothing changes.

    Raises:
        BadInput: ``uncertainty`` (any scale, higher = more worth a human) is not finite.
    """
    if not math.isfinite(uncertainty):
        raise BadInput("uncertainty", "a finite number", uncertainty, "Score the image again.")
    if min(quota.burst, state.tokens + quota.budget) < 1:
        return False
    if math.isnan(state.threshold):
        return True
    owed = quota.budget * (state.seen + 1) - state.asked
    return uncertainty >= state.threshold - FEEDBACK * state.spread * owed


def replay(values: Iterable[float], quota: Quota) -> list[int]:
    """Places in a recorded stream at which a person would have been asked, had each been answered."""
    state, asked = quota.begin(), []
    for place, uncertainty in enumerate(values):
        wanted = wants(state, uncertainty, quota)
        state = advance(state, uncertainty, quota, asked=wanted)
        if wanted:
            asked.append(place)
    return asked


def advance(state: Stream, uncertainty: float, quota: Quota, *, asked: bool) -> Stream:
    """The state after this image, of which ``asked`` says whether a person was really asked."""
    tokens = min(quota.burst, state.tokens + quota.budget) - asked
    after = replace(state, seen=state.seen + 1, asked=state.asked + asked, tokens=tokens)
    if math.isnan(state.threshold):
        return replace(after, threshold=uncertainty)
    away = abs(uncertainty - state.threshold)
    # The first images count more, or a spread of 0 would be remembered for a long time.
    spread = state.spread + max(MEMORY, 1 / (state.seen + 1)) * (away - state.spread)
    above = float(uncertainty >= state.threshold)
    return replace(after, spread=spread, threshold=state.threshold + STEP * spread * (above - quota.budget))
