"""How unsure a detector is of an image: a measure of each box, then one number per image.

All numbers lie in [0, 1], higher = more worth a human. Scores are taken as they are: who wants doubts that
mean what they say calibrates the scores first and hands them in as `Evidence`.

An image in which nothing passed the confidence floor counts as one box whose score is
`Prediction.background`, the strongest score below the floor: a missed object that still whispers is
asked about. Of that box there is no edge and no second opinion; whatever else a measure asks of it is
answered by the entropy of its score. Where the detector whispers nothing at all the number is 0, and no
uncertainty can find that miss: the lane of images drawn at random is there for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput, Prediction
from sampler.aggregates import AGGREGATES, Starts
from sampler.effort import DEFAULT, Effort, seconds
from sampler.measures import MEASURES, Array, Evidence, binary_entropy, probabilities

__all__ = ["AGGREGATES", "MEASURES", "Evidence", "binary_entropy", "combine", "gather", "score"]

T = TypeVar("T")

BLOCK = 1 << 20
"""Numbers brought to double precision at once: columns of ten million boxes in half precision stay so."""


def score(
    predictions: Sequence[Prediction],
    measure: str = "entropy",
    aggregate: str = "topk",
    effort: Effort = DEFAULT,
) -> NDArray[np.float64]:
    """Uncertainty of each prediction, (n,) in [0, 1], higher = more worth a human.

    Args:
        predictions: of one model, or of several with different classes.
        measure: a name in `MEASURES`, applied to each box.
        aggregate: a name in `AGGREGATES`, applied to each image's boxes.
        effort: what an image and a box cost people, for the aggregate ``cost``.

    Raises:
        BadInput: an unknown name, a measure of something that no box has, or arrays that do not fit a
            prediction's boxes.
    """
    evidence, starts = gather(predictions)
    return combine(evidence, starts, measure, aggregate, effort)


def combine(
    evidence: Evidence,
    starts: ArrayLike,
    measure: str = "entropy",
    aggregate: str = "topk",
    effort: Effort = DEFAULT,
) -> NDArray[np.float64]:
    """`score` on arrays: image i owns the boxes from ``starts[i]`` up to the next start.

    Every image owns at least one box; `gather` gives the ones without boxes a phantom, which costs no
    time.

    Raises:
        BadInput: an unknown name, a column that the measure needs and nobody has, columns of different
            lengths, or an image without a box.
    """
    per_box = _choice("measure", measure, MEASURES)
    per_image = _choice("aggregate", aggregate, AGGREGATES)
    _check(evidence)
    first = np.asarray(starts, dtype=np.intp)
    bounds = np.append(first, evidence.scores.size)
    if (first.size and bounds[0] != 0) or np.any(np.diff(bounds) < 1):
        raise BadInput("starts", "rising from 0, below the number of boxes", first.tolist()[:10])
    out = np.zeros(first.size)
    width = 1 if evidence.probs is None else 1 + evidence.probs.shape[1]
    for images, begin, end in _blocks(bounds, max(BLOCK // width, 1)):
        some, at = evidence.part(begin, end), first[images] - begin
        price = seconds(effort, _boxes(some, at)) / effort.image
        out[images] = per_image(per_box(some), at, price)
    return np.clip(out, 0.0, 1.0)


def _check(evidence: Evidence) -> None:
    m = evidence.scores.size
    for name in ("scores", "probs", "localisation", "disagreement", "phantom"):
        column = getattr(evidence, name)
        dimensions = 2 if name == "probs" else 1
        if column is not None and (column.ndim != dimensions or len(column) != m):
            shape = f"({m}, classes)" if name == "probs" else f"({m},)"
            raise BadInput(name, f"of shape {shape}", column.shape)


def _blocks(bounds: NDArray[np.intp], rows: int) -> Iterator[tuple[slice, int, int]]:
    """Runs of whole images with about ``rows`` boxes: the images, their first box and the next run's."""
    cuts = np.searchsorted(bounds, np.arange(0, bounds[-1], rows))
    edges = np.unique(np.append(cuts, bounds.size - 1)).tolist()
    for low, high in pairwise(edges):
        yield slice(low, high), int(bounds[low]), int(bounds[high])


def _boxes(evidence: Evidence, starts: Starts) -> NDArray[np.intp]:
    """Boxes of each image that people see, (n,)."""
    boxes = np.diff(starts, append=evidence.scores.size)
    if evidence.phantom is None:
        return boxes
    return np.asarray(boxes - np.add.reduceat(evidence.phantom, starts, dtype=np.intp))


def gather(predictions: Sequence[Prediction]) -> tuple[Evidence, Starts]:
    """The boxes of all predictions in one row of arrays, and where each image starts.

    A column is None where there are boxes and none of them has it; where only some have it, the others
    are NaN.

    Raises:
        BadInput: arrays that do not fit a prediction's boxes.
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
    phantom = np.zeros(values.size, dtype=np.bool_)
    phantom[first[[not p.regions for p in predictions]]] = True
    evidence = Evidence(
        values,
        _probs(predictions, values, first),
        _column("localisation", predictions, values, first, phantom),
        _column("disagreement", predictions, values, first, phantom),
        phantom,
    )
    return evidence, first


def _probs(predictions: Sequence[Prediction], values: Array, starts: Starts) -> NDArray[np.float32] | None:
    """Class probabilities of all boxes; a box without any keeps its score as the only class."""
    if not any(p.regions for p in predictions):
        return probabilities(values)[:, None].astype(np.float32)
    known = [(p, s) for p, s in zip(predictions, starts.tolist(), strict=True) if p.regions]
    tables = [(_fitting("probs", p, p.probs, 2), s) for p, s in known if p.probs is not None]
    if not tables:
        return None
    rows = np.zeros((values.size, max(1, *(table.shape[1] for table, _ in tables))), dtype=np.float32)
    rows[:, 0] = probabilities(values)
    for table, start in tables:
        rows[start : start + len(table), : table.shape[1]] = table
    return rows


def _column(
    name: str, predictions: Sequence[Prediction], values: Array, starts: Starts, phantom: NDArray[np.bool_]
) -> Array | None:
    """One number of each box, as its prediction has it."""
    column = np.where(phantom, binary_entropy(values), np.nan)
    found = bool(phantom.all())
    for prediction, start in zip(predictions, starts.tolist(), strict=True):
        given = getattr(prediction, name)
        if given is not None and prediction.regions:
            column[start : start + len(prediction.regions)] = _fitting(name, prediction, given, 1)
            found = True
    return column if found else None


def _fitting(
    name: str, prediction: Prediction, array: NDArray[np.float16], dimensions: int
) -> NDArray[np.float16]:
    count = len(prediction.regions)
    if array.ndim != dimensions or len(array) != count:
        shape = f"({count}, classes)" if dimensions == 2 else f"({count},)"
        raise BadInput(name, f"of shape {shape}", array.shape, f"Predict {prediction.sample} again.")
    return array


def _choice(field: str, name: str, choices: Mapping[str, T]) -> T:
    if name not in choices:
        raise BadInput(field, f"one of {', '.join(choices)}", name)
    return choices[name]
