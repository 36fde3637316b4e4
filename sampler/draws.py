"""Chance in a stream, repeatable from two numbers, and the strategy that is nothing else: `random`.

A draw is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) at a place of its sequence: no generator has
to be kept, a replay draws the same, and a restart in the middle is not noticed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sampler.stream import Item, Quota, compared, exhausted

FEEDBACK = 0.01
"""How far one image asked too little raises the rate: what is owed is made up for within 100 images."""
_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def scramble(word: int) -> int:
    """The output function of SplitMix64: every bit of ``word``, in [0, 2**64), reaches every other."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _WORD
    return word ^ (word >> 31)


def draw(seed: int, place: int) -> float:
    """The ``place``-th draw of a seed's sequence, uniform in [0, 1)."""
    return (scramble(scramble(seed & _WORD) + (place + 1) * _GOLDEN & _WORD) >> 11) / (1 << 53)


@dataclass(frozen=True, slots=True)
class Coin:
    """What `random` remembers: ``seen`` and ``asked`` images, and ``tokens``."""

    seen: int = 0
    asked: int = 0
    tokens: float = 0.0


def begin(quota: Quota) -> Coin:
    """The state before the first image."""
    return Coin(tokens=quota.level)


def rate(tokens: float, quota: Quota) -> float:
    """Share of images to ask about now, in [0, 1]: the budget, and what the bucket says is owed."""
    return min(max(quota.budget + FEEDBACK * (quota.refill(tokens) - quota.level), 0.0), 1.0)


def wants(state: Coin, item: Item, quota: Quota) -> bool:
    """Should a person see this image? Whatever it shows: a control that others must beat."""
    return quota.refill(state.tokens) >= 1 and draw(quota.seed, state.seen) < rate(state.tokens, quota)


def advance(state: Coin, item: Item, quota: Quota, asked: bool) -> Coin:
    """The state after this image, of which ``asked`` says whether a person was really asked."""
    return Coin(state.seen + 1, state.asked + asked, quota.refill(state.tokens) - asked)


def explain(state: Coin, item: Item, quota: Quota) -> str:
    """What `wants` went by, in words and numbers."""
    if quota.refill(state.tokens) < 1:
        return exhausted(state.tokens, quota)
    return compared("draw", draw(quota.seed, state.seen), "chance", rate(state.tokens, quota))
