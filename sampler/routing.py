"""Where an image goes, and the sentence that tells annotators why it is on their screen."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np

from pool.schema import BadInput, Prediction, Region, Route
from sampler.uncertainty import binary_entropy

NEAR = 0.2
"""A box is "near 0.5" up to this far from it; there its entropy is at least 0.88 bits."""

WHISPER = 0.005
"""Weakest hint worth a number: below it two decimals would show 0.00."""

LABEL_LONGEST = 40
"""Longest label quoted, in characters, so that the whole sentence stays within 140."""

UNKNOWN = "unknown"
NOTHING = "No box found, and no hint of one"

Reason = Callable[[Prediction | None, float], str]


def route(
    *, holdout: bool, selected: bool, uncertainty: float = 1.0, auto_threshold: float | None = None
) -> Route:
    """Who labels an image.

    Holdout images always go to two people: they measure the model, so nothing that the model says
    may decide about them. Selected images go to a person even where the model is sure, or nobody
    would ever check it. Of the rest, those at or below ``auto_threshold`` need nobody; without a
    threshold (no calibration data yet) none is taken on trust.

    Args:
        uncertainty: in [0, 1], higher = more worth a human; one that is no number is never trusted.
        auto_threshold: highest uncertainty that is accepted unseen, on the same scale.
    """
    if holdout:
        return "double"
    if not selected and auto_threshold is not None and uncertainty <= auto_threshold:
        return "auto"
    return "human"


def explain(
    prediction: Prediction | None, uncertainty: float, route: Route, lane: str | None = None
) -> str:
    """One sentence for annotators, at most 140 characters, plain text without markup.

    Args:
        prediction: what the champion sees; None where it has not looked yet.
        uncertainty: in [0, 1], of that prediction.
        route: where the image goes.
        lane: which lane took it, a name in `REASONS`; by default the one the route implies.

    Raises:
        BadInput: an unknown lane.
    """
    if route == "auto":
        return f"Accepted without a person: uncertainty {_number(uncertainty)}"
    name = lane if lane is not None else ("holdout" if route == "double" else "strategy")
    if name not in REASONS:
        raise BadInput("lane", f"one of {', '.join(REASONS)}", name)
    reason = REASONS[name](prediction, uncertainty)
    if route == "double" and name == "strategy":
        return f"Second opinion wanted. {reason}"
    return reason


def _doubts(prediction: Prediction | None, uncertainty: float) -> str:
    if prediction is None:
        return "No model has looked at this image yet"
    if not prediction.regions:
        loud = not prediction.background < WHISPER  # NaN is loud
        return f"No box found; strongest hint {_number(prediction.background)}" if loud else NOTHING
    scores = np.array([r.score for r in prediction.regions], dtype=np.float64)
    near = int(np.count_nonzero(~(np.abs(scores - 0.5) > NEAR)))  # NaN is near
    strongest = prediction.regions[int(np.argmax(binary_entropy(scores)))]
    many = len(prediction.regions)
    if many == 1:
        return f"The only box is {'near 0.5' if near else 'not near 0.5'}: {_quoted(strongest)}"
    return f"{near or 'None'} of {many} boxes near 0.5; strongest doubt: {_quoted(strongest)}"


def _holdout(prediction: Prediction | None, uncertainty: float) -> str:
    return "Holdout image: two people draw it from nothing, so that it measures the model"


def _random(prediction: Prediction | None, uncertainty: float) -> str:
    return "Picked at random to keep the measurement honest"


REASONS: dict[str, Reason] = {"strategy": _doubts, "holdout": _holdout, "random": _random}


def _quoted(region: Region) -> str:
    label = _plain(region.label or "")
    name = f"“{label}”" if label else "a box without a name"
    number = _number(region.score)
    return f"{name}, score unknown" if number == UNKNOWN else f"{name} at {number}"


def _plain(label: str) -> str:
    """A label that cannot break the sentence: one line, no control or direction marks, no markup."""
    line = " ".join("".join(map(_plain_character, label)).split())
    return line if len(line) <= LABEL_LONGEST else f"{line[: LABEL_LONGEST - 1].rstrip()}…"


def _plain_character(c: str) -> str:
    if c in "<>":
        return "‹" if c == "<" else "›"
    category = unicodedata.category(c)
    if category == "Cc" or category[0] == "Z":
        return " "
    if category == "Cs":  # half a surrogate pair: no encoding can carry it
        return "\N{REPLACEMENT CHARACTER}"
    # Persian, Indic scripts and emoji need their joiners; other invisible marks could turn text around.
    return "" if category == "Cf" and c not in "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}" else c


def _number(value: float | None) -> str:
    return f"{value:.2f}" if value is not None and 0.0 <= value <= 1.0 else UNKNOWN
