"""What people drew, as columns: one row a box, whoever drew it and wherever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pool.boxes import clip, to_array
from pool.schema import Annotation, BadInput, Region

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Marks:
    """Every usable box of some samples, and everybody who answered, also with no box at all.

    ``samples``, ``annotators`` and ``labels`` are sorted, None last; the columns hold positions in
    them. ``boxes`` is (n, 4), the other columns (n,); ``turn`` is in degrees, in [0, 360).
    ``answered`` (m, 2) holds pairs of sample and annotator, sorted.
    """

    samples: tuple[str, ...]
    annotators: tuple[str, ...]
    labels: tuple[str | None, ...]
    sample: Ints
    annotator: Ints
    label: Ints
    boxes: Floats
    turn: Floats
    aspect: Floats
    answered: Ints


def usable(boxes: Floats, turn: Floats) -> NDArray[np.bool_]:
    """Which rows (n, 4) are boxes at all: finite, with a width, a height and an area above 0."""
    with np.errstate(all="ignore"):
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        area = width * height
        sound = (width > 0.0) & (height > 0.0) & (area > 0.0)
        return np.asarray(sound & np.isfinite(boxes).all(axis=1) & np.isfinite(area) & np.isfinite(turn))


def turns(regions: Sequence[Region]) -> Floats:
    """The regions' rotations, (n,), in [0, 360); NaN where a rotation is not finite."""
    angles = np.array([r.box.rotation for r in regions], dtype=np.float64)
    angles[~np.isfinite(angles)] = np.nan
    return angles % 360.0 % 360.0  # the first remainder of -1e-20 is 360


def inside(regions: Sequence[Region]) -> Floats:
    """The regions' boxes, (n, 4), cut off at the image's border; turned ones are left whole."""
    boxes = to_array(r.box for r in regions)
    upright = turns(regions) == 0.0
    boxes[upright] = clip(boxes[upright])
    return boxes


def whole(regions: Sequence[Region]) -> tuple[Region, ...]:
    """One person's regions as they are, less what is no box, cut off at the image's border."""
    boxes = inside(regions)
    cut = [
        replace(region, box=replace(region.box, x1=x1, y1=y1, x2=x2, y2=y2))
        for region, (x1, y1, x2, y2) in zip(regions, boxes.tolist(), strict=True)
    ]
    return tuple(cut[k] for k in np.flatnonzero(usable(boxes, turns(regions))))


def _latest(annotations: Iterable[Annotation]) -> dict[tuple[str, bool, str], Annotation]:
    """The newest annotation, skipped ones apart, by sample, ground truth or not, and person."""
    latest: dict[tuple[str, bool, str], Annotation] = {}
    for annotation in annotations:
        if not annotation.skipped:
            key = (annotation.sample, annotation.ground_truth, annotation.annotator)
            known = latest.get(key)
            if known is None or (known.updated_at, known.id) < (annotation.updated_at, annotation.id):
                latest[key] = annotation
    return latest


def answers(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The annotations that count, one for each person and sample, in the order of their ids.

    Skipped ones are no answers. Of two by one person the later counts. Ground truth is a verdict
    about the others, not one more voice, and left out where a sample has other answers.
    """
    latest = _latest(annotations)
    voiced = {sample for sample, verdict, _ in latest if not verdict}
    return [latest[key] for key in sorted(latest) if not (key[1] and key[0] in voiced)]


def verdicts(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The newest ground truth of each sample that has other answers as well."""
    latest = _latest(annotations)
    voiced = {sample for sample, verdict, _ in latest if not verdict}
    newest: dict[str, Annotation] = {}
    for (sample, verdict, _), annotation in latest.items():
        known = newest.get(sample)
        age = (annotation.updated_at, annotation.id)
        if verdict and sample in voiced and (known is None or (known.updated_at, known.id) < age):
            newest[sample] = annotation
    return list(newest.values())


def alone(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The answers of samples that one person answered."""
    counted = answers(annotations)
    people = Counter(a.sample for a in counted)
    return [a for a in counted if people[a.sample] == 1]


def gather(annotations: Sequence[Annotation], aspects: Mapping[str, float] | None = None) -> Marks:
    """Columns of the annotations that count (see `answers`).

    Args:
        annotations: of any samples and annotators.
        aspects: width / height by sample; needed only for samples with turned boxes, 1 else.

    Raises:
        BadInput: an aspect is not above 0.
    """
    counted = answers(annotations)
    for name, value in (aspects or {}).items():
        if not 0.0 < value < float("inf"):
            raise BadInput(f"aspects[{name!r}]", "width / height, above 0", value)
    samples = sorted({a.sample for a in annotations})
    annotators = sorted({a.annotator for a in counted})
    labels = sorted(
        {r.label for a in counted for r in a.regions}, key=lambda name: (name is None, name or "")
    )
    where = {name: k for k, name in enumerate(samples)}
    who = {name: k for k, name in enumerate(annotators)}
    what = {name: k for k, name in enumerate(labels)}

    answered = np.array([(where[a.sample], who[a.annotator]) for a in counted], dtype=np.intp)
    owners = np.repeat(np.arange(len(counted)), [len(a.regions) for a in counted])
    regions = [region for a in counted for region in a.regions]
    boxes = inside(regions)
    turn = turns(regions)
    keep = usable(boxes, turn)
    row = answered.reshape(-1, 2)[owners[keep]]
    aspect = np.array([(aspects or {}).get(name, 1.0) for name in samples], dtype=np.float64)
    return Marks(
        samples=tuple(samples),
        annotators=tuple(annotators),
        labels=tuple(labels),
        sample=row[:, 0],
        annotator=row[:, 1],
        label=np.array([what[r.label] for r in regions], dtype=np.intp)[keep],
        boxes=boxes[keep],
        turn=turn[keep],
        aspect=aspect[row[:, 0]],
        answered=answered.reshape(-1, 2),
    )
