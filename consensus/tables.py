"""The report's document as tidy tables: one CSV text for each kind of thing, a row for each thing.

Numbers are written in full and undefined ones left empty. Text that a spreadsheet would take for a
formula gets an apostrophe in front (the JSON document has it as it was).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Row = list[object]
Document = Mapping[str, Any]

PLACE = ("x1", "y1", "x2", "y2", "rotation")
RATES = ("miss", "extra", "confusion", "location", "duplicate", "merged", "untouched")
RATE = ("value", "low", "high", "count", "of")
EDGES = ("left", "top", "right", "bottom", "area_ratio", "boxes")
GOLD = ("f1", "iou", "samples")


def tables(document: Document) -> dict[str, str]:
    """CSV texts by name: tasks, objects, pairs, annotators, conflicts, labels, guidelines.

    Each begins with a line of names, as RFC 4180 has it: commas, quotes where needed, CR LF (write them
    with ``newline=""``). Boxes are in normalised
    image coordinates, ``rotation`` in degrees clockwise. A guideline finding has a row for each of its
    boxes (``role`` box) and of the boxes it is judged by (``role`` evidence), all with its ``finding``
    number.
    """
    return {
        "tasks": _text(TASK, _columns(document["tasks"], TASK, _task)),
        "objects": _text((*TASK_KEY, *OBJECT, *PLACE), _objects(document)),
        "pairs": _text(PAIR, _columns(document["pairs"], PAIR)),
        "annotators": _text(_annotator_head(), map(_annotator, document["annotators"])),
        "conflicts": _text((*TASK_KEY, *CONFLICT, *PLACE), _conflicts(document)),
        "labels": _text(LABEL, _columns(document["labels"], LABEL)),
        "guidelines": _text(("finding", *FINDING, "role", *PLACE), _findings(document)),
    }


TASK_KEY = ("task", "sample", "name")
TASK = (
    *TASK_KEY,
    "source",
    "annotators",
    "consensus_score",
    "vote_share",
    "f1",
    "expected_errors",
    "objects",
    "disputed",
    "boxes",
    "conflicts",
    "width",
    "height",
    "url",
)
OBJECT = ("label", "votes", "voters", "share", "confidence")
PAIR = ("first", "second", "samples", "f1", "low", "high", "iou", "pq")
PERSON = ("annotator", "name", "samples", "compared", "boxes", "skipped", "seconds", "f1", "iou")
CONFLICT = ("kind", "annotator", "label", "expected")
LABEL = ("label", "objects", "boxes", "f1", "iou", "alpha")
FINDING = ("rule", "severity", "task", "sample", "name", "annotator", "annotation", "message", "url")


def _columns(rows: Iterable[Document], names: Sequence[str], view: Any = None) -> Iterator[Row]:
    for row in rows:
        shown = row if view is None else view(row)
        yield [shown[name] for name in names]


def _task(task: Document) -> Document:
    """The lists of a task as their lengths: their rows are in tables of their own."""
    return {**task, **{name: len(task[name]) for name in ("annotators", "boxes", "conflicts")}}


def _objects(document: Document) -> Iterator[Row]:
    for task in document["tasks"]:
        for region in task["consensus"]:
            yield [*_values(task, TASK_KEY), *_values(region, OBJECT), *_corners(region["box"])]


def _conflicts(document: Document) -> Iterator[Row]:
    for task in document["tasks"]:
        for conflict in task["conflicts"]:
            yield [*_values(task, TASK_KEY), *_values(conflict, CONFLICT), *_corners(conflict["box"])]


def _annotator_head() -> tuple[str, ...]:
    rates = (f"{rate}_{part}" if part != "value" else rate for rate in RATES for part in RATE)
    edges = (f"edge_{name}" if name not in ("area_ratio", "boxes") else f"edges_{name}" for name in EDGES)
    return (
        *PERSON,
        *rates,
        *edges,
        "vitality",
        "repeat_f1",
        "repeats",
        *(f"gold_{name}" for name in GOLD),
        "drift",
    )


def _annotator(person: Document) -> Row:
    rates = [value for rate in RATES for value in _values(person[rate] or {}, RATE)]
    return [
        *_values(person, PERSON),
        *rates,
        *_values(person["edges"] or {}, EDGES),
        person["vitality"],
        person["repeat_f1"],
        person["repeats"],
        *_values(person["gold"] or {}, GOLD),
        person["drift"],
    ]


def _findings(document: Document) -> Iterator[Row]:
    for number, finding in enumerate(document["guidelines"]["findings"], 1):
        head = [number, *_values(finding, FINDING)]
        places = [("box", b) for b in finding["boxes"]] + [("evidence", b) for b in finding["evidence"]]
        for role, box in places or [("", [])]:
            yield [*head, role, *_corners(box)]


def _values(row: Document, names: Sequence[str]) -> Row:
    return [row.get(name) for name in names]


def _corners(box: Sequence[float]) -> Row:
    """Five columns; a box of four numbers is upright."""
    if not box:
        return [None] * 5
    return [*box[:4], box[4] if len(box) > 4 else 0.0]


def _text(head: Sequence[str], rows: Iterable[Row]) -> str:
    page = io.StringIO()
    writer = csv.writer(page)
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return page.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else ""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
