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

    Worse means worse beyond chance: the candidate's ``change_high``, the upper bound of the paired
    bootstrap interval of the change, lies below 0 (see `backend.detector.evaluate.paired_difference`).
    What chance may explain promotes, since the candidate has seen more of the project's labels.
    ``holdout`` is the number of images behind both figures; with none, nothing is promoted.

    >>> judge({"map50_95": 0.5, "change_low": 0.02, "change_high": 0.2}, {"map50_95": 0.4}, 20).outcome
    'promoted'
    >>> judge({"map50_95": 0.3, "change_low": -0.2, "change_high": -0.02}, {"map50_95": 0.4}, 20).outcome
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
    low, high = candidate["change_low"], candidate["change_high"]
    change = (
        f"mAP50-95 {old:.3f} → {new:.3f} on {holdout} holdout images, "
        f"90 % interval of the change {low:+.3f} to {high:+.3f}"
    )
    if high < 0:
        return Verdict("refused", f"Worse than the champion: {change}.")
    if low > 0:
        return Verdict("promoted", f"Better than the champion: {change}.")
    return Verdict("promoted", f"Not worse than the champion beyond chance: {change}.")
