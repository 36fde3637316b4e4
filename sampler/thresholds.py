"""Thresholds on the posterior, as references: fixed, variable and split.

Zliobaite, Bifet, Pfahringer and Holmes, "Active Learning With Drifting Streaming Data", IEEE TNNLS 25(1),
2014. An image is asked about where the posterior of the likeliest answer is below a threshold and what
was spent lately, û <- û (w - 1) / w + asked, is less than the budget's share of the window w. The
threshold stands still (fixed), or shrinks with each image asked about and grows with each that was not
(variable); split leaves a share of the images to chance, so that a change is noticed where the model
feels sure.

They want 1 - (posterior of the likeliest answer) as uncertainty. An image has no posterior, so its
uncertainty in [0, 1] takes that place as it is, with two answers: right or wrong. Made for
classifiers, they pick far less well on images than the default, and that is what they are kept to show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sampler.draws import draw
from sampler.stream import Item, Quota, compared

WINDOW = 100
"""Images w over which what was spent is forgotten."""
STEP = 0.01
"""By what share the variable threshold moves."""
SHARE = 0.1
"""Share of the images that split leaves to chance."""
ANSWERS = 2
LOWEST = 1e-6
"""Least variable threshold: from 0 none would grow again."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """``seen`` and ``asked`` images, ``spent`` lately (û), and ``theta``, what the posterior is held to."""

    seen: int = 0
    asked: int = 0
    spent: float = 0.0
    theta: float = 1.0


def begin(quota: Quota) -> Threshold:
    """The state before the first image."""
    return Threshold()


def solvent(state: Threshold, quota: Quota) -> bool:
    """Is there budget left, by the estimate û? It asks too much by up to one image in w."""
    return state.spent / WINDOW < quota.budget


def fixed(quota: Quota) -> float:
    """The threshold that stands still: as much above blind guessing as the budget is above nothing."""
    return 1 / ANSWERS + quota.budget * (1 - 1 / ANSWERS)


def wants_fixed(state: Threshold, item: Item, quota: Quota) -> bool:
    """Should a person see this image? Nothing changes."""
    return solvent(state, quota) and 1 - item.uncertainty <= fixed(quota)


def wants_variable(state: Threshold, item: Item, quota: Quota) -> bool:
    """Should a person see this image? Nothing changes."""
    return solvent(state, quota) and 1 - item.uncertainty < state.theta


def wants_split(state: Threshold, item: Item, quota: Quota) -> bool:
    """Should a person see this image? Nothing changes."""
    if not by_chance(state, quota):
        return wants_variable(state, item, quota)
    return solvent(state, quota) and coin(state, quota) <= quota.budget


def by_chance(state: Threshold, quota: Quota) -> bool:
    """Does split leave this image to chance?"""
    return draw(quota.seed, 2 * state.seen) < SHARE


def coin(state: Threshold, quota: Quota) -> float:
    """What split draws for an image that is left to chance, in [0, 1)."""
    return draw(quota.seed, 2 * state.seen + 1)


def advance_fixed(state: Threshold, item: Item, quota: Quota, asked: bool) -> Threshold:
    """The state after this image, of which ``asked`` says whether a person was really asked."""
    spent = state.spent * ((WINDOW - 1) / WINDOW) + asked
    return replace(state, seen=state.seen + 1, asked=state.asked + asked, spent=spent)


def advance_variable(state: Threshold, item: Item, quota: Quota, asked: bool) -> Threshold:
    """`advance_fixed`, and the threshold moves where there was budget to ask."""
    after = advance_fixed(state, item, quota, asked)
    if not solvent(state, quota):
        return after
    theta = state.theta * (1 - STEP if asked else 1 + STEP)
    # Wherever what is wanted is asked it stays below 1 + STEP by itself; a posterior never exceeds 1.
    return replace(after, theta=min(max(theta, LOWEST), 1 + STEP))


def advance_split(state: Threshold, item: Item, quota: Quota, asked: bool) -> Threshold:
    """`advance_variable`, without moving the threshold for an image that was left to chance."""
    return (advance_fixed if by_chance(state, quota) else advance_variable)(state, item, quota, asked)


def explain_fixed(state: Threshold, item: Item, quota: Quota) -> str:
    """What `wants_fixed` went by, in words and numbers."""
    return _explain(state, item, quota, fixed(quota))


def explain_variable(state: Threshold, item: Item, quota: Quota) -> str:
    """What `wants_variable` went by, in words and numbers."""
    return _explain(state, item, quota, state.theta)


def explain_split(state: Threshold, item: Item, quota: Quota) -> str:
    """What `wants_split` went by, in words and numbers."""
    if solvent(state, quota) and by_chance(state, quota):
        return compared("draw", coin(state, quota), "chance", quota.budget)
    return explain_variable(state, item, quota)


def _explain(state: Threshold, item: Item, quota: Quota, theta: float) -> str:
    if not solvent(state, quota):
        most = quota.budget * WINDOW
        return f"budget used up for now, about {state.spent:.1f} of {most:.3g} in {WINDOW} images asked"
    return compared("uncertainty", item.uncertainty, "threshold", 1 - theta)
