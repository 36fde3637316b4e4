"""Each annotator's part of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from consensus.anchoring import Anchoring
from consensus.annotators import Annotator, against_gold
from consensus.edges import Edges, edges
from consensus.fusion import ENOUGH, Trust
from consensus.plain import Document, moment, number, rate
from consensus.sheet import GOLD, beside
from consensus.study import Study
from consensus.study import study as study_of
from consensus.trend import Course, Trend

DRIFTS = {-1: "down", 0: None, 1: "up"}


def profiles(
    study: Study,
    people: Sequence[Annotator],
    began: Anchoring,
    course: Trend,
    names: Mapping[str, str],
    trust: Trust,
) -> list[Document]:
    """One row for each annotator who answered or skipped, in their order.

    ``names`` are shown in place of their ids. Judges, who only gave ground truth, have no row.
    """
    habits, gold = edges(study), against_gold(study.sheet, study.tau)
    true_habits = None
    if gold:
        true_habits = edges(study_of(beside(study.sheet), study.tau), against=GOLD)
    untouched = {row.name: row.untouched for row in began.people}
    start = [moment(t) for t in course.start.tolist()]
    rows: list[Document] = []
    for k, person in enumerate(people):
        if not person.images and not person.skipped:
            continue
        against, mine = gold.get(person.name), course.people[k]
        rows.append(
            {
                "annotator": person.name,
                "name": names.get(person.name, person.name),
                "samples": person.images,
                "compared": person.compared,
                "boxes": person.boxes,
                "skipped": person.skipped,
                "seconds": number(person.seconds),
                "f1": number(person.f1),
                "iou": number(person.iou),
                **{
                    kind: rate(getattr(person, kind))
                    for kind in ("miss", "extra", "confusion", "location", "duplicate", "merged")
                },
                "edges": _edges(habits, k),
                "reliability": _reliability(trust, person.name),
                "vitality": number(person.vitality),
                "repeat_f1": number(person.repeat_f1),
                "repeats": person.repeats,
                "gold": None
                if against is None
                else {
                    "f1": number(against.f1),
                    "iou": number(against.iou),
                    "samples": against.images,
                    "edges": None if true_habits is None else _edges(true_habits, k),
                },
                "untouched": rate(untouched[person.name]),
                "trend": points(start, mine),
                "drift": DRIFTS[mine.drift.direction],
                "drift_since": moment(mine.drift.since) if mine.drift.direction else None,
            }
        )
    return rows


def points(start: Sequence[str | None], course: Course) -> list[Document]:
    """A curve's periods that have answers."""
    return [
        {
            "start": start[k],
            "agreement": number(float(course.agreement[k])),
            "samples": int(course.images[k]),
            "ewma": number(float(course.smooth[k])),
        }
        for k in np.flatnonzero(course.images > 0).tolist()
    ]


def _reliability(trust: Trust, name: str) -> list[Document] | None:
    """How likely this person gives each label, or draws nothing, where it is true (Dawid and Skene)."""
    known = trust.reliability
    if known is None or known.objects < ENOUGH or name not in trust.annotators:
        return None
    right = np.diagonal(known.confusion[trust.annotators.index(name)])
    labels = [*trust.labels, "absent"]
    return [{"label": label, "right": number(float(p))} for label, p in zip(labels, right, strict=True)]


def _edges(habits: Edges, k: int) -> Document | None:
    if not habits.boxes[k]:
        return None
    left, top, right, bottom = (number(float(v)) for v in habits.bias[k])
    return {
        "left": left,
        "top": top,
        "right": right,
        "bottom": bottom,
        "area_ratio": number(float(habits.area[k])),
        "boxes": int(habits.boxes[k]),
    }
