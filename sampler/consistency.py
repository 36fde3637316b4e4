"""Does a detector see the same in a picture that was mirrored or shrunk? What it does not is in doubt.

After CALD (Yu, Zhu, Yang and Chen, CVPR workshops 2022, arXiv 2103.10374): boxes of the same object are
compared by place, by class and by confidence in one number m in [0, 2]. Most telling is not the least m,
which faint boxes have that are hardly there, but the one nearest to `BASE`. A second look needs a second
forward pass, so this is for a shortlist.

Two things are done otherwise. CALD takes for each box the best overlapping one, be it elsewhere or taken
already; here boxes are brought together one to one (`sampler.committee.matched`). And its published code
calls an image most uncertain where all boxes vanish, but compares a single one that vanishes with any
other; here a box that only one of the two looks finds, whichever it is, counts as much as it was sure, and
so does one that the other look gives another label.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.boxes import from_array, to_array
from pool.schema import BadInput, Prediction
from sampler.committee import Indices, differ, matched, scores
from sampler.measures import Array, binary_entropy, probabilities

BASE = 1.3
"""The m of the most telling box, from the paper: same place and class, but a confidence of no more than
0.3, or sure both times, but of a different class or a place that is half off."""


def inconsistency(original: Prediction, *variants: Prediction) -> float:
    """Uncertainty of an image in [0, 1], higher = more worth a human: the mean over its variants.

    A variant is as uncertain as its most telling box. Boxes of the same object count
    1 - |m - 1.3| / 1.3 (`agreement`), a box of a label that the other look does not find there at least
    its score; where neither look finds any box, the entropy of the strongest whisper,
    `Prediction.background`. The order of boxes and variants and the names of the classes mean nothing.

    Args:
        original: with probabilities of all classes.
        variants: of changed pictures, one or more, the boxes brought back to the original's places
            (`mirrored`; shrinking moves no box, as places are relative).

    Raises:
        BadInput: no variant, or predictions of different images or classes, or without probabilities.
    """
    if not variants:
        raise BadInput("variants", "one or more predictions", 0)
    return float(np.mean([_apart(original, variant) for variant in variants]))


def mirrored(prediction: Prediction) -> Prediction:
    """A prediction of the horizontally flipped picture, its boxes brought back to the original's places.

    Boxes become upright. The same again gives the prediction back, as far as rounding allows.
    """
    boxes = to_array(region.box for region in prediction.regions)
    boxes[:, [0, 2]] = 1.0 - boxes[:, [2, 0]]
    back = zip(prediction.regions, from_array(boxes), strict=True)
    return replace(prediction, regions=tuple(replace(region, box=box) for region, box in back))


def agreement(iou: ArrayLike, first: ArrayLike, second: ArrayLike, p: ArrayLike, q: ArrayLike) -> Array:
    """CALD's m = IoU + 1/2 (1 - JS(P, Q)) (p + q) of pairs of boxes, (k,) in [0, 2], higher = more alike.

    ``first`` and ``second`` (k, classes) are the class probabilities P and Q, see `divergence`; ``p`` and
    ``q`` (k,) the confidences.
    """
    alike = 1.0 - divergence(first, second)
    return np.asarray(np.asarray(iou) + 0.5 * alike * (probabilities(p) + probabilities(q)))


def divergence(first: ArrayLike, second: ArrayLike) -> Array:
    """Jensen-Shannon divergence in bits of class probabilities, (k, classes) twice -> (k,) in [0, 1].

    JS needs answers of which one is right, as softmax gives them. Sigmoids do not sum to 1: "nothing" is
    added with the probability 1 - the best class, as in `sampler.measures.margin`, and the row is divided
    by its sum.
    """
    a, b = _shares(first), _shares(second)
    middle = (a + b) / 2.0
    bits = (_bits(middle) - (_bits(a) + _bits(b)) / 2.0).sum(axis=1)
    return np.asarray(np.clip(bits, 0.0, 1.0))


def _shares(probs: ArrayLike) -> Array:
    rows = probabilities(probs)
    answers = np.column_stack([rows, 1.0 - rows.max(axis=1, initial=0.0)])
    return np.asarray(answers / answers.sum(axis=1, keepdims=True))


def _bits(shares: Array) -> Array:
    return np.asarray(-shares * np.log2(shares, where=shares > 0.0, out=np.zeros_like(shares)))


def _apart(original: Prediction, variant: Prediction) -> float:
    if original.classes != variant.classes:
        raise BadInput("variants", f"predictions of the classes {original.classes}", variant.classes)
    left, right, iou = matched(original, variant)
    p, q = scores(original), scores(variant)
    if not p.size and not q.size:
        return float(binary_entropy(probabilities([original.background, variant.background]).max()))
    m = agreement(iou, _rows(original, left), _rows(variant, right), p[left], q[right])
    both = 1.0 - np.abs(m - BASE) / BASE
    same = ~differ(original, left, variant, right)
    return float(np.concatenate((both, np.delete(p, left[same]), np.delete(q, right[same]))).max())


def _rows(prediction: Prediction, boxes: Indices) -> NDArray[np.float16]:
    count = len(prediction.regions)
    expected = f"of shape ({count}, {len(prediction.classes)})"
    if prediction.probs is None:
        if count == 0:
            return np.zeros((0, len(prediction.classes)), dtype=np.float16)
        raise BadInput("probs", expected, None, f"Predict {prediction.sample} again.")
    if prediction.probs.shape != (count, len(prediction.classes)):
        raise BadInput("probs", expected, prediction.probs.shape, f"Predict {prediction.sample} again.")
    return prediction.probs[boxes]
