"""What people's answers say of a model, box by box and image by image.

Only of images that tell the truth about it: drawn at random (holdout and audit lane), answered without
its boxes on the screen, and never trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend import snapshot
from backend.house import House
from backend.studio.convert import shown
from pool.boxes import iou_matrix, to_array
from pool.schema import ModelVersion, Prediction, Region
from sampler.routing import confidence

SAME = 0.5
"""IoU from which a box is the one that people drew."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """n images and the m boxes that the model sees on them, ``counts`` (n,) boxes on each.

    ``confidence`` (n,) in [0, 1] as `sampler.routing.confidence` has it. ``wrong`` (n,): accepted as it is,
    the image would have a box too many, too few, in the wrong place or of the wrong label.
    ``scores`` (m,), ``labels`` (m,), and ``ious`` (m,) with the object that a box found, 0 where none.
    ``objects``: of each true object the score and the IoU of the box that found it, 0 where none did, and
    its label.
    """

    samples: tuple[str, ...]
    counts: NDArray[np.intp]
    confidence: Floats
    wrong: NDArray[np.bool_]
    scores: Floats
    labels: tuple[str, ...]
    ious: Floats
    objects: tuple[tuple[float, float, str], ...]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which boxes found an object, (m,)."""
        return self.ious > 0


def gather(house: House, model: ModelVersion) -> Evidence:
    """All there is about a model: labelled holdout, and what was drawn at random after it was trained."""
    drawn = {
        d.sample
        for r in house.pool.rounds(model.project)
        for d in house.pool.decisions(r.id)
        if d.strategy == "audit"
    }
    learned = set(house.pool.snapshot(model.snapshot).manifest["train"]) if model.snapshot else set()
    return compare(house, model, drawn - learned, holdout=True)


def compare(house: House, model: ModelVersion, samples: Collection[str], *, holdout: bool) -> Evidence:
    """The model's predictions against people's answers on some images, and on the labelled holdout."""
    labels = house.pool.project(model.project).labels
    rows, _ = snapshot.rows(house.pool, model.project, holdout=False, labels=labels, people=True)
    known = [row for row in rows if row.sample.id in samples]
    if holdout:
        known += snapshot.rows(house.pool, model.project, holdout=True, labels=labels, people=True)[0]
    truth = {row.sample.id: snapshot.upright(row) for row in known}
    seen = list(house.pool.predictions(model.version, list(truth)))
    return weigh(seen, [truth[p.sample] for p in seen], house.settings.show_floor)


def weigh(predictions: Sequence[Prediction], truths: Sequence[Sequence[Region]], floor: float) -> Evidence:
    """Predictions against what is there; ``floor`` is the weakest box that would be accepted."""
    pairs = [match(p.regions, truth) for p, truth in zip(predictions, truths, strict=True)]
    wrong, objects = [], []
    for prediction, truth, (ious, which) in zip(predictions, truths, pairs, strict=True):
        drawn = shown(prediction, floor, holdout=False).regions
        wrong.append(len(drawn) != len(truth) or not (match(drawn, truth)[0] > 0).all())
        finder = {int(t): i for i, t in enumerate(which) if t >= 0}
        for place, region in enumerate(truth):
            i = finder.get(place)
            score = 0.0 if i is None else prediction.regions[i].score or 0.0
            objects.append((score, 0.0 if i is None else float(ious[i]), str(region.label)))
    regions = [r for p in predictions for r in p.regions]
    scores = np.array([np.nan if r.score is None else r.score for r in regions], dtype=np.float64)
    starts = np.concatenate(([0], np.cumsum([len(p.regions) for p in predictions]))).astype(np.intp)
    quiet = np.array([p.background for p in predictions], dtype=np.float64)
    return Evidence(
        samples=tuple(p.sample for p in predictions),
        counts=np.diff(starts),
        confidence=confidence(scores, starts, quiet, floor),
        wrong=np.array(wrong, dtype=np.bool_),
        scores=scores,
        labels=tuple(str(r.label) for r in regions),
        ious=np.concatenate([np.zeros(0), *(ious for ious, _ in pairs)]),
        objects=tuple(objects),
    )


def match(boxes: Sequence[Region], truth: Sequence[Region]) -> tuple[Floats, NDArray[np.intp]]:
    """Which object each box finds: its IoU with it, (n,), and its place, (n,); 0 and -1 where none.

    Greedy, the strongest box first: each takes the object of its label that it covers best and that is
    still free, from an IoU of `SAME` on.
    """
    ious, which = np.zeros(len(boxes)), np.full(len(boxes), -1, dtype=np.intp)
    if not boxes or not truth:
        return ious, which
    overlap = iou_matrix(to_array(r.box for r in boxes), to_array(r.box for r in truth))
    overlap *= np.array([[b.label == t.label for t in truth] for b in boxes])
    for i in sorted(range(len(boxes)), key=lambda i: -(boxes[i].score or 0.0)):
        best = int(np.argmax(overlap[i]))
        if overlap[i, best] >= SAME:
            ious[i], which[i] = overlap[i, best], best
            overlap[:, best] = 0.0
    return ious, which
