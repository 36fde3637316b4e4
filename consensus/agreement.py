"""How far people agree: every figure is made of one clustering of their boxes.

Two tables hold all that the figures need, and both can be added up image by image: `Votes` has a
row for each object, `Pairs` one for each pair of people on each image. All figures lie in [0, 1],
higher = more agreement, and are exactly 1 where all drew the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consensus.marks import Marks
from consensus.matching import every_pair
from consensus.overlap import pair_iou
from consensus.sheet import Floats, Ints


@dataclass(frozen=True, slots=True)
class Votes:
    """One row for each object, in the order of object numbers.

    ``sample`` (c,) is the position of its image, ``drawn`` how many people drew it, ``same`` how
    many of them gave the commonest label, ``label`` the position of the winning one: the commonest
    name, the alphabetically first of equals, None only where nobody named it. ``voters`` (samples,)
    counts who answered for each image.
    """

    sample: Ints
    drawn: Ints
    same: Ints
    label: Ints
    voters: Ints

    @property
    def unanimous(self) -> NDArray[np.bool_]:
        """(c,) whether everybody who answered drew the object under the same label."""
        return np.asarray(self.same == self.voters[self.sample])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of two people on common images.

    ``first`` < ``second`` are positions of annotators. ``matched`` counts objects that both drew
    under the same label, ``overlap`` adds up the IoU of those boxes, ``first_drew`` and
    ``second_drew`` count their boxes, ``samples`` the images the row stands for. ``sample`` is the
    position of the image, -1 for a sum over images.
    """

    sample: Ints
    first: Ints
    second: Ints
    matched: Ints
    overlap: Floats
    first_drew: Ints
    second_drew: Ints
    samples: Ints

    @property
    def iou(self) -> Floats:
        """Mean IoU of the matched boxes of each row, in [0, 1]; NaN where nothing matched.

        Two boxes of one object overlap by tau or more, unless only those of others link them.
        """
        return np.where(self.matched > 0, self.overlap / np.maximum(self.matched, 1), np.nan)

    @property
    def pq(self) -> Floats:
        """Panoptic quality of each row, F1 x mean IoU (Kirillov et al. 2019): 1 where neither drew."""
        boxes = self.first_drew + self.second_drew
        return np.where(boxes == 0, 1.0, 2.0 * self.overlap / np.maximum(boxes, 1))

    @property
    def f1(self) -> Floats:
        """F1 of each row, 2 matched / (boxes of both): 1 where neither drew, 0 where one alone did."""
        boxes = self.first_drew + self.second_drew
        return np.where(boxes == 0, 1.0, 2.0 * self.matched / np.maximum(boxes, 1))


def count_votes(marks: Marks, objects: Ints) -> Votes:
    """What the people say about each object; ``objects`` (n,) as `matching.cluster` numbers them."""
    names = len(marks.labels)
    key, count = np.unique(objects * names + marks.label, return_counts=True)
    owner, label = key // max(names, 1), key % max(names, 1)
    start = np.flatnonzero(np.diff(owner, prepend=-1))
    unnamed = label == (names - 1 if names and marks.labels[-1] is None else names)
    winner = np.lexsort((label, -count, unnamed, owner))[start]
    first_box = np.unique(objects, return_index=True)[1]
    return Votes(
        sample=marks.sample[first_box],
        drawn=np.bincount(objects).astype(np.intp),
        same=_per_object(np.maximum, count, start),
        label=label[winner],
        voters=np.bincount(marks.answered[:, 0], minlength=len(marks.samples)).astype(np.intp),
    )


def _per_object(function: np.ufunc, values: Ints, start: Ints) -> Ints:
    return np.asarray(function.reduceat(values, start) if start.size else values, dtype=np.intp)


def consensus_score(votes: Votes) -> Floats:
    """Identical labels / total labels of each image, (samples,): objects that all drew alike / objects.

    1 where all saw nothing; NaN where fewer than two people answered. An object that somebody did
    not draw is not identical, so a stray box counts against the image.
    """
    return _by_sample(votes, votes.unanimous.astype(np.float64), np.ones(len(votes.sample)))


def vote_share(votes: Votes) -> Floats:
    """The softer score of each image, (samples,): the votes that objects' commonest labels got.

    Sum over objects of the largest number of people with one label, divided by objects x people;
    1 where all saw nothing, NaN where fewer than two people answered.
    """
    return _by_sample(votes, votes.same.astype(np.float64), votes.voters[votes.sample].astype(np.float64))


def _by_sample(votes: Votes, part: Floats, whole: Floats) -> Floats:
    count = len(votes.voters)
    above = np.bincount(votes.sample, weights=part, minlength=count)
    below = np.bincount(votes.sample, weights=whole, minlength=count)
    share = np.where(below > 0, above / np.where(below > 0, below, 1.0), 1.0)
    return np.where(votes.voters >= 2, share, np.nan)


class Shared(NamedTuple):
    """Every two boxes of one object under one label, rows of the marks, and their IoU, each (s,)."""

    first: Ints
    second: Ints
    iou: Floats


def shared(marks: Marks, objects: Ints) -> Shared:
    """What every two people drew of one object under one label; the first has the lower number."""
    first, second = every_pair(objects * max(len(marks.labels), 1) + marks.label, marks.annotator)
    turn = marks.turn
    iou = pair_iou(marks.boxes[first], marks.boxes[second], turn[first], turn[second], marks.aspect[first])
    return Shared(first, second, iou)


def count_pairs(marks: Marks, objects: Ints, common: Shared | None = None) -> Pairs:
    """Every two people on every image that both answered, with what they share of it.

    ``common`` is `shared` of the same, where that is at hand.
    """
    people = max(len(marks.annotators), 1)
    visit = marks.answered[:, 0] * people + marks.answered[:, 1]
    boxes = np.bincount(marks.place, minlength=len(visit)).astype(np.intp)

    left, right = every_pair(marks.answered[:, 0], marks.answered[:, 1])
    key = visit[left] * people + marks.answered[right, 1]
    order = np.argsort(key)
    left, right, key = left[order], right[order], key[order]

    met = shared(marks, objects) if common is None else common
    hits = (marks.sample[met.first] * people + marks.annotator[met.first]) * people
    row = np.searchsorted(key, hits + marks.annotator[met.second])
    return Pairs(
        sample=marks.answered[left, 0],
        first=marks.answered[left, 1],
        second=marks.answered[right, 1],
        matched=np.bincount(row, minlength=len(key)).astype(np.intp),
        overlap=np.bincount(row, weights=met.iou, minlength=len(key)).astype(np.float64),
        first_drew=boxes[left],
        second_drew=boxes[right],
        samples=np.ones(len(key), dtype=np.intp),
    )


def pooled(pairs: Pairs) -> Pairs:
    """The rows of each two people added up over images, so that its F1 weighs boxes, not images."""
    width = int(pairs.second.max()) + 1 if pairs.second.size else 1
    key, row = np.unique(pairs.first * width + pairs.second, return_inverse=True)

    def summed(column: Ints) -> Ints:
        return np.bincount(row, weights=column, minlength=len(key)).astype(np.intp)

    return Pairs(
        sample=np.full(len(key), -1, dtype=np.intp),
        first=key // width,
        second=key % width,
        matched=summed(pairs.matched),
        overlap=np.bincount(row, weights=pairs.overlap, minlength=len(key)).astype(np.float64),
        first_drew=summed(pairs.first_drew),
        second_drew=summed(pairs.second_drew),
        samples=summed(pairs.samples),
    )


def sample_f1(pairs: Pairs, samples: int) -> Floats:
    """Mean F1 over the pairs of people of each image, (samples,); NaN where nobody can be compared."""
    count = np.bincount(pairs.sample, minlength=samples)
    total = np.bincount(pairs.sample, weights=pairs.f1, minlength=samples)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
