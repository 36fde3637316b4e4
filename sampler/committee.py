"""Where model versions disagree about the same image: in [0, 1], higher = more worth a human.

Query by committee (Seung, Opper and Sompolinsky 1992). The members of a committee of detectors vote on
objects, so their boxes are brought together first. It finds what a single version cannot know of itself:
that it is sure of something which another, trained a little differently, does not see.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.boxes import iou_matrix, to_array
from pool.schema import BadInput, Prediction
from sampler.aggregates import topk
from sampler.measures import Array, binary_entropy, probabilities

SAME = 0.5
"""IoU from which two boxes are about the same object."""

Indices = NDArray[np.intp]


def disagreement(first: Prediction, second: Prediction) -> float:
    """`disagreements` of one pair."""
    return float(disagreements([(first, second)])[0])


def disagreements(pairs: Sequence[tuple[Prediction, Prediction]]) -> Array:
    """How differently two model versions see each image, (n,) in [0, 1]; which comes first means nothing.

    Boxes are brought together by `matched`. Two boxes that name the same label count the difference of
    their scores, two that name different labels the higher score, a box on its own its score; an image
    is the mean of its three largest counts (`sampler.aggregates.topk`). Where neither sees a box it is
    the difference of what they whisper, `Prediction.background`. Neither the order of boxes nor the
    names of the labels matter, as long as both versions use the same.

    Raises:
        BadInput: the predictions of a pair are of different images.
    """
    counts = [_counts(first, second) for first, second in pairs]
    if not counts:
        return np.zeros(0)
    starts = np.cumsum([0, *map(len, counts[:-1])], dtype=np.intp)
    return topk(np.concatenate(counts), starts)


def _counts(first: Prediction, second: Prediction) -> Array:
    left, right, _ = matched(first, second)
    a, b = scores(first), scores(second)
    if not a.size and not b.size:
        quiet = probabilities([first.background, second.background])
        return np.asarray(np.abs(np.diff(quiet)))
    p, q = a[left], b[right]
    both = np.where(differ(first, left, second, right), np.maximum(p, q), np.abs(p - q))
    return np.concatenate((both, np.delete(a, left), np.delete(b, right)))


def matched(first: Prediction, second: Prediction) -> tuple[Indices, Indices, Array]:
    """Which boxes of two predictions of an image are about the same object: indices (k,), (k,), IoU (k,).

    Greedy, one to one, from an IoU of `SAME` on: boxes of the same label first, then the others, each
    time the largest IoU. Equal ones are told apart by scores and places, never by their order or by
    which prediction comes first. Rotation is left out.

    Raises:
        BadInput: the predictions are of different images.
    """
    if first.sample != second.sample:
        raise BadInput("second", f"a prediction of {first.sample}", second.sample)
    boxes, others = (to_array(region.box for region in p.regions) for p in (first, second))
    overlap = iou_matrix(boxes, others)
    i, j = np.nonzero(overlap >= SAME)
    p, q = scores(first)[i], scores(second)[j]
    ties = (
        *np.minimum(boxes[i], others[j]).T,
        *np.maximum(boxes[i], others[j]).T,
        -np.minimum(p, q),
        -np.maximum(p, q),
    )
    left: dict[int, int] = {}
    taken: set[int] = set()
    for at in np.lexsort((*ties, -overlap[i, j], differ(first, i, second, j))).tolist():
        a, b = int(i[at]), int(j[at])
        if a not in left and b not in taken:
            left[a] = b
            taken.add(b)
    one, two = np.array(list(left), dtype=np.intp), np.array(list(left.values()), dtype=np.intp)
    return one, two, overlap[one, two]


def differ(first: Prediction, i: Indices, second: Prediction, j: Indices) -> NDArray[np.bool_]:
    """Which pairs of boxes have different labels, (k,); ``i`` and ``j`` (k,) index the two predictions."""
    pairs = zip(i.tolist(), j.tolist(), strict=True)
    return np.array([first.regions[a].label != second.regions[b].label for a, b in pairs], dtype=np.bool_)


def scores(prediction: Prediction) -> Array:
    """Confidences of the boxes, (n,) in [0, 1]; one that is no number is 0.5."""
    return probabilities(np.array([region.score for region in prediction.regions], dtype=np.float64))


def mutual_information(probs: ArrayLike) -> Array:
    """What T members disagree about, in bits: ``probs`` (T, ...) of yes-or-no answers -> (...) in [0, 1].

    H(mean p) - mean H(p), the doubt of all together less the doubt that each has on its own (BALD,
    Houlsby et al. 2011, arXiv 1112.5745). 0 where all say the same, be it "perhaps"; 1 where half are
    sure of yes and half of no.

    Raises:
        BadInput: there is no member.
    """
    members = probabilities(probs)
    if members.ndim == 0 or len(members) == 0:
        raise BadInput("probs", "of shape (T, ...) with one member or more", members.shape)
    doubt = binary_entropy(members.mean(axis=0)) - binary_entropy(members).mean(axis=0)
    return np.asarray(np.clip(doubt, 0.0, 1.0))
