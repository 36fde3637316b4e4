"""What people's answers say of a model, box by box and image by image.

Only of images that tell the truth about it: drawn at random (holdout and audit lane), answered without
its boxes on the screen, and never trained on.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from backend import snapshot
from backend.house import House
from backend.studio.convert import shown
from pool.boxes import iou_matrix, to_array
from pool.schema import Annotation, ModelVersion, Prediction, Region, Round
from sampler.batch import BLIND
from sampler.routing import confidence

SAME = 0.5
"""IoU from which a box is the one that people drew."""

SKEW = timedelta(minutes=5)
"""What the clocks of Label Studio and of this machine may differ by."""

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
    """All there is about a model: labelled holdout, and what was drawn at random and answered blind.

    Nothing that the model or one it descends from learned, nor a look-alike of it; and of look-alikes one,
    since fifty frames of one scene are one trial and not fifty.
    """
    answers = snapshot.labelled(house.pool, model.project, people=True)
    drawn = blind(house, model.project, "audit", answers)
    taught = learned_by(house, model)
    samples = house.pool.samples([*answers, *taught])
    learned = {samples[s].root for s in taught if s in samples}
    wanted = [s for s in answers if samples[s].holdout or (s in drawn and samples[s].root not in learned)]
    one_of = {samples[s].root: s for s in sorted(wanted, key=_lot)}
    return compare(house, model, {s: answers[s] for s in sorted(one_of.values())})


def blind(
    house: House,
    project: int,
    lane: str,
    answers: Mapping[str, Sequence[Annotation]],
    version: str | None = None,
) -> set[str]:
    """Images that a lane asked about, of one model version or any, and that people answered in that round.

    Where a later round asked again and showed the boxes, nobody can tell what was answered without them.
    """
    asked: dict[str, Round] = {}
    shown_since: set[str] = set()
    for each in house.pool.rounds(project):
        for d in house.pool.decisions(each.id):
            if d.strategy == lane and version in (None, d.model_version):
                asked[d.sample] = each
                shown_since.discard(d.sample)
            elif d.strategy not in BLIND and d.route != "auto":
                shown_since.add(d.sample)
    return {
        s
        for s, each in asked.items()
        if s not in shown_since and any(_within(a, each) for a in answers.get(s, ()))
    }


def _within(answer: Annotation, asked: Round) -> bool:
    return answer.created_at >= asked.opened_at - SKEW and (
        asked.closed_at is None or answer.created_at <= asked.closed_at + SKEW
    )


def learned_by(house: House, model: ModelVersion) -> set[str]:
    """Every sample that the model or one of its ancestors was trained on."""
    known = {m.version: m for m in house.pool.models(model.project)}
    found: set[str] = set()
    at: ModelVersion | None = model
    while at is not None:
        if at.snapshot is not None:
            found.update(house.pool.snapshot(at.snapshot).manifest["train"])
        at = known.get(at.parent or "")
    return found


def _lot(sample: str) -> int:
    return zlib.crc32(sample.encode())


def compare(house: House, model: ModelVersion, answers: Mapping[str, Sequence[Annotation]]) -> Evidence:
    """The model's predictions against people's answers, by sample.

    A box of a label that the project does not know counts as there: the model cannot have found it.
    """
    samples = house.pool.samples(list(answers))
    how = snapshot.voting_of(house.pool, model.project, house.settings)
    fused = how.agreed([a for given in answers.values() for a in given], samples)
    seen = list(house.pool.predictions(model.version, list(answers)))
    truths = [snapshot.upright(snapshot.Row(samples[p.sample], fused[p.sample].regions)) for p in seen]
    return weigh(seen, truths, house.settings.show_floor)


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
        # In half precision, as the waiting images have it: a threshold must mean the same on both.
        confidence=confidence(scores.astype(np.float16), starts, quiet.astype(np.float16), floor),
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
