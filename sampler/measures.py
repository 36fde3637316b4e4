"""How unsure a detector is of a box: measures in [0, 1], higher = more worth a human.

A detector's class scores are sigmoids: each asks "is this class here?" on its own and they do not
sum to 1. The measures of scores therefore treat a box as a question with the answers "this class",
"another class" and "nothing", and are highest where two answers are equally likely. They are worth as
much as the scores are true: calibrate them first.

A score that is no number counts as 0.5: what cannot be read is shown to a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput

Array = NDArray[np.float64]
Column = NDArray[np.floating[Any]]
"""Numbers in any precision, as float16 of a ledger."""

SILENT = 0.01
"""Class probabilities below it say nothing in `multilabel`: 80 classes that are all surely absent would
together be louder than one that may be there."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of m boxes, image after image; None where a detector does not know it.

    ``scores`` (m,) are the boxes' confidences. ``probs`` (m, classes) are their class probabilities,
    zero where a model has fewer classes than another. ``localisation`` (m,) is how undecided the place
    of their edges is, ``disagreement`` (m,) how differently two heads score them, both in [0, 1].
    ``phantom`` (m,) marks the boxes that nobody sees: they stand for an image without boxes.
    """

    scores: Column
    probs: Column | None = None
    localisation: Column | None = None
    disagreement: Column | None = None
    phantom: NDArray[np.bool_] | None = None

    def part(self, begin: int, end: int) -> Evidence:
        """The boxes from ``begin`` up to ``end``; shares their memory."""
        return Evidence(
            self.scores[begin:end],
            None if self.probs is None else self.probs[begin:end],
            None if self.localisation is None else self.localisation[begin:end],
            None if self.disagreement is None else self.disagreement[begin:end],
            None if self.phantom is None else self.phantom[begin:end],
        )


Measure = Callable[[Evidence], Array]


def probabilities(values: ArrayLike) -> Array:
    """Values as float64 in [0, 1]: what lies outside is clipped, what is no number becomes 0.5."""
    p = np.asarray(values, dtype=np.float64)
    return np.clip(np.where(np.isnan(p), 0.5, p), 0.0, 1.0)


def binary_entropy(p: ArrayLike) -> Array:
    """Entropy in bits of a yes-or-no question with probability ``p`` (any shape): 1 at p = 0.5.

    H(p) = -p log2 p - (1 - p) log2 (1 - p), Shannon 1948; 0 at p = 0 and p = 1.
    """
    yes = probabilities(p)
    bits = np.zeros_like(yes)
    for part in (yes, 1.0 - yes):
        bits -= part * np.log2(part, where=part > 0.0, out=np.zeros_like(part))
    return np.clip(bits, 0.0, 1.0)


def least_confidence(p: ArrayLike) -> Array:
    """Twice the chance that the likelier of "there" and "not there" is wrong: 2 min(p, 1 - p).

    The textbook's 1 - p is for softmax scores, where some class must be right; of a sigmoid it
    would call an empty street (p = 0) the most uncertain image of all.
    """
    yes = probabilities(p)
    return 2.0 * np.minimum(yes, 1.0 - yes)


def margin(probs: ArrayLike) -> Array:
    """1 - (best answer - second best), over the classes and "nothing"; ``probs`` (n, classes) -> (n,).

    Of softmax scores: Scheffer, Decomain and Wrobel 2001; of a detector's boxes: Brust, Käding and
    Denzler, VISAPP 2019. "Nothing" has the probability 1 - the best class, so a row is uncertain both
    when two classes claim a box and when one class claims it half-heartedly. With one class it equals
    `least_confidence`.

    Raises:
        BadInput: ``probs`` is no table with at least one column.
    """
    rows = _table(probs)
    best = rows.max(axis=1)
    answers = np.column_stack([rows, 1.0 - best])
    top = np.partition(answers, answers.shape[1] - 2, axis=1)[:, -2:]
    return 1.0 - (top[:, 1] - top[:, 0])


def multilabel(probs: ArrayLike) -> Array:
    """All questions of a box together: the sum s of the classes' entropies in bits, as s / (1 + s).

    ``probs`` (n, classes) -> (n,) in [0, 1), in the order of s; a single class at 0.5 gives 0.5, two of
    them 2/3. The sum over independent sigmoids is that of Wu et al. (CVPR 2022); probabilities below
    `SILENT` count 0.

    Raises:
        BadInput: ``probs`` is no table with at least one column.
    """
    rows = _table(probs)
    bits = np.where(rows < SILENT, 0.0, binary_entropy(rows)).sum(axis=1)
    return np.asarray(bits / (1.0 + bits))


def _table(probs: ArrayLike) -> Array:
    rows = probabilities(probs)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise BadInput("probs", "of shape (n, classes) with at least one class", rows.shape)
    return rows


def _margin(evidence: Evidence) -> Array:
    return margin(evidence.scores[:, None] if evidence.probs is None else evidence.probs)


def _known(name: str, column: Column | None, who: str) -> Column:
    if column is None:
        raise BadInput(name, "known of the boxes", None, f"Only {who} knows it: use the measure entropy.")
    return column


MEASURES: dict[str, Measure] = {
    "entropy": lambda evidence: binary_entropy(evidence.scores),
    "least_confidence": lambda evidence: least_confidence(evidence.scores),
    "margin": _margin,
    "multilabel": lambda evidence: multilabel(
        _known("probs", evidence.probs, "a detector that gives every class a probability")
    ),
    "localisation": lambda evidence: probabilities(
        _known(
            "localisation",
            evidence.localisation,
            "a .pt model with a distribution over edges (YOLOv8 to YOLO12, not YOLO26)",
        )
    ),
    "disagreement": lambda evidence: probabilities(
        _known("disagreement", evidence.disagreement, "a .pt model with two heads (YOLOv10, YOLO26)")
    ),
}
"""By name. The last two read what a detector noted itself, see `pool.schema.Prediction`."""
