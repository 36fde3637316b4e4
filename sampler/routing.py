"""Where an image goes, and the sentence that tells annotators why it is on their screen."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput, Prediction, Region, Route
from sampler.uncertainty import binary_entropy

NEAR = 0.2
"""A box is "near 0.5" up to this far from it; there its entropy is at least 0.88 bits."""

WHISPER = 0.005
"""Weakest hint worth a number: below it two decimals would show 0.00."""

LONGEST = 140
"""Longest sentence in characters; what does not fit is left out, the least telling part first."""

LABEL_LONGEST = 40
"""Longest label quoted, in characters."""

UNKNOWN = "unknown"
NOTHING = "No box found, and no hint of one"

Reason = Callable[[Prediction | None, float], str]


def route(*, holdout: bool, selected: bool, double: bool = False, sure: bool = False) -> Route:
    """Who labels an image.

    Holdout images always go to two people: they measure the model, so nothing that the model says
    may decide about them. Selected images go to a person even where the model is sure, or nobody
    would ever check it; to two where an error is costly (``double``). Of the rest those that the model
    is ``sure`` of (see `sampler.guarantee`) need nobody.
    """
    if holdout:
        return "double"
    if sure and not selected:
        return "auto"
    return "double" if double else "human"


def confidence(
    scores: ArrayLike, starts: ArrayLike, background: ArrayLike, floor: float
) -> NDArray[np.float64]:
    """How sure the model is of all it would draw, and of having missed nothing: (n,) in [0, 1].

    min(weakest box drawn, 1 - strongest that was not drawn), by the model's own scores: any order of
    images will do for a promise that people's labels test. An image on which nothing is drawn is 0: that
    nothing is there is never taken on trust.

    Args:
        scores: (m,) of the boxes, image after image.
        starts: (n + 1,) where each image's boxes begin, and the end.
        background: (n,) the strongest score that is no box.
        floor: boxes from this score on are drawn.

    Raises:
        BadInput: the arrays do not fit.
    """
    boxes, bounds = np.asarray(scores, dtype=np.float64), np.asarray(starts, dtype=np.intp)
    quiet = np.asarray(background, dtype=np.float64)
    if bounds.shape != (len(quiet) + 1,) or bounds[-1] != len(boxes):
        raise BadInput("starts", f"{len(quiet) + 1} places up to {len(boxes)}", bounds[-3:])
    image = np.repeat(np.arange(len(quiet)), np.diff(bounds))
    drawn = boxes >= floor
    weakest = np.full(len(quiet), np.inf)
    np.minimum.at(weakest, image[drawn], boxes[drawn])
    missed = quiet.copy()
    np.maximum.at(missed, image[~drawn], np.nan_to_num(boxes[~drawn], nan=1.0))
    return np.where(np.isfinite(weakest), np.clip(np.minimum(weakest, 1.0 - missed), 0.0, 1.0), 0.0)


def explain(
    prediction: Prediction | None,
    uncertainty: float,
    route: Route,
    lane: str | None = None,
    *,
    novel: bool = False,
    rare: str | None = None,
) -> str:
    """One sentence for annotators, at most 140 characters, plain text without markup.

    Args:
        prediction: what the champion sees; None where it has not looked yet.
        uncertainty: in [0, 1], of that prediction.
        route: where the image goes.
        lane: which lane took it, a name in `REASONS`; by default the one the route implies.
        novel: nothing that is labelled looks like it.
        rare: a label on it of which few boxes are known.

    Raises:
        BadInput: an unknown lane.
    """
    name = lane if lane is not None else ("holdout" if route == "double" else "strategy")
    if route == "auto":
        name = "auto"
    if name not in REASONS:
        raise BadInput("lane", f"one of {', '.join(REASONS)}", name)
    parts = [REASONS[name](prediction, uncertainty)]
    if name in ("strategy", "free"):
        parts += ["unlike anything labelled"] if novel else []
        parts += [f"rare class “{plain(rare)}”"] if rare else []
        if route == "double":
            parts[0] = f"Second opinion wanted. {parts[0]}"
    while len("; ".join(parts)) > LONGEST and len(parts) > 1:
        parts.pop()
    return "; ".join(parts)


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


def _auto(prediction: Prediction | None, uncertainty: float) -> str:
    return f"Accepted without a person: uncertainty {_number(uncertainty)}"


def _recheck(prediction: Prediction | None, uncertainty: float) -> str:
    return "The model is sure of this image: drawn from nothing, it shows whether the model is right"


def _free(prediction: Prediction | None, uncertainty: float) -> str:
    return "Somebody asked for this image"


def _audit(prediction: Prediction | None, uncertainty: float) -> str:
    return "Picked at random: drawn from nothing, it keeps the measurement honest"


def _random(prediction: Prediction | None, uncertainty: float) -> str:
    return "Picked at random to keep the measurement honest"


REASONS: dict[str, Reason] = {
    "strategy": _doubts,
    "holdout": _holdout,
    "random": _random,
    "audit": _audit,
    "free": _free,
    "recheck": _recheck,
    "auto": _auto,
}


def _quoted(region: Region) -> str:
    label = plain(region.label or "")
    name = f"“{label}”" if label else "a box without a name"
    number = _number(region.score)
    return f"{name}, score unknown" if number == UNKNOWN else f"{name} at {number}"


def plain(label: str) -> str:
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
