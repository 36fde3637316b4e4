"""Calibration: what a detector's confidence is worth, learned from boxes that people have judged.

A calibrated score is a chance: of all boxes at 0.7, seven in ten hit an object. Isotonic regression
(Zadrozny and Elkan, KDD 2002) finds the rising curve from score to chance that fits the judged boxes
best; after training, on boxes the detector never learned from, it leaves detectors better calibrated than
losses made for it do (Kuzucu, Oksuz, Sadeghi and Dokania, ECCV 2024, arXiv 2405.20459). One curve serves
all labels, and a label with enough boxes has its own.

On few boxes the plain curve ends in stretches of exactly 0 and 1: three hits, and it is certain. So each
stretch with k hits among n boxes counts as (k + 1) / (n + 2), Laplace's rule of succession, and the
stretches are made to rise again by the same regression, a stretch weighing n + 2.

A box whose score is NaN says nothing about scores: it is left out of every fit and figure here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput, NotReady

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEWEST = 20
"""Boxes below which nothing is fitted."""
LEAST = 200
"""Boxes from which on a label has a curve of its own."""
BINS = 25
"""Bins of the calibration errors: what LaECE takes; D-ECE is often given with 10, which hides more."""
_SAME = 1e-12  # stretches closer than rounding are one


@dataclass(frozen=True, slots=True)
class Curve:
    """A rising curve through the knots (``x``, ``y``): straight between them, level beyond both ends.

    Raises:
        BadInput: no knot, ``x`` or ``y`` falls, or ``y`` leaves [0, 1].
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.x or len(self.x) != len(self.y):
            raise BadInput("curve", "one or more knots, each with x and y", (len(self.x), len(self.y)))
        for name, knots in (("x", np.array(self.x)), ("y", np.array(self.y))):
            if not np.isfinite(knots).all() or (np.diff(knots) < 0).any():
                raise BadInput(f"curve.{name}", "finite and never falling", getattr(self, name))
        if self.y[0] < 0 or self.y[-1] > 1:
            raise BadInput("curve.y", "in [0, 1]", (self.y[0], self.y[-1]))

    def __call__(self, scores: ArrayLike) -> Floats:
        """Chances in [0, 1] of scores of any shape; NaN stays NaN."""
        chances = np.interp(np.asarray(scores, dtype=np.float64), self.x, self.y)
        # Rounding between two knots can end an ulp beyond the higher one.
        return np.asarray(np.clip(chances, self.y[0], self.y[-1]))


@dataclass(frozen=True, slots=True)
class Calibration:
    """``shared`` serves every label without a curve in ``by_label``; ``boxes`` is what it was fitted on."""

    shared: Curve
    by_label: Mapping[str, Curve] = field(default_factory=dict)
    boxes: int = 0

    def apply(self, scores: ArrayLike, labels: Sequence[str] | None = None) -> Floats:
        """Chances (n,) in [0, 1] of boxes with ``scores`` (n,), by their labels' curves.

        Without ``labels`` by the shared curve; NaN stays NaN.

        Raises:
            BadInput: not one label for each score.
        """
        values = _vector("scores", scores)
        if labels is None:
            return self.shared(values)
        names = list(self.by_label)
        place = {name: index for index, name in enumerate(names)}
        index = np.array([place.get(label, -1) for label in labels], dtype=np.intp)
        return self.apply_columns(values, index, names)

    def apply_columns(self, scores: ArrayLike, label_index: ArrayLike, names: Sequence[str]) -> Floats:
        """`apply` for millions of boxes: ``label_index`` (n,) places in ``names``, -1 for the shared curve.

        Raises:
            BadInput: an index that is no place in ``names``, or not one for each score.
        """
        values, index = _vector("scores", scores), np.asarray(label_index)
        if index.shape != values.shape:
            raise BadInput("labels", f"one for each of {values.size} scores", index.shape)
        if not values.size:
            return np.zeros(0)
        if index.dtype.kind not in "iu" or index.min() < -1 or index.max() >= len(names):
            raise BadInput("label_index", f"whole numbers from -1 to {len(names) - 1}", index)
        chances = self.shared(values)
        for place, name in enumerate(names):
            if name in self.by_label:
                own = np.flatnonzero(index == place)
                chances[own] = self.by_label[name](values[own])
        return chances

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which keeps every bit of it."""
        curves = {label: asdict(curve) for label, curve in self.by_label.items()}
        return {"shared": asdict(self.shared), "by_label": curves, "boxes": self.boxes}

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Calibration:
        """What `as_dict` gave.

        Raises:
            BadInput: a curve that is none.
        """
        curves = {label: Curve(tuple(c["x"]), tuple(c["y"])) for label, c in known["by_label"].items()}
        shared = known["shared"]
        return cls(Curve(tuple(shared["x"]), tuple(shared["y"])), curves, known["boxes"])


IDENTITY = Calibration(Curve((0.0, 1.0), (0.0, 1.0)))
"""Every score in [0, 1] as it is: what is used before anything was measured."""


def fit(
    scores: ArrayLike, hits: ArrayLike, labels: Sequence[str] | None = None, *, least: int = LEAST
) -> Calibration:
    """The calibration that judged boxes show. It depends neither on their order nor on the labels' names.

    Args:
        scores: (n,) confidences in [0, 1], as the detector gave them.
        hits: (n,) whether the box found a true object of its label: greedily, the strongest box first,
            at an IoU of 0.5 or more.
        labels: (n,); None fits the shared curve only.
        least: boxes from which on a label has a curve of its own, 1 or more.

    Raises:
        BadInput: a score outside [0, 1], ``least`` below 1, or the arrays do not fit.
        NotReady: fewer than `FEWEST` boxes, all of them hit, or none does.
    """
    if least < 1:
        raise BadInput("least", "1 or more", least)
    p, hit, seen = _judged(scores, hits)
    n = p.size
    if n < FEWEST:
        raise NotReady(
            f"Calibrating needs {FEWEST} boxes on answered images: {n} there, {FEWEST - n} missing."
        )
    if hit.all() or not hit.any():
        lack = "misses" if hit.all() else "hits"
        raise NotReady(f"Calibrating needs hits and misses: of {n} boxes none {lack}, and 1 must.")
    by_label = {}
    if labels is not None:
        names, own = _codes(labels, seen)
        large = np.flatnonzero(np.bincount(own) >= least)
        by_label = {names[code]: _isotonic(p[own == code], hit[own == code]) for code in large}
    return Calibration(_isotonic(p, hit), by_label, n)


def _isotonic(scores: Floats, hits: Bools) -> Curve:
    """The rising curve of some boxes; a stretch of one value keeps the scores at both its ends as knots."""
    from sklearn.isotonic import isotonic_regression

    x, at = np.unique(scores, return_inverse=True)
    n, k = np.bincount(at).astype(np.float64), np.bincount(at, hits)
    plain = isotonic_regression(k / n, sample_weight=n, y_min=0.0, y_max=1.0)
    starts = np.flatnonzero(np.diff(plain, prepend=-1.0) > _SAME)
    n, k = np.add.reduceat(n, starts), np.add.reduceat(k, starts)
    y = isotonic_regression((k + 1) / (n + 2), sample_weight=n + 2, y_min=0.0, y_max=1.0)
    ends = np.append(starts[1:], x.size) - 1
    knots = np.unique(np.append(starts, ends))
    heights = y[np.searchsorted(starts, knots, side="right") - 1]
    return Curve(tuple(x[knots].tolist()), tuple(heights.tolist()))


def d_ece(scores: ArrayLike, hits: ArrayLike, bins: int = BINS) -> float:
    """Detection expected calibration error, in [0, 1], 0 = calibrated; NaN where there is no box.

    Sum over bins j of |D_j| / |D| * |mean confidence of D_j - precision of D_j|, with D all boxes of all
    labels and D_j those in the j-th of ``bins`` equal parts of [0, 1], a score on an edge in the lower one
    (Küppers et al., CVPR Workshops 2020). ``scores`` (n,) in [0, 1], ``hits`` (n,) as in `fit`.

    Raises:
        BadInput: a score outside [0, 1], no bin, or the arrays do not fit.
    """
    p, hit, _ = _judged(scores, hits)
    return float(_gaps(p, hit, np.zeros(p.size, dtype=np.intp), bins).mean()) if p.size else float("nan")


def la_ece(scores: ArrayLike, ious: ArrayLike, labels: Sequence[str], bins: int = BINS) -> float:
    """Localisation-aware expected calibration error, in [0, 1], 0 = calibrated; NaN where there is no box.

    The mean over labels c of the sum over bins j of |D_cj| / |D_c| * |mean confidence of D_cj -
    precision of D_cj * mean IoU of the true positives in D_cj| (Oksuz, Joy and Dokania, CVPR 2023), bins as
    in `d_ece`: a confidence should say how well a box fits, not only that it hits. It is LaECE at the IoU
    from which ``ious`` counts a match; where any overlap counts it is LaECE_0 (Kuzucu et al., ECCV 2024).
    A label without a box has no part in the mean. ``scores`` (n,) in [0, 1], ``ious`` (n,) with the object
    that the box found, 0 where it found none, ``labels`` (n,).

    Raises:
        BadInput: a number outside [0, 1], no bin, or the arrays do not fit.
    """
    fits = _vector("ious", ious)
    if not ((fits >= 0) & (fits <= 1)).all():
        raise BadInput("ious", "in [0, 1], 0 where a box found nothing", fits)
    p, _, seen = _judged(scores, fits > 0)
    names, own = _codes(labels, seen)
    # Precision times the mean IoU of the true positives is the sum of IoUs over the number of boxes.
    return float(_gaps(p, fits[seen], own, bins).mean()) if names else float("nan")


def _gaps(scores: Floats, worth: ArrayLike, own: NDArray[np.intp], bins: int) -> Floats:
    """Calibration error of each group, (groups,); ``own`` (n,) says which a box is of, none is empty."""
    cell = own * bins + _bin(scores, bins)
    groups = int(own.max()) + 1
    off = np.bincount(cell, scores - np.asarray(worth, dtype=np.float64), minlength=groups * bins)
    # |D_j| / |D| * |mean - mean| is |sum - sum| / |D|.
    return np.asarray(np.abs(off).reshape(groups, bins).sum(axis=1) / np.bincount(own))


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """How often boxes hit, by their confidence: arrays of one number for each bin.

    ``low``: where the bin starts; it is 1 / bins wide. ``count`` boxes have a mean ``confidence`` and hit
    with ``precision``, which lies in [``lower``, ``upper``] by Wilson's 95 % interval (1927). The last four
    are NaN where the bin is empty.
    """

    low: Floats
    count: NDArray[np.intp]
    confidence: Floats
    precision: Floats
    lower: Floats
    upper: Floats


def reliability(scores: ArrayLike, hits: ArrayLike, bins: int = 10) -> Reliability:
    """Scores (n,) in [0, 1] against hits (n,) in ``bins`` equal parts of [0, 1], edges as in `d_ece`.

    Raises:
        BadInput: a score outside [0, 1], no bin, or the arrays do not fit.
    """
    p, hit, _ = _judged(scores, hits)
    at = _bin(p, bins)
    count = np.bincount(at, minlength=bins)
    n = np.where(count > 0, count, np.nan)
    k = np.bincount(at, hit, minlength=bins)
    z = NormalDist().inv_cdf(0.975)
    middle = (k + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    return Reliability(
        low=np.arange(bins) / bins,
        count=count,
        confidence=np.bincount(at, p, minlength=bins) / n,
        precision=k / n,
        lower=np.clip(middle - half, 0, 1),
        upper=np.clip(middle + half, 0, 1),
    )


def _bin(scores: Floats, bins: int) -> NDArray[np.intp]:
    if bins < 1:
        raise BadInput("bins", "1 or more", bins)
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], scores)


def _vector(name: str, values: ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise BadInput(name, "of shape (n,)", found.shape)
    return found


def _judged(scores: ArrayLike, hits: ArrayLike) -> tuple[Floats, Bools, Bools]:
    """Scores and hits of the boxes that have a score, and which those are."""
    p, hit = _vector("scores", scores), np.asarray(hits, dtype=bool)
    if hit.shape != p.shape:
        raise BadInput("hits", f"of shape {p.shape}", hit.shape)
    if ((p < 0) | (p > 1)).any():
        raise BadInput("scores", "in [0, 1]", p)
    seen = ~np.isnan(p)
    return p[seen], hit[seen], seen


def _codes(labels: Sequence[str], seen: Bools) -> tuple[list[str], NDArray[np.intp]]:
    """The labels of the boxes that have a score, and which of them each such box has, as places."""
    if len(labels) != seen.size:
        raise BadInput("labels", f"one for each of {seen.size} boxes", len(labels))
    kept = [labels[i] for i in np.flatnonzero(seen)]
    place = {name: code for code, name in enumerate(dict.fromkeys(kept))}
    return list(place), np.array([place[name] for name in kept], dtype=np.intp)
