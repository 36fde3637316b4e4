"""Figures of a whole project, and how sure they are, from one row of sums for each image.

Every figure is a ratio of sums over images. Keeping the sums apart by image makes three things cheap
without clustering anything again: the figures of some of the images, the figures after one image
changed, and intervals, for which images are drawn again with replacement.

Images, not boxes, are drawn again: boxes of one image are alike, the same people looked at it on the
same day, and intervals that take boxes for independent are too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from consensus.agreement import Pairs, consensus_score, count_pairs, sample_f1, vote_share
from consensus.alpha import nominal, tabulate
from consensus.overlap import DECIMALS
from consensus.sheet import Bools, Floats, Ints, ordered
from consensus.study import Study
from pool.schema import BadInput

FEW = 30
"""Below so many compared images an interval is too narrow to be relied on: show it as "too few". In a
thousand simulated jobs each, intervals at 0.95 held the truth in 87 to 90 of a hundred with 10 images,
in 91 to 95 with 30, in 93 to 95 with 100."""

AT_ONCE = 1_000_000
"""Weights of images held in memory together, about 30 bytes each; or those of one draw, if more."""

COLUMNS = (
    "images", "compared", "agreed_empty", "answers", "objects", "boxes",
    "score", "share", "image_f1",
    "matched", "pair_boxes", "overlap",
    "absent", "exist", "label", "joint",
)  # fmt: skip
"""Columns of a row; behind them one for each label (boxes), and another for each (boxes that have a
counterpart)."""

MEASURED = (
    "consensus_score", "vote_share", "f1", "mean_f1", "iou", "pq",
    "alpha_exist", "alpha_label", "alpha_joint",
)  # fmt: skip
"""The fields of `Figures` that are no counts, and so have intervals."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What can be said about a project.

    Nine figures, higher = more agreement, exactly 1 where all drew the same, NaN where there is
    nothing to compare. All but the alphas lie in [0, 1].

    ``consensus_score``: identical labels / total labels of an image, mean over images.
    ``vote_share``: the softer score, mean over images; see `agreement.vote_share`.
    ``f1``: of any two people on an image, pooled: 2 x shared / boxes over all pairs, so that boxes weigh
    and not images.
    ``mean_f1``: the same of each pair, mean over pairs and then over images, so that images weigh the
    same; 1 for an image that all left empty.
    ``iou``: mean IoU of boxes that two people drew of one object under one label; hardly ever below
    tau, so it says how tight agreeing boxes are, not whether people agree.
    ``pq``: panoptic quality, f1 x iou, pooled.
    ``alpha_exist``, ``alpha_label``, ``alpha_joint``: see `alpha.Alphas`; images that all left empty
    count as one object that nobody drew.

    Counts: ``images`` with an answer, ``compared`` those with two or more, which alone make the
    figures, ``agreed_empty`` those of them that all left empty; ``answers``, ``objects`` and ``boxes``
    of all images.
    """

    consensus_score: float
    vote_share: float
    f1: float
    mean_f1: float
    iou: float
    pq: float
    alpha_exist: float
    alpha_label: float
    alpha_joint: float
    images: int
    compared: int
    agreed_empty: int
    answers: int
    objects: int
    boxes: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Rows of some images added up: ``values`` (columns,), see `COLUMNS`, under ``labels``.

    Sums of different images can be added, and those of some of them taken away again, so an answer
    that arrives costs no more than its own image: ``sums - before.sums + after.sums``, where the two
    are `tally` of that image without and with it.
    """

    labels: tuple[str | None, ...]
    values: Floats

    def __add__(self, other: Sums) -> Sums:
        labels = _union(self.labels, other.labels)
        return Sums(
            labels, _under(self.values, self.labels, labels) + _under(other.values, other.labels, labels)
        )

    def __sub__(self, other: Sums) -> Sums:
        return self + Sums(other.labels, -other.values)

    def figures(self) -> Figures:
        """The figures of all images in the sums."""
        ratio = {name: float(figure) for name, figure in zip(MEASURED, _ratios(self.values), strict=True)}
        images, compared, empty, answers, objects, boxes = (int(value) for value in self.values[:6])
        return Figures(
            **ratio, images=images, compared=compared, agreed_empty=empty,
            answers=answers, objects=objects, boxes=boxes,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tallies:
    """One row of sums for each image.

    ``rows`` is (samples, columns): `COLUMNS`, then a column for each of ``labels``, twice. All of them
    are counts or sums over people and objects of the image, 0 in an image that nobody answered.
    """

    samples: tuple[str, ...]
    labels: tuple[str | None, ...]
    rows: Floats

    @property
    def sums(self) -> Sums:
        """The rows of all images added up."""
        return Sums(self.labels, self.rows.sum(axis=0))

    def figures(self) -> Figures:
        """The figures of all images."""
        return self.sums.figures()

    def select(self, images: Ints | Bools) -> Tallies:
        """The rows of some images, by position or by a mask of (samples,): camera images alone, say.

        Raises:
            BadInput: a mask of another length, or a position that is none.
        """
        chosen, count = np.asarray(images), len(self.samples)
        if chosen.dtype == np.bool_:
            if chosen.shape != (count,):
                raise BadInput("images", f"a mask of shape ({count},)", chosen.shape)
            chosen = np.flatnonzero(chosen)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= count):
            raise BadInput("images", f"positions from 0 to {count - 1}", (chosen.min(), chosen.max()))
        chosen = chosen.astype(np.intp)
        return Tallies(tuple(self.samples[k] for k in chosen.tolist()), self.labels, self.rows[chosen])

    def replace(self, fresh: Tallies) -> Tallies:
        """These tallies with the rows of ``fresh`` in place of those of the same samples.

        Samples that were not there come last. The rows are copied; where only the figures matter, add
        and subtract `Sums`.
        """
        place = {name: k for k, name in enumerate(self.samples)}
        added = tuple(name for name in fresh.samples if name not in place)
        place |= {name: len(self.samples) + k for k, name in enumerate(added)}
        labels = _union(self.labels, fresh.labels)
        rows = np.zeros((len(place), len(COLUMNS) + 2 * len(labels)))
        rows[: len(self.samples)] = _under(self.rows, self.labels, labels)
        rows[[place[name] for name in fresh.samples]] = _under(fresh.rows, fresh.labels, labels)
        return Tallies(self.samples + added, labels, rows)


def tally(study: Study, pairs: Pairs | None = None) -> Tallies:
    """Count each image of a study; ``pairs`` is its `agreement.count_pairs`, where that is at hand."""
    marks, votes = study.marks, study.votes
    images, values = len(marks.samples), tabulate(study)
    pairs = count_pairs(marks, study.objects) if pairs is None else pairs

    def per_image(position: Ints, weights: Floats | Ints | None = None) -> Floats:
        return np.bincount(position, weights=weights, minlength=images).astype(np.float64)

    compared, objects = votes.voters >= 2, per_image(votes.sample)
    column = {
        "images": votes.voters > 0,
        "compared": compared,
        "agreed_empty": compared & (objects == 0),
        "answers": votes.voters,
        "objects": objects,
        "boxes": per_image(marks.sample),
        "score": np.nan_to_num(consensus_score(votes)),
        "share": np.nan_to_num(vote_share(votes)),
        "image_f1": np.nan_to_num(sample_f1(pairs, images)),
        "matched": per_image(pairs.sample, pairs.matched),
        "pair_boxes": per_image(pairs.sample, pairs.first_drew + pairs.second_drew),
        "overlap": per_image(pairs.sample, pairs.overlap),
        "absent": values.absent,
        "exist": values.exist,
        "label": values.label,
        "joint": values.joint,
    }
    rows = np.column_stack([*(column[name] for name in COLUMNS), values.drawn, values.paired])
    return Tallies(marks.samples, marks.labels, np.asarray(rows, dtype=np.float64))


def intervals(
    tallies: Tallies, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """How far each figure could be off because these images were annotated and not others.

    Images that at least two people answered are drawn again with replacement, as many as there are,
    and the ends are percentiles of the figures so found (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13). They say nothing of other people, another tau or another project.
    With fewer than `FEW` such images they are too narrow.

    Args:
        tallies: rows of images that stand for all.
        draws: how often to draw; fewer than 1000 make the ends jump with the seed.
        level: how sure the interval shall be, in (0, 1).
        seed: the same rows and seed give the same intervals.

    Returns:
        The low and the high end of each of `MEASURED`; both NaN where the figure is undefined or where
        fewer than two images can be compared.

    Raises:
        BadInput: ``draws`` below 1, or ``level`` not between 0 and 1.
    """
    if draws < 1:
        raise BadInput("draws", "1 or more", draws)
    if not 0.0 < level < 1.0:
        raise BadInput("level", "between 0 and 1", level)
    rows = tallies.rows[tallies.rows[:, COLUMNS.index("compared")] > 0]
    if len(rows) < 2:
        return dict.fromkeys(MEASURED, (np.nan, np.nan))
    found = _ratios(_redrawn(rows, draws, np.random.default_rng(seed)))
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    ends: dict[str, tuple[float, float]] = {}
    for name, values in zip(MEASURED, found, strict=True):
        known = values[np.isfinite(values)]  # a draw may hold none of the few images that define a figure
        low, high = np.quantile(known, tails).tolist() if known.size else (np.nan, np.nan)
        ends[name] = (low, high)
    return ends


def _redrawn(rows: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Sums of rows drawn with replacement, (draws, columns)."""
    count = len(rows)
    block = min(max(AT_ONCE // count, 1), draws)
    sums = np.empty((draws, rows.shape[1]))
    for start in range(0, draws, block):
        stop = min(start + block, draws)
        drawn = rng.integers(0, count, (stop - start, count), dtype=np.uint32).astype(np.intp)
        drawn += np.arange(stop - start)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=(stop - start) * count)
        sums[start:stop] = times.reshape(-1, count).astype(np.float64) @ rows
    return sums


def _ratios(values: Floats) -> list[Floats]:
    """The figures `MEASURED`, each (...,), of sums (..., columns), rounded: however those were added."""
    part = {name: values[..., k] for k, name in enumerate(COLUMNS)}
    drawn, paired = np.split(values[..., len(COLUMNS) :], 2, axis=-1)
    absent = part["absent"][..., None]
    images, matched, boxes = part["compared"], part["matched"], part["pair_boxes"]

    def share(above: Floats, below: Floats, otherwise: Floats | float) -> Floats:
        return np.where(below > 0, above / np.where(below > 0, below, 1.0), otherwise)

    nothing = np.where(images > 0, 1.0, np.nan)  # all agreed that there is nothing
    figures = [
        share(part["score"], images, np.nan),
        share(part["share"], images, np.nan),
        share(2.0 * matched, boxes, nothing),
        share(part["image_f1"], images, np.nan),
        share(part["overlap"], matched, np.nan),
        share(2.0 * part["overlap"], boxes, nothing),
        nominal(part["exist"], np.concatenate([drawn.sum(axis=-1, keepdims=True), absent], axis=-1)),
        nominal(part["label"], paired),
        nominal(part["joint"], np.concatenate([drawn, absent], axis=-1)),
    ]
    return [np.round(figure, DECIMALS) + 0.0 for figure in figures]  # -0.0 is 0.0


def _union(some: tuple[str | None, ...], others: tuple[str | None, ...]) -> tuple[str | None, ...]:
    return some if some == others else tuple(ordered([*some, *others]))


def _under(values: Floats, labels: tuple[str | None, ...], wider: tuple[str | None, ...]) -> Floats:
    """Sums (..., columns) under ``labels`` as sums under ``wider``, which has all of those."""
    if labels == wider:
        return values
    fixed, place = len(COLUMNS), np.array([wider.index(name) for name in labels], dtype=np.intp)
    out = np.zeros((*values.shape[:-1], fixed + 2 * len(wider)))
    out[..., :fixed] = values[..., :fixed]
    out[..., fixed + place] = values[..., fixed : fixed + len(labels)]
    out[..., fixed + len(wider) + place] = values[..., fixed + len(labels) :]
    return out
