"""Gates between a variant and the pool: do the parent's labels still hold, and is it worth having?

A variant inherits its parent's boxes, so one that lost an object teaches the detector a lie. One that the
detector fails on although the object is there is the reason why variants are made. The two look alike to
the detector, so it is never believed alone: what it sees counts only where the pixels are in doubt.

* ``structure``: a box whose edges are gone (below ``structure_lost``) has lost its label.
* ``found``: boxes that the detector found in the parent and misses in the variant refuse it only when at
  least one of these boxes is in doubt (below ``structure_sure``). A missed box whose structure is sure
  is hard, and wanted; one in doubt that is found again is believed. What it missed in the parent cannot
  be asked of the variant.
* ``strange``: a new confident object counts only where the variant has edges that the parent had not. On
  old edges it is the detector's mistake, and again wanted.

The other gates: nothing but black, one colour or noise; a change of the kind that the condition asks for;
an embedding neither equal to the parent's nor of another world; no copy of the parent or of another image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator import picture, structure
from generator.limits import Limits
from generator.pixels import Boxes, Pixels
from generator.statistics import change
from generator.verdict import Check, Verdict
from generator.weather import Effect
from pool.boxes import area, as_boxes, iou_matrix
from pool.schema import BadInput

Floats = NDArray[np.float64]
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detector sees in one image: boxes (n, 4), their labels, confidences (n,) in [0, 1]."""

    boxes: Boxes
    labels: tuple[str | None, ...]
    scores: Floats

    def __post_init__(self) -> None:
        if not len(as_boxes(self.boxes)) == len(self.labels) == len(self.scores):
            counts = (len(self.boxes), len(self.labels), len(self.scores))
            raise BadInput("seen", "as many labels and scores as boxes", counts)


@dataclass(frozen=True, slots=True)
class Case:
    """A variant and what is known of it and its parent; both pictures have one size.

    ``boxes`` (n, 4) and ``labels`` are the parent's trusted ones: people's, or the champion's where nobody
    answered. A label None is any label. ``before`` and ``after`` are what the detector sees in parent and
    variant. Embeddings are (d,) each, or None. ``nearest`` is the hash distance in bits, 0 to 64, to the
    nearest image of the pool outside the parent's family (the parent and its other variants, whose hash
    is like the variant's by construction); 64 where there is none.
    """

    parent: Pixels
    variant: Pixels
    boxes: Boxes
    labels: tuple[str | None, ...]
    before: Seen
    after: Seen
    parent_embedding: Floats | None = None
    variant_embedding: Floats | None = None
    nearest: int = 64

    def __post_init__(self) -> None:
        if self.parent.shape != self.variant.shape:
            fix = "Crop it back to its parent's size."
            raise BadInput(
                "variant", f"as large as its parent, {self.parent.shape}", self.variant.shape, fix
            )
        if len(as_boxes(self.boxes)) != len(self.labels):
            raise BadInput("labels", f"one for each of {len(self.boxes)} boxes", len(self.labels))


def judge(case: Case, effects: Sequence[Effect], limits: Limits = Limits()) -> Verdict:  # noqa: B008
    """Hold a variant against every gate; ``effects`` are those of the condition that it shows.

    The checks come in order of gravity: a black picture has also lost its boxes, but that it is black is
    what a person wants to read.

    Raises BadInput for an effect on an unknown statistic.
    """
    return Verdict(
        (
            *_garbage(case, limits),
            *_labels(case, limits),
            _strange(case, limits),
            *_effects(case, effects),
            *_copies(case, limits),
            _novelty(case, limits),
        )
    )


def _check(
    gate: str,
    value: float,
    text: str,
    low: float = -math.inf,
    high: float = math.inf,
    excused: bool = False,
) -> Check:
    """``text`` has a place for the value and the bounds; ``excused`` passes outside of them."""
    if math.isnan(value):
        return Check(gate, value, low, high, True, f"Not measurable: {gate}.")
    return Check(gate, value, low, high, low <= value <= high or excused, text)


def _garbage(case: Case, limits: Limits) -> list[Check]:
    dark, bright = picture.tones(case.variant)
    noise = picture.noise(case.variant) - picture.noise(case.parent)
    spread = bright - dark
    return [
        _check("black", bright, f"Brightest tones at {bright:.0f} of 255.", low=limits.brightest),
        _check("uniform", spread, f"Only {spread:.0f} grey levels of contrast.", low=limits.contrast),
        _check("noise", noise, f"Noise of {noise:.0f} grey levels over the parent's.", high=limits.noise),
    ]


def _labels(case: Case, limits: Limits) -> list[Check]:
    kept = structure.kept(case.parent, case.variant, case.boxes)
    similar = structure.similar(case.parent, case.variant, case.boxes)
    before = _found(case, case.before, limits)
    again = _found(case, case.after, limits) & before
    # NaN is never sure: a box that is too small to measure is in doubt.
    sure = (kept >= limits.structure_sure) & (similar >= limits.similar_sure)
    lost = int(np.sum(kept < limits.structure_lost))
    least = float(np.fmin.reduce(kept, initial=np.nan))
    share = float(again.sum() / before.sum()) if before.any() else math.nan
    missed = before & ~again
    excused = bool(np.all(sure[missed]))
    text = f"The detector finds {again.sum()} of the {before.sum()} boxes again that it found in the parent"
    why = (
        "and the others still have their structure"
        if excused
        else "and structure is in doubt in some of the others"
    )
    return [
        _check(
            "structure",
            least,
            f"{lost} of {len(kept)} boxes lost their structure, the worst keeps {least:.2f}."
            if lost
            else f"Every box keeps its structure, the worst {least:.2f}.",
            low=limits.structure_lost,
        ),
        _check(
            "found",
            share,
            f"{text}, {why}." if missed.any() else f"{text}.",
            low=limits.found,
            excused=excused,
        ),
    ]


def _found(case: Case, seen: Seen, limits: Limits) -> NDArray[np.bool_]:
    """Which of the trusted boxes the detector sees, shape (n,)."""
    meets = iou_matrix(case.boxes, seen.boxes) >= limits.found_overlap
    same = np.array([[mine is None or mine == its for its in seen.labels] for mine in case.labels], bool)
    confident = np.asarray(seen.scores, dtype=np.float64) >= limits.found_score
    return np.asarray((meets & same.reshape(meets.shape) & confident[None, :]).any(axis=1))


def _strange(case: Case, limits: Limits) -> Check:
    noticed = np.asarray(case.before.scores) >= limits.found_score
    known = np.concatenate((as_boxes(case.boxes), as_boxes(case.before.boxes)[noticed]))
    bold = as_boxes(case.after.boxes)[np.asarray(case.after.scores) >= limits.strange_score]
    old = (iou_matrix(bold, known) >= limits.strange_overlap) | (_inside(bold, known) >= HALF)
    new = bold[~old.any(axis=1)]
    # Swapped: how many of the variant's edges there did the parent have? What cannot be measured is new.
    had = structure.kept(case.variant, case.parent, new)
    count = int(np.sum(~(had >= limits.structure_sure)))
    text = f"{count} of the {len(new)} confident new objects have edges that the parent had not."
    return _check("strange", float(count), text, high=float(limits.strange))


def _inside(some: Boxes, others: Boxes) -> Floats:
    """Share of each box of ``some`` that lies in each of ``others``, shape (n, m)."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=2)
    return np.asarray(common / np.maximum(area(some), 1e-12)[:, None])


def _effects(case: Case, effects: Sequence[Effect]) -> list[Check]:
    found = change(case.parent, case.variant) if effects else {}
    checks = []
    for effect in effects:
        if effect.statistic not in found:
            raise BadInput("effect", f"one of {', '.join(sorted(found))}", effect.statistic)
        value = float(found[effect.statistic])
        bounds = f"{effect.low:.3g} to {effect.high:.3g}"
        text = f"{effect.statistic} changed by {value:+.3g}, and should change by {bounds}."
        checks.append(_check(f"effect: {effect.statistic}", value, text, effect.low, effect.high))
    return checks


def _copies(case: Case, limits: Limits) -> list[Check]:
    difference = picture.difference(case.parent, case.variant)
    bits = case.nearest
    return [
        _check(
            "copy",
            difference,
            f"Differs from its parent by {difference:.2f} CIELAB units on average.",
            low=limits.difference,
        ),
        _check(
            "twin",
            float(bits),
            f"Its hash is {bits} bits from that of another image.",
            low=float(limits.twin_bits + 1),
        ),
    ]


def _novelty(case: Case, limits: Limits) -> Check:
    one, other = case.parent_embedding, case.variant_embedding
    value = math.nan
    if one is not None and other is not None:
        length = float(np.linalg.norm(one) * np.linalg.norm(other))
        value = float(np.dot(one, other)) / length if length > 0.0 else math.nan
    text = f"Its embedding is {value:.4f} like its parent's."
    return _check("novelty", value, text, limits.novelty_low, limits.novelty_high)
