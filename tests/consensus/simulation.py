"""A labelling job whose truth is known: many images, several people for each, each with a habit.

Everybody sees the same objects and draws them with a hand that is a little unsteady, misses some, takes
some for another label, sometimes draws one twice or sees what is not there. Five people do one of these
things far more than the others, so that a figure meant to find them can be tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from consensus.sheet import SCRATCH, Bools, Floats, Ints, Sheet
from tests.consensus.scenes import NOON

LABELS = ("bin", "garbage", "overflowing_bin")
FREQUENCY = (0.5, 0.3, 0.2)
SIZE = np.array([500.0, 375.0])

LOOSE, TIGHT, MISSES, CONFUSES, DOUBLES = 3, 4, 5, 6, 7
"""Positions of the people with a habit."""

SMALLEST = 2.0
"""Sides of boxes in pixels that people do not draw, nor smaller ones."""

DAY = 86400.0
DAYS = 56.0


@dataclass(frozen=True, slots=True)
class Traits:
    """What each person is like, every column (people,).

    ``jitter`` is the standard deviation of an edge and ``growth`` how much wider and higher boxes are
    drawn, both as shares of the side; the others are probabilities: ``miss`` and ``confuse`` of each
    object, ``stray`` of each of eight tries per image, ``double`` of each box.
    """

    jitter: Floats
    growth: Floats
    miss: Floats
    confuse: Floats
    stray: Floats
    double: Floats


@dataclass(frozen=True, slots=True)
class Job:
    """What people said and what was there.

    Each true object, (objects,), by image: ``truth_sample``, ``truth_label``, both positions in the
    sheet's names, and ``truth_boxes`` (objects, 4), normalised. Each box of the sheet, (n,): ``object``,
    the true object it was drawn for or -1, and whether it is a planted ``duplicate`` (the same person
    drew the same thing before) or a planted ``merged`` box over two objects (``object`` is -1).
    """

    sheet: Sheet
    traits: Traits
    truth_sample: Ints
    truth_label: Ints
    truth_boxes: Floats
    object: Ints
    duplicate: Bools
    merged: Bools


def job(
    images: int = 10_000,
    seed: int = 7,
    people: int = 12,
    least: int = 3,
    most: int = 5,
    mean: float = 8.0,
) -> Job:
    """A job of ``images`` images, each seen by ``least`` to ``most`` of ``people`` people.

    Images hold ``mean`` objects on average, one in twenty holds none. The same arguments give the same
    job.
    """
    rng = np.random.default_rng(seed)
    traits = _traits(rng, people)

    full = rng.random(images) > 0.05
    count = np.where(full, rng.poisson(mean, images), 0)
    there = np.repeat(np.arange(images), count)
    sides = np.clip(np.exp(rng.normal(np.log(60.0), 0.6, (len(there), 2))), 8.0, 250.0)
    corner = rng.random((len(there), 2)) * (SIZE - sides)
    truth = np.column_stack([corner, corner + sides])
    what = rng.choice(len(LABELS), len(there), p=FREQUENCY)

    asked = rng.integers(least, most + 1, images)
    place = np.argsort(np.argsort(rng.random((images, people)), axis=1), axis=1)
    sample, annotator = np.nonzero(place < asked[:, None])

    drawn = _drawn(rng, traits, sample, annotator, count, truth, what)
    owner, label, boxes, source, twice = drawn
    visits = len(sample)
    lead = (4.0 + 3.0 * np.bincount(owner, minlength=visits)) * np.exp(rng.normal(0.0, 0.3, visits))
    created = NOON.timestamp() + DAY * DAYS * sample / max(images, 1) + 600.0 * rng.random(visits)
    width = len(str(max(images - 1, 0)))
    sheet = Sheet(
        samples=tuple(f"image {k:0{width}d}" for k in range(images)),
        annotators=tuple(f"person {k:0{len(str(people - 1))}d}" for k in range(people)),
        labels=LABELS,
        sizes=np.tile(SIZE, (images, 1)),
        sample=sample,
        annotator=annotator,
        number=np.arange(visits) + 1,
        task=sample + 1,
        created=created,
        updated=created + lead,
        seconds=lead,
        truth=np.zeros(visits, dtype=np.bool_),
        skipped=np.zeros(visits, dtype=np.bool_),
        start=np.full(visits, SCRATCH, dtype=np.intp),
        owner=owner,
        label=label,
        boxes=boxes / np.tile(SIZE, 2),
        turn=np.zeros(len(owner)),
    )
    return Job(
        sheet, traits, there, what, truth / np.tile(SIZE, 2), source, twice, np.zeros(len(owner), np.bool_)
    )


def with_merges(job: Job, share: float, seed: int = 5) -> Job:
    """The job with one box over two near objects in a ``share`` of the answers that have two.

    The two boxes are those of a random object and of the one nearest to it; their common hull takes
    their place, under the label of the first. Where one of them holds the other, that hull is the larger
    box itself, and nothing gives it away.
    """
    rng = np.random.default_rng(seed)
    sheet = job.sheet
    row = rng.permutation(np.flatnonzero((job.object >= 0) & ~job.duplicate & ~job.merged))
    _, first = np.unique(sheet.owner[row], return_index=True)
    picked = row[first][rng.random(len(first)) < share]

    chosen = np.full(len(sheet.sample), -1, dtype=np.intp)
    chosen[sheet.owner[picked]] = picked
    mate, base = row, chosen[sheet.owner[row]]
    other = (base >= 0) & (mate != base)
    mate, base = mate[other], base[other]
    centre = (sheet.boxes[:, :2] + sheet.boxes[:, 2:]) / 2.0 * SIZE
    distance = np.linalg.norm(centre[mate] - centre[base], axis=1)
    order = np.lexsort((distance, base))
    base, nearest = np.unique(base[order], return_index=True)
    mate = mate[order][nearest]

    boxes, source, merged = sheet.boxes.copy(), job.object.copy(), job.merged.copy()
    boxes[base, :2] = np.minimum(boxes[base, :2], boxes[mate, :2])
    boxes[base, 2:] = np.maximum(boxes[base, 2:], boxes[mate, 2:])
    source[base], merged[base] = -1, True
    keep = np.ones(len(source), dtype=np.bool_)
    keep[mate] = False
    return replace(
        job,
        sheet=replace(
            sheet,
            owner=sheet.owner[keep],
            label=sheet.label[keep],
            boxes=boxes[keep],
            turn=sheet.turn[keep],
        ),
        object=source[keep],
        duplicate=job.duplicate[keep],
        merged=merged[keep],
    )


def export(job: Job) -> list[dict[str, Any]]:
    """The same job as Label Studio exports it in JSON: a task for each image, with all its annotations."""
    sheet = job.sheet
    x1, y1, x2, y2 = (100.0 * sheet.boxes).T
    columns = zip(
        x1.tolist(), y1.tolist(), (x2 - x1).tolist(), (y2 - y1).tolist(),
        sheet.turn.tolist(), sheet.label.tolist(), sheet.owner.tolist(), strict=True,
    )  # fmt: skip
    results: list[list[dict[str, Any]]] = [[] for _ in sheet.sample]
    width, height = (int(side) for side in SIZE)
    for k, (x, y, w, h, turn, label, owner) in enumerate(columns):
        results[owner].append(
            {
                "id": f"r{k:08d}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "origin": "manual",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "x": x,
                    "y": y,
                    "width": w,
                    "height": h,
                    "rotation": turn,
                    "rectanglelabels": [sheet.labels[label]],
                },
            }
        )
    tasks: list[dict[str, Any]] = [
        {"id": k + 1, "data": {"image": f"/data/{name}.jpg"}, "annotations": [], "predictions": []}
        for k, name in enumerate(sheet.samples)
    ]
    for k, result in enumerate(results):
        tasks[int(sheet.sample[k])]["annotations"].append(
            {
                "id": int(sheet.number[k]),
                "task": int(sheet.task[k]),
                "completed_by": int(sheet.annotator[k]) + 1,
                "was_cancelled": bool(sheet.skipped[k]),
                "ground_truth": bool(sheet.truth[k]),
                "lead_time": float(sheet.seconds[k]),
                "created_at": _written(sheet.created[k]),
                "updated_at": _written(sheet.updated[k]),
                "parent_prediction": None,
                "result": result,
            }
        )
    return tasks


def _traits(rng: np.random.Generator, people: int) -> Traits:
    jitter, growth = rng.uniform(0.02, 0.06, people), rng.normal(0.0, 0.02, people)
    miss, confuse = rng.uniform(0.02, 0.06, people), rng.uniform(0.01, 0.05, people)
    stray, double = rng.uniform(0.0, 0.04, people), np.full(people, 0.003)
    habits = (
        (growth, LOOSE, 0.12),
        (growth, TIGHT, -0.10),
        (miss, MISSES, 0.20),
        (confuse, CONFUSES, 0.25),
        (double, DOUBLES, 0.05),
    )
    for column, person, value in habits:
        column[person : person + 1] = value  # a small team simply lacks the later ones
    return Traits(jitter, growth, miss, confuse, stray, double)


def _drawn(
    rng: np.random.Generator,
    traits: Traits,
    sample: Ints,
    annotator: Ints,
    count: Ints,
    truth: Floats,
    what: Ints,
) -> tuple[Ints, Ints, Floats, Ints, Bools]:
    """Owner, label, pixels, true object and second copy of every box, by owner."""
    seen = count[sample]
    first = (np.cumsum(count) - count)[sample]
    owner = np.repeat(np.arange(len(sample)), seen)
    source = np.arange(len(owner)) - np.repeat(np.cumsum(seen) - seen - first, seen)

    kept = rng.random(len(owner)) > traits.miss[annotator[owner]]
    owner, source = owner[kept], source[kept]
    who = annotator[owner]
    sides = np.tile(truth[source, 2:] - truth[source, :2], 2)
    outward = np.array([-1.0, -1.0, 1.0, 1.0]) * traits.growth[who, None] / 2.0
    boxes = truth[source] + sides * (outward + rng.normal(0.0, 1.0, sides.shape) * traits.jitter[who, None])
    label = what[source]
    confused = rng.random(len(label)) < traits.confuse[who]
    label = np.where(confused, (label + rng.integers(1, len(LABELS), len(label))) % len(LABELS), label)

    strays = np.repeat(np.arange(len(sample)), rng.binomial(8, traits.stray[annotator]))
    stray_sides = rng.uniform(15.0, 80.0, (len(strays), 2))
    corner = rng.random((len(strays), 2)) * (SIZE - stray_sides)
    owner = np.concatenate([owner, strays])
    boxes = np.concatenate([boxes, np.column_stack([corner, corner + stray_sides])])
    label = np.concatenate([label, rng.integers(0, len(LABELS), len(strays))])
    source = np.concatenate([source, np.full(len(strays), -1, dtype=np.intp)])

    again = np.flatnonzero(rng.random(len(owner)) < traits.double[annotator[owner]])
    twice = np.arange(len(owner) + len(again)) >= len(owner)
    boxes = np.concatenate([boxes, boxes[again] + rng.normal(0.0, 1.0, (len(again), 4))])
    owner, label, source = (np.concatenate([c, c[again]]) for c in (owner, label, source))

    boxes = np.clip(boxes, 0.0, np.tile(SIZE, 2))
    row = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] > SMALLEST).all(axis=1))
    row = row[np.argsort(owner[row], kind="stable")]
    return owner[row], label[row], boxes[row], source[row], twice[row]


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
