"""The promotion gate: a candidate serves only when it is not worse than the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MEASURE = "map50_95"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``outcome`` with the sentence that explains it."""

    outcome: Literal["promoted", "refused"]
    reason: str


def judge(candidate: Mapping[str, float], champion: Mapping[str, float] | None, holdout: int) -> Verdict:
    """Compare two models measured on the same frozen holdout, by mAP50-95 in [0, 1], higher = better.

    A tie promotes: the candidate has seen more of the project's labels. ``holdout`` is the number
    of images behind both figures; with none, nothing was measured and nothing is promoted.

    >>> judge({"map50_95": 0.5}, {"map50_95": 0.4}, 20).outcome
    'promoted'
    >>> judge({"map50_95": 0.3}, {"map50_95": 0.4}, 20).outcome
    'refused'
    """
    if holdout == 0:
        return Verdict(
            "refused",
            "No holdout image is labelled yet, so there is nothing to measure the model on: label those "
            "that say so, or add images until some of them fall into the holdout.",
        )
    if MEASURE not in candidate:
        return Verdict("refused", f"None of the {holdout} labelled holdout images shows a box.")
    new = candidate[MEASURE]
    if champion is None:
        return Verdict("promoted", f"First measured model: mAP50-95 {new:.3f} on {holdout} holdout images.")
    old = champion[MEASURE]
    change = f"mAP50-95 {old:.3f} → {new:.3f} on {holdout} holdout images"
    if new < old:
        return Verdict("refused", f"Worse than the champion: {change}.")
    return Verdict("promoted", f"Not worse than the champion: {change}.")
