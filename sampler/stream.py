"""Asking in a stream: an image comes, and whether a person sees it is decided before the next one does.

The threshold follows the (1 - budget) quantile of the uncertainty by stochastic approximation (Robbins
and Monro 1951), with steps as wide as the uncertainty is spread, so any scale will do and drift is
followed. A token bucket bounds what a burst can spend, and how far it is from where it began lowers or
raises the threshold (integral feedback). What overflows the bucket is forgiven: after a night in which
nobody could be asked, the morning is not asked about at any price.

Deciding changes nothing; `advance` does, with what was really spent. The state is five numbers. The
other strategies for streams are in `sampler.streams`; this one is their default.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pool.schema import BadInput

STEP = 0.1
"""Step of the threshold, in spreads."""
MEMORY = 0.01
"""Weight of the newest image in the spread."""
FEEDBACK = 0.02
"""How far one image asked too little lowers the threshold, in spreads."""
_DIGITS = range(2, 7)


@dataclass(frozen=True, slots=True)
class Item:
    """An image of a stream: ``uncertainty`` in [0, 1], higher = more worth a human; ``embedding`` (d,)."""

    uncertainty: float
    embedding: NDArray[np.floating] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.uncertainty <= 1:  # a number that is none fails as well
            raise BadInput("uncertainty", "a number in [0, 1]", self.uncertainty, "Score the image again.")
        # What a state keeps of it must be fit for JSON, and a number of numpy is not.
        object.__setattr__(self, "uncertainty", float(self.uncertainty))


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
    half full at the beginning. One of less than about ten spends less than the budget, for it overflows.
    ``seed`` is for the strategies that draw.
    """

    budget: float
    burst: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.budget < 1:
            raise BadInput("budget", "a share between 0 and 1", self.budget)
        if not (self.burst >= 1 and math.isfinite(self.burst)):
            raise BadInput("burst", "1 or more images", self.burst)

    @property
    def level(self) -> float:
        """Tokens at the beginning, and what a bucket returns to."""
        return max(self.burst / 2, 1.0)

    def refill(self, tokens: float) -> float:
        """Tokens when the next image has come: what nobody needed flows over."""
        return min(self.burst, tokens + self.budget)

    def begin(self) -> Stream:
        """The state before the first image."""
        return Stream(tokens=self.level)


def wants(state: Stream, uncertainty: float, quota: Quota) -> bool:
    """Should a person see this image? Nothing changes.

    Raises:
        BadInput: ``uncertainty`` (any scale, higher = more worth a human) is not finite.
    """
    if not math.isfinite(uncertainty):
        raise BadInput("uncertainty", "a finite number", uncertainty, "Score the image again.")
    if quota.refill(state.tokens) < 1:
        return False
    return math.isnan(state.threshold) or uncertainty >= _bar(state, quota)


def _bar(state: Stream, quota: Quota) -> float:
    owed = quota.refill(state.tokens) - quota.level
    return state.threshold - FEEDBACK * state.spread * owed


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
    # Who asks without having been told to, as for a check, owes nothing: the stream goes on as usual.
    tokens = max(quota.refill(state.tokens) - asked, 0.0)
    after = replace(state, seen=state.seen + 1, asked=state.asked + asked, tokens=tokens)
    if math.isnan(state.threshold):
        return replace(after, threshold=uncertainty)
    away = abs(uncertainty - state.threshold)
    # The first images count more, or a spread of 0 would be remembered for a long time.
    spread = state.spread + max(MEMORY, 1 / (state.seen + 1)) * (away - state.spread)
    above = float(uncertainty >= state.threshold)
    return replace(after, spread=spread, threshold=state.threshold + STEP * spread * (above - quota.budget))


def explain(state: Stream, uncertainty: float, quota: Quota) -> str:
    """What `wants` went by, in words and numbers."""
    if quota.refill(state.tokens) < 1:
        return exhausted(state.tokens, quota)
    if math.isnan(state.threshold):
        return f"uncertainty {uncertainty:.2f}, the first of its stream"
    return compared("uncertainty", uncertainty, "threshold", _bar(state, quota))


def exhausted(tokens: float, quota: Quota) -> str:
    """That the bucket is empty, in words and numbers."""
    return (
        f"budget of {quota.budget:.2g} used up for now, {max(quota.refill(tokens), 0):.2f} of 1 image saved"
    )


def compared(name: str, value: float, other: str, bar: float) -> str:
    """ "uncertainty 0.31 below the threshold 0.42", with as many digits as tell the two apart."""
    where = "above" if value > bar else "below" if value < bar else "at"
    shown = [(f"{value:.{digits}f}", f"{bar:.{digits}f}") for digits in _DIGITS]
    a, b = next((pair for pair in shown if pair[0] != pair[1]), shown[0])
    return f"{name} {a} {where} the {other} {b}"
