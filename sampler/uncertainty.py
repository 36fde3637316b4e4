"""How unsure a detector is of an image: measures per box, then one number per image.

A detector's class scores are sigmoids: each asks "is this class here?" on its own and they do not
sum to 1. Every measure below therefore treats a box as a question with the answers "this class",
"another class" and "nothing", and is highest where two answers are equally likely. All of them lie
in [0, 1], higher = more worth a human, and so does every image number made of them.

An image in which nothing passed the confidence floor counts as one box whose score is
`Prediction.background`, the strongest score below the floor: a missed object that still whispers is
asked about. Where the detector whispers nothing at all the number is 0, and no uncertainty can find
that miss: the lane of images drawn at random is there for it.

A score that is no number counts as 0.5: what cannot be read is shown to a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput, Prediction

Array = NDArray[np.float64]
Starts = NDArray[np.intp]
T = TypeVar("T")

TOP_K = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of n boxes, image after image.

    ``scores`` (n,) are the boxes' confidences. ``probs`` (n, classes) are their class
    probabilities, zero where a model has fewer classes than another; None where nothing but the
    score was kept.
    """

    scores: Array
    probs: Array | None = None


Measure = Callable[[Evidence], Array]
Aggregate = Callable[[Array, Starts], Array]


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

    "Nothing" has the probability 1 - the best class, so a row is uncertain both when two classes
    claim a box and when one class claims it half-heartedly. With one class it equals
    `least_confidence`.

    Raises:
        BadInput: ``probs`` is no table with at least one column.
    """
    rows = probabilities(probs)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise BadInput("probs", "of shape (n, classes) with at least one class", rows.shape)
    best = rows.max(axis=1)
    answers = np.column_stack([rows, 1.0 - best])
    top = np.partition(answers, answers.shape[1] - 2, axis=1)[:, -2:]
    return 1.0 - (top[:, 1] - top[:, 0])


def _margin(evidence: Evidence) -> Array:
    return margin(evidence.scores[:, None] if evidence.probs is None else evidence.probs)


MEASURES: dict[str, Measure] = {
    "entropy": lambda evidence: binary_entropy(evidence.scores),
    "least_confidence": lambda evidence: least_confidence(evidence.scores),
    "margin": _margin,
}


def _maximum(values: Array, starts: Starts) -> Array:
    """The most uncertain box speaks for the image; one odd box is enough."""
    return np.asarray(np.maximum.reduceat(values, starts))


def _mean(values: Array, starts: Starts) -> Array:
    """The average box speaks for the image; a doubt drowns among clear boxes."""
    return np.asarray(np.add.reduceat(values, starts) / _lengths(values, starts))


def topk(values: Array, starts: Starts, k: int = TOP_K) -> Array:
    """The mean of the ``k`` most uncertain boxes, or of all where there are fewer.

    Raises:
        BadInput: ``k`` is below 1.
    """
    if k < 1:
        raise BadInput("k", "1 or more", k)
    lengths = _lengths(values, starts)
    image = np.repeat(np.arange(starts.size), lengths)
    total, left = np.zeros(starts.size), values.copy()
    for _ in range(min(k, int(lengths.max()))):  # a few maxima cost a tenth of a sort
        best = np.maximum.reduceat(left, starts)
        total += np.maximum(best, 0.0)
        at = np.flatnonzero(left == best[image])
        left[at[np.diff(image[at], prepend=-1) > 0]] = -1.0  # one box of each image, used up
    return np.asarray(total / np.minimum(lengths, k))


def _total(values: Array, starts: Starts) -> Array:
    """The sum s of all boxes as s / (1 + s), in [0, 1): the order is the sum's own.

    It prefers crowded images, which hold more doubts and cost people more time.
    """
    total = np.add.reduceat(values, starts)
    return np.asarray(total / (1.0 + total))


def _lengths(values: Array, starts: Starts) -> NDArray[np.intp]:
    return np.diff(starts, append=values.size)


AGGREGATES: dict[str, Aggregate] = {"topk": topk, "max": _maximum, "mean": _mean, "sum": _total}


def score(
    predictions: Sequence[Prediction], measure: str = "entropy", aggregate: str = "topk"
) -> NDArray[np.float64]:
    """Uncertainty of each prediction, (n,) in [0, 1], higher = more worth a human.

    Args:
        predictions: of one model, or of several with different classes.
        measure: a name in `MEASURES`, applied to each box.
        aggregate: a name in `AGGREGATES`, applied to each image's boxes.

    Raises:
        BadInput: an unknown name, or probabilities that do not fit a prediction's boxes.
    """
    evidence, starts = gather(predictions)
    return combine(evidence, starts, measure, aggregate)


def combine(
    evidence: Evidence, starts: ArrayLike, measure: str = "entropy", aggregate: str = "topk"
) -> NDArray[np.float64]:
    """`score` on arrays: image i owns the boxes from ``starts[i]`` up to the next start.

    Every image owns at least one box; `gather` gives the ones without boxes their background.

    Raises:
        BadInput: an unknown name, or an image without a box.
    """
    per_box = _choice("measure", measure, MEASURES)
    per_image = _choice("aggregate", aggregate, AGGREGATES)
    first = np.asarray(starts, dtype=np.intp)
    bounds = np.append(first, evidence.scores.size)
    if (first.size and bounds[0] != 0) or np.any(np.diff(bounds) < 1):
        raise BadInput("starts", "rising from 0, below the number of boxes", first.tolist()[:10])
    if first.size == 0:
        return np.zeros(0)
    return np.clip(per_image(per_box(evidence), first), 0.0, 1.0)


def gather(predictions: Sequence[Prediction]) -> tuple[Evidence, Starts]:
    """The boxes of all predictions in one row of arrays, and where each image starts.

    Raises:
        BadInput: probabilities that do not fit a prediction's boxes.
    """
    scores: list[float | None] = []
    starts: list[int] = []
    for prediction in predictions:
        starts.append(len(scores))
        if prediction.regions:
            scores.extend([region.score for region in prediction.regions])
        else:
            scores.append(prediction.background)
    first = np.asarray(starts, dtype=np.intp)
    values = np.asarray(scores, dtype=np.float64)  # a score of None becomes NaN
    return Evidence(values, _rows(predictions, values, first)), first


def _rows(predictions: Sequence[Prediction], values: Array, starts: Starts) -> Array | None:
    """Class probabilities of all boxes; a box without any keeps its score as the only class."""
    width = max((p.probs.shape[-1] for p in predictions if p.probs is not None), default=0)
    if width == 0:
        return None
    rows = np.zeros((values.size, width))
    rows[:, 0] = values
    for prediction, start in zip(predictions, starts.tolist(), strict=True):
        count = len(prediction.regions)
        if prediction.probs is None or count == 0:
            continue
        if prediction.probs.ndim != 2 or prediction.probs.shape[0] != count:
            expected, fix = f"of shape ({count}, classes)", f"Predict {prediction.sample} again."
            raise BadInput("probs", expected, prediction.probs.shape, fix)
        rows[start : start + count, : prediction.probs.shape[1]] = prediction.probs
    return rows


def _choice(field: str, name: str, choices: Mapping[str, T]) -> T:
    if name not in choices:
        raise BadInput(field, f"one of {', '.join(choices)}", name)
    return choices[name]
