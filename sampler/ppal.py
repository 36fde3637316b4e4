"""PPAL: doubtful images first, most of all of difficult classes; then those that look least alike.

Yang, Huang and Crowley, "Plug and Play Active Learning for Object Detection", CVPR 2024 (arXiv
2211.11612). Stage one sums each image's box entropies, weighted by how badly its class is detected
(`quality`, `difficulty_weights`, `utility`). Stage two takes a few times more images than are wanted
and keeps the medoids of their `distance`: two images are alike where each box of the one has a box of
the same class in the other with much the same features.

It needs nothing but boxes with scores, classes and feature vectors; no change to training.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput
from sampler.farthest import Indices, Points, as_points
from sampler.herding import unit
from sampler.medoids import medoids
from sampler.selection import Rng, top_n

Array = NDArray[np.float64]

ALPHA, BETA, XI = 0.3, 0.2, 0.6
"""The paper's: how early weights rise with difficulty, how far, and what confidence counts beside IoU."""
DELTA = 4
"""Candidates of stage two for each image wanted."""
MOST = 8192
"""Candidates at most, unless more images are wanted: their distances take 4 x MOST^2 bytes, twice over
while they are made."""
ABSENT = 2.0
"""Distance of a box from an image without its class: that of opposite feature vectors."""
UNKNOWN = 1.0
"""Distance of two images without boxes of which nothing else is known: that of unrelated vectors."""
_ROWS = 1024  # boxes in one matrix product, on either side


@dataclass(frozen=True, slots=True)
class BoxColumns:
    """The boxes of n images in columns: image i owns the rows from starts[i] up to starts[i + 1].

    ``embedding`` (m, e) feature vectors, ``score`` (m,) 0 or more, ``label`` (m,) the class as a number.
    ``starts`` (n + 1,) rises from 0 to m; an image may own no box.
    """

    embedding: NDArray[np.floating]
    score: NDArray[np.floating]
    label: NDArray[np.integer]
    starts: NDArray[np.integer]

    def __post_init__(self) -> None:
        rows, steps = len(self.label), np.diff(self.starts)
        if len(self.starts) == 0 or (self.starts[0], self.starts[-1]) != (0, rows) or (steps < 0).any():
            raise BadInput("starts", f"rising from 0 to {rows}", self.starts)
        if self.embedding.ndim != 2 or len(self.embedding) != rows:
            raise BadInput("embedding", f"of shape ({rows}, e)", self.embedding.shape)
        if self.score.shape != (rows,) or not np.isfinite(self.score).all() or (self.score < 0).any():
            raise BadInput("score", f"{rows} finite numbers, 0 or more", self.score)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, images: Indices) -> BoxColumns:
        """The boxes of some of the images, in the order given."""
        counts = np.diff(self.starts)[images]
        starts = np.concatenate(([0], np.cumsum(counts)))
        rows = np.arange(starts[-1]) + np.repeat(self.starts[:-1][images] - starts[:-1], counts)
        return BoxColumns(self.embedding[rows], self.score[rows], self.label[rows], starts)


def quality(confidence: ArrayLike, iou: ArrayLike, label: ArrayLike, classes: int, xi: float = XI) -> Array:
    """How well each class is detected, (classes,) in [0, 1], higher = better; NaN without an object.

    The mean of p^xi IoU^(1 - xi) over the objects that people drew. The paper keeps a running mean of it
    during training; here it is measured afterwards, on labelled images, for any detector.

    Args:
        confidence: (objects,) p of the box that found each object, in [0, 1]; 0 for a missed one.
        iou: (objects,) of that box with the object, in [0, 1]; 0 for a missed one.
        label: (objects,) the true class, from 0 up to below ``classes``.
        classes: how many there are, 1 or more.
        xi: part of the confidence, in (0, 1); the rest is the IoU's.

    Raises:
        BadInput: a number is out of range, or the arrays do not fit.
    """
    if not 0 < xi < 1:
        raise BadInput("xi", "between 0 and 1", xi)
    if classes < 1:
        raise BadInput("classes", "1 or more", classes)
    of = np.asarray(label, dtype=np.intp)
    if of.ndim != 1 or ((of < 0) | (of >= classes)).any():
        raise BadInput("label", f"a row of classes below {classes}", of)
    p, overlap = _shares("confidence", confidence, of.size), _shares("iou", iou, of.size)
    count = np.bincount(of, minlength=classes)
    total = np.bincount(of, p**xi * overlap ** (1 - xi), minlength=classes)
    return np.asarray(np.divide(total, count, out=np.full(classes, np.nan), where=count > 0))


def difficulty_weights(quality: ArrayLike, alpha: float = ALPHA, beta: float = BETA) -> Array:
    """Weight of each class, (classes,) in [1, 1 + beta], higher = worse detected.

    w = 1 + alpha beta ln(1 + gamma d) with the difficulty d = 1 - q and gamma = e^(1 / alpha) - 1.

    Args:
        quality: (classes,) q in [0, 1]; NaN, for a class never measured, counts as the mean of the
            others. Where all are NaN, every weight is 1.
        alpha: above 0; the lower it is, the sooner an easy class gets a weight.
        beta: 0 or more.

    Raises:
        BadInput: a number is out of range.
    """
    if not alpha > 0:
        raise BadInput("alpha", "above 0", alpha)
    if not beta >= 0:
        raise BadInput("beta", "0 or more", beta)
    q = np.asarray(quality, dtype=np.float64)
    measured = ~np.isnan(q)
    if q.ndim != 1 or ((q[measured] < 0) | (q[measured] > 1)).any():
        raise BadInput("quality", "a row of numbers from 0 to 1 or NaN", q)
    if not measured.any():
        return np.ones(q.size)
    q = np.where(measured, q, q[measured].mean())
    with np.errstate(divide="ignore"):  # ln 0 is -inf, which adds nothing
        grown = np.logaddexp(np.log(q), np.log1p(-q) + 1 / alpha)  # ln(1 + gamma d) = ln(q + d e^(1/alpha))
    return np.asarray(1 + alpha * beta * np.maximum(grown, 0))


def utility(entropy: ArrayLike, label: ArrayLike, starts: ArrayLike, weights: ArrayLike) -> Array:
    """Stage one (DCUS): the sum of weighted entropies of each image's boxes, (n,), higher = more worth.

    Args:
        entropy: (m,) of each box, 0 or more.
        label: (m,) class of each box; -1 for what has none, such as an image's background, weighs 1.
        starts: (n,) where each image's boxes start, as in `sampler.uncertainty.combine`: every image
            owns at least one.
        weights: (classes,) see `difficulty_weights`.

    Raises:
        BadInput: an unknown class, an image without a box, or the arrays do not fit.
    """
    values, weight = np.asarray(entropy, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    of, first = np.asarray(label, dtype=np.intp), np.asarray(starts, dtype=np.intp)
    if values.ndim != 1 or of.shape != values.shape or ((of < -1) | (of >= weight.size)).any():
        raise BadInput("label", f"{values.size} classes below {weight.size}, or -1", of)
    bounds = np.append(first, values.size)
    if bounds[0] != 0 or (np.diff(bounds) < 1).any():
        raise BadInput("starts", "rising from 0, below the number of boxes", first.tolist()[:10])
    if first.size == 0:
        return np.zeros(0)
    return np.asarray(np.add.reduceat(np.append(weight, 1.0)[of] * values, first))


def distance(boxes: BoxColumns, embedding: ArrayLike | None = None) -> Points:
    """Stage two (CCMS): how unlike any two of n images are, (n, n) in [0, 2], symmetric, 0 to itself.

    From A to B it is the mean over A's boxes, weighted by score, of the least 1 - cosine to a box of
    the same class in B, `ABSENT` where there is none; the distance is the mean of both directions.
    Boxes whose scores are all 0 count the same each. An image without boxes is `ABSENT` from one with
    boxes; two of them differ by 1 - cosine of their image embeddings, `UNKNOWN` without those.

    Beside the result, memory holds its transpose for a moment and a few blocks of 1024 x 1024 boxes.

    Args:
        boxes: of the images.
        embedding: (n, d) of the images.

    Raises:
        BadInput: an embedding is not finite, or there is not one for each image.
    """
    n, counts = len(boxes), np.diff(boxes.starts)
    away = np.full((n, n), ABSENT, dtype=np.float32)  # of the column's image from the row's image
    if len(boxes.label):
        image = np.repeat(np.arange(n), counts)
        share = _portions(boxes.score.astype(np.float64), image, counts)
        vectors = unit(as_points("embedding", boxes.embedding))
        for label in np.unique(boxes.label):
            mine = np.flatnonzero(boxes.label == label)
            _approach(away, vectors[mine], share[mine], image[mine])
    empty = np.flatnonzero(counts == 0)
    away[np.ix_(empty, empty)] = UNKNOWN
    if embedding is not None:
        whole = as_points("embedding", embedding)
        if len(whole) != n:
            raise BadInput("embedding", f"one for each of {n} images", whole.shape)
        rows = unit(whole[empty])
        away[np.ix_(empty, empty)] = 1 - rows @ rows.T
    both = away + away.T
    both /= 2
    np.clip(both, 0, 2, out=both)  # rounding may step outside
    np.fill_diagonal(both, 0)
    return both


def ppal(
    utility: ArrayLike,
    k: int,
    rng: Rng,
    *,
    boxes: BoxColumns,
    embedding: ArrayLike | None = None,
    delta: int = DELTA,
) -> Indices:
    """Indices of ``k`` images, the most useful first; all where there are fewer.

    Args:
        utility: (n,) see `utility`, higher = more worth a human.
        k: how many, 0 or more.
        rng: decides between equally useful images.
        boxes: of the n images.
        embedding: (n, d) of the images, which tells those without boxes apart.
        delta: candidates for each image wanted, 1 or more; 1 is the order of utility alone. They are at
            most `MOST`, or ``k``.

    Raises:
        BadInput: a count is below its least, or the arrays do not fit.
    """
    useful = np.asarray(utility, dtype=np.float64)
    if useful.shape != (len(boxes),):
        raise BadInput("utility", f"of shape ({len(boxes)},)", useful.shape)
    for name, value, least in (("k", k, 0), ("delta", delta, 1)):
        if value < least:
            raise BadInput(name, f"{least} or more", value)
    rivals = top_n(useful, max(k, min(delta * k, MOST)), rng)
    if len(rivals) <= k:
        return rivals
    whole = None if embedding is None else as_points("embedding", embedding)[rivals]
    return rivals[np.sort(medoids(distance(boxes.of(rivals), whole), k))]


def _shares(name: str, values: ArrayLike, n: int) -> Array:
    row = np.asarray(values, dtype=np.float64)
    if row.shape != (n,) or not ((row >= 0) & (row <= 1)).all():
        raise BadInput(name, f"{n} numbers from 0 to 1", row)
    return row


def _portions(score: Array, image: Indices, counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """What part of its image each box is: 1 in all for every image."""
    total = np.bincount(image, score, minlength=len(counts))[image]
    return np.divide(score, total, out=1 / counts[image], where=total > 0).astype(np.float32)


def _approach(away: Points, vectors: Points, share: NDArray[np.float32], image: Indices) -> None:
    """Bring images nearer by the boxes of one class, given image after image."""
    images, starts = np.unique(image, return_index=True)
    bounds = np.append(starts, len(image))
    for a, b in _blocks(bounds):
        rows = vectors[bounds[a] : bounds[b]]
        ranges = list(itertools.pairwise(bounds[a : b + 1] - bounds[a]))
        for c, d in _blocks(bounds):
            columns = slice(bounds[c], bounds[d])
            cosines = rows @ vectors[columns].T
            # A plain maximum of the rows of each image takes a tenth of the time of reduceat.
            best = np.stack([cosines[start:end].max(axis=0) for start, end in ranges])
            best += np.float32(ABSENT - 1)  # what 1 - cosine is less than ABSENT
            best *= share[columns]
            nearer = np.add.reduceat(best, bounds[c:d] - bounds[c], axis=1)
            away[np.ix_(images[a:b], images[c:d])] -= nearer


def _blocks(bounds: Indices) -> Iterator[tuple[int, int]]:
    """Ranges of images that own `_ROWS` boxes at most, or are one image."""
    start = 0
    while start < len(bounds) - 1:
        end = max(start + 1, int(np.searchsorted(bounds, bounds[start] + _ROWS, side="right")) - 1)
        yield start, end
        start = end
